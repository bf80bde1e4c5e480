//! Settings that are saved while a host runs.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durhai::{EventBody, FailureKind, Host, MemoryWorld, Status, Value};
use durhai_steps::{BuiltinSteps, DeclaredSteps, Given, Reload, SettingsSource, StepEnvHandle, follow};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

/// A host whose settings are followed, in a folder of its own.
struct Place {
    folder: TempDir,
    host: Host,
    reloads: UnboundedReceiver<Reload>,
    following: JoinHandle<()>,
}

impl Place {
    async fn new(settings: Option<&str>) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let text = |settings: &str| settings.replace("FOLDER", folder.path().to_str().unwrap());
        if let Some(settings) = settings {
            fs::write(folder.path().join("durhai.toml"), text(settings)).unwrap();
        }
        let mut source = SettingsSource::folders([folder.path()]).given(Given::default());
        let (rules, config) = source.load().unwrap();
        let step_env = StepEnvHandle::new(config);
        let builder = Host::builder()
            .world(MemoryWorld::new())
            .workflow("work", "use_step(\"work\", input)")
            .steps(Arc::new(DeclaredSteps::new(step_env.clone())))
            .steps(Arc::new(BuiltinSteps::new(step_env.clone())));
        let builder = rules.into_iter().fold(builder, |builder, (name, rule)| builder.step_rule(name, rule));
        let host = builder.start().await.unwrap();
        let (tell, reloads) = unbounded_channel();
        let following = tokio::spawn(follow(host.clone(), step_env, source, move |reload| drop(tell.send(reload))));
        Place { folder, host, reloads, following }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As an editor does it that renames over the file.
    fn save(&self, settings: &str) {
        let text = settings.replace("FOLDER", self.folder.path().to_str().unwrap());
        fs::write(self.path("durhai.toml~"), text).unwrap();
        fs::rename(self.path("durhai.toml~"), self.path("durhai.toml")).unwrap();
    }

    async fn reload(&mut self) -> Reload {
        tokio::time::timeout(Duration::from_secs(20), self.reloads.recv()).await.expect("a report").expect("a report")
    }

    async fn applied(&mut self) {
        let file = Some(self.path("durhai.toml"));
        assert_eq!(self.reload().await, Reload::Applied { file, findings: Vec::new() });
    }

    async fn call(&self, step: &str) -> Result<Value, FailureKind> {
        self.host.call_step(step, json!(1)).await.map_err(|failure| failure.kind)
    }

    async fn end(self) {
        self.following.abort();
        self.host.shutdown().await;
    }
}

async fn until_it_exists(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says that it runs, waits until it may end, and asks to be run again.
const OLD: &str = r#"
[steps.work]
command = ["/bin/sh", "-c", "touch begun; until [ -e go ]; do sleep 0.01; done; echo the old one >&2; exit 75"]
retry = { initial = 0 }
"#;

const NEW: &str = r#"
[steps.work]
command = ["/bin/sh", "-c", "echo '\"new\"'"]
"#;

#[tokio::test]
async fn an_attempt_ends_with_the_command_it_began_with() {
    let mut place = Place::new(Some(OLD)).await;
    let run = place.host.run("work").id("r").start().await.unwrap();
    until_it_exists(&place.path("begun")).await;
    place.save(NEW);
    place.applied().await;
    fs::write(place.path("go"), "").unwrap();
    let view = run.wait().await.unwrap();
    assert_eq!((view.status, &view.output), (Status::Completed, &json!("new")));
    let events = run.events(1, 100).await.unwrap();
    let retrying: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::StepRetrying { error, .. } => Some(&*error.message),
            _ => None,
        })
        .collect();
    assert!(matches!(retrying[..], [error] if error.contains("the old one")), "{retrying:?}");
    place.end().await;
}

#[tokio::test]
async fn a_broken_save_keeps_what_there_was() {
    let mut place = Place::new(Some(NEW)).await;
    place.save(&format!("{NEW}timeout = \"soon\"\n"));
    let Reload::Broken(error) = place.reload().await else { panic!("it is broken") };
    let shown = error.to_string();
    assert!(shown.contains("durhai.toml:4:11: ") && shown.ends_with("^"), "{shown}");
    assert_eq!(place.call("work").await, Ok(json!("new")));
    // It was said once: the next word is about the next save.
    place.save(&NEW.replace("new", "newer"));
    place.applied().await;
    assert_eq!(place.call("work").await, Ok(json!("newer")));
    place.end().await;
}

#[tokio::test]
async fn rules_permissions_and_variables_follow() {
    let mut place = Place::new(None).await;
    fs::write(place.path("text"), "hi").unwrap();
    let read = json!({ "path": place.path("text") });
    let refused = place.host.call_step("file.read", read.clone()).await.unwrap_err();
    assert!(refused.message.contains("--allow-read"), "{refused:?}");

    // It was not there before, and one that writes in place is as good as one that renames.
    let slow = "[steps.slow]\ncommand = [\"/bin/sleep\", \"600\"]\ntimeout = \"50ms\"\n[permissions]\nread = [\".\"]\n";
    fs::write(place.path("durhai.toml"), slow).unwrap();
    place.applied().await;
    assert_eq!(place.call("slow").await, Err(FailureKind::Timeout));
    assert_eq!(place.host.call_step("file.read", read.clone()).await.unwrap(), "hi");

    fs::write(place.path("vars"), "GREETING=hello\n").unwrap();
    place.save("env_file = \"vars\"\n[permissions]\nenv = [\"GREETING\"]\n");
    place.applied().await;
    assert_eq!(place.call("slow").await, Err(FailureKind::UnknownStep));
    let greeting = json!({ "name": "GREETING" });
    assert_eq!(place.host.call_step("env.get", greeting.clone()).await.unwrap(), "hello");
    fs::write(place.path("vars"), "GREETING=good bye\n").unwrap();
    let Reload::Broken(error) = place.reload().await else { panic!("two words need quotes") };
    assert!(error.to_string().contains("durhai.toml:1:12: "), "{error}");
    fs::write(place.path("vars"), "GREETING=bye\n").unwrap();
    place.applied().await;
    assert_eq!(place.host.call_step("env.get", greeting.clone()).await.unwrap(), "bye");

    fs::remove_file(place.path("durhai.toml")).unwrap();
    assert_eq!(place.reload().await, Reload::Applied { file: None, findings: Vec::new() });
    assert!(place.host.call_step("env.get", greeting).await.is_err());
    assert!(place.host.call_step("file.read", read).await.is_err());
    place.end().await;
}
