//! A folder, and hosts with every kind of step in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durhai::{Failure, FailureKind, Host, MemoryWorld, Run, RunError, Value, World};
use durhai_steps::{
    BuiltinSteps, Declared, DeclaredSteps, EnvGrant, Environment, ExecGrant, Permissions, ProgramStep, RhaiSteps,
    StepEnvConfig, StepEnvHandle,
};
use durhai_testkit::PATIENCE;
use serde_json::json;

/// Calls whatever step its input names.
const CALL: &str = "use_step(input.step, input.input, input.options)";

/// Steps in a script, for what the built-in step does.
const STEPS: &str = r#"
fn run(input) {
    let options = input;
    let program = options.remove("program");
    let args = options.remove("args");
    exec::run(program, if args == () { [] } else { args }, options)
}
fn bytes(input) { exec::run("od", ["-An", "-tx1"], #{ stdin: blob(3, 0xff) }).stdout }
fn plain(input) { exec::run("echo", [1, 2.5, true, "a b"]).stdout }
fn caught(input) { try { exec::run("sh", ["-c", "echo why >&2; exit 3"]) } catch (e) { return [e.message, e.data.status, e.fatal]; } }
fn name(input) { env::get(input.name) }
fn names(input) { [env::get("APP_A"), env::get("APP_B", "no"), env::has("APP_A"), env::has("APP_B"), env::get("APP_B", 7)] }
"#;

pub struct Place {
    _folder: tempfile::TempDir,
    pub root: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let place = Place { _folder: folder, root };
        place.write("scripts/call.rhai", CALL);
        place.write("scripts/steps/t.rhai", STEPS);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub async fn host(&self, config: StepEnvConfig) -> Host {
        self.host_in(Arc::new(MemoryWorld::new()), StepEnvHandle::new(config), |builder| builder).await
    }

    pub async fn host_in(
        &self,
        world: Arc<dyn World>,
        step_env: StepEnvHandle,
        more: impl FnOnce(durhai::HostBuilder) -> durhai::HostBuilder,
    ) -> Host {
        let builder = Host::builder()
            .shared_world(world)
            .workflows(self.path("scripts"))
            .watch(false)
            .steps(Arc::new(RhaiSteps::open(self.path("scripts"), step_env.clone())))
            .steps(Arc::new(BuiltinSteps::new(step_env.clone())))
            .steps(Arc::new(DeclaredSteps::new(step_env.clone())))
            .mask(step_env.mask());
        more(builder).start().await.unwrap()
    }

    /// Waits until a file has so many lines: what a program does, seen from outside.
    pub async fn lines(&self, name: &str, count: usize) -> Vec<String> {
        until(&format!("{count} lines in {name}"), || {
            let text = self.read(name);
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            (lines.len() >= count && text.ends_with('\n')).then_some(lines)
        })
        .await
    }
}

/// Everything may be run, in this environment.
pub fn everything(more: &[(&str, &str)]) -> StepEnvConfig {
    StepEnvConfig {
        permissions: Permissions { exec: ExecGrant::Everything, ..Permissions::none() },
        environment: environment(more),
        ..StepEnvConfig::default()
    }
}

/// What programs are found by, and these variables.
pub fn environment(more: &[(&str, &str)]) -> Environment {
    let path = [("PATH".to_owned(), search())];
    path.into_iter().chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

pub fn search() -> String {
    std::env::var("PATH").unwrap()
}

pub fn shell(script: &str) -> ProgramStep {
    ProgramStep { command: ["sh", "-c", script].map(str::to_owned).into(), ..ProgramStep::default() }
}

pub fn declared(steps: impl IntoIterator<Item = (&'static str, ProgramStep)>) -> BTreeMap<String, Declared> {
    steps.into_iter().map(|(name, step)| (name.to_owned(), Declared::Program(step))).collect()
}

pub fn names(names: &[&str]) -> EnvGrant {
    EnvGrant::parse(Some(&names.join(","))).unwrap()
}

pub async fn start(host: &Host, step: &str, input: &Value, options: Value) -> Run {
    let input = json!({ "step": step, "input": input, "options": options });
    host.run("call").input(&input).start().await.unwrap()
}

/// At most three attempts, one right after the other.
pub async fn call(host: &Host, step: &str, input: &Value) -> Result<Value, Failure> {
    let options = json!({ "retry": { "max_attempts": 3, "initial": 0 } });
    ended(&start(host, step, input, options).await).await
}

pub async fn ended(run: &Run) -> Result<Value, Failure> {
    let output = tokio::time::timeout(PATIENCE, run.output::<Value>()).await;
    match output.unwrap_or_else(|_| panic!("the run {} does not end", run.id())) {
        Ok(output) => Ok(output),
        Err(RunError::Failed(_, failure)) => Err(*failure),
        Err(RunError::Cancelled(..)) => Err(Failure::new(FailureKind::Cancelled, "cancelled")),
        Err(other) => panic!("{other}"),
    }
}

/// The lines of a run's log.
pub async fn log(run: &Run) -> Vec<(String, String)> {
    let entries = run.logs(0, 10_000).await.unwrap();
    entries.into_iter().map(|entry| (entry.line.level, entry.line.message)).collect()
}

/// Looks again and again, as there is nothing to be woken by.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let work = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("this does not come: {what}"))
}

/// Waits until the process with the number in that file is gone.
pub async fn gone(path: &Path) {
    let id = fs::read_to_string(path).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", id.trim()));
    until(&format!("the end of process {id}"), || {
        // Ended ones stay in the list until their parent has looked at them.
        let state = fs::read_to_string(&stat).ok();
        let state = state.as_deref().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
        matches!(state, None | Some('Z' | 'X')).then_some(())
    })
    .await;
}
