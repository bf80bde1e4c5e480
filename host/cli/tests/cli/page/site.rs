//! A host with scripts of its own, and a browser that looks at it.

use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use crate::folder::{Folder, Going};

/// Steps whose end a test decides: `when_there` is done once a file is there; `flaky` fails until its attempt number `input`.
const STEPS: &str = r#"/// Done once the file is there.
fn when_there(path) { while !file::exists(path) { sleep(0.02); } path }
/// Fails until attempt number `input`.
fn flaky(input) { if attempt() < input { throw `the line is engaged (${attempt()})`; } attempt() }
/// A text of that length.
fn long(length) { let text = ""; text.pad(length, 'x'); #{ text: text, length: length } }
"#;

/// Ended when dropped: the browser first.
pub struct Site {
    pub browser: Browser,
    pub address: String,
    pub host: Option<Going>,
    pub folder: Folder,
    client: reqwest::Client,
}

impl Site {
    /// `None` where there is no browser. `scripts` come beside those that every folder has.
    pub async fn open(scripts: &[(&str, &str)]) -> Option<Site> {
        let browser = Browser::open().await?;
        let folder = Folder::new();
        std::fs::write(folder.path().join("scripts/steps/p.rhai"), STEPS).expect("a file");
        for (name, text) in scripts {
            folder.script(name, text);
        }
        let mut site =
            Site { browser, address: "http://127.0.0.1:0".into(), host: None, folder, client: reqwest::Client::new() };
        site.serve("memory:");
        Some(site)
    }

    /// Starts a host in place of the one before, at the same address.
    pub fn serve(&mut self, store: &str) {
        self.host = None;
        // The old one keeps connections to the host that is gone.
        self.client = reqwest::Client::new();
        let listen = self.address.trim_start_matches("http://").to_owned();
        let (host, first) = self.folder.serve(&["--quiet", "-A", "--store", store, "--listen", &listen]);
        self.address = first["address"].as_str().expect("an address").to_owned();
        self.host = Some(host);
    }

    /// Opens a place of the page: `runs/a?tab=log`.
    pub async fn go(&self, place: &str) {
        self.browser.go(&format!("{}/#/{place}", self.address)).await;
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}/api/v1{path}", self.address)).json(&body);
        answer(request, path).await
    }

    pub async fn get(&self, path: &str) -> Value {
        answer(self.client.get(format!("{}/api/v1{path}", self.address)), path).await
    }

    pub async fn start(&self, workflow: &str, id: &str, input: Value) {
        self.post("/runs", json!({ "workflow": workflow, "id": id, "input": input })).await;
    }

    /// Waits until a run has this status.
    #[track_caller]
    pub fn is(&self, id: &str, status: &str) -> impl Future<Output = Value> + '_ {
        let place = std::panic::Location::caller();
        let path = format!("/runs/{}", id.replace('/', "%2F"));
        let status = status.to_owned();
        async move {
            let begun = std::time::Instant::now();
            loop {
                let run = self.get(&path).await;
                if run["status"] == status.as_str() {
                    return run;
                }
                assert!(begun.elapsed().as_secs() < 30, "{place}: it is not {status}: {run:#}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until a step of a run is under way.
    pub async fn waits_at(&self, id: &str, step: &str) {
        let path = format!("/runs/{id}");
        let there = async || {
            self.get(&path).await["waiting_for"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == step))
        };
        self.browser.waits("the step to begin", there).await;
    }

    /// Waits until the text of a workflow's file is the one that serves. A version is known before it serves: live runs are
    /// checked first, and until then the page offers the version before it.
    pub async fn reloaded(&self, workflow: &str) {
        let file = self.folder.path().join("scripts").join(format!("{workflow}.rhai"));
        let text = std::fs::read_to_string(&file).expect("the file is there");
        let path = format!("{}/api/v1/workflows/{workflow}/versions", self.address);
        // Before the first is known there is no list.
        let asked = async |path: &str| -> Option<Value> { reqwest::get(path).await.ok()?.json().await.ok() };
        let serves = async || {
            let Some(answer) = asked(&path).await else { return false };
            let known = answer["versions"].as_array().map_or(&[][..], Vec::as_slice);
            let Some(serving) = known.iter().find(|version| version["serving"] == true) else { return false };
            let hash = serving["version"].as_str().expect("a version has a hash");
            asked(&format!("{path}/{hash}"))
                .await
                .is_some_and(|source| source["files"][format!("{workflow}.rhai")] == text.as_str())
        };
        self.browser.waits("the version to serve", serves).await;
    }

    /// The path of a file that `p.when_there` may wait for.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Makes that file.
    pub fn touch(&self, name: &str) {
        std::fs::write(Path::new(&self.file(name)), "").expect("a file");
    }
}

async fn answer(request: reqwest::RequestBuilder, path: &str) -> Value {
    let answer = request.send().await.expect("the host answers");
    let status = answer.status();
    let text = answer.text().await.expect("text");
    assert!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
