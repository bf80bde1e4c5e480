//! The store, opened by this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use durhai::{Host, RunView, SledWorld, WorldError};
use durhai_api::{Feed, Want};

use super::{Following, Starting};
use crate::exit::Fail;
use crate::hostfile::HostFile;

/// A host that takes up nothing by itself.
pub struct Local {
    pub host: Host,
}

/// Where the store of a data folder is.
pub fn store_path(data: &Path) -> PathBuf {
    data.join("store")
}

/// Opens a store, which is made if it is not there. Says who has it if somebody else does.
pub fn open_world(data: &Path, store: &Path) -> Result<SledWorld, Fail> {
    if !data.exists() {
        std::fs::create_dir_all(data)
            .map_err(|error| Fail::unreachable(format!("the folder {} cannot be made: {error}", data.display())))?;
        // Data does not belong into a repository; that it gets there anyway is no reason to fail.
        let _ = std::fs::write(data.join(".gitignore"), "*\n");
    }
    SledWorld::open(store).map_err(|error| match (error, HostFile::read(data)) {
        (WorldError::Locked(message), Some(file)) => Fail::unreachable(message).hint(format!(
            "{} (process {}, http://{}) has it. {}; --data names another folder.",
            if file.passing { "A `durhai run`" } else { "A durhai host" },
            file.pid,
            file.address,
            if file.passing { "Wait for its end" } else { "`durhai start NAME --wait` runs a workflow there" },
        )),
        (error, _) => error.into(),
    })
}

impl Local {
    /// Opens the store to look at it and to write to inboxes.
    pub async fn open(data: &Path) -> Result<Local, Fail> {
        let world = open_world(data, &store_path(data))?;
        Ok(Local { host: Host::builder().world(world).adopt(false).workers(1).start().await? })
    }

    pub async fn start(&self, starting: Starting) -> Result<RunView, Fail> {
        let mut start = self.host.run(starting.workflow).input(&starting.input);
        for (key, value) in starting.tags {
            start = start.tag(key, value);
        }
        if let Some(id) = starting.id {
            start = start.id(id);
        }
        if let Some(delay) = starting.delay {
            start = start.delay(Duration::from_millis(delay));
        }
        if starting.elsewhere {
            start = start.elsewhere();
        }
        Ok(start.start().await?.view().await?)
    }

    pub async fn follow(&self, id: &str, want: Want) -> Result<Following, Fail> {
        Ok(Following::Local(Box::new(Feed::open(&self.host, id, want).await?)))
    }
}
