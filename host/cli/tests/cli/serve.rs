//! `durhai serve`, and the other commands through it.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::folder::Folder;

#[test]
fn everything_over_http() {
    let folder = Folder::new();
    let (mut host, first) = folder.serve(&[]);
    assert!(first["address"].as_str().expect("an address").starts_with("http://127.0.0.1:"));

    let start = ["start", "gate", "--id", "a/b:1", "--tag", "k=v"];
    assert_eq!(folder.durhai(&start).is(0).stdout, "a/b:1\n");
    assert_eq!(folder.durhai(&start).is(0).stdout, "a/b:1\n");
    folder.durhai(&["start", "echo", "--id", "a/b:1"]).is(2).says("a/b:1");
    folder.durhai(&["start", "nope"]).is(3).says("nope");
    folder.durhai(&["start", "broken"]).is(2).says("^");

    let listed = folder.durhai(&["list", "--tag", "k=v", "--json"]).is(0).json();
    assert_eq!(listed["runs"].as_array().expect("a list").len(), 1);
    assert!(folder.durhai(&["list", "--workflow", "gate"]).is(0).stdout.starts_with("a/b:1  gate"));
    assert_eq!(folder.durhai(&["list", "--status", "failed"]).is(0).says("no runs").stdout, "");

    folder.durhai(&["run", "echo"]).is(4).says("durhai start NAME --wait");
    folder.durhai(&["signal", "a/b:1", "go", "3", "--id", "s"]).is(0);
    folder.durhai(&["events", "a/b:1", "--follow"]).is(0);
    host.json(|line| line["event"] == "run" && line["run"] == "a/b:1" && line["status"] == "completed");
    let run = folder.durhai(&["show", "a/b:1", "--json"]).is(0).json();
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("went 3")));
    assert!(folder.durhai(&["logs", "a/b:1"]).is(0).stdout.ends_with("asking\n"));
    folder.durhai(&["signal", "a/b:1", "go", "4"]).is(2).says("has ended");

    let waited = folder.durhai(&["start", "echo", "--input", "5", "--wait"]).is(0);
    assert_eq!(waited.stdout, "5\n");
    folder.durhai(&["start", "throws", "--wait"]).is(1).says("no luck");

    folder.durhai(&["start", "nap", "--id", "n"]).is(0);
    folder.durhai(&["cancel", "n", "--reason", "enough"]).is(0);
    let events = folder.durhai(&["events", "n", "--follow", "--json"]).is(0).rows();
    assert_eq!(events.last().expect("events")["type"], "run_cancelled");
    folder.durhai(&["start", "nap", "--id", "m"]).is(0);
    folder.durhai(&["terminate", "m"]).is(0);
    folder.durhai(&["events", "m", "--follow"]).is(0);
    let again = folder.durhai(&["retry", "n"]).is(0).stdout.trim().to_string();
    assert_ne!(again, "n");
    folder.durhai(&["delete", &again]).is(2);
    folder.durhai(&["delete", "n", "m", "none"]).is(3).says("none");
    folder.durhai(&["show", "n"]).is(3);
    folder.durhai(&["doctor"]).is(0);

    host.signal("-TERM");
    let ended = host.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!folder.path().join(".durhai/host.json").exists());
}

#[test]
fn a_save_is_picked_up_and_a_bad_one_shown() {
    let folder = Folder::new();
    let (mut host, _) = folder.serve(&[]);
    folder.script("echo", "\"new\"");
    host.json(|line| line["event"] == "loaded" && line["workflow"] == "echo");
    assert_eq!(folder.durhai(&["start", "echo", "--wait"]).is(0).stdout, "\"new\"\n");
    folder.script("echo", "let = ;");
    let report = host.json(|line| line["event"] == "broken" && line["workflow"] == "echo");
    assert!(report["error"].as_str().expect("an error").contains('^'), "{report}");
    assert_eq!(folder.durhai(&["start", "echo", "--wait"]).is(0).stdout, "\"new\"\n");
}

#[test]
fn a_token_opens_and_its_absence_does_not() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("token"), "s3cret\n").expect("a file");
    let (host, first) = folder.serve(&["--token-file", "token"]);
    folder.durhai(&["start", "echo", "--id", "e", "--wait"]).is(0);
    let mut wrong = folder.command(&["list"]);
    let wrong = wrong.env("DURHAI_TOKEN", "guess").output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(4));
    let address = first["address"].as_str().expect("an address").trim_start_matches("http://").to_string();
    let mut bare = TcpStream::connect(&address).expect("a connection");
    write!(bare, "GET /api/v1/runs HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("sent");
    let answer = std::io::read_to_string(bare).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    drop(host);

    folder.durhai(&["serve", "--listen", "0.0.0.0:0"]).is(2).says("--token-file");
    std::fs::write(folder.path().join("token"), "\n").expect("a file");
    folder.durhai(&["serve", "--token-file", "token"]).is(2).says("empty");
}

#[test]
fn what_keeps_a_host_from_serving() {
    let folder = Folder::new();
    let (_host, first) = folder.serve(&[]);
    let address = first["address"].as_str().expect("an address").trim_start_matches("http://").to_string();
    folder.durhai(&["serve", "--listen", &address, "--data", "other"]).is(4).says("in use");
    folder.durhai(&["serve", "--listen", "127.0.0.1:0"]).is(4).says("durhai host");
    folder.durhai(&["serve", "--listen", "nonsense"]).is(2).says("127.0.0.1:7788");
    folder
        .durhai(&["serve", "--listen", "127.0.0.1:0", "--data", "other", "--store", "paper:"])
        .is(2)
        .says("sled:PATH");
    folder.durhai(&["serve", "nowhere"]).is(3).says("nowhere");
}

#[test]
fn a_run_in_the_foreground_answers_too() {
    let folder = Folder::new();
    let mut going = folder.going(&["run", "gate", "--id", "g", "--json"]);
    going.json(|event| event["type"] == "run_started");
    assert!(folder.durhai(&["list"]).is(0).stdout.starts_with("g  gate"));
    folder.durhai(&["run", "echo"]).is(4).says("A `durhai run` (process");
    folder.durhai(&["start", "echo", "--wait"]).is(4).says("durhai run");
    let left = folder.durhai(&["start", "echo", "--id", "later"]).is(0).says("begins when one does");
    assert_eq!(left.stdout, "later\n");
    folder.durhai(&["signal", "g", "go", "1"]).is(0);
    assert_eq!(going.json(|row| row["status"] == "completed")["output"], "went 1");
    assert_eq!(going.wait().code, Some(0));
    assert_eq!(folder.durhai(&["show", "later", "--json"]).is(0).json()["status"], "pending");
}
