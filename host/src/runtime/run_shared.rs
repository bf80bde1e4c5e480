//! What is known of a run in memory by all who deal with it.

use std::sync::OnceLock;

use durhai_core::{RunId, SmallMap, StepId, TraceContext, Version};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What the worker, the committer and the attempts of one live run share.
pub(crate) struct RunShared {
    pub id: RunId,
    pub workflow: String,
    /// The one it has now.
    pub version: Mutex<Version>,
    /// The span that started it, once its log was read and if there is one.
    pub starter: OnceLock<TraceContext>,
    pub worker: usize,
    /// Attempts that run now, by call.
    pub attempts: Mutex<SmallMap<StepId, CancellationToken>>,
}
