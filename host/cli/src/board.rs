//! What is going on in a run, from its events.

use std::collections::BTreeMap;

use durhai::{Body, Event, Millis, StepId};

use crate::output::cut;
use crate::times;

/// Calls named at a time; the others are counted.
const SHOWN: usize = 3;

/// The open calls of a run, and how many were done.
#[derive(Debug, Default)]
pub struct Board {
    open: BTreeMap<StepId, Open>,
    done: u64,
    failed: u64,
}

#[derive(Debug)]
enum Open {
    Step { name: String, since: Millis },
    Retry { name: String, at: Millis, error: String },
    Timer { until: Millis },
}

impl Board {
    /// A step runs or will be repeated: it is known what the run is about.
    pub fn is_busy(&self) -> bool {
        self.open.values().any(|open| matches!(open, Open::Step { .. } | Open::Retry { .. }))
    }

    pub fn apply(&mut self, event: &Event) {
        let Some(id) = &event.step_id else { return };
        match &event.body {
            Body::StepStarted { name, label, .. } => {
                let name = label.as_deref().unwrap_or(name).to_string();
                self.open.insert(id.clone(), Open::Step { name, since: event.at });
            }
            Body::StepRetrying { error, retry_at, .. } => {
                let name = self.name(id).unwrap_or_else(|| "step".into());
                let error = cut(&error.message, 60);
                self.open.insert(id.clone(), Open::Retry { name, at: *retry_at, error });
            }
            Body::StepCompleted { .. } => {
                self.open.remove(id);
                self.done += 1;
            }
            Body::StepFailed { .. } => {
                self.open.remove(id);
                self.failed += 1;
            }
            Body::TimerStarted { wake_at } => {
                self.open.insert(id.clone(), Open::Timer { until: *wake_at });
            }
            Body::TimerFired => {
                self.open.remove(id);
            }
            _ => {}
        }
    }

    /// The event in words, where it is worth a line. Call it before [`apply`](Board::apply).
    pub fn narrate(&self, event: &Event) -> Option<String> {
        let id = event.step_id.as_ref();
        let step = || match id {
            Some(id) => match self.name(id) {
                Some(name) => format!("step {name} ({id})"),
                None => format!("step {id}"),
            },
            None => "step".into(),
        };
        let timer = || id.map(|id| format!("timer ({id})")).unwrap_or_else(|| "timer".into());
        Some(match &event.body {
            Body::StepCompleted { .. } => format!("{} completed{}", step(), self.took(event)),
            Body::StepFailed { error } => {
                format!("{} failed{}: {}", step(), self.took(event), cut(&error.message, 200))
            }
            Body::StepRetrying { attempt, error, retry_at } => format!(
                "{} failed in attempt {attempt}: {}; again in {}",
                step(),
                cut(&error.message, 200),
                times::span(retry_at.saturating_sub(event.at))
            ),
            Body::StepStarted { name, attempt, .. } if *attempt > 1 => {
                let id = id.map(ToString::to_string).unwrap_or_default();
                format!("step {name} ({id}) attempt {attempt}")
            }
            Body::TimerStarted { wake_at } => format!(
                "{} until {} (in {})",
                timer(),
                times::rfc3339(*wake_at),
                times::span(wake_at.saturating_sub(event.at))
            ),
            Body::TimerFired => format!("{} fired", timer()),
            Body::SignalReceived { name, .. } => format!("signal {name} received"),
            Body::HookReceived { .. } => "hook received".into(),
            Body::ChildStarted { run_id } => format!("child {run_id} started"),
            Body::ChildCompleted { .. } => "child completed".into(),
            Body::ChildFailed { error } => format!("child failed: {}", cut(&error.message, 200)),
            Body::Suspended { .. } => "suspended: a person is asked".into(),
            Body::Resumed { .. } => "resumed".into(),
            Body::CancelRequested { reason } if reason.is_empty() => "cancel requested".into(),
            Body::CancelRequested { reason } => format!("cancel requested: {}", cut(reason, 200)),
            _ => return None,
        })
    }

    /// One line: how far it is and what it does.
    pub fn summary(&self, now: Millis) -> String {
        let mut parts = vec![match self.done {
            1 => "1 step done".to_string(),
            done => format!("{done} steps done"),
        }];
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        parts.extend(self.open.iter().take(SHOWN).map(|(id, open)| match open {
            Open::Step { name, since } => match now.saturating_sub(*since) / 1_000 {
                0 => format!("{name} ({id})"),
                seconds => format!("{name} ({id}) {}", times::span(seconds * 1_000)),
            },
            Open::Retry { name, at, error } => {
                format!("{name} ({id}) again {}: {error}", times::from_now((*at).max(now)))
            }
            Open::Timer { until } => format!("timer ({id}) {}", times::from_now((*until).max(now))),
        }));
        if self.open.len() > SHOWN {
            parts.push(format!("and {} more", self.open.len() - SHOWN));
        }
        parts.join(" · ")
    }

    fn name(&self, id: &StepId) -> Option<String> {
        match self.open.get(id)? {
            Open::Step { name, .. } | Open::Retry { name, .. } => Some(name.clone()),
            Open::Timer { .. } => None,
        }
    }

    fn took(&self, event: &Event) -> String {
        match event.step_id.as_ref().and_then(|id| self.open.get(id)) {
            Some(Open::Step { since, .. }) => format!(" in {}", times::span(event.at.saturating_sub(*since))),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durhai::{Failure, Kind, Value};

    fn event(at: Millis, id: &str, body: Body) -> Event {
        Event { seq: 1, at, step_id: StepId::parse(id), site: None, body }
    }

    fn started(at: Millis, id: &str, name: &str, attempt: u32) -> Event {
        event(at, id, Body::StepStarted { name: name.into(), input: None, attempt, label: None })
    }

    #[test]
    fn a_step_that_is_repeated() {
        let mut board = Board::default();
        let failure = Failure::new(Kind::StepFailed, "no route");
        let story = [
            (started(1_000, "4", "charge", 1), None, "0 steps done · charge (4)"),
            (
                event(1_500, "4", Body::StepRetrying { attempt: 1, error: failure, retry_at: 3_500 }),
                Some("step charge (4) failed in attempt 1: no route; again in 2s"),
                "0 steps done · charge (4) again",
            ),
            (started(3_500, "4", "charge", 2), Some("step charge (4) attempt 2"), "0 steps done · charge (4)"),
            (
                event(3_503, "4", Body::StepCompleted { output: Value::Null }),
                Some("step charge (4) completed in 3 ms"),
                "1 step done",
            ),
        ];
        for (event, line, summary) in story {
            assert_eq!(board.narrate(&event).as_deref(), line);
            board.apply(&event);
            assert!(board.summary(event.at).starts_with(summary), "{}", board.summary(event.at));
        }
        assert!(!board.is_busy());
    }

    #[test]
    fn what_began_before_the_watch_has_no_name() {
        let board = Board::default();
        let event = event(1, "7", Body::StepCompleted { output: Value::Null });
        assert_eq!(board.narrate(&event).as_deref(), Some("step 7 completed"));
    }

    #[test]
    fn many_open_calls_are_counted() {
        let mut board = Board::default();
        (1..=9).for_each(|n| board.apply(&started(0, &format!("1.{n}.1"), "s", 1)));
        assert!(board.summary(0).ends_with("and 6 more"));
        assert!(board.is_busy());
    }
}
