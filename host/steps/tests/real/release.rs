//! `release.rhai`: every server has the new version, or what it had.

use std::collections::BTreeMap;
use std::fs;

use durhai::{Status, Value};
use durhai_testkit::Fault;
use serde_json::json;

use crate::place::{Act, Place};

const SERVERS: [&str; 3] = ["north", "east", "west"];

fn yes() -> Act {
    Act::Resume(json!({ "ok": true, "by": "ann" }))
}

fn no() -> Act {
    Act::Resume(json!({ "ok": false, "by": "bob", "note": "not on a Friday" }))
}

fn version(version: &str) -> Value {
    json!({ "version": version })
}

/// What a server runs, and what was done to it, each key once.
fn server(place: &Place, name: &str) -> (String, Vec<String>) {
    let folder = place.path("out/release/servers").join(name);
    let current = fs::read_to_string(folder.join("current")).unwrap_or_default().trim().to_owned();
    let history = fs::read_to_string(folder.join("history")).unwrap_or_default();
    let lines: Vec<_> = history.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let keys: BTreeMap<_, _> = lines.iter().copied().collect();
    assert_eq!(keys.len(), lines.len(), "a key is twice in the history of {name}: {lines:?}");
    (current, lines.into_iter().map(|(_, version)| version.to_owned()).collect())
}

fn current(place: &Place) -> Vec<String> {
    SERVERS.map(|name| server(place, name).0).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approved_it_is_everywhere() {
    let place = Place::new().await;
    let ended = place.run("release", "r", &version("1.4.0"), yes()).await;
    let wanted = json!({ "status": "released", "version": "1.4.0", "by": "ann", "servers": SERVERS });
    assert_eq!(ended.view.output, wanted, "{:?}", ended.view.error);
    assert_eq!(current(&place), ["1.4.0"; 3]);
    assert!(place.read("out/release/build/1.4.0/greet.sha256").ends_with("  greet\n"));
    assert!(place.read("out/release/servers/west/releases/1.4.0/greet").contains("\nVERSION=1.4.0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otherwise_every_server_has_what_it_had() {
    type Row = (&'static str, Act, &'static str, Status, &'static str);
    let table: [Row; 5] = [
        ("", no(), "2 days", Status::Completed, "bob refused: not on a Friday"),
        ("", Act::Nothing, "20ms", Status::Completed, "nobody decided within 20ms"),
        ("north", yes(), "2 days", Status::Failed, "north: no room left"),
        ("west", yes(), "2 days", Status::Failed, "west: no room left"),
        ("", Act::CancelAt("waiting for approval"), "2 days", Status::Cancelled, ""),
    ];
    for (full, act, patience, status, message) in table {
        let what = format!("{full:?} {patience} {message:?}");
        let place = Place::new().await;
        place.run("release", "before", &version("1.3.0"), yes()).await;
        if !full.is_empty() {
            fs::write(place.path("out/release/servers").join(full).join("full"), "").unwrap();
        }
        let input = json!({ "version": "1.4.0", "patience": patience });
        let ended = place.run("release", "r", &input, act).await;
        assert_eq!(ended.view.status, status, "{what}: {:?}", ended.view.error);
        match ended.view.error {
            Some(error) => assert!(error.to_string().contains(message), "{what}: {error}"),
            None if status == Status::Completed => {
                let wanted = json!({ "status": "rolled back", "version": "1.4.0", "why": message });
                assert_eq!(ended.view.output, wanted);
            }
            None => {}
        }
        assert_eq!(current(&place), ["1.3.0"; 3], "{what}");
        // The canary had it, the others only where somebody said yes.
        assert_eq!(server(&place, "north").1, ["1.3.0", "1.4.0", "1.3.0"], "{what}");
        let others = if full == "west" { &["1.3.0", "1.4.0", "1.3.0"][..] } else { &["1.3.0"] };
        assert_eq!(server(&place, "west").1, others, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_fail_their_tests_go_nowhere() {
    let place = Place::new().await;
    let greet = place.path("scripts/release/app/greet.sh");
    let source = fs::read_to_string(&greet).unwrap();
    fs::write(&greet, source.replace("Hello", "Hallo")).unwrap();
    let ended = place.run("release", "r", &version("1.4.0"), yes()).await;
    let error = ended.view.error.unwrap().to_string();
    assert!(error.contains("greet Ada says \"Hallo, Ada!\", expected \"Hello, Ada!\""), "{error}");
    assert!(!place.path("out/release/servers").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_host_dies_it_ends_the_same() {
    for (act, end) in [(yes(), "1.4.0"), (no(), "1.3.0")] {
        let calm = Place::new().await;
        calm.run("release", "before", &version("1.3.0"), yes()).await;
        let calm = calm.run("release", "r", &version("1.4.0"), act.clone()).await;
        let mut crashes = 0;
        for write in (1..=calm.writes).step_by(2) {
            let fault = if write % 4 == 1 { Fault::After(write) } else { Fault::Before(write) };
            let place = Place::new().await;
            place.run("release", "before", &version("1.3.0"), yes()).await;
            let ended = place.run_with(&[fault], "release", "r", &version("1.4.0"), act.clone()).await;
            assert_eq!(ended.view.output, calm.view.output, "{fault:?}: {:?}", ended.view.error);
            assert_eq!(current(&place), [end; 3], "{fault:?}");
            crashes += ended.crashes;
        }
        assert!(crashes >= 4, "{crashes}");
    }
}
