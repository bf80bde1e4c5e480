//! How long a command waits for a store that another process has.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::hostfile::HostFile;
use crate::note::note;

/// It is not known which process has it: another command, which is done in a moment, or a host that is about to answer.
const MOMENT: Duration = Duration::from_secs(10);

/// A host has said that it ends: its steps may take as long as they are given.
const ENDING: Duration = Duration::from_secs(60);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(30);

/// After this it is said that there is something to wait for.
const SILENT: Duration = Duration::from_secs(2);

pub struct Patience {
    data: PathBuf,
    began: Instant,
    told: bool,
}

impl Patience {
    pub fn new(data: &Path) -> Self {
        Patience { data: data.into(), began: Instant::now(), told: false }
    }

    /// Another try is worth it.
    pub fn lasts(&self) -> bool {
        let ends = HostFile::read(&self.data).is_some_and(|file| file.stopping && file.is_alive());
        self.began.elapsed() < if ends { ENDING } else { MOMENT }
    }

    pub async fn pause(&mut self) {
        if !self.told && self.began.elapsed() >= SILENT {
            self.told = true;
            note(match HostFile::read(&self.data) {
                Some(file) if file.stopping => format!("waiting for the end of the host of process {}…", file.pid),
                _ => "waiting for the store, which another process has…".to_owned(),
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}
