//! A host in this process, for `run`, `start` and `serve`.

use std::path::Path;
use std::sync::Arc;

use durhai::{Host, HostBuilder};
use durhai_api::{Config, Token};
use durhai_steps::{BuiltinSteps, Grant, Permissions, RhaiSteps};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::args::Allow;
use crate::exit::Fail;
use crate::hostfile::{self, HostFile, Published};

/// A host with the workflows of a folder and its steps.
pub fn builder(root: &Path, allow: &Allow) -> Result<HostBuilder, Fail> {
    let permissions = permissions(allow)?;
    Ok(Host::builder()
        .workflows(root)
        .steps(Arc::new(RhaiSteps::open(root, permissions.clone())))
        .steps(Arc::new(BuiltinSteps::new(permissions))))
}

/// The API of a host, served beside it.
pub struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), durhai_api::ServeError>>,
    published: Published,
}

impl Serving {
    pub fn start(host: Host, listener: TcpListener, config: Config, published: Published) -> Serving {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async {
                // An error means that nobody is left who could stop it: as good as a stop.
                let _ = stopped.await;
            };
            durhai_api::serve(host, listener, config, shutdown).await
        });
        Serving { stop, task, published }
    }

    /// The API of a run in the foreground: on a free port of loopback, for whoever can read the data folder.
    pub async fn privately(host: Host, data: &Path) -> Result<Serving, Fail> {
        let no = |error: std::io::Error| Fail::unreachable(format!("no port on 127.0.0.1 can be had: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(no)?;
        let secret = hostfile::random()?;
        let mut file = HostFile::new(listener.local_addr().map_err(no)?)?;
        file.token = Some(secret.clone());
        file.passing = true;
        let config = Config {
            token: Some(Token::new(&secret).map_err(Fail::usage)?),
            instance: Some(file.instance.clone()),
            leave_starts: true,
            ..Config::default()
        };
        Ok(Serving::start(host, listener, config, file.publish(data)?))
    }

    /// Resolves when the server has stopped by itself.
    pub async fn failed(&mut self) -> Fail {
        match (&mut self.task).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) => Fail::unreachable("the server stopped"),
            Err(error) => Fail::unreachable(format!("the server broke: {error}")),
        }
    }

    /// Ends live streams, answers what was asked, and takes `host.json` away.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
        drop(self.published);
    }
}

pub fn permissions(allow: &Allow) -> Result<Permissions, Fail> {
    if allow.allow_all {
        return Ok(Permissions::all());
    }
    Ok(Permissions {
        read: grant(&allow.allow_read, "--allow-read")?,
        write: grant(&allow.allow_write, "--allow-write")?,
    })
}

fn grant(values: &[String], flag: &str) -> Result<Grant, Fail> {
    values.iter().try_fold(Grant::Nothing, |all, value| {
        let value = Some(value.as_str()).filter(|value| !value.is_empty());
        let grant = Grant::parse(value).map_err(|error| Fail::usage(format!("{flag}: {error}")))?;
        Ok(all.and(grant))
    })
}
