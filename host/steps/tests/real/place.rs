//! A copy of `scripts/`, the services it talks to, and hosts that may die.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai::{Host, Run, RunId, RunView, SledWorld, Status, Value, World, WorldError};
use durhai_steps::{BuiltinSteps, DeclaredSteps, Given, RhaiSteps, Settings, StepEnvHandle};
use durhai_testkit::{Fault, FaultWorld, Pulse, contents};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::services::{self, Options, TOKEN};

pub struct Place {
    root: TempDir,
    /// Of the services.
    pub url: String,
    server: JoinHandle<()>,
}

/// How a run came to its end.
pub struct Ended {
    pub view: RunView,
    /// Writes of the last host.
    pub writes: u64,
    pub crashes: usize,
}

/// What happens to a run from outside.
#[derive(Clone)]
pub enum Act {
    Nothing,
    /// The answer of the person who is asked.
    Resume(Value),
    /// When its status is this text.
    CancelAt(&'static str),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Place {
    pub async fn new() -> Self {
        Place::with(Options { retry_after: 0, ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        copy(&scripts, &root.path().join("scripts"));
        fs::create_dir(root.path().join("out")).unwrap();
        fs::write(root.path().join("keys.env"), format!("SHOP_KEY={TOKEN}\n")).unwrap();
        let settings = root.path().join("scripts/durhai.toml");
        let text = fs::read_to_string(&settings).unwrap();
        assert!(text.contains("127.0.0.1:9900"));
        fs::write(&settings, text.replace("127.0.0.1:9900", &address)).unwrap();
        let server = tokio::spawn(async move { services::serve(listener, options).await.unwrap() });
        Place { root, url: format!("http://{address}"), server }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// As `durhai` makes one.
    pub async fn host(&self, world: Arc<dyn World>) -> Host {
        let settings = Settings::read(self.path("scripts/durhai.toml")).unwrap();
        let given = Given { env_file: Some(self.path("keys.env")), ..Given::default() };
        let step_env = StepEnvHandle::new(settings.step_env(&given).unwrap());
        let scripts = self.path("scripts");
        let builder = Host::builder()
            .shared_world(world)
            .workflows(&scripts)
            .watch(false)
            .workers(2)
            .steps(Arc::new(DeclaredSteps::new(step_env.clone())))
            .steps(Arc::new(RhaiSteps::open(&scripts, step_env.clone())))
            .steps(Arc::new(BuiltinSteps::new(step_env.clone())))
            .mask(step_env.mask());
        let builder = settings.rules().into_iter().fold(builder, |builder, (name, rule)| builder.step_rule(name, rule));
        builder.start().await.unwrap()
    }

    pub async fn run(&self, workflow: &str, id: &str, input: &Value, act: Act) -> Ended {
        self.run_with(&[], workflow, id, input, act).await
    }

    /// Each of the first hosts dies as its fault says; the one after them does not.
    pub async fn run_with(&self, faults: &[Fault], workflow: &str, id: &str, input: &Value, act: Act) -> Ended {
        for (crashes, fault) in faults.iter().copied().chain([Fault::Never]).enumerate() {
            let pulse = Pulse::default();
            let world = Arc::new(FaultWorld::new(Arc::new(self.store().await), fault, pulse.clone()));
            let host = self.host(world.clone()).await;
            let view = match host.run(workflow).id(id).input(input).start().await {
                Err(error) => {
                    assert!(world.is_down(), "{error}");
                    None
                }
                Ok(run) => tokio::select! {
                    view = run.wait() => view.ok(),
                    () = down(&world, &pulse) => None,
                    never = interfere(&run, &pulse, &act, &world) => match never {},
                },
            };
            host.shutdown().await;
            match view {
                // A run that stood still on the way is none of these.
                Some(view) => return Ended { view, writes: world.writes(), crashes },
                None => assert!(world.is_down(), "the run has no end"),
            }
        }
        panic!("a host without faults died");
    }

    /// A run that has failed, tried again.
    pub async fn retry(&self, id: &str) -> Ended {
        let host = self.host(Arc::new(self.store().await)).await;
        let again = host.get(id).await.unwrap().retry().await.unwrap();
        let view = again.wait().await.unwrap();
        host.shutdown().await;
        Ended { view, writes: 0, crashes: 0 }
    }

    /// The store, as soon as the last host has let go of it.
    async fn store(&self) -> SledWorld {
        loop {
            match SledWorld::open(self.path("data")) {
                Ok(world) => return world,
                Err(WorldError::Locked(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// All bytes that the host has left on disk, and what they say of runs.
    pub async fn stored(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        every_file(&self.path("data"), &mut |path| bytes.extend(fs::read(path).unwrap()));
        bytes.extend(contents(&self.store().await));
        bytes
    }

    pub async fn ask(&self, path: &str) -> Value {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        answer.json().await.unwrap()
    }

    /// What was done, in order: effect and what it was done to.
    pub async fn effects(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let journal = self.ask("/journal").await;
        let entries = journal.as_array().unwrap().iter().filter(|entry| !entry["effect"].is_null());
        entries.map(|entry| (text(&entry["effect"]), text(&entry["subject"]))).collect()
    }

    /// How often each was done.
    pub async fn counts(&self) -> BTreeMap<String, u32> {
        serde_json::from_value(self.ask("/journal/effects").await).unwrap()
    }
}

/// Whether a text is anywhere in these bytes.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn down(world: &FaultWorld, pulse: &Pulse) {
    pulse.until(|| world.is_down().then_some(()), || "the host lives").await;
}

/// Each write may have brought the run to where the act is due.
async fn interfere(run: &Run, pulse: &Pulse, act: &Act, world: &Arc<FaultWorld>) -> std::convert::Infallible {
    let id: RunId = run.id().clone();
    let row = || world.row(&id).ok().flatten();
    match act {
        Act::Nothing => {}
        Act::Resume(data) => {
            pulse.until(|| row().filter(|row| row.status == Status::Suspended), || "it never asks").await;
            if let Err(error) = run.resume(None, data).await {
                // An answer that was given before the last host died is there already.
                assert!(world.is_down() || matches!(error, durhai::HostError::Conflict(_)), "{error}");
            }
        }
        Act::CancelAt(status) => {
            pulse
                .until(|| row().filter(|row| row.note["status_text"] == *status), || format!("it never is at {status}"))
                .await;
            if let Err(error) = run.cancel("a test wants it").await {
                assert!(world.is_down(), "{error}");
            }
        }
    }
    std::future::pending().await
}

fn copy(from: &Path, to: &Path) {
    every_file(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    });
}

fn every_file(folder: &Path, work: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, work) } else { work(&path) }
    }
}
