//! Runs that are stopped in the middle, and go on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::folder::Folder;

#[test]
fn ctrl_c_leaves_the_run_and_says_how_to_go_on() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let mut going = folder.going(&["run", "gate", "--id", "g", "--json"]);
        going.json(|event| event["type"] == "run_started");
        going.signal(signal);
        let ended = going.wait();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stderr.contains("durhai run gate --id g"), "{ended:?}");
        assert!(!folder.path().join(".durhai/host.json").exists());

        let shown = folder.durhai(&["show", "g"]).is(0);
        assert!(shown.stdout.contains("waiting") && shown.stdout.contains("durhai run gate --id g"), "{shown:?}");
        folder.durhai(&["signal", "g", "go", "1"]).is(0).says("the run sees it when a host runs");
        assert_eq!(folder.durhai(&["run", "gate", "--id", "g"]).is(0).says("goes on").stdout, "\"went 1\"\n");
    }
}

#[test]
fn killed_at_any_event_the_same_command_goes_on() {
    let folder = Folder::new();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let input = |path: &str| json!({ "path": path, "n": 12 }).to_string();
    let run = |id: &str, path: &str| -> Vec<String> {
        let words = ["run", "journal", "--json", "--id", id, "--allow-write=.", "--input", &input(path)];
        words.map(String::from).to_vec()
    };
    let calm = run("calm", &file("calm"));
    let calm = folder.durhai(&calm.iter().map(String::as_str).collect::<Vec<_>>()).is(0);
    let calm = calm.rows().pop().expect("the run");

    let path = file("journal");
    let words = run("killed", &path);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut kills = 0;
    let last = loop {
        let mut going = folder.going(&words);
        // Each time a little further; some kills hit a step, some a commit, some the parallel end.
        let Some(seen) = going.lines.by_ref().take(1 + kills % 4).last() else {
            panic!("after {kills} kills it says nothing: {:?}", going.wait());
        };
        let seen = seen.expect("text");
        going.child.kill().expect("killed");
        drop(going);
        kills += 1;
        let row: serde_json::Value = serde_json::from_str(&seen).expect("a JSON line");
        if row["status"] == "completed" {
            break row;
        }
        assert!(kills < 200, "it gets nowhere");
    };
    assert!(kills > 5);
    assert_eq!(last["output"], calm["output"]);

    let events = folder.durhai(&["events", "killed", "--json"]).is(0).rows();
    let completed: Vec<_> = events.iter().filter(|event| event["type"] == "step_completed").collect();
    let mut ids: Vec<_> = completed.iter().map(|event| event["step_id"].as_str().expect("an id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), completed.len(), "no completed step was repeated");
    let notes = std::fs::read_to_string(&path).expect("a journal");
    for line in (0..12).chain([1000]) {
        assert!(notes.lines().any(|note| note == line.to_string()), "step {line} left no trace");
    }
    folder.durhai(&["doctor"]).is(0);
}

#[test]
fn killed_again_and_again_without_getting_further_the_same_command_still_goes_on() {
    let folder = Folder::new();
    for _ in 0..14 {
        let mut command = folder.command(&["run", "gate", "--id", "g"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let begun = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("run g of gate")));
        assert!(begun.is_some(), "{child:?}");
        child.kill().expect("killed");
        child.wait().expect("it ended");
    }
    folder.durhai(&["signal", "g", "go", "1"]).is(0);
    assert_eq!(folder.durhai(&["run", "gate", "--id", "g"]).is(0).stdout, "\"went 1\"\n");
}

#[test]
fn a_killed_host_leaves_nothing_in_the_way() {
    let folder = Folder::new();
    let (mut host, _) = folder.serve(&[]);
    let id = folder.durhai(&["start", "gate"]).is(0).stdout.trim().to_string();
    host.child.kill().expect("killed");
    host.child.wait().expect("it ended");
    assert!(folder.path().join(".durhai/host.json").exists(), "nobody took it away");
    let listed = folder.durhai(&["list", "--json"]).is(0).json();
    assert_eq!(listed["runs"][0]["id"], id.as_str());
    folder.durhai(&["signal", &id, "go", "2"]).is(0);

    // The next host takes the run up by itself.
    let (_host, _) = folder.serve(&[]);
    let ended = folder.durhai(&["events", &id, "--follow", "--json"]).is(0).rows();
    assert_eq!(ended.last().expect("events")["output"], "went 2");
}
