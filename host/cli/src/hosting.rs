//! A host in this process, for `run`, `start` and `serve`.

use std::path::Path;
use std::sync::Arc;

use durhai::{Host, HostBuilder};
use durhai_api::{Config, Token};
use durhai_steps::{BuiltinSteps, PathGrant, Permissions, RhaiSteps};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::args::{Allow, Globals};
use crate::exit::Fail;
use crate::hostfile::{self, HostFile, Published};
use crate::settings::Settings;

/// A host with the workflows of a folder, its steps, and what `durhai.toml` says about it.
pub fn builder(globals: &Globals, root: &Path, allow: &Allow) -> Result<HostBuilder, Fail> {
    let permissions = permissions(allow)?;
    let builder = Host::builder()
        .workflows(root)
        .steps(Arc::new(RhaiSteps::open(root, permissions.clone())))
        .steps(Arc::new(BuiltinSteps::new(permissions)));
    Ok(Settings::find(globals.config.as_deref(), root)?.apply(builder))
}

/// A free port of loopback, for the API of a run in the foreground. It is open before its host is there, so that the host
/// knows where its hooks are reached.
pub struct Door {
    listener: TcpListener,
    file: HostFile,
}

impl Door {
    pub async fn open() -> Result<Door, Fail> {
        let no = |error: std::io::Error| Fail::unreachable(format!("no port on 127.0.0.1 can be had: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(no)?;
        let file = HostFile::new(listener.local_addr().map_err(no)?)?;
        Ok(Door { listener, file })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.file.address)
    }
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

    /// The API of a run in the foreground, for whoever can read the data folder; its hooks are for everybody here.
    pub async fn privately(host: Host, data: &Path, door: Door) -> Result<Serving, Fail> {
        let secret = hostfile::random()?;
        let Door { listener, mut file } = door;
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
        ..Permissions::none()
    })
}

fn grant(values: &[String], flag: &str) -> Result<PathGrant, Fail> {
    values.iter().try_fold(PathGrant::Nothing, |all, value| {
        let value = Some(value.as_str()).filter(|value| !value.is_empty());
        let grant = PathGrant::parse(value).map_err(|error| Fail::usage(format!("{flag}: {error}")))?;
        Ok(all.and(grant))
    })
}
