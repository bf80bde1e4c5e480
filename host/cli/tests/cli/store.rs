//! The other commands on a store that no host serves.

use serde_json::json;

use crate::folder::Folder;

#[test]
fn a_start_waits_for_a_host() {
    let folder = Folder::new();
    let said = "No host serves this folder";
    assert_eq!(folder.durhai(&["start", "echo", "--id", "e", "--input", "1"]).is(0).says(said).stdout, "e\n");
    assert_eq!(folder.durhai(&["show", "e", "--json"]).is(0).json()["status"], "pending");
    let (_host, _) = folder.serve(&[]);
    folder.durhai(&["events", "e", "--follow"]).is(0);
    assert_eq!(folder.durhai(&["show", "e", "--json"]).is(0).json()["output"], 1);
}

#[test]
fn start_and_wait_runs_it_here() {
    let folder = Folder::new();
    assert_eq!(folder.durhai(&["start", "echo", "--input", "1", "--wait"]).is(0).stdout, "1\n");
    folder.durhai(&["start", "throws", "--wait"]).is(1);
    folder.durhai(&["start", "ecko", "--wait"]).is(3).says("did you mean echo?");
    folder.durhai(&["start", "broken"]).is(2).says("^");
}

#[test]
fn looking_and_doing() {
    let folder = Folder::new();
    let mut going = folder.going(&["run", "gate", "--id", "g", "--json"]);
    going.json(|event| event["type"] == "run_started");
    going.signal("-INT");
    assert_eq!(going.wait().code, Some(130));

    assert!(folder.durhai(&["list"]).is(0).stdout.starts_with("g  gate  waiting"));
    assert_eq!(folder.durhai(&["events", "g", "--json", "--from", "2"]).is(0).rows()[0]["type"], "run_started");
    folder.durhai(&["events", "g", "--follow"]).is(0).says("No host serves");
    assert_eq!(folder.durhai(&["logs", "g", "--json"]).is(0).rows()[0]["message"], "asking");
    folder.durhai(&["delete", "g"]).is(2).says("has not ended");
    folder.durhai(&["unpark", "g"]).is(2).says("not parked");
    folder.durhai(&["cancel", "g", "--reason", "enough"]).is(0).says("the run sees it when a host runs");
    folder.durhai(&["run", "gate", "--id", "g"]).is(1).says("was cancelled: enough");
    let shown = folder.durhai(&["show", "g", "--json"]).is(0).json();
    assert_eq!(shown["status"], "cancelled");
    assert_eq!(folder.durhai(&["delete", "g", "--json"]).is(0).json(), json!({ "deleted": ["g"] }));
    folder.durhai(&["show", "g"]).is(3);
}

#[test]
fn a_failed_run_is_shown_with_its_place_and_tried_again() {
    let folder = Folder::new();
    folder.durhai(&["run", "fails", "--id", "f"]).is(1);
    let shown = folder.durhai(&["show", "f"]).is(0);
    for part in ["failed", "no_such_function", "fails.rhai:2:3", "x.no_such_function()", "  ^", "durhai retry f"] {
        assert!(shown.stdout.contains(part), "no {part:?} in {}", shown.stdout);
    }
    folder.script("fails", "let x = use_step(\"t.echo\", 1);\nx + 1");
    let again = folder.durhai(&["retry", "f"]).is(0).says("the run sees it").stdout.trim().to_string();
    let (_host, _) = folder.serve(&[]);
    folder.durhai(&["events", &again, "--follow"]).is(0);
    let view = folder.durhai(&["show", &again, "--json"]).is(0).json();
    assert_eq!((&view["origin"]["run"], &view["retry_of"], again.as_str()), (&json!("f"), &json!("f"), "f@2"));
    // Asked again, through the host, it is the same run; each names the other.
    let same = folder.durhai(&["retry", "f"]).is(0).says("run f is tried again by run f@2, which is completed");
    assert_eq!(same.stdout.trim(), "f@2");
    assert!(folder.durhai(&["show", "f"]).is(0).stdout.contains("tried again  as f@2"));
    assert!(folder.durhai(&["show", "f@2"]).is(0).stdout.contains("tries again  f"));
}

#[test]
fn a_pending_run_is_shown_with_what_it_waits_for() {
    let folder = Folder::new();
    folder.script("one", "const WORKFLOW = #{ concurrency: 1 }; wait_for(\"go\")");
    for id in ["a", "b", "c"] {
        folder.durhai(&["start", "one", "--id", id]).is(0);
    }
    folder.durhai(&["start", "one", "--id", "later", "--delay", "1h"]).is(0);
    let (_host, _) = folder.serve(&[]);
    let shown = folder.durhai(&["show", "c"]).is(0).stdout;
    assert!(
        shown.contains("waits for   a place of \"one\" (concurrency 1); 1 run is before it\n            inside: a\n"),
        "{shown}"
    );
    let shown = folder.durhai(&["show", "later"]).is(0).stdout;
    assert!(shown.contains("begins      ") && shown.contains("(in "), "{shown}");
}

#[test]
fn pages_of_a_long_list() {
    let folder = Folder::new();
    for n in 0..5 {
        folder.durhai(&["start", "echo", "--id", &format!("r{n}")]).is(0);
    }
    let page = folder.durhai(&["list", "--json", "--limit", "2"]).is(0).json();
    let next = page["next"].as_str().expect("there are more").to_string();
    let second = folder.durhai(&["list", "--json", "--limit", "2", "--cursor", &next]).is(0).json();
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["runs"].as_array().expect("runs").iter().map(|run| run["id"].as_str().expect("an id").into()).collect()
    };
    assert_eq!([ids(&page), ids(&second)].concat(), ["r4", "r3", "r2", "r1"]);
    let all = folder.durhai(&["list", "--json", "--limit", "2", "--all"]).is(0).json();
    assert_eq!(ids(&all), ["r4", "r3", "r2", "r1", "r0"]);
    assert_eq!(all["next"], json!(null));
    assert_eq!(folder.durhai(&["list"]).is(0).stdout.lines().count(), 5);
    folder.durhai(&["list", "--until", "1h"]).is(0).says("no runs");
    folder.durhai(&["list", "--cursor", "nonsense"]).is(2);
}

/// Standard output holds the file and nothing else; a file that cannot be put in its place leaves nothing behind.
#[test]
fn where_files_go() {
    let folder = Folder::new();
    folder.durhai(&["run", "echo", "--id", "e", "-q"]).is(0);
    for command in [&["export", "e"][..], &["backup"]] {
        for more in [&[][..], &["-o", "-"], &["--json"], &["--json", "-o", "-"]] {
            let ended = folder.durhai(&[command, more].concat()).is(0);
            let last = ended.rows().pop().expect("lines");
            assert_eq!((&last["type"], &*ended.stderr), (&json!("end"), ""), "{command:?} {more:?}");
        }
        let told = folder.durhai(&[command, &["-o", "file.ndjson"]].concat()).is(0).says("file.ndjson written");
        assert_eq!(told.stdout, "");
        std::fs::create_dir_all(folder.path().join("taken/inside")).expect("a folder");
        folder.durhai(&[command, &["-o", "taken"]].concat()).is(2).says("taken cannot be written");
        assert!(!folder.path().join("taken.part").exists());
        folder.durhai(&["export", "nobody", "-o", "none.ndjson"]).is(3);
        assert!(!folder.path().join("none.ndjson.part").exists());
    }
}

#[test]
fn a_part_of_a_store_is_copied() {
    let folder = Folder::new();
    folder.script("family", "run_workflow(\"echo\", input)");
    folder.durhai(&["run", "family", "--id", "f", "--input", "7", "--tag", "team=blue"]).is(0);
    folder.durhai(&["run", "echo", "--id", "e", "--input", "8"]).is(0);
    folder.durhai(&["run", "fails", "--id", "x"]).is(1);
    let store =
        folder.durhai(&["store", "status", "--json"]).is(0).json()["store"].as_str().expect("a path").to_owned();
    let from = format!("sled:{store}");
    let ids = |store: &str| {
        let listed = folder.durhai(&["--store", store, "list", "--json"]).is(0).json();
        let mut ids: Vec<_> = listed["runs"]
            .as_array()
            .expect("runs")
            .iter()
            .map(|run| run["id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&from).len(), 4);
    for (number, (only, found)) in [
        (&["--workflow", "family"][..], &["f", "f:1"][..]),
        (&["--tag", "team=blue"], &["f", "f:1"]),
        (&["--status", "failed"], &["x"]),
        (&["--status", "failed", "--workflow", "echo"], &[]),
        (&["--since", "2999-01-01T00:00:00Z"], &[]),
        (&[], &["e", "f", "f:1", "x"]),
    ]
    .into_iter()
    .enumerate()
    {
        let to = format!("sled:part{number}");
        let copied = folder.durhai(&[&["store", "copy", &from, &to], only].concat());
        if found.is_empty() {
            copied.is(3).says("no run matches");
            assert!(!folder.path().join(format!("part{number}")).exists());
            continue;
        }
        assert!(copied.is(0).stdout.starts_with(&format!("{} run", found.len())), "{only:?}");
        let there = ids(&to);
        assert_eq!(there.len(), found.len(), "{there:?}");
        assert!(there.iter().zip(found).all(|(id, begins)| id.starts_with(begins)), "{there:?} {found:?}");
    }
    assert_eq!(folder.durhai(&["--store", "sled:part0", "show", "f", "--json"]).is(0).json()["output"], 7);
    folder.durhai(&["store", "copy", &from, "sled:part0"]).is(2).says("is not empty");
}
