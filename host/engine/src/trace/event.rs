//! What a trace consists of: the events of a watched run, where it is to stop, and what is shown there.

use std::sync::Arc;

use durhai_core::StepId;
use serde::{Deserialize, Serialize};

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// The number of the statement it belongs to, counted over all tasks from 1: the same in every trace of one log with one
    /// text.
    pub n: u64,
    /// The path of the task; empty for the body of the workflow.
    pub task: Arc<str>,
    /// Levels of function calls within the task.
    pub depth: usize,
    /// The loops it happened in, outermost first, those around the calls that led to it included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<Pass>,
    #[serde(flatten)]
    pub what: Traced,
}

/// One pass through the body of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Where the loop stands.
    pub line: u32,
    pub column: u32,
    /// From 1.
    pub pass: u64,
}

/// What was seen. Values are written as a script would, cut where they get long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Traced {
    /// A statement begins.
    Line {
        file: Arc<str>,
        line: u32,
        column: u32,
        source: Arc<str>,
    },
    /// A variable is new, or has another value than when this scope was last seen.
    Changed {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old: Option<String>,
        new: String,
    },
    /// A function of the script begins; its parameters follow as changes.
    Entered {
        function: String,
    },
    Returned {
        function: String,
        value: String,
    },
    /// The function was left by an error.
    Threw {
        function: String,
        error: String,
    },
    /// A durable call.
    Called {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_id: Option<StepId>,
        /// `use_step("charge")`, `sleep`, …
        call: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
        /// `18:5`, or `lib/money:3:9`.
        site: String,
        /// The log does not have it: it would be made now.
        new: bool,
    },
    /// What a durable call came to. One that waits has none.
    Answered {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_id: Option<StepId>,
        value: String,
    },
    /// A durable call threw.
    Failed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_id: Option<StepId>,
        error: String,
    },
}

/// Where to stop. Nothing of the script runs behind it. Numbers are those of statements, [`TraceEvent::n`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case", deny_unknown_fields)]
pub enum Stop {
    /// Before this statement.
    Statement { n: u64 },
    /// Before a statement on this line, not before statement `after + 1`. `file`: `lib/money`; none for the workflow's own.
    Place {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        line: u32,
        #[serde(default)]
        after: u64,
    },
    /// Before the next statement of a task behind statement `after` that is no deeper than that in calls.
    Depth { task: String, depth: usize, after: u64 },
    /// Before the statement that makes this durable call. Where one statement makes several, before all of them.
    Step { step_id: StepId },
    /// Before the first statement behind statement `after` that makes a durable call.
    AnyStep { after: u64 },
}

impl Stop {
    /// Reads `12`, a line of the workflow's own text, or `lib/money:12`.
    pub fn place(text: &str) -> Option<Stop> {
        let (file, line) = match text.rsplit_once(':') {
            Some((file, line)) => (Some(file.to_owned()), line),
            None => (None, text),
        };
        let line = line.parse().ok().filter(|line| *line > 0)?;
        Some(Stop::Place { file, line, after: 0 })
    }
}

/// What there is to see where a trace was stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The statement that comes next.
    pub n: u64,
    pub task: String,
    pub depth: usize,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub source: String,
    /// The text around it.
    pub around: Vec<SourceLine>,
    /// Variables in scope, in the order they were declared; one that hides another of its name stands for both.
    pub variables: Vec<Variable>,
    /// Function calls, innermost first; the last is the body of the task.
    pub stack: Vec<StackFrame>,
    /// What the expression gave that was to be evaluated, as a script would write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it gave nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_error: Option<String>,
    /// What the other tasks wait for.
    #[serde(default)]
    pub waiting_for: Vec<durhai_core::Value>,
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    pub line: u32,
    pub text: String,
}

/// A variable, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    pub value: String,
    pub constant: bool,
}

/// A function that has not returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFrame {
    /// Empty for the body of a task.
    pub function: String,
    pub file: String,
    /// The statement it is in.
    pub line: u32,
}
