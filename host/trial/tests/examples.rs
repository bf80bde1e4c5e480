//! The examples in `scripts/` pass their own tests, with every crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai_steps::{Permissions, RhaiSteps};
use durhai_trial::report::{Style, failures, file};
use durhai_trial::{Options, find, run};

#[test]
fn the_examples_pass() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").canonicalize().expect("a folder");
    let files: Vec<PathBuf> = find(&scripts).expect("a folder");
    assert!(files.len() >= 3, "{files:?}");
    let steps = RhaiSteps::open(&scripts, Permissions::none());
    let options = Options { coverage: true, ..Options::default() };
    let report = run(&scripts, &files, vec![Arc::new(steps)], &options, &mut |report| {
        println!("{}", file(report, Style::default()));
    });
    let report = report.expect("threads can be had");
    assert!(report.passed(), "{}", failures(&report, "durhai test", Style::default()));
    for test in report.files.iter().flat_map(|file| &file.tests) {
        assert!(test.disturbed > 2, "{} was repeated {} times", test.name, test.disturbed);
    }
    println!("{}", durhai_trial::report::summary(&report, Style::default()));
    let covered = |name: &str| {
        let found = report.coverage.iter().find(|file| file.path.ends_with(name)).expect("it was run");
        (found.percent(), found.missed())
    };
    assert_eq!(covered("approval.rhai"), (100.0, String::new()));
}
