//! Folders of workflows and tests, and what the runner says of them. `DURHAI_BLESS=1` writes what it says now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai_steps::{Permissions, RhaiSteps};
use durhai_trial::report::{self, Style};
use durhai_trial::{Disturbance, Extend, Options, Report, find, run};
use regex::Regex;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

fn ran(name: &str, options: &Options) -> Report {
    let folder = folder(name);
    let files = find(&folder).expect("a folder");
    let steps = RhaiSteps::open(&folder, Permissions::none());
    run(&folder, &files, vec![Arc::new(steps)], options, &mut |_| {}).expect("threads can be had")
}

/// Everything that is said, without what differs from machine to machine.
fn text(report: &Report, name: &str) -> String {
    let mut text = String::new();
    for file in &report.files {
        text.push_str(&format!("{}\n", report::file(file, Style::default())));
    }
    text.push_str(&format!("\n{}", report::failures(report, "durhai test", Style::default())));
    text.push_str(&report::summary(report, Style::default()));
    plain(&text, name)
}

fn plain(text: &str, name: &str) -> String {
    let folder = format!("{}/", folder(name).display());
    let text = text.replace(&folder, "").replace(folder.trim_end_matches('/'), ".");
    let time = Regex::new(r"\b\d+ ms\b|\b\d+\.\d s\b").expect("a pattern");
    let text = time.replace_all(&text, "TIME");
    let xml = Regex::new(r#"(time=|"ms":)"?[\d.]+"?"#).expect("a pattern");
    format!("{}\n", xml.replace_all(&text, "${1}TIME").trim_end())
}

fn expect(file: &str, name: &str, found: &str) {
    let path = folder(name).join(file);
    if std::env::var_os("DURHAI_BLESS").is_some() {
        std::fs::write(&path, found).expect("it can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{}: DURHAI_BLESS=1 takes what is said now", path.display());
}

#[test]
fn what_works() {
    let report = ran("works", &Options { coverage: true, ..Options::default() });
    expect("expected.txt", "works", &text(&report, "works"));
    assert!(report.passed());
}

#[test]
fn what_fails() {
    let report = ran("fails", &Options { jobs: 1, ..Options::default() });
    expect("expected.txt", "fails", &text(&report, "fails"));
    expect("expected.xml", "fails", &plain(&report::junit(&report), "fails"));
    let rows = report.files.iter().flat_map(report::rows).chain([report::end(&report)]);
    let rows: Vec<_> = rows.map(|row| row.to_string()).collect();
    expect("expected.jsonl", "fails", &plain(&rows.join("\n"), "fails"));
}

#[test]
fn what_fails_in_a_crash_only() {
    let all = ran("crashes", &Options::default());
    expect("expected.txt", "crashes", &text(&all, "crashes"));
    let undisturbed = ran("crashes", &Options { crashes: false, ..Options::default() });
    assert!(undisturbed.passed(), "{}", text(&undisturbed, "crashes"));
    // What it says can be repeated alone.
    for file in &all.files {
        for test in file.tests.iter().filter(|test| test.failure.is_some()) {
            let only = test.disturbance;
            assert!(matches!(only, Some(Disturbance::CrashBefore(_) | Disturbance::CrashAfter(_))), "{only:?}");
            let filter = Some(format!("{}::{}", file.path.display(), test.name));
            let again = ran("crashes", &Options { only, filter, ..Options::default() });
            let found: Vec<_> = again.files.iter().flat_map(|file| &file.tests).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].failure, test.failure);
            assert_eq!((found[0].disturbed, &found[0].struck), (1, &test.struck));
        }
    }
}

#[test]
fn the_same_seed_says_the_same() {
    for seed in [1, 2, 3] {
        let options = Options { seed, crashes: seed == 1, ..Options::default() };
        let (once, again) = (ran("works", &options), ran("works", &options));
        assert!(once.passed(), "seed {seed}\n{}", text(&once, "works"));
        assert_eq!(text(&once, "works"), text(&again, "works"), "seed {seed}");
    }
}

#[test]
fn few_crashes_are_chosen_evenly() {
    let options = Options { max_crashes: 4, filter: Some("from_paper".into()), ..Options::default() };
    let report = ran("works", &options);
    let test = &report.files[0].tests[0];
    assert_eq!(test.disturbed, 5, "one eviction and four crashes");
    assert!(test.left_out > 10, "{}", test.left_out);
    assert!(report.passed(), "{}", text(&report, "works"));
}

#[test]
fn functions_of_the_embedder_are_known_to_its_tests() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    save("order.rhai", "use_step(\"pay\", price(input))");
    save(
        "order.test.rhai",
        "fn test_it() { mock(\"pay\", |cents| cents); expect(start(\"order\", 4)).completed(price(4)); }",
    );
    let files = find(folder.path()).expect("a folder");
    let ran = |options: &Options| run(folder.path(), &files, Vec::new(), options, &mut |_| {}).expect("threads");
    assert!(!ran(&Options::default()).passed());
    let extend = Extend::new(|engine| {
        engine.register_fn("price", |count: i64| count * 250);
    });
    let report = ran(&Options { extend: vec![extend], ..Options::default() });
    assert!(report.passed(), "{}", text(&report, "works"));
}
