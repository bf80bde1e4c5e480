//! When a script does not fit its log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Event, EventBody, FailureKind, Site, StepId, Value};

/// Recorded and asked, side by side. The log is untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// What does not fit, in a sentence.
    pub message: String,
    /// The durable call where it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    /// The event the log has there.
    pub seq: u64,
    pub recorded: Option<Side>,
    pub asked: Option<Side>,
}

/// One of the two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// `use_step("charge")`, `sleep`, …
    pub what: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// `18:5`, in the text that made it: the recorded side in the version that ran then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// The line of the script there, where the text is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Side {
    pub(super) fn of(body: &EventBody, site: Option<&Site>) -> Self {
        let (what, input) = describe(body);
        let site = match (site, body) {
            (Some(site), _) => site.to_string(),
            // The end of a script is no call; its error knows where it came from.
            (None, EventBody::RunFailed { error }) => error.place.as_deref().map_or_else(String::new, |place| {
                format!("{}:{}:{}", place.file.trim_end_matches(".rhai"), place.line, place.column)
            }),
            (None, _) => String::new(),
        };
        Side { what, input, site, source: String::new() }
    }

    /// What an event stands for, as a call of a script.
    pub fn of_event(event: &Event) -> Self {
        Side::of(&event.body, event.site.as_ref())
    }
}

/// How a call looks in a script.
fn describe(body: &EventBody) -> (String, Value) {
    match body {
        EventBody::StepStarted { name, input, .. } => {
            (format!("use_step({name:?})"), input.as_deref().cloned().unwrap_or_default())
        }
        EventBody::TimerStarted { .. } => ("a timer".into(), Value::Null),
        EventBody::HookOpened { token, .. } | EventBody::HookConflict { token, .. } => {
            (if token.is_empty() { "hook()".into() } else { format!("hook(#{{ token: {token:?} }})") }, Value::Null)
        }
        EventBody::HookClosed => ("the closing of a hook".into(), Value::Null),
        EventBody::Suspended { payload, .. } => ("suspend".into(), Value::clone(payload)),
        EventBody::ChildStarted { name, input, detached, .. } => {
            let call = if *detached { "start_workflow" } else { "run_workflow" };
            (format!("{call}({name:?})"), (**input).clone())
        }
        EventBody::ChildFailed { error } if error.kind == FailureKind::Cancelled => {
            ("the cancellation of a child".into(), Value::Null)
        }
        EventBody::RunContinued { .. } => ("continue_as_new".into(), Value::Null),
        EventBody::StepFailed { .. } => ("the cancellation of a step".into(), Value::Null),
        EventBody::SignalReceived { name, .. } => (format!("signal {name:?}"), Value::Null),
        EventBody::RunCompleted { output } => ("the end of the script".into(), Value::clone(output)),
        EventBody::RunFailed { error } => (format!("the failure of the script ({})", error.message), Value::Null),
        other => (other.name().into(), Value::Null),
    }
}

/// Whether what is asked now may stand for what was recorded. Names, kinds and inputs count; lengths of timers do not,
/// the recorded moment holds.
pub(super) fn fits(recorded: &EventBody, asked: &EventBody) -> Result<(), &'static str> {
    match (recorded, asked) {
        (EventBody::StepStarted { name, input, .. }, EventBody::StepStarted { name: name2, input: input2, .. }) => {
            if name != name2 {
                Err("another step is asked for")
            } else if input.as_deref().unwrap_or(&Value::Null) != input2.as_deref().unwrap_or(&Value::Null) {
                Err("the step is asked for with another input")
            } else {
                Ok(())
            }
        }
        (EventBody::ChildStarted { name, input, .. }, EventBody::ChildStarted { name: name2, input: input2, .. }) => {
            if name != name2 {
                Err("another workflow is run")
            } else if input != input2 {
                Err("the workflow is run with another input")
            } else {
                Ok(())
            }
        }
        (EventBody::Suspended { payload, .. }, EventBody::Suspended { payload: payload2, .. })
            if payload != payload2 =>
        {
            Err("another question is asked")
        }
        (EventBody::RunCompleted { output }, EventBody::RunCompleted { output: output2 }) if output != output2 => {
            Err("the script ends with another output")
        }
        (recorded, asked) if std::mem::discriminant(recorded) == std::mem::discriminant(asked) => Ok(()),
        _ => Err("another kind of call is asked for"),
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the script does not fit the log")?;
        if let Some(id) = &self.step_id {
            write!(f, " at step {id}")?;
        }
        write!(f, " (event {}): {}", self.seq, self.message)?;
        for (label, side) in [("recorded", &self.recorded), ("asked", &self.asked)] {
            match side {
                Some(side) => {
                    write!(f, "\n  {label:<8} {}", side.what)?;
                    if !side.input.is_null() {
                        let input = side.input.to_string();
                        let short: String = input.chars().take(200).collect();
                        write!(f, " with {short}{}", if short.len() < input.len() { "…" } else { "" })?;
                    }
                    if !side.site.is_empty() {
                        write!(f, " at {}", side.site)?;
                    }
                    if !side.source.is_empty() {
                        write!(f, ": {}", side.source.trim())?;
                    }
                }
                None => write!(f, "\n  {label:<8} nothing")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Divergence {}
