//! What is going on in a run, from its events.

use std::collections::BTreeMap;

use durhai::{Event, EventBody, Millis, StepId};

use crate::text::{cut, short};
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
    Child { name: String },
    Person { label: Option<String> },
}

impl Board {
    /// A step runs or will be repeated: it is known what the run is about.
    pub fn is_busy(&self) -> bool {
        self.open.values().any(|open| matches!(open, Open::Step { .. } | Open::Retry { .. }))
    }

    pub fn apply(&mut self, event: &Event) {
        let Some(id) = &event.step_id else { return };
        match &event.body {
            EventBody::StepStarted { name, label, .. } => {
                // The label is recorded with the first attempt only.
                let name = label.clone().or_else(|| self.name(id)).unwrap_or_else(|| name.to_string());
                self.open.insert(id.clone(), Open::Step { name, since: event.at });
            }
            EventBody::StepRetrying { error, retry_at, .. } => {
                let name = self.name(id).unwrap_or_else(|| "step".into());
                let error = cut(&error.message, 60);
                self.open.insert(id.clone(), Open::Retry { name, at: *retry_at, error });
            }
            EventBody::StepCompleted { .. } => {
                self.open.remove(id);
                self.done += 1;
            }
            EventBody::StepFailed { .. } => {
                self.open.remove(id);
                self.failed += 1;
            }
            EventBody::TimerStarted { wake_at } => {
                self.open.insert(id.clone(), Open::Timer { until: *wake_at });
            }
            EventBody::ChildStarted { name, label, detached: false, .. } => {
                let name = label.as_deref().unwrap_or(name).to_string();
                self.open.insert(id.clone(), Open::Child { name });
            }
            EventBody::Suspended { label, .. } => {
                self.open.insert(id.clone(), Open::Person { label: label.clone() });
            }
            EventBody::TimerFired
            | EventBody::Resumed { .. }
            | EventBody::ChildCompleted { .. }
            | EventBody::ChildFailed { .. } => {
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
        let at = || id.map(|id| format!(" ({id})")).unwrap_or_default();
        let child = || match id.and_then(|id| self.open.get(id)) {
            Some(Open::Child { name }) => format!(" {name}{}", at()),
            _ => at(),
        };
        let timer = || id.map(|id| format!("timer ({id})")).unwrap_or_else(|| "timer".into());
        Some(match &event.body {
            EventBody::StepCompleted { .. } => format!("{} completed{}", step(), self.took(event)),
            EventBody::StepFailed { error } => {
                format!("{} failed{}: {}", step(), self.took(event), cut(&error.message, 200))
            }
            EventBody::StepRetrying { attempt, error, retry_at } => format!(
                "{} failed in attempt {attempt}: {}; again in {}",
                step(),
                cut(&error.message, 200),
                times::span(retry_at.saturating_sub(event.at))
            ),
            EventBody::StepStarted { attempt, .. } if *attempt > 1 => format!("{} attempt {attempt}", step()),
            EventBody::TimerStarted { wake_at } => format!(
                "{} until {} (in {})",
                timer(),
                times::rfc3339(*wake_at),
                times::span(wake_at.saturating_sub(event.at))
            ),
            EventBody::TimerFired => format!("{} fired", timer()),
            EventBody::SignalReceived { name, .. } => format!("signal {name} received"),
            EventBody::HookOpened { .. } => format!("hook{} opened", at()),
            EventBody::HookConflict { token, run_id } => {
                format!("hook{} is not opened: run {run_id} has the token {token:?} open", at())
            }
            EventBody::HookReceived { .. } => format!("hook{} received a request", at()),
            EventBody::HookClosed => format!("hook{} closed", at()),
            EventBody::ChildStarted { run_id, name, detached: true, .. } => format!("started run {run_id} of {name}"),
            EventBody::ChildStarted { run_id, name, .. } => format!("child {name}{} started: run {run_id}", at()),
            EventBody::ChildCompleted { .. } => format!("child{} completed", child()),
            EventBody::ChildFailed { error } => format!("child{} failed: {}", child(), cut(&error.message, 200)),
            EventBody::Suspended { payload, label, wake_at, .. } => {
                let label = label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
                let until = wake_at.map(|at| format!(", until {}", times::rfc3339(at))).unwrap_or_default();
                format!("asks a person{label}{}{until}: {}", at(), short(payload, 200))
            }
            EventBody::Resumed { .. } => format!("a person has answered{}", at()),
            EventBody::CancelRequested { timeout: true, .. } => {
                "the time of the run is over: it is asked to stop".into()
            }
            EventBody::CancelRequested { reason, .. } if reason.is_empty() => "cancel requested".into(),
            EventBody::CancelRequested { reason, .. } => format!("cancel requested: {}", cut(reason, 200)),
            EventBody::RunMigrated { from, to } => format!("moved from version {} to {}", from.short(), to.short()),
            EventBody::RunContinued { next } => format!("goes on as run {next}"),
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
            Open::Child { name } => format!("child {name} ({id})"),
            Open::Person { label } => match label {
                Some(label) => format!("asks a person {label:?} ({id})"),
                None => format!("asks a person ({id})"),
            },
        }));
        if self.open.len() > SHOWN {
            parts.push(format!("and {} more", self.open.len() - SHOWN));
        }
        parts.join(" · ")
    }

    fn name(&self, id: &StepId) -> Option<String> {
        match self.open.get(id)? {
            Open::Step { name, .. } | Open::Retry { name, .. } => Some(name.clone()),
            Open::Timer { .. } | Open::Child { .. } | Open::Person { .. } => None,
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
    use durhai::{Failure, FailureKind, Value};

    fn event(at: Millis, id: &str, body: EventBody) -> Event {
        Event { seq: 1, at, step_id: StepId::parse(id), site: None, body }
    }

    fn started(at: Millis, id: &str, name: &str, attempt: u32) -> Event {
        event(at, id, EventBody::StepStarted { name: name.into(), input: None, attempt, label: None })
    }

    #[test]
    fn a_step_that_is_repeated() {
        let mut board = Board::default();
        let failure = Failure::new(FailureKind::StepFailed, "no route");
        let story = [
            (started(1_000, "4", "charge", 1), None, "0 steps done · charge (4)"),
            (
                event(1_500, "4", EventBody::StepRetrying { attempt: 1, error: failure, retry_at: 3_500 }),
                Some("step charge (4) failed in attempt 1: no route; again in 2s"),
                "0 steps done · charge (4) again",
            ),
            (started(3_500, "4", "charge", 2), Some("step charge (4) attempt 2"), "0 steps done · charge (4)"),
            (
                event(3_503, "4", EventBody::StepCompleted { output: Value::Null.into() }),
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
    fn what_runs_and_people_do() {
        let mut board = Board::default();
        let name = || "pay".into();
        let run_id = durhai::RunId::new("p.1").expect("an id");
        let started = EventBody::ChildStarted {
            run_id: run_id.clone(),
            name: name(),
            input: Value::Null.into(),
            label: None,
            detached: false,
        };
        let asked = EventBody::Suspended {
            payload: Value::from("ok?").into(),
            label: Some("ok".into()),
            schema: Value::Null,
            wake_at: None,
        };
        let error = Failure::new(FailureKind::ChildFailed, "no money");
        let story = [
            (event(1, "1", started), "child pay (1) started: run p.1", "0 steps done · child pay (1)"),
            (event(2, "1", EventBody::ChildFailed { error }), "child pay (1) failed: no money", "0 steps done"),
            (event(3, "2", asked), "asks a person \"ok\" (2): \"ok?\"", "0 steps done · asks a person \"ok\" (2)"),
            (
                event(4, "2", EventBody::Resumed { data: Value::from(true).into() }),
                "a person has answered (2)",
                "0 steps done",
            ),
            (event(5, "3", EventBody::RunContinued { next: run_id }), "goes on as run p.1", "0 steps done"),
        ];
        for (event, line, summary) in story {
            assert_eq!(board.narrate(&event).as_deref(), Some(line));
            board.apply(&event);
            assert_eq!(board.summary(event.at), summary);
        }
    }

    #[test]
    fn what_began_before_the_watch_has_no_name() {
        let board = Board::default();
        let event = event(1, "7", EventBody::StepCompleted { output: Value::Null.into() });
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
