//! The status of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run stands, as every list and view shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created; its script has not begun.
    Pending,
    /// Its script goes on, or a step of it does.
    Running,
    /// Only timers, signals and children can wake it.
    Waiting,
    /// A person is asked.
    Suspended,
    Completed,
    Failed,
    Cancelled,
    /// Ended by handing over to a successor.
    Continued,
    /// Stopped until an operator looks at it: it diverged, crashed its host, or misses a step or its workflow.
    Parked,
}

impl Status {
    pub const ALL: [Status; 9] = [
        Status::Pending,
        Status::Running,
        Status::Waiting,
        Status::Suspended,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::Continued,
        Status::Parked,
    ];

    /// A terminal run accepts no further event.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled | Status::Continued)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Suspended => "suspended",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Continued => "continued",
            Status::Parked => "parked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Status::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
            format!("{text:?} is no status; one of {}", all.join(", "))
        })
    }
}
