//! The keys of what a world keeps beside runs and texts. Stored: a key never changes.

use durhai_core::RunId;

/// Which run of a chain of `continue_as_new` is the last; `first` is the chain's first.
pub(crate) fn last_of_chain(first: &RunId) -> String {
    format!("chain/{first}")
}

/// The version of a workflow that served last, whatever host it was in.
pub(crate) fn serving(workflow: &str) -> String {
    format!("serving/{workflow}")
}

/// The versions of a workflow, with the moment when each was seen first.
pub(crate) fn versions(workflow: &str) -> String {
    format!("versions/{workflow}")
}

/// The last report of live runs checked against a new version.
pub(crate) fn compat_report(workflow: &str) -> String {
    format!("gate/{workflow}")
}

/// Live runs are being moved to this version.
pub(crate) fn upgrade(workflow: &str) -> String {
    format!("moving/{workflow}")
}

/// How far the schedule of a workflow is.
pub(crate) fn schedule(workflow: &str) -> String {
    format!("schedule/{workflow}")
}

/// The schedule of a workflow is paused.
pub(crate) fn schedule_pause(workflow: &str) -> String {
    format!("schedule-pause/{workflow}")
}

/// The runs that took over the log of a run.
pub(crate) fn forks(run: &RunId) -> String {
    format!("forks/{run}")
}

/// Runs of an import that is not over.
pub(crate) const IMPORTS: &str = "imports";
