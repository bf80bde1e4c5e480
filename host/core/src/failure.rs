//! Errors as values: what a failed durable call throws, and why a run failed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{StepId, Value};

/// What went wrong, in a word. The first group can be caught by a script; the second ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    StepFailed,
    Timeout,
    Cancelled,
    Interrupted,
    UnknownStep,
    InvalidInput,
    HookConflict,
    ChildFailed,
    Limit,
    NotStorable,
    /// The script threw a value of its own.
    Thrown,
    /// The script itself is wrong: a missing function, a bad index, a type that does not fit.
    Script,
    /// The workflow's output does not fit the `output` schema of its header.
    InvalidOutput,
    /// Every open task waits for another one.
    Deadlock,
    /// An operator ended the run.
    Terminated,
}

impl FailureKind {
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::StepFailed => "step_failed",
            FailureKind::Timeout => "timeout",
            FailureKind::Cancelled => "cancelled",
            FailureKind::Interrupted => "interrupted",
            FailureKind::UnknownStep => "unknown_step",
            FailureKind::InvalidInput => "invalid_input",
            FailureKind::HookConflict => "hook_conflict",
            FailureKind::ChildFailed => "child_failed",
            FailureKind::Limit => "limit",
            FailureKind::NotStorable => "not_storable",
            FailureKind::Thrown => "thrown",
            FailureKind::Script => "script",
            FailureKind::InvalidOutput => "invalid_output",
            FailureKind::Deadlock => "deadlock",
            FailureKind::Terminated => "terminated",
        }
    }
}

impl std::str::FromStr for FailureKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        serde_json::from_value(Value::from(text)).map_err(drop)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The map a failed durable call throws, and the `error` of a failed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// The name of the step, where one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    /// How many attempts were made; 0 where attempts make no sense.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// What the step handed over with its error, or what the script threw.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Failure>>,
    /// Where the script was, for errors of the script itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Box<SourcePlace>>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A place in a script, with the text that stands there and the calls that led to it, innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourcePlace {
    pub file: String,
    pub line: u32,
    pub column: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Frame>,
}

/// A function that was being called, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub function: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
            step: None,
            step_id: None,
            attempts: 0,
            data: Value::Null,
            cause: None,
            place: None,
        }
    }

    pub fn cancelled(reason: &str) -> Self {
        Failure::new(FailureKind::Cancelled, reason)
    }

    /// Names the step and the call this failure belongs to.
    #[must_use]
    pub fn of_step(mut self, name: &str, id: &StepId, attempts: u32) -> Self {
        self.step = Some(name.into());
        self.step_id = Some(id.clone());
        self.attempts = attempts;
        self
    }

    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    #[must_use]
    pub fn at(mut self, place: SourcePlace) -> Self {
        self.place = Some(Box::new(place));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(step) = &self.step {
            write!(f, " in step {step}")?;
            if let Some(id) = &self.step_id {
                write!(f, " ({id})")?;
            }
        }
        if self.attempts > 1 {
            write!(f, " after {} attempts", self.attempts)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at {}:{}:{}", place.file, place.line, place.column)?;
            if !place.source.is_empty() {
                write!(f, "\n    {}", place.source.trim_end())?;
                let caret = place.column.saturating_sub(1) as usize;
                let pad: String =
                    place.source.chars().take(caret).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                write!(f, "\n    {pad}^")?;
            }
            for frame in &place.stack {
                write!(f, "\n  in {}, called at {}:{}:{}", frame.function, frame.file, frame.line, frame.column)?;
            }
        }
        match &self.cause {
            Some(cause) => write!(f, "\n  because: {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
