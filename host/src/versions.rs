//! Workflows' texts: which are there, which serves, and what a new one means for live runs.

pub(crate) mod candidate;
pub(crate) mod catalog;
pub(crate) mod compat;
pub(crate) mod follow;
pub(crate) mod history;
pub(crate) mod known;
pub(crate) mod lifecycle;
pub(crate) mod migrate;
pub(crate) mod moves;
pub(crate) mod newest;
pub(crate) mod reload;
pub(crate) mod scan;
pub(crate) mod scripts;
pub(crate) mod serving;
pub(crate) mod stamp;
pub(crate) mod texts;
pub(crate) mod watcher;

pub use self::compat::report::{CompatReport, CompatVerdict, MigrateReport, Migration, Misfit};
pub use self::newest::Serves;
pub use crate::view::{Behind, LiveVersion, Report, SourceView, VersionView};
