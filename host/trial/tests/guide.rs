//! The examples of `host/docs/testing.md` do what it says.

use std::collections::BTreeMap;
use std::path::Path;

use durhai_trial::report::{Style, failures};
use durhai_trial::{Options, find, run};

/// Code blocks that name a file: ```` ```rhai order.rhai ````.
fn files(text: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some((name, body)), Some(_)) => {
                files.insert(std::mem::take(name), std::mem::take(body));
                open = None;
            }
            (Some((_, body)), None) => body.extend([line, "\n"]),
            (None, Some(info)) => open = Some((info.strip_prefix("rhai ").unwrap_or("").to_owned(), String::new())),
            (None, None) => {}
        }
    }
    files.remove("");
    files
}

#[test]
fn the_examples_of_the_guide_pass() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let files = files(&std::fs::read_to_string(guide).expect("there is a guide"));
    assert!(files.len() >= 5, "{:?}", files.keys());
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), text).expect("it can be written");
    }
    let tests = find(folder.path()).expect("a folder");
    let report = run(folder.path(), &tests, Vec::new(), &Options::default(), &mut |_| {}).expect("threads can be had");
    assert!(report.passed(), "{}", failures(&report, "durhai test", Style::default()));
    assert!(report.counts().0 >= 6);
}
