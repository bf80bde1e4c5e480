//! Two logs side by side.

use std::collections::HashMap;

use durhai_core::replay::Side;
use durhai_core::{Event, EventBody, StepId, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where two logs differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogDiff {
    pub left_events: u64,
    pub right_events: u64,
    /// Calls that are the same on both sides, with the same result.
    pub same: u64,
    /// In the order of the logs; the first is where they part.
    pub differences: Vec<Difference>,
}

/// One call, or the run itself, that is not the same in both logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// None: the run's input, what came to it from outside, its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    pub what: DifferenceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LogSide>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<LogSide>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The workflows or inputs of the runs.
    Start,
    /// Another call, or the same with another input.
    Call,
    /// The same call, with another result or none yet.
    Result,
    OnlyLeft,
    OnlyRight,
    /// Signals and requests that no call waited for.
    Outside,
    /// How the runs ended.
    End,
}

/// What one of the logs has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogSide {
    /// Of the first event it is about.
    pub seq: u64,
    /// `use_step("charge")`, …
    pub what: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// `completed`, `failed`, `fired`, `received`, …; none while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
    /// `18:5`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
}

/// Compares two logs call by call, by step id: names, inputs and results count; times, attempts and places in the text do
/// not.
pub fn diff_logs(left: &[Event], right: &[Event]) -> LogDiff {
    let (a, b) = (Calls::of(left), Calls::of(right));
    let mut differences = Vec::new();
    let mut same = 0;
    let order = |difference: &Difference| {
        let seq = |side: &Option<LogSide>| side.as_ref().map_or(u64::MAX, |side| side.seq);
        match difference.what {
            // However long the logs are, the ends come last.
            DifferenceKind::End => u64::MAX,
            _ => seq(&difference.left).min(seq(&difference.right)),
        }
    };
    let keys = a.order.iter().chain(b.order.iter().filter(|key| !a.sides.contains_key(key)));
    for key in keys {
        let (left, right) = (a.sides.get(key), b.sides.get(key));
        let what = match (left, right) {
            (Some(left), Some(right)) => {
                let call = (&left.what, &left.input) == (&right.what, &right.input);
                let result = (&left.came_to, &left.result) == (&right.came_to, &right.result);
                match (call, result) {
                    (true, true) => {
                        same += u64::from(matches!(key, Key::Call(_)));
                        continue;
                    }
                    _ if matches!(key, Key::Start) => DifferenceKind::Start,
                    _ if matches!(key, Key::End) => DifferenceKind::End,
                    _ if matches!(key, Key::Outside(_)) => DifferenceKind::Outside,
                    (false, _) => DifferenceKind::Call,
                    (true, false) => DifferenceKind::Result,
                }
            }
            (Some(_), None) => DifferenceKind::OnlyLeft,
            (None, _) => DifferenceKind::OnlyRight,
        };
        let step_id = if let Key::Call(id) = key { Some(id.clone()) } else { None };
        differences.push(Difference { step_id, what, left: left.cloned(), right: right.cloned() });
    }
    differences.sort_by_key(order);
    LogDiff { left_events: left.len() as u64, right_events: right.len() as u64, same, differences }
}

#[derive(PartialEq, Eq, Hash, Clone)]
enum Key {
    Start,
    Call(StepId),
    /// The n-th of what came without a call.
    Outside(usize),
    End,
}

/// A log by calls.
#[derive(Default)]
struct Calls {
    order: Vec<Key>,
    sides: HashMap<Key, LogSide>,
}

impl Calls {
    fn of(log: &[Event]) -> Self {
        let mut calls = Calls::default();
        let mut outside = 0;
        for event in log {
            let key = match (&event.body, &event.step_id) {
                (EventBody::RunCreated(_), _) => Key::Start,
                (EventBody::RunStarted { .. } | EventBody::RunMigrated { .. }, _) => continue,
                (body, _) if body.is_terminal() => Key::End,
                (_, Some(id)) => Key::Call(id.clone()),
                (_, None) => {
                    outside += 1;
                    Key::Outside(outside)
                }
            };
            calls.add(key, event);
        }
        calls
    }

    fn add(&mut self, key: Key, event: &Event) {
        if !self.sides.contains_key(&key) {
            self.order.push(key.clone());
            let Side { what, input, site, .. } = Side::of_event(event);
            let (what, input) = match &event.body {
                EventBody::RunCreated(created) => (created.workflow.clone(), created.input.clone()),
                body if body.is_terminal() => (body.name().to_owned(), Value::Null),
                _ => (what, input),
            };
            let side = LogSide { seq: event.seq, what, input, came_to: None, result: Value::Null, site };
            self.sides.insert(key.clone(), side);
        }
        let Some(side) = self.sides.get_mut(&key) else { return };
        let result = match &event.body {
            EventBody::StepCompleted { output } | EventBody::ChildCompleted { output } => {
                ("completed", Value::clone(output))
            }
            EventBody::StepFailed { error } | EventBody::ChildFailed { error } => {
                ("failed", json!({ "kind": error.kind, "message": error.message }))
            }
            EventBody::TimerFired => ("fired", Value::Null),
            EventBody::SignalReceived { payload, .. } => ("received", Value::clone(payload)),
            EventBody::HookReceived { payload, .. } => ("received", Value::clone(payload)),
            EventBody::HookConflict { .. } => ("conflict", Value::Null),
            EventBody::HookClosed => ("closed", Value::Null),
            EventBody::Resumed { data } => ("resumed", Value::clone(data)),
            EventBody::RunCompleted { output } => ("completed", Value::clone(output)),
            EventBody::RunFailed { error } => ("failed", json!({ "kind": error.kind, "message": error.message })),
            EventBody::RunCancelled { reason } => ("cancelled", json!(reason)),
            EventBody::CancelRequested { reason, .. } => ("requested", json!(reason)),
            _ => return,
        };
        side.came_to = Some(result.0.to_owned());
        side.result = result.1;
    }
}
