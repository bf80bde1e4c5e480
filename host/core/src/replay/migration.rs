//! A run that goes on with another version.
//!
//! The log says so with `run_migrated`. It stands behind what the version before it asked for and before what the new one
//! asks for beyond that, so that the log up to any event fits the version that served there. The whole log up to the move
//! fits the new version: the host replays it under that version before it moves the run.

use crate::{Event, EventBody, Version};

/// The version that served a run when event `seq` came; `None` for a log without its beginning.
pub fn version_at(log: &[Event], seq: u64) -> Option<&Version> {
    let mut version = None;
    for event in log.iter().take_while(|event| event.seq <= seq) {
        match &event.body {
            EventBody::RunCreated(created) => version = Some(&created.version),
            EventBody::RunMigrated { to, .. } => version = Some(to),
            _ => {}
        }
    }
    version
}

/// Where a log says that its run moved to another version, and to which.
#[derive(Debug, Default)]
pub(super) struct Migrations(Vec<(u64, Version)>);

impl Migrations {
    pub fn note(&mut self, event: &Event) {
        if let EventBody::RunMigrated { to, .. } = &event.body {
            self.add(event.seq, to.clone());
        }
    }

    pub fn add(&mut self, seq: u64, to: Version) {
        self.0.push((seq, to));
    }

    /// The version that served when event `seq` came, if the run had moved by then.
    pub fn at(&self, seq: u64) -> Option<&Version> {
        self.0.iter().rev().find(|(at, _)| *at <= seq).map(|(_, to)| to)
    }
}
