//! `durhai serve`: hosts a folder until it is told to stop.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use durhai::versions::{Report, Serves};
use durhai::view::Committed;
use durhai::{EventBody, HostBuilder, MemoryWorld, Status, WorkflowView};
use durhai_api::{Config, Limits, Token};
use durhai_steps::{Reload, StoreDatabase};
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tracing::level_filters::LevelFilter;

use crate::args::{Globals, Serve};
use crate::client::open_world_for;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hostfile::HostFile;
use crate::hosting::{self, Prepared, Serving};
use crate::interrupt::Interrupt;
use crate::note::{self, note};
use crate::output::Out;
use crate::store::StoreAddress;
use crate::{journal, logging, times};

pub async fn serve(globals: &Globals, args: Serve, out: &Out) -> Outcome {
    logging::begin(&args.observing, LevelFilter::WARN);
    let mut interrupt = Interrupt::listen();
    let root = folder::scripts(args.dir.as_deref().or(globals.scripts.as_deref()))?;
    let mut config = config(&args)?;
    // The port is ours from here on; it answers when there is a host that can.
    let socket = bind(&args.listen, &config)?;
    let listen = socket.local_addr().map_err(|error| Fail::unreachable(format!("no address: {error}")))?;
    let mut file = HostFile::new(listen)?;
    let address = file.address;
    let public_url = args.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let sealed = sealed(globals, &args);
    let Prepared { builder, following, findings, broken, store } =
        hosting::prepare(globals, &root, &args.allow, &sealed)?;
    let builder = builder
        .lease(args.lease)
        .serves(if args.take_over { Serves::TakeOver } else { Serves::Newest })
        .public_url(public_url)
        .script_memory(args.memory.run_memory, args.memory.script_memory);
    let mut builder = stored(builder, globals, &store).await?;
    let exporter = hosting::exporter(&args.observing)?;
    if let Some(exporter) = &exporter {
        builder = builder.observe(exporter.observer());
    }
    // Runs that are taken up may end before the host has started.
    let commits = builder.commits();
    let host = builder.start().await?;
    if let Some(exporter) = &exporter {
        exporter.measure(&host);
    }

    file.token_file = args.token_file.as_ref().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    config.instance = Some(file.instance.clone());
    let (reloads, settings) = mpsc::unbounded_channel();
    let logged = note::are_events();
    let mut news = News { reports: host.reports(), commits, settings, quiet: args.quiet, logged, out };
    // Saves are noticed once this has answered: what was saved while the host started is looked at here.
    host.reload().await?;
    let listening = socket.listen(BACKLOG).map_err(|error| unbound(&args.listen, &error));
    let ready = listening.and_then(|listener| Ok((listener, file.publish(&globals.data)?)));
    let mut serving = match ready {
        Ok((listener, published)) => Serving::start(host.clone(), listener, config, published),
        Err(fail) => {
            host.shutdown().await;
            return Err(fail);
        }
    };
    let _following = following.start(&host, move |reload| {
        // The receiver is gone: the host is about to end.
        let _ = reloads.send(reload);
    });
    // A program that has read the first line finds the host.
    news.opening(&root, globals, address, &host.workflows());
    findings.iter().chain(&broken).for_each(|finding| note(format!("warning: {finding}")));

    let outcome = tokio::select! {
        () = news.tell() => Err(Fail::unreachable("the host stopped")),
        error = host.failed() => Err(error.into()),
        fail = serving.failed() => Err(fail),
        () = interrupt.wait() => Ok(Exit::Done),
    };
    match outcome.is_ok() && !args.quiet {
        true if logged => tracing::info!("the host stops"),
        true if !out.json => out.line("stopping; once more ends it at once"),
        _ => {}
    }
    let published = serving.stop().await;
    host.shutdown().await;
    drop(published);
    if let Some(exporter) = exporter {
        exporter.shutdown().await;
    }
    outcome
}

/// What is said while it serves.
struct News<'a> {
    reports: Receiver<Report>,
    commits: Receiver<Committed>,
    settings: UnboundedReceiver<Reload>,
    quiet: bool,
    /// Told as events of the log, and not for people.
    logged: bool,
    out: &'a Out,
}

impl News<'_> {
    fn opening(&self, root: &Path, globals: &Globals, address: SocketAddr, workflows: &[WorkflowView]) {
        if self.out.json {
            self.out.row(&json!({
                "event": "serving", "address": format!("http://{address}"), "pid": std::process::id(),
                "scripts": root, "data": globals.data, "workflows": workflows,
            }));
            return;
        }
        if self.logged {
            return journal::opening(root, &globals.data, address, workflows);
        }
        self.out.line(format!(
            "durhai serves {} at http://{address} ({}: {})",
            root.display(),
            if globals.store.is_some() { "store" } else { "data" },
            globals.store.as_ref().map_or_else(|| globals.data.display().to_string(), ToString::to_string)
        ));
        self.out.line(format!("open http://{address}/ in a browser"));
        let good: Vec<&str> =
            workflows.iter().filter(|workflow| workflow.version.is_some()).map(|workflow| &*workflow.name).collect();
        match good.len() {
            0 => self.out.line("no workflows yet: save one as NAME.rhai, or try `durhai new hello`"),
            1 => self.out.line(format!("1 workflow: {}", good[0])),
            count => self.out.line(format!("{count} workflows: {}", good.join(", "))),
        }
        for (workflow, error) in workflows.iter().filter_map(|workflow| Some((workflow, workflow.error.as_ref()?))) {
            self.out.line(format!("{} does not load:\n{error}", workflow.name));
        }
        for (workflow, behind) in workflows.iter().filter_map(|workflow| Some((workflow, workflow.behind.as_ref()?))) {
            self.out.line(format!("{}: {behind}", workflow.name));
        }
    }

    /// Until the host is gone.
    async fn tell(&mut self) {
        loop {
            tokio::select! {
                report = self.reports.recv() => match report {
                    Ok(report) => self.report(&report),
                    Err(RecvError::Lagged(missed)) => note(format!("{missed} reports were missed")),
                    Err(RecvError::Closed) => return,
                },
                commit = self.commits.recv() => match commit {
                    Ok(commit) => self.commit(&commit),
                    // Too many at a time to tell each of them.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Some(reload) = self.settings.recv() => self.settings(&reload),
            }
        }
    }

    fn settings(&self, reload: &Reload) {
        if self.out.json {
            return self.out.row(&match reload {
                Reload::Applied { file, findings } => {
                    json!({ "event": "settings_loaded", "file": file, "findings": findings })
                }
                Reload::Broken(error) => json!({ "event": "settings_broken", "error": error.to_string() }),
            });
        }
        if self.quiet && matches!(reload, Reload::Applied { findings, .. } if findings.is_empty()) {
            return;
        }
        match self.logged {
            true => journal::settings(reload),
            false => self.out.line(format!("{} {reload}", times::clock(times::now()))),
        }
    }

    fn report(&self, report: &Report) {
        if self.out.json {
            return self.out.row(report);
        }
        if self.logged {
            let news = matches!(report, Report::Loaded { .. } | Report::Removed { .. });
            if !(self.quiet && news) {
                journal::report(report);
            }
            return;
        }
        let now = times::clock(times::now());
        match report {
            Report::Loaded { workflow, version } if !self.quiet => {
                self.out.line(format!("{now} {workflow} loaded, version {}", version.short()));
            }
            // `refuse`: what follows says so, with all of this.
            Report::Gated(report) if report.served => self.out.line(format!("{now} {report}")),
            Report::Gated(_) => {}
            Report::Broken { workflow, error } => {
                self.out.line(format!("{now} {workflow} does not load; what served before still does:\n{error}"));
            }
            Report::Removed { workflow } if !self.quiet => {
                self.out.line(format!("{now} {workflow} removed; live runs go on"));
            }
            Report::Doubtful { workflow, findings, .. } => {
                self.out
                    .line(format!("{now} {workflow} serves, and a check finds errors in it:\n{}", findings.join("\n")));
            }
            Report::FolderGone { error, .. } => {
                self.out.line(format!("{now} warning: {error}; what served before still does"));
            }
            Report::FolderBack { folder } => self.out.line(format!("{now} the folder {folder} is back")),
            Report::Loaded { .. } | Report::Removed { .. } => {}
        }
    }

    fn commit(&self, commit: &Committed) {
        let Committed { run, status, .. } = commit;
        // Others suspend at once only where tasks do; each question is news.
        let asks = commit.events.iter().any(|event| matches!(event.body, EventBody::Suspended { .. }));
        if self.quiet || !(status.is_terminal() || *status == Status::Parked || asks) {
            return;
        }
        if self.out.json {
            return self.out.row(&json!({ "event": "run", "run": run, "status": status }));
        }
        if self.logged {
            return journal::commit(commit);
        }
        let hint = match *status {
            Status::Suspended => format!(": `durhai show {run}` tells what it asks"),
            Status::Parked => format!(": `durhai show {run}` tells why"),
            _ => String::new(),
        };
        self.out.line(format!("{} run {run} {}{hint}", times::clock(times::now()), self.out.status(*status)));
    }
}

async fn stored(builder: HostBuilder, globals: &Globals, steps: &StoreDatabase) -> Result<HostBuilder, Fail> {
    let Globals { data, store, .. } = globals;
    if let Some(StoreAddress::Memory | StoreAddress::Postgres(_)) = store {
        // For the file that says where the host answers.
        std::fs::create_dir_all(data).map_err(|error| Fail::unreachable(format!("{}: {error}", data.display())))?;
    }
    match store {
        Some(StoreAddress::Memory) => Ok(builder.world(MemoryWorld::new())),
        _ => Ok(builder.shared_world(open_world_for(globals, steps).await?)),
    }
}

/// What steps must not reach beside the data folder.
fn sealed(globals: &Globals, args: &Serve) -> Vec<PathBuf> {
    [globals.store_path()].into_iter().chain(args.token_file.clone()).collect()
}

/// The host that a public URL names.
fn host_of(url: &str) -> Result<String, Fail> {
    let bad = |why: &str| Fail::usage(format!("--public-url {url:?}: {why}; write it like https://flows.example.org"));
    let parsed = reqwest::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
    match (parsed.scheme(), parsed.host_str()) {
        ("http" | "https", Some(_)) if parsed.query().is_some() || parsed.fragment().is_some() => {
            Err(bad("hooks are reached below it, so nothing may stand behind its path"))
        }
        ("http" | "https", Some(host)) => Ok(host.to_string()),
        _ => Err(bad("it must begin with http:// or https://")),
    }
}

/// What the flags say about serving.
fn config(args: &Serve) -> Result<Config, Fail> {
    let limits = Limits { connections: args.max_connections.max(1), streams: args.max_streams, ..Limits::default() };
    Ok(Config {
        token: token(args.token_file.as_deref())?,
        allowed_hosts: args.allow_host.iter().map(|name| bare_host(name)).collect::<Result<_, _>>()?,
        hook_hosts: args.public_url.iter().map(|url| host_of(url)).collect::<Result<_, _>>()?,
        allowed_origins: args.allow_origin.iter().map(|url| origin(url)).collect::<Result<_, _>>()?,
        limits,
        command_line: true,
        ..Config::default()
    })
}

/// A name without a port, as a `Host` header has it.
fn bare_host(name: &str) -> Result<String, Fail> {
    let bad =
        || Fail::usage(format!("--allow-host {name:?} is no host name; write it like flows.example.org, without port"));
    let url = reqwest::Url::parse(&format!("http://{name}/")).map_err(|_| bad())?;
    // What is more than a name would be found elsewhere in it.
    match url.host_str() {
        Some(host) if url.as_str() == format!("http://{host}/") && !name.contains(['*', ':', '/']) => {
            Ok(host.to_owned())
        }
        Some(host) if name.starts_with('[') && name.ends_with(']') => Ok(host.to_owned()),
        _ => Err(bad()),
    }
}

/// An origin as browsers write it.
fn origin(url: &str) -> Result<String, Fail> {
    let bad = || {
        let form = "scheme, host and port are all of it, like https://dash.example.org:8443";
        Fail::usage(format!("--allow-origin {url:?} is no origin: {form}"))
    };
    let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
    let origin = parsed.origin().ascii_serialization();
    match parsed.scheme() {
        "http" | "https" if parsed.as_str() == format!("{origin}/") && !url.contains('*') => Ok(origin),
        _ => Err(bad()),
    }
}

fn token(file: Option<&Path>) -> Result<Option<Token>, Fail> {
    let text = match file {
        Some(path) => {
            warn_of_readers(path);
            let unread = |error| Fail::usage(format!("--token-file {} cannot be read: {error}", path.display()));
            Some(durhai::text::strip_bom(std::fs::read_to_string(path).map_err(unread)?))
        }
        None => std::env::var("DURHAI_TOKEN").ok(),
    };
    let token = text.map(|text| Token::new(&text).map_err(Fail::usage)).transpose()?;
    if token.as_ref().is_some_and(|token| token.shortest() < 16) {
        note("warning: the token has fewer than 16 characters; make one with `openssl rand -hex 16`");
    }
    Ok(token)
}

#[cfg(unix)]
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // A file that is not there is complained about when it is read.
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o044 != 0) {
        let path = path.display();
        note(format!("warning: others on this machine can read the token in {path}; `chmod 600 {path}` ends that"));
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path) {}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A port that is taken and does not answer yet.
fn bind(listen: &str, config: &Config) -> Result<TcpSocket, Fail> {
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|error| {
            Fail::usage(format!("--listen {listen:?} is no address: {error}; write it like 127.0.0.1:7788"))
        })?
        .collect();
    // Before anything is opened: a port that strangers reach must not exist for a moment.
    addresses.iter().try_for_each(|address| config.may_listen(*address))?;
    let take = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port whose connections of before linger is free.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    let mut last = std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        match take(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(unbound(listen, &last))
}

fn unbound(listen: &str, error: &std::io::Error) -> Fail {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => Fail::unreachable(format!("{listen} is in use"))
            .hint("Another host may run there. --listen 127.0.0.1:0 takes a free port."),
        _ => Fail::unreachable(format!("{listen} cannot be listened on: {error}")),
    }
}
