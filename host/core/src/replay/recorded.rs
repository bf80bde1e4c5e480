//! What the script asked for after the input at hand, as recorded.

use std::collections::{HashMap, VecDeque};

use crate::{Event, EventBody, StepId};

/// Recorded calls that the script has not made again.
#[derive(Default)]
pub(super) struct Recorded {
    /// In the order of the log. A script makes its calls in that order again, so nothing has to be looked up.
    in_order: VecDeque<Event>,
    /// What was left when a script made one in another order.
    by_call: HashMap<(Option<StepId>, Phase), Event>,
}

/// One call can be recorded twice: when it opens, and when it is closed by the script's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Open,
    Close,
    End,
}

impl Recorded {
    /// The next one, as the log has it.
    pub fn add(&mut self, event: Event) {
        self.in_order.push_back(event);
    }

    /// The event of this call that `asked` may stand for.
    pub fn take(&mut self, id: Option<&StepId>, asked: &EventBody) -> Option<Event> {
        let phase = Phase::of(asked);
        if let Some(event) = self.in_order.front() {
            if event.step_id.as_ref() == id && Phase::of(&event.body) == phase {
                return self.in_order.pop_front();
            }
            let rest = self.in_order.drain(..).map(|event| ((event.step_id.clone(), Phase::of(&event.body)), event));
            self.by_call.extend(rest);
        }
        if self.by_call.is_empty() { None } else { self.by_call.remove(&(id.cloned(), phase)) }
    }

    /// The first one; the script has made none of them, so the others do not count any more.
    pub fn take_first(&mut self) -> Option<Event> {
        if self.is_empty() {
            return None;
        }
        let others = self.by_call.drain().map(|(_, event)| event);
        self.in_order.drain(..).chain(others).min_by_key(|event| event.seq)
    }

    pub fn all(&self) -> impl Iterator<Item = &Event> {
        self.in_order.iter().chain(self.by_call.values())
    }

    /// There is exactly one.
    pub fn only(&self) -> Option<&Event> {
        (self.in_order.len() + self.by_call.len() == 1).then(|| self.all().next()).flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty() && self.by_call.is_empty()
    }

    /// Keeps no room for what has passed.
    pub fn shrink(&mut self) {
        self.in_order.shrink_to_fit();
        self.by_call.shrink_to_fit();
    }
}

impl Phase {
    fn of(body: &EventBody) -> Self {
        match body {
            EventBody::StepFailed { .. } | EventBody::ChildFailed { .. } | EventBody::HookClosed => Phase::Close,
            body if body.is_terminal() => Phase::End,
            _ => Phase::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::replay::recorded::Recorded;
    use crate::{Event, EventBody, StepId};

    #[test]
    fn calls_are_found_in_whatever_order_they_are_made() {
        let id = |id: &str| StepId::parse(id).expect("a step id");
        let timer = EventBody::TimerStarted { wake_at: 5 };
        for order in [["1", "2", "3"], ["3", "2", "1"], ["2", "3", "1"], ["1", "3", "2"]] {
            let mut recorded = Recorded::default();
            for (seq, step) in (4..).zip(["1", "2", "3"]) {
                recorded.add(Event { seq, at: 9, step_id: Some(id(step)), site: None, body: timer.clone() });
            }
            assert!(recorded.take(Some(&id("1")), &EventBody::HookClosed).is_none(), "the call has another event");
            let (last, first) = order.split_last().expect("three");
            for step in first {
                let found = recorded.take(Some(&id(step)), &timer).expect("it was added");
                assert_eq!(found.step_id, Some(id(step)));
            }
            assert_eq!(recorded.only().and_then(|event| event.step_id.clone()), Some(id(last)));
            assert_eq!(recorded.take_first().and_then(|event| event.step_id), Some(id(last)));
            assert!(recorded.is_empty());
        }
    }
}
