//! `durhai run`: outputs, exit codes, and runs that are there already.

use serde_json::json;

use crate::folder::Folder;

#[test]
fn the_output_is_on_standard_output_and_nothing_else() {
    let folder = Folder::new();
    let ended = folder.durhai(&["run", "echo", "--input", r#"{"a":[1,2.5,"x"]}"#, "--id", "one"]).is(0);
    assert_eq!(ended.stdout, "{\"a\":[1,2.5,\"x\"]}\n");
    ended.says("step t.echo (1) completed").says("got #{\"a\"").says("run one completed");
    // By its file, from a file, quietly.
    std::fs::write(folder.path().join("in.json"), "[true]").expect("a file");
    let ended = folder.durhai(&["run", "scripts/echo.rhai", "--input", "@in.json", "--quiet"]).is(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("[true]\n", ""));
    let ended = folder.durhai_with(&["run", "echo", "-i", "-"], "\"text\"").is(0);
    assert_eq!(ended.stdout, "\"text\"\n");
}

#[test]
fn as_json_the_events_come_first_and_the_run_last() {
    let folder = Folder::new();
    let ended = folder.durhai(&["run", "echo", "--json", "--id", "one", "--input", "7", "--tag", "k=v"]).is(0);
    let rows = ended.rows();
    let (run, events) = rows.split_last().expect("lines");
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["run_created", "run_started", "step_started", "step_completed", "run_completed"]);
    assert!(events.iter().zip(1..).all(|(event, seq)| event["seq"] == seq));
    assert_eq!((&run["id"], &run["status"], &run["output"]), (&json!("one"), &json!("completed"), &json!(7)));
    assert_eq!(run["tags"], json!({ "k": "v" }));
    assert_eq!(folder.durhai(&["events", "one", "--json"]).is(0).rows(), events);
}

#[test]
fn exit_codes_and_what_is_said() {
    let folder = Folder::new();
    for (args, code, said) in [
        (&["run", "echo", "--input", "{\"a\":}"][..], 2, "--input is no JSON"),
        (&["run", "echo", "--input", "@nowhere.json"], 2, "nowhere.json cannot be read"),
        (&["run", "echo", "--bogus"], 2, "--bogus"),
        (&["run"], 2, "FILE|NAME"),
        (&["bogus"], 2, "bogus"),
        (&["run", "echo", "--id", "a b"], 2, "a b"),
        (&["run", "broken"], 2, "broken.rhai:2:9"),
        (&["run", "broken"], 2, "let x = ;"),
        (&["run", "broken"], 2, "        ^"),
        (&["run", "scripts"], 2, "is a folder"),
        (&["run", "scripts/steps/t.rhai"], 2, "is no workflow"),
        (&["run", "ecko"], 3, "did you mean echo?"),
        (&["run", "scripts/ecko.rhai"], 3, "did you mean scripts/echo.rhai?"),
        (&["run", "echo", "--scripts", "elsewhere"], 3, "elsewhere"),
        (&["run", "throws"], 1, "no luck"),
        (&["run", "fails"], 1, "fails.rhai:2:3"),
        (&["run", "unknown"], 1, "t.echo"),
        (&["show", "none"], 3, "none"),
        (&["events", "none"], 3, "none"),
        (&["signal", "none", "x"], 3, "none"),
        (&["signal", "none", "x", "{"], 2, "the payload is no JSON"),
        (&["cancel", "none"], 3, "none"),
        (&["retry", "none"], 3, "none"),
        (&["delete", "none"], 3, "none"),
        (&["list", "--data", "empty"], 4, "there is no store"),
    ] {
        folder.durhai(args).is(code).says(said);
    }
}

#[test]
fn the_same_id_again_says_the_same_and_runs_nothing() {
    let folder = Folder::new();
    let journal = folder.path().join("journal").display().to_string();
    let input = json!({ "path": journal, "n": 3 }).to_string();
    let args = ["run", "journal", "--id", "j", "--input", &input, "--allow-write=."];
    let first = folder.durhai(&args).is(0);
    let notes = std::fs::read_to_string(&journal).expect("a journal");
    assert_eq!(notes, "0\n1\n2\n1000\n");
    assert_eq!(folder.durhai(&args).is(0).stdout, first.stdout);
    assert_eq!(folder.durhai(&["run", "journal", "--id", "j"]).is(0).stdout, first.stdout);
    assert_eq!(std::fs::read_to_string(&journal).expect("a journal"), notes);
    folder.durhai(&["run", "journal", "--id", "j", "--input", "1"]).is(2).says("another input");
    folder.durhai(&["run", "echo", "--id", "j"]).is(2).says("one of journal, not of echo");

    folder.durhai(&["run", "throws", "--id", "t"]).is(1);
    let again = folder.durhai(&["run", "throws", "--id", "t"]).is(1).says("no luck").says("durhai retry t");
    assert!(!again.stderr.contains("goes on"));
}

#[test]
fn what_is_not_allowed_names_the_flag() {
    let folder = Folder::new();
    let input = json!({ "path": folder.path().join("journal"), "n": 1 }).to_string();
    folder.durhai(&["run", "journal", "--input", &input]).is(1).says("--allow-write");
    folder.durhai(&["run", "journal", "--input", &input, "--allow-write=elsewhere"]).is(1).says("--allow-write");
    folder.durhai(&["run", "journal", "--input", &input, "-A"]).is(0);
}

#[test]
fn a_broken_neighbour_is_no_obstacle() {
    let folder = Folder::new();
    let listed = folder.durhai(&["workflows", "--json"]).is(0).json();
    let all = listed["workflows"].as_array().expect("a list").clone();
    let broken = all.iter().find(|workflow| workflow["name"] == "broken").expect("it is listed");
    assert!(broken["error"].as_str().expect("an error").contains('^'));
    let echo = all.iter().find(|workflow| workflow["name"] == "echo").expect("it is listed");
    assert_eq!((&echo["description"], &echo["error"]), (&json!("Gives back what it gets."), &json!(null)));
    folder.durhai(&["workflows"]).is(0).says("broken does not load");
    folder.durhai(&["run", "echo", "-q"]).is(0);
}
