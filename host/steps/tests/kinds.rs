//! What an attempt may come to, for every kind of step alike: a function in Rust or in a script, a declared program or
//! service, a built-in program or request.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::http::server::{Reply, Server, answer};
use crate::place::{Place, ended, environment, shell};
use durhai::{EventBody, FailureKind, Host, MemoryWorld, Run, StepContext, StepError, Value, World};
use durhai_steps::{Declared, ExecGrant, NetGrant, Permissions, ServiceStep, StepEnvConfig, StepEnvHandle};
use durhai_testkit::{Fault, FaultWorld, PATIENCE, Pulse};
use serde_json::json;

/// Where the steps of a test write down that they were asked, one idempotency key a line.
const JOURNAL: &str = "journal";

const KINDS: [&str; 6] = ["rust", "script.act", "program", "service", "exec.run", "http.post"];

/// What `act` asks of an attempt. `crash` is one that never ends, the first time.
const SCRIPT: &str = r#"
fn act(input) {
    file::append(input.journal, idempotency_key() + "\n");
    let act = input.act;
    if act == "ok" || act in ["second", "crash"] && attempt() > 1 { return #{ done: true }; }
    switch act {
        "retry" | "second" => throw "busy",
        "fatal" => fatal("never"),
        "after" => retry_after("1h", "later"),
        "large" => { let text = "x"; text.pad(3_000_000, "x"); text }
        "garbage" => |x| x,
        _ => loop { sleep(3600) }
    }
}
"#;

/// The same for a shell, which reads what it is to do from its input.
const SHELL: &str = r#"
act=$(cat)
printf '%s\n' "$DURHAI_IDEMPOTENCY_KEY" >> JOURNAL
case "$DURHAI_ATTEMPT$act" in
    *ok*|2*second*|2*crash*) echo '{"done":true}';;
    *retry*|*second*) exit 75;;
    *fatal*) exit FATAL;;
    *large*) head -c 3000000 /dev/zero | tr '\0' x;;
    *garbage*) echo 'no json';;
    *) sleep 3600 & wait;;
esac
"#;

/// And for a server.
fn serve(body: &str, again: bool) -> Reply {
    let asked = |act: &str| body.contains(act);
    match () {
        () if asked("ok") || again && (asked("second") || asked("crash")) => {
            answer(200, &[("content-type", "application/json")], r#"{"done":true}"#)
        }
        () if asked("retry") || asked("second") => answer(503, &[], "busy"),
        () if asked("fatal") => answer(400, &[], "never"),
        () if asked("after") => answer(429, &[("retry-after", "3600")], "later"),
        () if asked("large") => answer(200, &[], "x".repeat(3_000_000)),
        () if asked("garbage") => answer(200, &[("content-type", "application/json")], "no json"),
        () => Reply::Silence,
    }
}

async fn rust(context: StepContext, input: Value) -> Result<Value, StepError> {
    let path = input["journal"].as_str().unwrap().to_owned();
    let mut journal = OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(journal, "{}", context.idempotency_key()).unwrap();
    match (input["act"].as_str().unwrap(), context.attempt()) {
        ("ok", _) | ("second" | "crash", 2..) => Ok(json!({ "done": true })),
        ("retry" | "second", _) => Err(StepError::retry("busy")),
        ("fatal", _) => Err(StepError::fatal("never")),
        ("after", _) => Err(StepError::retry("later").retry_after(Duration::from_secs(3_600))),
        ("large", _) => Ok("x".repeat(3_000_000).into()),
        _ => {
            context.cancelled().await;
            Err(StepError::retry("told to stop"))
        }
    }
}

/// A folder, a server, and a host with a step of every kind.
struct Bench {
    place: Place,
    server: Server,
    step_env: StepEnvHandle,
}

impl Bench {
    async fn new() -> Bench {
        let place = Place::new();
        place.write("scripts/steps/script.rhai", SCRIPT);
        let journal = place.path(JOURNAL);
        let server = Server::start(move |seen, _| {
            let key = seen.header("idempotency-key").unwrap().to_owned();
            let again = std::fs::read_to_string(&journal).unwrap_or_default().contains(&key);
            let mut journal = OpenOptions::new().append(true).create(true).open(&journal).unwrap();
            writeln!(journal, "{key}").unwrap();
            serve(&seen.body, again)
        })
        .await;
        let grant = durhai_steps::PathGrant::paths([&place.root]).unwrap();
        let declared = BTreeMap::from([
            ("program".to_owned(), Declared::Program(shell(&text(&place.path(JOURNAL), 1)))),
            (
                "service".to_owned(),
                Declared::Service(ServiceStep { url: server.url("/act"), ..ServiceStep::default() }),
            ),
        ]);
        let permissions = Permissions {
            read: grant.clone(),
            write: grant,
            net: NetGrant::parse(Some(&format!("127.0.0.1:{}", server.port))).unwrap(),
            exec: ExecGrant::Everything,
            ..Permissions::none()
        };
        let step_env = StepEnvHandle::new(StepEnvConfig {
            permissions,
            environment: environment(&[]),
            declared,
            ..StepEnvConfig::default()
        });
        Bench { place, server, step_env }
    }

    async fn host(&self) -> Host {
        self.host_in(Arc::new(MemoryWorld::new())).await
    }

    async fn host_in(&self, world: Arc<dyn World>) -> Host {
        let more = |builder: durhai::HostBuilder| builder.step("rust", rust).lease(Duration::from_millis(100));
        self.place.host_in(world, self.step_env.clone(), more).await
    }

    async fn start(&self, host: &Host, kind: &str, act: &str, options: Value) -> Run {
        let journal = self.place.text(JOURNAL);
        let input = match kind {
            "exec.run" => {
                let script = text(Path::new(&journal), 127);
                json!({ "program": "sh", "args": ["-c", script], "stdin": act, "output": "json", "max_output": 2 << 20 })
            }
            "http.post" => json!({ "url": self.server.url("/act"), "json": act, "response": "json", "timeout": "1h" }),
            _ => json!({ "act": act, "journal": journal }),
        };
        crate::place::start(host, kind, &input, options).await
    }

    /// The keys of the attempts that were made since this was asked last.
    fn attempts(&self) -> Vec<String> {
        let keys = self.place.read(JOURNAL).lines().map(str::to_owned).collect();
        let _ = std::fs::remove_file(self.place.path(JOURNAL));
        keys
    }
}

fn text(journal: &Path, fatal: u8) -> String {
    SHELL.replace("JOURNAL", &journal.display().to_string()).replace("FATAL", &fatal.to_string())
}

/// The output of a step whose step says `#{ done: true }`.
fn is_done(kind: &str, output: &Value) -> bool {
    let inside = match kind {
        "exec.run" => &output["stdout"],
        "http.post" => &output["body"],
        _ => output,
    };
    *inside == json!({ "done": true })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_has_its_attempts() {
    let bench = Bench::new().await;
    let host = bench.host().await;
    let three = json!({ "retry": { "max_attempts": 3, "initial": 0 } });
    // Attempts made, and the kind of the failure if there is one.
    for (act, wanted, failure) in [
        ("ok", 1, None),
        ("second", 2, None),
        ("retry", 3, Some(FailureKind::StepFailed)),
        ("fatal", 1, Some(FailureKind::StepFailed)),
        ("garbage", 1, Some(FailureKind::StepFailed)),
        ("large", 1, None),
    ] {
        for kind in KINDS {
            if (kind, act) == ("rust", "garbage") {
                // What serde writes is JSON.
                continue;
            }
            let run = bench.start(&host, kind, act, three.clone()).await;
            let result = ended(&run).await;
            let attempts = bench.attempts();
            let what = format!("{kind} {act}: {result:?}");
            assert_eq!(attempts.len(), wanted, "{what}");
            assert!(attempts.iter().all(|key| *key == format!("{}/1", run.id())), "{what}: {attempts:?}");
            match (failure, result) {
                (None, Ok(output)) => assert!(is_done(kind, &output), "{what}"),
                (Some(failure), Err(error)) => {
                    assert_eq!((error.kind, error.attempts), (failure, wanted as u32), "{what}");
                }
                // Some find it too large while they read it, the others hand it over and the host finds it.
                (None, Err(error)) if act == "large" => {
                    assert!(matches!(error.kind, FailureKind::Limit | FailureKind::StepFailed), "{what}");
                    let message = &error.message;
                    assert!(
                        message.contains("limit") || message.contains("more than") || message.contains("longer"),
                        "{what}"
                    );
                }
                _ => panic!("{what}"),
            }
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_asked_for_is_kept() {
    let bench = Bench::new().await;
    let host = bench.host().await;
    let mut commits = host.commits();
    // A program has no words for it.
    for kind in ["rust", "script.act", "service", "http.post"] {
        let run = bench.start(&host, kind, "after", json!({ "retry": { "initial": 0 } })).await;
        let event = loop {
            let committed = tokio::time::timeout(PATIENCE, commits.recv()).await.expect("it is tried again").unwrap();
            let mut events = committed.events.into_iter().filter(|_| committed.run == *run.id());
            if let Some(event) = events.find(|event| matches!(event.body, EventBody::StepRetrying { .. })) {
                break event;
            }
        };
        let EventBody::StepRetrying { retry_at, .. } = event.body else { unreachable!() };
        assert_eq!(retry_at - event.at, 3_600_000, "{kind}");
        run.cancel("enough").await.unwrap();
        assert_eq!(ended(&run).await.unwrap_err().kind, FailureKind::Cancelled);
        assert_eq!(bench.attempts().len(), 1, "{kind}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_is_ended() {
    let bench = Bench::new().await;
    let host = bench.host().await;
    for kind in KINDS {
        let options = json!({ "timeout": "150ms", "retry": { "max_attempts": 2, "initial": 0 } });
        let run = bench.start(&host, kind, "hang", options).await;
        let error = ended(&run).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (FailureKind::Timeout, 2), "{kind}: {error}");
        assert_eq!(bench.attempts().len(), 2, "{kind}");
    }
    for kind in KINDS {
        let run = bench.start(&host, kind, "hang", json!({})).await;
        bench.place.lines(JOURNAL, 1).await;
        run.cancel("enough").await.unwrap();
        assert_eq!(ended(&run).await.unwrap_err().kind, FailureKind::Cancelled, "{kind}");
        assert_eq!(bench.attempts().len(), 1, "{kind}");
    }
    // None of them is still at it: the host would wait for it.
    tokio::time::timeout(Duration::from_secs(8), host.shutdown()).await.expect("nothing is left to wait for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_a_crash_cuts_off_is_made_again_with_its_key_unless_once() {
    let bench = Bench::new().await;
    for kind in KINDS {
        for once in [false, true] {
            let store: Arc<dyn World> = Arc::new(MemoryWorld::new());
            let world = Arc::new(FaultWorld::new(store.clone(), Fault::Never, Pulse::default()));
            let host = bench.host_in(world.clone()).await;
            let run = bench.start(&host, kind, "crash", json!({ "once": once })).await;
            bench.place.lines(JOURNAL, 1).await;
            world.crash();
            host.shutdown().await;

            let host = bench.host_in(store).await;
            let run = host.get(run.id().as_str()).await.unwrap();
            let result = ended(&run).await;
            let attempts = bench.attempts();
            let key = format!("{}/1", run.id());
            if once {
                assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted, "{kind}");
                assert_eq!(attempts, [key], "{kind}");
            } else {
                assert!(is_done(kind, &result.unwrap()), "{kind}");
                assert_eq!(attempts, [key.clone(), key], "{kind}");
            }
            host.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said() {
    let bench = Bench::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{nobody}/");
    let missing = durhai_steps::ProgramStep { command: vec!["no-such-program".into()], ..Default::default() };
    bench.step_env.replace(StepEnvConfig {
        permissions: Permissions::all(),
        environment: environment(&[]),
        declared: BTreeMap::from([
            ("program".to_owned(), Declared::Program(missing)),
            ("service".to_owned(), Declared::Service(ServiceStep { url: url.clone(), ..ServiceStep::default() })),
        ]),
        ..StepEnvConfig::default()
    });
    let host = bench.host().await;
    for (kind, input, attempts, part) in [
        ("program", json!(null), 1, "no-such-program"),
        ("service", json!(null), 3, "refused"),
        ("exec.run", json!({ "program": "no-such-program" }), 1, "no-such-program"),
        ("http.post", json!({ "url": url }), 3, "refused"),
        ("script.none", json!(null), 1, "no step"),
    ] {
        let error = crate::place::call(&host, kind, &input).await.unwrap_err();
        assert_eq!(error.attempts.max(1), attempts, "{kind}: {error}");
        assert!(error.message.contains(part), "{kind}: {error}");
    }
    host.shutdown().await;
}
