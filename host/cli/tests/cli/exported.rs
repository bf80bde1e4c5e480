//! A file with a run wherever a run is named.

use crate::folder::Folder;

#[test]
fn a_file_is_looked_at_like_a_run_and_needs_no_store() {
    let made = Folder::new();
    made.durhai(&["run", "echo", "--id", "r", "-q", "--input", "3"]).is(0);
    made.durhai(&["run", "echo", "--id", "s", "-q", "--input", "4"]).is(0);
    let elsewhere = Folder::new();
    for (run, file) in [("r", "run.export"), ("s", "plain")] {
        let to = elsewhere.path().join(file);
        made.durhai(&["export", run, "-o", to.to_str().expect("a path")]).is(0);
    }
    assert!(elsewhere.durhai(&["replay", "run.export"]).is(0).stdout.contains("completed"));
    assert!(elsewhere.durhai(&["replay", "run.export", "--trace"]).is(0).stdout.contains("echo"));
    assert_eq!(elsewhere.durhai(&["show", "--json", "run.export"]).is(0).json()["id"], "r");
    assert!(elsewhere.durhai(&["events", "run.export"]).is(0).stdout.contains("step_completed"));
    assert!(elsewhere.durhai(&["logs", "plain"]).is(0).stdout.contains("got 4"));
    elsewhere.durhai(&["output", "run.export"]).is(0);
    assert!(elsewhere.durhai(&["graph", "--run", "run.export"]).is(0).stdout.contains("t.echo"));
    elsewhere.durhai(&["diff", "run.export", "run.export"]).is(0);
    elsewhere.durhai(&["diff", "run.export", "plain"]).is(1);
    assert!(!elsewhere.path().join(".durhai").exists(), "nothing was made");
    // Beside a run of the store, of whoever has it.
    elsewhere.durhai(&["run", "echo", "--id", "t", "-q", "--input", "3"]).is(0);
    elsewhere.durhai(&["diff", "t", "run.export"]).is(0);
    // A fork lives in the store, and so does what it is made of from there on.
    let fork = |id: &str| ["fork", "run.export", "--at", "1", "--id", id].map(ToOwned::to_owned);
    let args = fork("f");
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    elsewhere.durhai(&words).is(0).says("Run r was brought in from run.export");
    elsewhere.durhai(&words).is(0).says("in the store already");
    assert_eq!(elsewhere.durhai(&["run", "echo", "--id", "f", "-q"]).is(0).stdout, "3\n");
    // Other files, and runs that are none.
    elsewhere.durhai(&["replay", "none.export"]).is(3);
    std::fs::write(elsewhere.path().join("other.ndjson"), "{}").expect("written");
    elsewhere.durhai(&["replay", "other.ndjson"]).is(2).says("no exported run");
}
