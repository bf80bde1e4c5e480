//! No secret is kept, whatever steps do with it.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::place::{Place, call, declared, ended, environment, log, shell, start};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use durhai::{SledWorld, Value};
use durhai_steps::{
    Declared, PathGrant, Permissions, ProgramStep, SecretSource, ServiceStep, StepEnvConfig, StepEnvHandle,
};
use durhai_testkit::contents;
use serde_json::json;

const STRIPE: &str = "sk_live_4f9a7c/\"x\"+e81b";
const TOKEN: &str = "tok-2f6b1d908c";
const PEM: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
/// Only in the environment.
const LOOSE: &str = "loose-93be71a5";

const STEPS: &str = r#"
fn give() { secret("stripe") }
fn inside() {
    let map = #{ list: [secret("stripe") + secret("token"), `a ${secret("pem")} b`] };
    map[secret("token")] = 1;
    map
}
fn throws() { throw `it was ${secret("stripe")}` }
fn throws_map() { throw #{ message: secret("token"), key: secret("stripe") } }
fn fatals() { fatal(secret("stripe"), #{ sent: secret("token") }) }
fn says() { print(secret("stripe")); debug(secret("token")); log("warn", secret("pem"), #{ key: secret("stripe") }); heartbeat(secret("stripe")); }
fn encodes() { [hash::base64(secret("stripe")), hash::hex(secret("stripe")), hash::base64("user:" + secret("token")), json::stringify(#{ a: secret("stripe") })] }
fn echoes() { exec::run("cat", [], #{ stdin: secret("stripe") }).stdout + exec::run("echo", [secret("token")]).stdout }
fn shows() { exec::run("sh", ["-c", "echo $KEY; echo $KEY >&2; echo \"$PEM\" >&2"], #{ secrets: #{ KEY: "stripe", PEM: "pem" } }) }
fn fails() { exec::run("sh", ["-c", "echo $KEY; echo failed with $KEY >&2; exit 3"], #{ secrets: #{ KEY: "stripe" } }) }
fn loose() { secret("loose") }
fn variable() { env::get("STRIPE_KEY") + env::get("DURHAI_SECRET_LOOSE") }
fn reads(input) { file::read(input) }
fn bug() { let x = secret("token"); x.no_such_function(secret("stripe")) }
fn number() { parse_int(secret("digits")) }
"#;

struct Bench {
    place: Place,
    config: StepEnvConfig,
}

fn bench() -> Bench {
    let place = Place::new();
    place.write("scripts/steps/leak.rhai", STEPS);
    place.write("keys/token", &format!("{TOKEN}\n"));
    place.write("keys/pem", &format!("{PEM}\n"));
    let file = |name: &str| SecretSource::File(place.path(name));
    let secrets = [
        ("stripe", SecretSource::Env("STRIPE_KEY".into())),
        ("digits", SecretSource::Env("DIGITS".into())),
        ("token", file("keys/token")),
        ("pem", file("keys/pem")),
    ];
    let leaky = |script: &str| ProgramStep {
        secrets: [("KEY", "stripe"), ("TOKEN", "token"), ("PEM", "pem")].map(|(a, b)| (a.into(), b.into())).into(),
        ..shell(script)
    };
    let steps = declared([
        ("d.json", leaky("printf '{\"%s\": [\"%s\"]}' $TOKEN $TOKEN; env >&2")),
        ("d.text", leaky("echo $KEY $TOKEN")),
        // Cut off in the middle of it.
        ("d.cut", leaky("head -c 190 /dev/zero | tr '\\0' x; echo $TOKEN; yes")),
        (
            "d.long",
            leaky(
                "head -c 4090 /dev/zero | tr '\\0' x >&2; echo $TOKEN >&2; head -c 32760 /dev/zero | tr '\\0' y >&2; echo $TOKEN >&2",
            ),
        ),
        ("d.fatal", leaky("echo no $KEY >&2; exit 1")),
        ("d.retry", leaky("echo \"$PEM\" >&2; exit 75")),
        ("d.encoded", leaky("printf %s \"$KEY\" | base64 >&2; printf %s \"user:$TOKEN:x\" | base64 >&2; echo 1")),
    ]);
    let config = StepEnvConfig {
        permissions: Permissions {
            read: PathGrant::paths([&place.root]).unwrap(),
            write: PathGrant::Nothing,
            // A secret of that kind must be named.
            env: crate::place::names(&["STRIPE_KEY", "DIGITS", "DURHAI_SECRET_LOOSE"]),
            ..Permissions::all()
        },
        environment: environment(&[("STRIPE_KEY", STRIPE), ("DIGITS", "7203958146"), ("DURHAI_SECRET_LOOSE", LOOSE)]),
        secrets: secrets.into_iter().map(|(name, source)| (name.to_owned(), source)).collect(),
        declared: steps,
        ..StepEnvConfig::default()
    };
    Bench { place, config }
}

/// Every file below a folder, as bytes.
fn bytes(folder: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            bytes(&entry.path(), into);
        } else {
            into.extend(fs::read(entry.path()).unwrap());
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn nothing_of_them_is_in_the_store() {
    let Bench { place, config } = bench();
    let world = Arc::new(SledWorld::open(place.path("data")).unwrap());
    let host = place.host_in(world, StepEnvHandle::new(config), |builder| builder).await;
    let sh = |script: &str| json!({ "program": "sh", "args": ["-c", script], "secrets": { "KEY": "stripe", "TOKEN": "token" } });
    let path = place.text("keys/token");
    let table = [
        ("leak.give", json!(null), true),
        ("leak.inside", json!(null), true),
        ("leak.throws", json!(null), false),
        ("leak.throws_map", json!(null), false),
        ("leak.fatals", json!(null), false),
        ("leak.says", json!(null), true),
        ("leak.encodes", json!(null), true),
        ("leak.echoes", json!(null), true),
        ("leak.shows", json!(null), true),
        ("leak.fails", json!(null), false),
        ("leak.loose", json!(null), true),
        ("leak.variable", json!(null), true),
        ("leak.reads", json!(path), true),
        ("leak.bug", json!(null), false),
        ("leak.number", json!(null), true),
        ("d.json", json!(null), true),
        ("d.text", json!(null), false),
        ("d.cut", json!(null), false),
        ("d.long", json!(null), true),
        ("d.fatal", json!(null), false),
        ("d.retry", json!(null), false),
        ("d.encoded", json!(null), true),
        ("exec.run", sh("echo $KEY; echo $TOKEN >&2"), true),
        ("exec.run", sh("env"), true),
        ("exec.run", sh("echo $KEY; echo $TOKEN >&2; exit 9"), false),
        ("exec.run", sh("printf %s \"$KEY\" | base64; printf %s \"$TOKEN\" | od -An -tx1 | tr -d ' \\n'"), true),
        ("env.get", json!({ "name": "STRIPE_KEY" }), true),
        ("file.read", json!({ "path": path }), true),
    ];
    for (step, input, works) in table {
        let found = call(&host, step, &input).await;
        // It got as far as to have the secret, and its output has the name instead.
        assert_eq!(found.is_ok(), works, "{step}: {found:?}");
        let quiet = ["leak.says", "leak.bug", "d.cut", "d.long", "d.encoded"].contains(&step);
        let found = format!("{found:?}");
        assert!(quiet || found.contains("[secret "), "{step}: {found}");
    }
    let run = start(&host, "leak.says", &Value::Null, json!({})).await;
    ended(&run).await.unwrap();
    let lines: Vec<_> = log(&run).await.into_iter().map(|(_, message)| message).collect();
    assert_eq!(lines, ["[secret stripe]", "\"[secret token]\"", "[secret pem]"]);
    assert_eq!(call(&host, "leak.give", &Value::Null).await.unwrap(), "[secret stripe]");
    assert_eq!(call(&host, "leak.number", &Value::Null).await.unwrap(), "[secret digits]");
    host.shutdown().await;
    drop((run, host));

    let mut kept = Vec::new();
    bytes(&place.path("data"), &mut kept);
    kept.extend(contents(&SledWorld::open(place.path("data")).unwrap()));
    // The search finds what is there.
    assert!(holds(&kept, "[secret stripe]") && holds(&kept, "leak.give") && holds(&kept, "failed with"));
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in [STRIPE, TOKEN, PEM, LOOSE, "7203958146"] {
        let json = Value::from(secret).to_string();
        let parts = [
            secret.to_owned(),
            json[1..json.len() - 1].to_owned(),
            STANDARD.encode(secret),
            URL_SAFE.encode(secret),
            hex(secret),
        ];
        for form in parts {
            assert!(!holds(&kept, &form), "{form} is in the store");
        }
    }
    // Pieces: of lines that were cut, of texts of several lines, of what stands in the middle of base64.
    for piece in ["tok-2f6", "sk_live", "MIIEvQIB", "hkiG9w0B", &STANDARD.encode(format!("user:{TOKEN}"))[8..24]] {
        assert!(!holds(&kept, piece), "{piece} is in the store");
    }
}

#[tokio::test]
async fn rotated_while_the_host_runs() {
    let Bench { place, config } = bench();
    let step_env = StepEnvHandle::new(config);
    let host = place.host_in(Arc::new(durhai::MemoryWorld::new()), step_env, |builder| builder).await;
    let input =
        json!({ "program": "sh", "args": ["-c", "echo ${#T}; echo $T tok-2f6b1d908c"], "secrets": { "T": "token" } });
    assert_eq!(call(&host, "exec.run", &input).await.unwrap()["stdout"], "14\n[secret token] [secret token]\n");
    place.write("keys/token", "another one");
    // The old one is hidden still.
    assert_eq!(call(&host, "exec.run", &input).await.unwrap()["stdout"], "11\n[secret token] [secret token]\n");
    fs::remove_file(place.path("keys/token")).unwrap();
    // While it is not there its steps wait.
    let run = start(&host, "exec.run", &input, json!({ "retry": false })).await;
    let lines = loop {
        let lines = run.logs(0, 10).await.unwrap();
        if !lines.is_empty() {
            break lines;
        }
        tokio::task::yield_now().await;
    };
    assert!(lines[0].line.message.contains("the secret \"token\" cannot be read from"), "{lines:?}");
    place.write("keys/token", "another one");
    assert_eq!(ended(&run).await.unwrap()["stdout"], "11\n[secret token] [secret token]\n");
    host.shutdown().await;
}

#[tokio::test]
async fn whoever_needs_one_that_is_not_there_fails_for_no_run() {
    let place = Place::new();
    place.write(
        "scripts/steps/s.rhai",
        "fn plain() { secret(\"gone\") }\nfn late() { file::exists(\"/\"); secret(\"gone\") }",
    );
    place.write("scripts/steps/broken.rhai", "fn f( {");
    let program = ProgramStep { secrets: [("KEY".into(), "gone".into())].into(), ..shell("true") };
    let mut steps = declared([("program", program)]);
    let service = ServiceStep { url: "http://127.0.0.1:1/".into(), bearer: Some("gone".into()), ..Default::default() };
    steps.insert("service".into(), Declared::Service(service));
    let config = StepEnvConfig {
        permissions: Permissions::all(),
        environment: environment(&[]),
        declared: steps,
        ..StepEnvConfig::default()
    };
    let world = Arc::new(durhai::MemoryWorld::new());
    let parking = |builder: durhai::HostBuilder| builder.park_misconfigured_after(std::time::Duration::ZERO);
    let host = place.host_in(world, StepEnvHandle::new(config), parking).await;
    let missing = "there is no secret \"gone\"";
    for (step, input, why) in [
        ("s.plain", json!(null), missing),
        ("s.late", json!(null), missing),
        ("program", json!(null), missing),
        ("service", json!(null), missing),
        ("exec.run", json!({ "program": "true", "secrets": { "A": "gone" } }), missing),
        ("http.get", json!({ "url": "http://127.0.0.1:1/", "bearer": "gone" }), missing),
        ("broken.f", json!(null), "steps/broken.rhai:1:"),
    ] {
        let run = start(&host, step, &input, json!({ "retry": false })).await;
        let view = run.wait().await.unwrap();
        assert_eq!(view.status, durhai::Status::Parked, "{step}: {view:?}");
        assert!(view.reason.as_ref().is_some_and(|reason| reason.contains(why)), "{step}: {view:?}");
        // By hand there is nobody to wait for.
        let failure = host.call_step(step, input).await.unwrap_err();
        assert!(failure.message.contains(why), "{step}: {failure:?}");
    }
    host.shutdown().await;
}
