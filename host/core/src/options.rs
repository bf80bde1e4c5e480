//! What a script may say about a step beside its name and input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Millis, RunId};

/// Options of `run_workflow` and `start_workflow`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildOptions {
    /// The id of the new run; made from the caller's id and the call otherwise.
    pub id: Option<RunId>,
    pub tags: BTreeMap<String, String>,
    /// How long the whole run may take, instead of what its workflow says.
    pub timeout: Option<Millis>,
    /// Among the runs that wait for their workflow's `concurrency`; higher goes first.
    pub priority: i32,
    /// It begins that much later.
    pub delay: Option<Millis>,
    /// Shown instead of the name of the workflow.
    pub label: Option<String>,
}

/// Options of one `use_step` call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepOptions {
    pub retry: RetryPolicy,
    /// The call itself asks for `retry`; else what the host knows of the step comes first, see
    /// [`AttemptError::policy`](crate::replay::AttemptError::policy).
    pub asked_retry: bool,
    /// The longest one attempt may take.
    pub timeout: Option<Millis>,
    /// The longest all attempts and the waits between them may take, from the first start.
    pub deadline: Option<Millis>,
    /// At most once: an attempt that a crash interrupted is not repeated.
    pub once: bool,
    /// Shown instead of the name.
    pub label: Option<String>,
}

/// How often, and after which wait, a failed attempt is repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; at least 1.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub initial: Millis,
    /// Each further wait is this many times the one before.
    pub factor: f64,
    /// No wait is longer; see [`longest`](RetryPolicy::longest).
    pub max: Millis,
    /// Each wait is shortened by a random part of at most this fraction (0 to 1), drawn from the run's seed.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { max_attempts: 4, initial: 1_000, factor: 2.0, max: RetryPolicy::MAX, jitter: 0.1 }
    }
}

impl RetryPolicy {
    /// The longest wait where nothing is said about it.
    pub const MAX: Millis = 60_000;

    /// The longest wait there is: the first one is never cut. Where `max` was left as it is, and the first wait is longer
    /// already, it may grow to a hundred times that.
    pub fn longest(&self) -> Millis {
        match self.max {
            max if self.initial <= max => max,
            RetryPolicy::MAX => self.initial.saturating_mul(100),
            _ => self.initial,
        }
    }

    /// Takes over what a script or the host says about the waits; `None` where it says nothing.
    pub fn say_waits(&mut self, initial: Option<Millis>, max: Option<Millis>) {
        self.initial = initial.unwrap_or(self.initial);
        self.max = match max {
            Some(max) => max.max(self.initial),
            None => self.longest(),
        };
    }

    /// One attempt, no second one.
    pub fn never() -> Self {
        RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }
    }
}
