//! Event logs read, run again, compared, and taken over by other runs.

pub(crate) mod diff;
pub(crate) mod fork;
pub(crate) mod lineage;
pub(crate) mod overrides;
pub(crate) mod read;
pub(crate) mod rebase;
pub(crate) mod replay;
pub(crate) mod retry;
pub(crate) mod session;

pub use durhai_core::replay::Divergence;

pub use self::diff::{Difference, DifferenceKind, LogDiff, LogSide, diff_logs};
pub use self::fork::Fork;
pub use self::replay::{ReplayOptions, Script};
pub use crate::view::{NextCall, ReplayView};
