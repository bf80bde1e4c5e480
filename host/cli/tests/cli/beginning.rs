//! Commands while a host begins, ends, or was killed, and commands beside each other: none is sent away from a store that
//! somebody has for a moment.

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::folder::Folder;

/// A port that nobody has.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string()
}

/// A folder whose host takes its time to begin.
fn large() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("scripts/many")).expect("a folder");
    (0..150).for_each(|n| folder.script(&format!("many/w{n}"), "let x = 1;\nx + input"));
    folder
}

#[test]
fn a_command_right_after_a_host_listens_reaches_it() {
    for store in [None, Some("memory:")] {
        let folder = large();
        let address = free();
        let mut args = vec!["serve", "--json", "--listen", &address];
        args.extend(store.iter().flat_map(|store| ["--store", store]));
        let mut serving = folder.going(&args);
        // Whoever connects may ask.
        while TcpStream::connect(&address).is_err() {
            sleep(Duration::from_millis(1));
        }
        let all: Vec<_> =
            [&["list"][..], &["start", "echo", "--id", "a"], &["start", "echo", "--wait"], &["workflows"]]
                .into_iter()
                .map(|args| {
                    folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
                })
                .collect();
        for child in all {
            let ended = child.wait_with_output().expect("it ends");
            assert_eq!(ended.status.code(), Some(0), "{store:?} {ended:?}");
        }
        folder.durhai(&["show", "a"]).is(0);
        serving.json(|line| line["event"] == "serving");
    }
}

#[test]
fn commands_while_a_host_begins_and_ends_are_done_by_it_or_beside_it() {
    let folder = large();
    folder.durhai(&["run", "echo", "-q"]).is(0);
    for round in 0..3 {
        let mut serving = folder.going(&["serve", "--json", "--listen", "127.0.0.1:0"]);
        // From before it has the store until it answers.
        for n in 0..4 {
            let id = format!("r{round}-{n}");
            folder.durhai(&["start", "echo", "--id", &id]).is(0);
            folder.durhai(&["list"]).is(0);
        }
        serving.json(|line| line["event"] == "serving");
        serving.signal("-TERM");
        folder.durhai(&["list"]).is(0);
        folder.durhai(&["start", "echo", "--id", &format!("after{round}")]).is(0);
        assert!(serving.child.wait().expect("it ends").success());
    }
}

#[test]
fn the_address_of_a_killed_host_keeps_nobody_waiting() {
    let folder = Folder::new();
    let (mut serving, _) = folder.serve(&[]);
    serving.child.kill().expect("killed");
    serving.child.wait().expect("it ends");
    assert!(folder.path().join(".durhai/host.json").is_file());
    folder.durhai(&["start", "echo", "--id", "a"]).is(0).says("No host serves");
    folder.durhai(&["list"]).is(0);
}

#[test]
fn commands_beside_each_other_wait_for_the_store() {
    let folder = Folder::new();
    folder.durhai(&["run", "echo", "--id", "r", "-q"]).is(0);
    let all: Vec<_> = (0..12)
        .map(|n| {
            let id = format!("n{n}");
            let args = if n % 2 == 0 { vec!["start", "echo", "--id", &id] } else { vec!["show", "r"] };
            folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for child in all {
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
}

#[test]
fn what_is_granted_to_a_start_that_a_host_makes_is_said_to_have_no_effect() {
    let folder = Folder::new();
    let started = folder.durhai(&["start", "echo", "--allow-net=a.example:443"]).is(0);
    started.says("--allow-net=a.example:443 has no effect");
    let (_serving, _) = folder.serve(&[]);
    for args in [&["start", "echo", "-A"][..], &["start", "echo", "--wait", "-A"]] {
        folder.durhai(args).is(0).says("-A has no effect");
    }
    let plain = folder.durhai(&["start", "echo"]).is(0);
    assert!(!plain.stderr.contains("no effect"), "{plain:?}");
}
