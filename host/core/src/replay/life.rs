//! The life of a run, as far as its log and its script have come.

use std::sync::Arc;

use super::turn::Verdict;
use crate::{EventBody, Failure, FailureKind, Millis, RunId, Status, Value};

/// Where a run stands between its creation and its end.
pub(super) enum Life {
    /// Its script has not begun.
    New,
    /// The body runs. The run cancels itself at `expires_at`.
    Running {
        expires_at: Option<Millis>,
    },
    /// The script was asked to stop, and cleans up until `grace_at`.
    Cancelling {
        cancellation: Cancellation,
        grace_at: Millis,
    },
    /// The body has come to its end; tasks that are still open clean up.
    Ending(Box<Ending>),
    Over(Box<Verdict>),
}

/// What is known of a run whose body has come to its end.
pub(super) struct Ending {
    end: BodyEnd,
    /// It was cancelled before that.
    cancellation: Option<Cancellation>,
    expires_at: Option<Millis>,
    /// There where tasks were open, or the run was cancelled.
    grace_at: Option<Millis>,
}

/// That the run was asked to stop.
pub(super) struct Cancellation {
    pub reason: String,
    /// Its own timeout asked: it will have failed, not been cancelled.
    pub by_timeout: bool,
}

/// What the body of a script came to.
pub(super) enum BodyEnd {
    Returned(Result<Arc<Value>, Failure>),
    /// `continue_as_new`, with this input for the successor.
    Continues(Value),
}

impl Life {
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Life::Over(verdict) => Some(verdict),
            _ => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self, Life::Over(_))
    }

    pub fn has_body_ended(&self) -> bool {
        matches!(self, Life::Ending(_))
    }

    pub fn cancellation(&self) -> Option<&Cancellation> {
        match self {
            Life::Cancelling { cancellation, .. } => Some(cancellation),
            Life::Ending(ending) => ending.cancellation.as_ref(),
            _ => None,
        }
    }

    /// When clean-ups are cut off.
    pub fn grace_at(&self) -> Option<Millis> {
        match self {
            Life::Cancelling { grace_at, .. } => Some(*grace_at),
            Life::Ending(ending) => ending.grace_at,
            _ => None,
        }
    }

    /// When the run's own timeout is over.
    pub fn expires_at(&self) -> Option<Millis> {
        match self {
            Life::Running { expires_at } => *expires_at,
            Life::Ending(ending) => ending.expires_at,
            _ => None,
        }
    }

    /// The script begins.
    pub fn start(&mut self, expires_at: Option<Millis>) {
        if matches!(self, Life::New) {
            *self = Life::Running { expires_at };
        }
    }

    /// The script is asked to stop. Nothing prolongs the time it has for its clean-ups.
    pub fn cancel(&mut self, asked: Cancellation, until: Millis) {
        match self {
            Life::New | Life::Running { .. } => *self = Life::Cancelling { cancellation: asked, grace_at: until },
            Life::Cancelling { cancellation, grace_at } => {
                *cancellation = asked;
                *grace_at = until.min(*grace_at);
            }
            Life::Ending(ending) => {
                ending.cancellation = Some(asked);
                ending.expires_at = None;
                ending.grace_at = Some(ending.grace_at.map_or(until, |earlier| until.min(earlier)));
            }
            Life::Over(_) => {}
        }
    }

    /// The body has come to its end. `until`: tasks are open, which have so long for their clean-ups.
    pub fn body_ended(&mut self, end: BodyEnd, until: Option<Millis>) {
        let (cancellation, expires_at, before) = match std::mem::replace(self, Life::New) {
            Life::New => (None, None, None),
            Life::Running { expires_at } => (None, expires_at, None),
            Life::Cancelling { cancellation, grace_at } => (Some(cancellation), None, Some(grace_at)),
            Life::Ending(ending) => (ending.cancellation, ending.expires_at, ending.grace_at),
            over @ Life::Over(_) => {
                *self = over;
                return;
            }
        };
        let grace_at = [before, until].into_iter().flatten().min();
        *self = Life::Ending(Box::new(Ending { end, cancellation, expires_at, grace_at }));
    }

    /// What the body came to, if it has ended, and whether it was cancelled. The caller ends the run with it: `self` is
    /// nothing to go on from.
    pub fn conclude(&mut self) -> (Option<BodyEnd>, Option<Cancellation>) {
        match std::mem::replace(self, Life::New) {
            Life::Cancelling { cancellation, .. } => (None, Some(cancellation)),
            Life::Ending(ending) => (Some(ending.end), ending.cancellation),
            Life::New | Life::Running { .. } | Life::Over(_) => (None, None),
        }
    }

    /// The status that the end of the run gives it.
    pub fn final_status(&self) -> Option<Status> {
        Some(match self.verdict()? {
            Verdict::Diverged(_) => Status::Parked,
            Verdict::Ended(EventBody::RunCompleted { .. }) => Status::Completed,
            Verdict::Ended(EventBody::RunCancelled { .. }) => Status::Cancelled,
            Verdict::Ended(EventBody::RunContinued { .. }) => Status::Continued,
            Verdict::Ended(_) => Status::Failed,
        })
    }
}

impl BodyEnd {
    /// The event that the run ends with; `successor` is the run that would go on. With it the input of the successor,
    /// where there is to be one.
    pub fn into_event(
        self,
        cancellation: Option<Cancellation>,
        successor: impl FnOnce() -> RunId,
    ) -> (EventBody, Option<Value>) {
        let body = match (self, cancellation) {
            (BodyEnd::Continues(input), None) => return (EventBody::RunContinued { next: successor() }, Some(input)),
            (BodyEnd::Returned(Ok(output)), _) => EventBody::RunCompleted { output },
            (BodyEnd::Returned(Err(error)), Some(_)) if error.kind != FailureKind::Cancelled => {
                EventBody::RunFailed { error }
            }
            (_, Some(Cancellation { reason, by_timeout: true })) => {
                EventBody::RunFailed { error: Failure::new(FailureKind::Timeout, reason) }
            }
            (_, Some(Cancellation { reason, .. })) => EventBody::RunCancelled { reason },
            (BodyEnd::Returned(Err(error)), None) => EventBody::RunFailed { error },
        };
        (body, None)
    }
}
