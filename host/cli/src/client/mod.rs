//! One way to the runs, whoever holds them: the host that serves the data folder, or the store itself.

mod local;
mod remote;
mod sse;

use std::collections::BTreeMap;
use std::path::Path;

use durhai::{Event, Listing, LogEntry, Query, RunView, Value, WorkflowView};
use durhai_api::{Item, Want};

pub use local::{Local, open_world, store_path};
pub use remote::Remote;

use crate::exit::Fail;
use crate::hostfile::HostFile;

/// Whom the commands talk to.
pub enum Client {
    /// A host of this process, which runs nothing by itself.
    Local(Local),
    /// The host that serves the data folder.
    Remote(Remote),
}

/// A start that was described on the command line.
#[derive(Debug, Clone, Default)]
pub struct Starting {
    pub workflow: String,
    pub input: Value,
    pub id: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Milliseconds.
    pub delay: Option<u64>,
    /// Left for the next host; a host that serves begins it whatever this says.
    pub elsewhere: bool,
}

/// A run being followed.
pub enum Following {
    Local(Box<durhai_api::Feed>),
    Remote(Box<remote::Stream>),
}

impl Client {
    /// The host that serves this data folder, if it answers; else its store, which must be there.
    pub async fn connect(data: &Path) -> Result<Client, Fail> {
        if let Some(remote) = Client::served(data).await? {
            return Ok(Client::Remote(remote));
        }
        let store = store_path(data);
        if !store.exists() {
            return Err(Fail::unreachable(format!("there is no store at {}", store.display()))
                .hint("`durhai run` and `durhai serve` make one; --data or DURHAI_DATA names one that is elsewhere."));
        }
        Ok(Client::Local(Local::open(data).await?))
    }

    /// The host that serves this data folder, if there is one.
    pub async fn served(data: &Path) -> Result<Option<Remote>, Fail> {
        match HostFile::read(data) {
            Some(file) => Remote::probe(&file).await,
            None => Ok(None),
        }
    }

    /// No host holds the runs: what is written waits until one does.
    pub fn is_local(&self) -> bool {
        matches!(self, Client::Local(_))
    }

    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.workflows()),
            Client::Remote(remote) => remote.workflows().await,
        }
    }

    pub async fn start(&self, starting: Starting) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => local.start(starting).await,
            Client::Remote(remote) => remote.start(starting).await,
        }
    }

    pub async fn list(&self, query: Query) -> Result<Listing, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.list(query).await?),
            Client::Remote(remote) => remote.list(query).await,
        }
    }

    pub async fn get(&self, id: &str) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.view().await?),
            Client::Remote(remote) => remote.get(id).await,
        }
    }

    pub async fn events(&self, id: &str, from: u64, limit: usize) -> Result<Vec<Event>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.events(from, limit).await?),
            Client::Remote(remote) => remote.events(id, from, limit).await,
        }
    }

    pub async fn logs(&self, id: &str, from: u64, limit: usize) -> Result<Vec<LogEntry>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.logs(from, limit).await?),
            Client::Remote(remote) => remote.logs(id, from, limit).await,
        }
    }

    /// Durable when it returns; so are the next four.
    pub async fn signal(&self, id: &str, name: &str, payload: &Value, once: Option<&str>) -> Result<(), Fail> {
        match self {
            Client::Local(local) => {
                let run = local.host.get(id).await?;
                match once {
                    Some(once) => Ok(run.signal_once(name, payload, once).await?),
                    None => Ok(run.signal(name, payload).await?),
                }
            }
            Client::Remote(remote) => remote.signal(id, name, payload, once).await,
        }
    }

    pub async fn cancel(&self, id: &str, reason: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.cancel(reason).await?),
            Client::Remote(remote) => remote.end(id, "cancel", reason).await,
        }
    }

    pub async fn terminate(&self, id: &str, reason: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.terminate(reason).await?),
            Client::Remote(remote) => remote.end(id, "terminate", reason).await,
        }
    }

    /// The new run.
    pub async fn retry(&self, id: &str) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.retry().await?.view().await?),
            Client::Remote(remote) => remote.retry(id).await,
        }
    }

    pub async fn unpark(&self, id: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.unpark().await?),
            Client::Remote(remote) => remote.unpark(id).await,
        }
    }

    pub async fn delete(&self, id: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.delete().await?),
            Client::Remote(remote) => remote.delete(id).await,
        }
    }

    pub async fn doctor(&self) -> Result<Vec<String>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.doctor().await?),
            Client::Remote(remote) => remote.doctor().await,
        }
    }

    /// What the run did and does from there on.
    pub async fn follow(&self, id: &str, want: Want) -> Result<Following, Fail> {
        match self {
            Client::Local(local) => local.follow(id, want).await,
            Client::Remote(remote) => Ok(Following::Remote(Box::new(remote.follow(id, want).await?))),
        }
    }

    /// Resolves when a host of this process has stopped by itself.
    pub async fn failed(&self) -> Fail {
        match self {
            Client::Local(local) => local.host.failed().await.into(),
            Client::Remote(_) => std::future::pending().await,
        }
    }

    /// Gives the store back.
    pub async fn close(self) {
        if let Client::Local(local) = self {
            local.host.shutdown().await;
        }
    }
}

impl Following {
    /// The next thing; `None` after the end. Nothing is lost if the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Option<Item>, Fail> {
        match self {
            Following::Local(feed) => Ok(feed.next().await?),
            Following::Remote(stream) => stream.next().await,
        }
    }
}
