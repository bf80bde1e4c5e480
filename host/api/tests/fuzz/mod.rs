//! Requests made from the description of the API, by schemathesis, against a host in which a lot goes on: nothing breaks,
//! and every answer is one that is described.
//!
//! `cargo xtask install` brings schemathesis; without it this says so and passes. `DURHAI_FUZZ_SEED` repeats a run,
//! `DURHAI_FUZZ_SECONDS` is how long each of the two takes (40 unless given).

mod sample;

use std::path::Path;
use std::process::Command;

use durhai::Host;
use durhai_api::{Config, Token, serve};
use sample::Sample;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/venv/bin/schemathesis");

const SECRET: &str = "fuzz-and-nothing-else";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token() {
    fuzz(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token() {
    fuzz(Some(SECRET)).await;
}

async fn fuzz(token: Option<&str>) {
    if !Path::new(SCHEMATHESIS).exists() {
        println!("skipped: there is no schemathesis at {SCHEMATHESIS}; `cargo xtask install` brings it");
        return;
    }
    let seed = std::env::var("DURHAI_FUZZ_SEED").unwrap_or_else(|_| "20261123".into());
    let seconds = std::env::var("DURHAI_FUZZ_SECONDS").unwrap_or_else(|_| "40".into());
    println!("DURHAI_FUZZ_SEED={seed}");
    let sample = Sample::new().await;
    let before = sample.host.stats().writes;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let config =
        Config { token: token.map(|token| Token::new(token).expect("a token")), page: false, ..Config::default() };
    let server = tokio::spawn(serve(sample.host.clone(), listener, config, async { drop(stopped.await) }));

    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("a file");
    write("schemathesis.toml", settings(token).as_bytes());
    write("hooks.py", include_bytes!("hooks.py"));
    write("there.json", sample.there().to_string().as_bytes());
    write("run.ndjson", &sample.exported);
    let mut command = Command::new(SCHEMATHESIS);
    command
        .current_dir(folder.path())
        .args(["run", &format!("http://{address}/api/v1/openapi.json"), "--no-color", "--warnings", "off"])
        .args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none"])
        .args(["--seed", &seed, "--max-time", &seconds, "--continue-on-failure"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "DURHAI_FUZZ_SEED={seed}\n{text}\n{errors}");
    println!("{text}");
    assert!(sample.host.health().ok, "the host still does its work");
    let writes = sample.host.stats().writes - before;
    assert!(writes > 20, "the requests had {writes} effects: they did not get to what is there");
    stop.send(()).expect("it runs");
    server.await.expect("no panic").expect("a clean end");
    still_sound(&sample.host).await;
    sample.host.shutdown().await;
}

/// Whatever was asked of it, its logs are legal.
async fn still_sound(host: &Host) {
    let diagnosis = host.doctor().await.expect("a diagnosis");
    for run in diagnosis.findings.iter().filter_map(|finding| finding.run.as_ref()) {
        if let Ok(run) = host.get(run.as_str()).await {
            println!("{:?}\n{:?}", run.view().await, run.events(1, 1000).await);
        }
    }
    assert!(diagnosis.findings.is_empty(), "{:?}", diagnosis.findings);
}

/// What schemathesis is told. Which answers are right for what fits its schema: a name or a text that fits may still not be
/// there (404), come too late (409) or be a wrong script (422), and two fields may contradict each other (400).
fn settings(token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization = \"Bearer {token}\"\n")).unwrap_or_default();
    format!(
        r#"
hooks = "hooks.py"
request-timeout = 10
max-stream-events = 3

[headers]
{authorization}
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "422"]
"#
    )
}
