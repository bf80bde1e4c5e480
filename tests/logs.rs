//! Logs as they were written once, kept for ever: every later version must read and replay them.
//!
//! `logs/NAME.jsonl` is the log of a run of `logs/NAME.rhai`, one event a line, exactly the bytes that were stored behind
//! the format's number. Never edit one. A new format gets new samples beside these; `DURHAI_BLESS=1` makes the log of a
//! script that has none yet.

use std::fs;
use std::path::{Path, PathBuf};

use durhai::{Event, EventBody, Limits, Value};
use durhai_core::legal::LogCheck;
use durhai_core::replay::Verdict;
use durhai_core::{Replay, wire};

use crate::scenarios::log_of;
use crate::scenarios::replayer::Replayer;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = files.filter_map(|name| name.strip_suffix(".rhai").map(ToOwned::to_owned)).collect();
    names.sort();
    names
}

fn stored(name: &str) -> Vec<u8> {
    let lines =
        fs::read(folder().join(format!("{name}.jsonl"))).unwrap_or_else(|error| panic!("{name}.jsonl: {error}"));
    [&[1], &*lines].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_has_a_log() {
    for name in names() {
        let path = folder().join(format!("{name}.jsonl"));
        if !path.exists() && std::env::var_os("DURHAI_BLESS").is_some() {
            let script = fs::read_to_string(folder().join(format!("{name}.rhai"))).unwrap();
            fs::write(&path, &wire::encode(&log_of(&name, &script).await)[1..]).unwrap();
        }
        assert!(path.exists(), "{} is missing: DURHAI_BLESS=1 makes it", path.display());
    }
}

#[test]
fn every_log_is_read_is_legal_and_replays() {
    let names = names();
    assert!(names.len() >= 6, "{names:?}");
    let mut kinds = std::collections::BTreeSet::new();
    for name in names {
        let script = fs::read_to_string(folder().join(format!("{name}.rhai"))).unwrap();
        let bytes = stored(&name);
        let mut events: Vec<Event> = Vec::new();
        wire::decode(&bytes, &mut events).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(wire::encode(&events) == bytes, "{name}: written again, it is something else");
        let mut check = LogCheck::default();
        events.iter().try_for_each(|event| check.next(event)).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        kinds.extend(events.iter().map(|event| event.body.name()));

        // They were written before there were editions.
        let replayer = Replayer::of_edition(1, "flow", &script).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let execution = replayer.replay(events.clone());
        let last = events.last().unwrap().body.clone();
        match execution.replay().verdict() {
            Some(Verdict::Ended(body)) => assert_eq!(*body, last, "{name}"),
            Some(Verdict::Diverged(divergence)) => panic!("{name}: {divergence}"),
            None => assert!(!last.is_terminal(), "{name}: the log ends, the script does not"),
        }
        replayer.every_prefix(&events, &name);
    }
    // The kinds that this version writes.
    let written = [
        "cancel_requested",
        "child_completed",
        "child_failed",
        "child_started",
        "hook_closed",
        "hook_conflict",
        "hook_opened",
        "hook_received",
        "resumed",
        "run_cancelled",
        "run_completed",
        "run_continued",
        "run_created",
        "run_failed",
        "run_started",
        "signal_received",
        "step_completed",
        "step_failed",
        "step_retrying",
        "step_started",
        "suspended",
        "timer_fired",
        "timer_started",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), written, "every kind of event is in some sample");
}

#[test]
fn what_newer_versions_add_is_ignored_and_what_is_unknown_is_refused() {
    let with = |json: &str| wire::read(json.as_bytes());
    let event = with(r#"{"seq":3,"at":5,"type":"timer_fired","step_id":"1","new_field":{"a":[1]}}"#).unwrap();
    assert_eq!(event.body, EventBody::TimerFired);
    let unknown = with(r#"{"seq":3,"at":5,"type":"timer_melted","step_id":"1"}"#).unwrap_err();
    assert!(unknown.to_string().contains("\"timer_melted\" is no type of event"), "{unknown}");
    let missing = with(r#"{"seq":3,"at":5,"type":"timer_started","step_id":"1"}"#).unwrap_err();
    assert!(missing.to_string().contains("wake_at"), "{missing}");
    let mut events = Vec::new();
    let newer = wire::decode(&[9, b'{', b'}'], &mut events).unwrap_err();
    assert!(newer.to_string().contains("format 9"), "{newer}");
    let null = with(r#"{"seq":3,"at":5,"type":"step_completed","step_id":"1","output":null}"#).unwrap();
    assert_eq!(null.body, EventBody::StepCompleted { output: Value::Null.into() });
}

/// A sample with one event edited is found out, and nothing else happens.
#[test]
fn an_edited_log_is_found_out() {
    let mut events = Vec::new();
    wire::decode(&stored("order"), &mut events).unwrap();
    let script = fs::read_to_string(folder().join("order.rhai")).unwrap();
    let replayer = Replayer::new("flow", &script);
    for cut in 1..events.len() - 1 {
        let mut broken = events.clone();
        broken.remove(cut);
        assert!(Replay::new(broken.clone(), Limits::default()).is_err(), "event {} is missing", cut + 1);
        for (seq, event) in (1..).zip(&mut broken) {
            event.seq = seq;
        }
        // Numbered anew, it is either not legal or does not fit the script.
        if let Ok(replay) = Replay::new(broken.clone(), Limits::default()) {
            drop(replay);
            let execution = replayer.replay(broken);
            let verdict = execution.replay().verdict();
            assert!(matches!(verdict, Some(Verdict::Diverged(_))), "without event {}: {verdict:?}", cut + 1);
        }
    }
}
