//! Schedules, and runs that are removed: the same against a host and against the store.

use serde_json::{Value, json};

use crate::folder::Folder;

const YEARLY: &str = "const WORKFLOW = #{ schedule: #{ cron: \"0 9 1 1 *\", timezone: \"Europe/Berlin\" } };\n\"done\"";

fn ids(listing: &Value) -> Vec<&str> {
    listing["runs"].as_array().expect("runs").iter().map(|run| run["id"].as_str().expect("an id")).collect()
}

#[test]
fn a_schedule_is_shown_paused_resumed_and_triggered() {
    let folder = Folder::new();
    folder.script("yearly", YEARLY);
    let (_host, _) = folder.serve(&[]);
    let listed = folder.durhai(&["schedules"]).is(0).stdout;
    for part in ["yearly", "0 9 1 1 *", "Europe/Berlin", "-01-01T08:00:00", "due in"] {
        assert!(listed.contains(part), "no {part:?} in {listed}");
    }
    assert!(folder.durhai(&["workflows"]).is(0).stdout.contains("0 9 1 1 * Europe/Berlin"));

    assert_eq!(folder.durhai(&["schedules", "pause", "yearly"]).is(0).stdout, "yearly: paused\n");
    let all = folder.durhai(&["schedules", "--json"]).is(0).json();
    assert_eq!((&all["schedules"][0]["paused"], &all["schedules"][0]["next"]), (&json!(true), &json!(null)));
    let id = folder.durhai(&["schedules", "trigger", "yearly"]).is(0).stdout.trim().to_string();
    folder.durhai(&["events", &id, "--follow"]).is(0);
    assert_eq!(folder.durhai(&["show", &id, "--json"]).is(0).json()["output"], "done");
    let view = folder.durhai(&["schedules", "resume", "yearly", "--json"]).is(0).json();
    assert_eq!(view["paused"], false);
    assert!(view["next"].is_u64(), "{view}");
    folder.durhai(&["schedules", "pause", "yaerly"]).is(3).says("yearly");
    folder.durhai(&["schedules", "trigger", "echo"]).is(3).says("yearly");
}

#[test]
fn a_store_without_a_host_has_schedules_too() {
    let folder = Folder::new();
    folder.durhai(&["run", "echo", "-q"]).is(0);
    assert_eq!(folder.durhai(&["schedules"]).is(0).says("no workflow has a schedule").stdout, "");
    folder.script("yearly", YEARLY);
    assert!(folder.durhai(&["schedules"]).is(0).stdout.contains("yearly"));
    folder.durhai(&["schedules", "pause", "yearly"]).is(0);
    folder.durhai(&["schedules", "trigger", "yearly"]).is(4).says("durhai serve");
    let (_host, _) = folder.serve(&[]);
    assert!(folder.durhai(&["schedules"]).is(0).stdout.contains("paused"), "a host keeps to it");
}

#[test]
fn runs_that_ended_are_removed_and_others_stay() {
    for served in [true, false] {
        let folder = Folder::new();
        let host = served.then(|| folder.serve(&[]));
        for (workflow, id, code) in [("echo", "a", 0), ("echo", "b", 0), ("throws", "c", 1)] {
            folder.durhai(&["start", workflow, "--id", id, "--wait"]).is(code);
        }
        folder.durhai(&["start", "nap", "--id", "live"]).is(0);
        folder.durhai(&["purge"]).is(2).says("--all");
        folder.durhai(&["purge", "--older-than", "1h"]).is(0);
        assert_eq!(ids(&folder.durhai(&["list", "--json"]).is(0).json()), ["live", "c", "b", "a"]);
        let done = folder.durhai(&["purge", "--status", "failed", "--json"]).is(0).json();
        assert_eq!(done["runs"], 1);
        assert_eq!(ids(&folder.durhai(&["list", "--json"]).is(0).json()), ["live", "b", "a"]);
        assert!(folder.durhai(&["purge", "--workflow", "gate"]).is(0).stdout.starts_with("0 runs"));
        assert!(folder.durhai(&["purge", "--all"]).is(0).stdout.starts_with("2 runs"));
        assert_eq!(ids(&folder.durhai(&["list", "--json"]).is(0).json()), ["live"]);
        drop(host);
    }
}
