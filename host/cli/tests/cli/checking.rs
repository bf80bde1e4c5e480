//! `check` and `graph`: what is said without running anything.

use crate::folder::Folder;

#[test]
fn what_is_wrong_is_found_without_running() {
    let folder = Folder::new();
    let ended = folder.durhai(&["check"]).is(1).says("error");
    for part in
        ["scripts/broken.rhai", "error[syntax]", "2 | let x = ;", "error[unknown-step]: there is no step \"t.ehco\""]
    {
        assert!(ended.stdout.contains(part), "no {part:?} in {ended:?}");
    }
    let ended = folder.durhai(&["check", "scripts/echo.rhai"]).is(0).says("1 script: nothing found");
    assert_eq!(ended.stdout, "");
    let ended = folder.durhai(&["check", "--short", "scripts/unknown.rhai"]).is(1);
    assert_eq!(ended.stdout, "scripts/unknown.rhai:1:10: error[unknown-step]: there is no step \"t.ehco\"\n");
    folder.durhai(&["check", "scripts/unknown.rhai", "--assume-step", "t.e*"]).is(0);
    let found = folder.durhai(&["check", "--json", "scripts/unknown.rhai", "scripts/fails.rhai"]).is(1).json();
    let codes: Vec<_> = found.as_array().expect("an array").iter().map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, [Some("unknown-function"), Some("unknown-step")], "{found}");
    assert_eq!(found[1]["line"], 1);
}

#[test]
fn warnings_count_when_they_are_asked_to() {
    let folder = Folder::new();
    folder.script("warned", "let unused = 5;\nuse_step(\"t.echo\", 1)");
    folder.durhai(&["check", "scripts/warned.rhai"]).is(0).says("1 warning");
    folder.durhai(&["check", "scripts/warned.rhai", "--strict"]).is(1);
    folder.durhai(&["check", "scripts/none.rhai"]).is(3);
    folder.durhai(&["check", "scripts/steps/t.rhai"]).is(0);
}

#[test]
fn a_workflow_as_a_graph_and_what_a_run_did_in_it() {
    let folder = Folder::new();
    let ended = folder.durhai(&["graph", "journal"]).is(0);
    assert!(ended.stdout.starts_with("flowchart TD\n") && ended.stdout.contains("[\"t.note\"]"), "{ended:?}");
    let ended = folder.durhai(&["graph", "scripts/journal.rhai", "--format", "dot"]).is(0);
    assert!(ended.stdout.starts_with("digraph \"journal\" {\n"), "{ended:?}");
    folder.durhai(&["graph", "jurnal"]).is(3).says("journal");
    folder.durhai(&["graph", "broken"]).is(2).says("broken.rhai:2");
    folder.durhai(&["run", "echo", "--id", "r", "-q"]).is(0);
    // The folder has another text by now; the run has its own.
    folder.script("echo", "sleep(1)");
    let ended = folder.durhai(&["graph", "--run", "r"]).is(0);
    assert!(ended.stdout.contains("[\"t.echo\"]") && ended.stdout.contains("class n1 done"), "{ended:?}");
    folder.durhai(&["graph", "journal", "--run", "r"]).is(2);
    folder.durhai(&["graph", "--run", "nobody"]).is(3);
}
