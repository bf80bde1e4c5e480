//! Runs and worlds as files, and the repair of a damaged world.

pub(crate) mod backup;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;

#[cfg(feature = "sled")]
pub use durhai_world_sled::{Files, Salvaged};

pub use self::backup::{BackupSummary, restore};
pub use self::doctor::{Damage, Diagnosis, Repaired, rebuild, repair};
pub use self::export::{ExportError, ExportHeader, ExportOptions, ExportSummary, Exported, ExportedRun};
pub use self::import::{ImportOptions, Imported};
