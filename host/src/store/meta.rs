//! The keys of what a world keeps beside runs and texts. Stored: a key never changes.

use durhai_core::RunId;
use durhai_world::{World, WorldError};

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

/// Live runs are being moved to this version; empty: to none.
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

/// Changes a list of runs under a key, whatever other hosts do to it at the same time. The change is made again where one of them was faster,
/// or where it is not known whether it was written: making it twice must be the same as making it once.
pub(crate) fn change_runs(world: &dyn World, key: &str, change: impl Fn(&mut Vec<RunId>)) -> Result<(), WorldError> {
    loop {
        let before = world.meta(key)?;
        let mut runs = runs(before.as_deref());
        change(&mut runs);
        let after = serde_json::to_vec(&runs).expect("ids are JSON");
        if before.as_ref() == Some(&after) || world.swap_meta(key, before.as_deref(), &after)? {
            return Ok(());
        }
    }
}

/// The runs that are listed there.
pub(crate) fn runs(value: Option<&[u8]>) -> Vec<RunId> {
    value.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}
