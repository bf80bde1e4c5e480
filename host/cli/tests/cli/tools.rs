//! Commands that need no store.

use std::io::Read;
use std::process::Stdio;

use crate::folder::Folder;

#[test]
fn what_new_writes_works_at_once() {
    let folder = Folder::new();
    let written = folder.durhai(&["new", "billing/first-one"]).is(0);
    assert!(written.stdout.contains("scripts/billing/first-one.rhai"), "{written:?}");
    folder.durhai(&["new", "billing/first-one"]).is(2).says("is there already");
    folder.durhai(&["new", "../up"]).is(2);
    let ended = folder.durhai(&["run", "billing/first-one", "--input", "{\"name\":\"Ada\"}", "-q"]).is(0);
    assert_eq!(ended.stdout, "{\"greeting\":\"Hello, Ada!\",\"letters\":[11,3]}\n");
    let ended = folder.durhai(&["run", "scripts/billing/first-one.rhai", "-q"]).is(0);
    assert!(ended.stdout.contains("Hello, world!"), "{ended:?}");
}

#[test]
fn new_in_an_empty_folder() {
    let folder = tempfile::tempdir().map(Folder).expect("a folder");
    folder.durhai(&["new", "hello"]).is(0);
    folder.durhai(&["run", "hello", "-q"]).is(0);
    folder.durhai(&["new", "hello"]).is(2);
}

#[test]
fn steps_by_hand() {
    let folder = Folder::new();
    assert_eq!(folder.durhai(&["step", "t.echo", "{\"a\":1}"]).is(0).stdout, "{\"a\":1}\n");
    assert_eq!(folder.durhai_with(&["step", "t.echo", "-"], "[1]").is(0).stdout, "[1]\n");
    folder.durhai(&["step", "t.burn"]).is(1).says("hot");
    std::fs::write(folder.path().join("scripts/steps/u.rhai"), "fn talk(x) { print(`hears ${x}`); x }")
        .expect("a file");
    folder.durhai(&["step", "u.talk", "1"]).is(0).says("hears 1");
    folder.durhai(&["step", "t.ehco"]).is(3).says("t.echo");
    folder.durhai(&["step", "t.echo", "{"]).is(2);
    std::fs::write(folder.path().join("text"), "hi").expect("a file");
    folder.durhai(&["step", "file.read", "{\"path\":\"text\"}"]).is(1).says("--allow-read");
    assert_eq!(folder.durhai(&["step", "file.read", "{\"path\":\"text\"}", "--allow-read=."]).is(0).stdout, "\"hi\"\n");
    let listed = folder.durhai(&["step", "--json"]).is(0).json();
    let names: Vec<_> = listed["steps"].as_array().expect("steps").iter().map(|step| &step["name"]).collect();
    assert!(names.iter().any(|name| *name == "t.echo") && names.iter().any(|name| *name == "file.read"), "{names:?}");
    assert!(folder.durhai(&["step"]).is(0).stdout.contains("The same again."));
    assert!(!folder.path().join(".durhai").exists(), "steps need no data folder");
}

#[test]
fn help_version_and_completions() {
    let folder = Folder::new();
    assert_eq!(folder.durhai(&["--version"]).is(0).stdout, format!("durhai {}\n", env!("CARGO_PKG_VERSION")));
    assert!(folder.durhai(&["--help"]).is(0).stdout.contains("130 interrupted"));
    folder.durhai(&[]).is(2);
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.durhai(&["completions", shell]).is(0).stdout.contains("durhai"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new();
    folder.script("many", "for i in 0..2000 { use_step(\"t.echo\", i); }");
    let mut run = folder.command(&["run", "many", "--json", "--id", "m"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(run.stdout.take());
    assert_eq!(run.wait().expect("it ends").code(), Some(0), "the run goes on to its end");
    for args in [&["events", "m"][..], &["events", "m", "--json"]] {
        let mut child = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = [0; 10];
        child.stdout.take().expect("a pipe").read_exact(&mut first).expect("some bytes");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0));
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
