//! A host in this process, for `run`, `start` and `serve`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai::check::AssumedFunction;
use durhai::{Host, HostBuilder};
use durhai_api::{Config, Token};
use durhai_otlp::Exporter;
use durhai_steps::{
    BuiltinSteps, DeclaredSteps, EnvGrant, ExecGrant, Given, NetGrant, PathGrant, Permissions, Reload, RhaiSteps,
    SettingsSource, SqlGrant, StepEnvHandle, StoreDatabase,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::args::{Allow, Functions, Globals, Observing};
use crate::exit::Fail;
use crate::folder;
use crate::hostfile::{self, HostFile, Published};

/// A host that can be started, and what changes it then.
pub struct Prepared {
    pub builder: HostBuilder,
    pub following: Following,
    /// What steps will miss as it is set now: secrets that are not set, programs that are not there.
    pub findings: Vec<String>,
    /// Files in `steps/` that do not compile, or cannot be read.
    pub broken: Vec<String>,
    /// To be told of the world, if it is in a database.
    pub store: StoreDatabase,
}

/// The settings of a host, to be followed once it has started.
pub struct Following {
    step_env: StepEnvHandle,
    source: SettingsSource,
}

/// Settings are followed while this is there.
pub struct Followed(JoinHandle<()>);

/// A host with the workflows of a folder, its steps, and what `durhai.toml` says about it. The data folder, and what is
/// `sealed` beside it, is out of the steps' reach.
pub fn prepare(globals: &Globals, root: &Path, allow: &Allow, sealed: &[PathBuf]) -> Result<Prepared, Fail> {
    let store = StoreDatabase::default();
    let mut source = source_with(globals, root, allow, (sealed, store.clone()))?;
    let (rules, config) = source.load().map_err(Fail::usage)?;
    let step_env = StepEnvHandle::new(config);
    let scripts = RhaiSteps::open(root, step_env.clone());
    let broken = scripts.broken();
    let builder = Host::builder()
        .workflows(root)
        // First, so that no script can take the name of one.
        .steps(Arc::new(DeclaredSteps::new(step_env.clone())))
        .steps(Arc::new(scripts))
        .steps(Arc::new(BuiltinSteps::new(step_env.clone())))
        .mask(step_env.mask());
    let builder = rules.into_iter().fold(builder, |builder, (name, rule)| builder.step_rule(name, rule));
    let findings = source.findings();
    Ok(Prepared { builder, following: Following { step_env, source }, findings, broken, store })
}

/// The same, where nothing is followed.
pub fn builder(globals: &Globals, root: &Path, allow: &Allow) -> Result<HostBuilder, Fail> {
    Ok(prepare(globals, root, allow, &[])?.builder)
}

/// Functions that a program adds to the scripts of this folder: those that `durhai.toml` declares, then those that were named.
pub fn functions(globals: &Globals, root: &Path, named: &Functions) -> Result<Vec<AssumedFunction>, Fail> {
    let settings = source(globals, root, &Allow::default(), &[])?.read().map_err(Fail::usage)?;
    let mut all = settings.functions().map_err(Fail::usage)?;
    // A stand-in is more than a name.
    let known = |function: &AssumedFunction| {
        let same = |other: &AssumedFunction| (&other.name, other.arguments) == (&function.name, function.arguments);
        all.iter().any(same)
    };
    let more: Vec<_> = named.assume_function.iter().filter(|function| !known(function)).cloned().collect();
    all.extend(more);
    Ok(all)
}

/// The same for the folder that is meant without being named, where the store and files are all that a command looks at.
pub fn functions_here(globals: &Globals, named: &Functions) -> Result<Vec<AssumedFunction>, Fail> {
    functions(globals, &folder::scripts(globals.scripts.as_deref())?, named)
}

/// What sends traces and metrics to a collector, if one is named here or by the environment.
pub fn exporter(observing: &Observing) -> Result<Option<Exporter>, Fail> {
    let config = durhai_otlp::Config::from_env(observing.otlp.as_deref(), |name| std::env::var(name).ok());
    let config = config.map_err(|error| Fail::usage(error.to_string()))?;
    config.map(|config| Exporter::start(config).map_err(|error| Fail::unreachable(error.to_string()))).transpose()
}

/// The file that `--config` names, or the one in the scripts folder, or that in the current folder, and what was granted
/// beside it.
pub fn source(globals: &Globals, root: &Path, allow: &Allow, sealed: &[PathBuf]) -> Result<SettingsSource, Fail> {
    source_with(globals, root, allow, (sealed, StoreDatabase::default()))
}

fn source_with(
    globals: &Globals,
    root: &Path,
    allow: &Allow,
    (sealed, store): (&[PathBuf], StoreDatabase),
) -> Result<SettingsSource, Fail> {
    let source = match &globals.config {
        Some(file) => SettingsSource::file(file),
        None => SettingsSource::folders([root, Path::new("")]),
    };
    let mut given =
        Given { permissions: permissions(allow)?, env_file: allow.env_file.clone(), store, ..Given::default() };
    given.sealed.push(globals.data.clone());
    given.sealed.extend_from_slice(sealed);
    Ok(source.given(given))
}

impl Following {
    /// From now on; `report` hears of each change.
    pub fn start(self, host: &Host, report: impl Fn(Reload) + Send + 'static) -> Followed {
        Followed(tokio::spawn(durhai_steps::follow(host.clone(), self.step_env, self.source, report)))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.abort();
    }
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
                // An error means that what could stop it is gone: as good as a stop.
                let _ = stopped.await;
            };
            durhai_api::serve(host, listener, config, shutdown).await
        });
        Serving { stop, task, published }
    }

    /// The API of a run in the foreground, for users who can read the data folder; its hooks are for all programs here.
    pub async fn privately(host: Host, data: &Path, door: Door) -> Result<Serving, Fail> {
        let secret = hostfile::random()?;
        let Door { listener, mut file } = door;
        file.token = Some(secret.clone());
        file.passing = true;
        let config = Config {
            token: Some(Token::new(&secret).map_err(Fail::usage)?),
            instance: Some(file.instance.clone()),
            leave_starts: true,
            command_line: true,
            // Its token is a secret of the data folder, which no user could type.
            page: false,
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

    /// Ends live streams and answers what was asked. What is given back says in the data folder that the host ends: keep it until
    /// the store is free.
    pub async fn stop(mut self) -> Published {
        self.published.stopping();
        let _ = self.stop.send(());
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
        self.published
    }
}

pub fn permissions(allow: &Allow) -> Result<Permissions, Fail> {
    if allow.allow_all {
        return Ok(Permissions::all());
    }
    // Programs are looked for where a shell would.
    let search = std::env::var("PATH").unwrap_or_default();
    Ok(Permissions {
        read: grant("--allow-read", &allow.allow_read, PathGrant::parse, PathGrant::and)?,
        write: grant("--allow-write", &allow.allow_write, PathGrant::parse, PathGrant::and)?,
        net: grant("--allow-net", &allow.allow_net, NetGrant::parse, NetGrant::and)?,
        exec: grant("--allow-exec", &allow.allow_exec, |value| ExecGrant::parse(value, &search), ExecGrant::and)?,
        env: grant("--allow-env", &allow.allow_env, EnvGrant::parse, EnvGrant::and)?,
        sql: grant("--allow-sql", &allow.allow_sql, SqlGrant::parse, SqlGrant::and)?,
        ..Permissions::none()
    })
}

/// All values of a flag together; an empty one is the flag without a value.
fn grant<G: Default, E: Display>(
    flag: &str,
    values: &[String],
    parse: impl Fn(Option<&str>) -> Result<G, E>,
    and: impl Fn(G, G) -> G,
) -> Result<G, Fail> {
    values.iter().try_fold(G::default(), |all, value| {
        let value = Some(value.as_str()).filter(|value| !value.is_empty());
        parse(value).map(|grant| and(all, grant)).map_err(|error| Fail::usage(format!("{flag}: {error}")))
    })
}
