//! `durhai check`: scripts and what must be found in them, as Markdown in `tests/check/`; and no errors where all is well.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use durhai::check::{CheckOptions, Finding, FindingCode, Severity};
use durhai::{Host, StepContext, StepError, Value};

const FILES: [&str; 6] = ["calls", "flow", "imports", "names", "syntax", "texts"];

/// One section of a file: texts by their path, and what is found.
struct Case {
    title: String,
    files: BTreeMap<String, String>,
    expected: String,
    /// The lines of the expectation, without its fences; or where it belongs.
    lines: (usize, usize),
    fenced: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn cases(text: &[String], name: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if let Some(title) = text[at].strip_prefix("## ") {
            let (title, files) = (title.into(), BTreeMap::new());
            cases.push(Case { title, files, expected: String::new(), lines: (0, 0), fenced: false });
        } else if let Some(kind) = text[at].strip_prefix("````").or_else(|| text[at].strip_prefix("```")) {
            let fence = text[at].trim_end_matches(kind);
            let end = (at + 1..text.len()).find(|end| text[*end] == fence).expect("a fence is closed");
            let case = cases.last_mut().unwrap_or_else(|| panic!("{name}.md:{}: no section", at + 1));
            let block = text[at + 1..end].join("\n");
            match kind {
                "rhai" => drop(case.files.insert("flow.rhai".into(), block)),
                "findings" => (case.expected, case.lines, case.fenced) = (block, (at + 1, end), true),
                other => match other.strip_prefix("rhai ") {
                    Some(path) => drop(case.files.insert(path.into(), block)),
                    None => panic!("{name}.md:{}: what is a block of {other:?}?", at + 1),
                },
            }
            if !case.fenced {
                case.lines = (end + 1, end + 1);
            }
            at = end;
        }
        at += 1;
    }
    cases
}

/// A host with the steps `charge`, `refund` and `mail.send`.
fn found(files: &BTreeMap<String, String>) -> Vec<Finding> {
    let dir = in_folder(files);
    let step = |_: StepContext, input: Value| async move { Ok::<_, StepError>(input) };
    let builder = Host::builder().workflows(dir.path());
    let builder = builder.step("charge", step).step("refund", step).step("mail.send", step);
    builder.check(&CheckOptions::default()).expect("the folder can be read")
}

fn show(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        writeln!(text, "{}", finding.short()).expect("a string");
        if let Some(help) = &finding.help {
            writeln!(text, "    = {help}").expect("a string");
        }
    }
    if text.is_empty() { "nothing".into() } else { text.trim_end().into() }
}

#[test]
fn every_case_finds_what_it_says() {
    let mut seen = BTreeSet::new();
    for name in FILES {
        let path = root().join(format!("tests/check/{name}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let cases = cases(&text, name);
        let mut out = String::new();
        let mut from = 0;
        for case in &cases {
            let findings = found(&case.files);
            seen.extend(findings.iter().map(|finding| finding.code));
            let result = show(&findings);
            if std::env::var_os("DURHAI_BLESS").is_some() {
                text[from..case.lines.0].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
                match case.fenced {
                    true => writeln!(out, "{result}").expect("a string"),
                    false => writeln!(out, "```findings\n{result}\n```").expect("a string"),
                }
                from = case.lines.1;
            } else {
                assert_eq!(result, case.expected, "{name}.md: {}\n{result}\n", case.title);
            }
        }
        if !out.is_empty() {
            text[from..].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
            std::fs::write(path, out).expect("it can be written");
        }
    }
    let missing: Vec<_> = FindingCode::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "no case finds {missing:?}");
}

fn errors(findings: &[Finding]) -> String {
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    show(&errors)
}

fn everything() -> CheckOptions {
    CheckOptions { assume_steps: vec!["*".into()], ..CheckOptions::default() }
}

#[test]
fn the_examples_are_free_of_errors() {
    for dir in ["scripts", "examples"] {
        let findings = durhai::check::check(root().join(dir), &everything()).expect("the folder can be read");
        assert_eq!(errors(&findings), "nothing", "{dir}");
    }
}

/// The scripts in a document: those of one section are one folder.
fn of_document(path: &Path) -> Vec<(usize, BTreeMap<String, String>)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<&str> = text.lines().collect();
    let mut folders: Vec<(usize, BTreeMap<String, String>)> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if let Some(kind) = lines[at].strip_prefix("```") {
            let end = (at + 1..lines.len()).find(|end| lines[*end] == "```").expect("a fence is closed");
            let block = lines[at + 1..end].join("\n");
            match kind.strip_prefix("rhai ") {
                _ if kind == "rhai" => folders.push((at + 1, BTreeMap::from([("flow.rhai".to_owned(), block)]))),
                Some(name) => drop(folders.last_mut().expect("a folder").1.insert(format!("{name}.rhai"), block)),
                None => {}
            }
            at = end;
        }
        at += 1;
    }
    folders
}

fn documents() -> Vec<PathBuf> {
    let scenarios = std::fs::read_dir(root().join("tests/scenarios")).expect("a folder").flatten();
    let mut documents: Vec<_> = scenarios.map(|entry| entry.path()).collect();
    documents.retain(|path| path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("README.md"));
    documents.sort();
    documents
}

fn in_folder(files: &BTreeMap<String, String>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    dir
}

#[test]
fn the_guide_is_free_of_errors() {
    for (line, files) in of_document(&root().join("host/docs/scripts.md")) {
        let findings = durhai::check::check(in_folder(&files).path(), &everything()).expect("the folder can be read");
        assert_eq!(errors(&findings), "nothing", "scripts.md:{line}");
    }
}

/// Scenarios are wrong on purpose at times; each mistake is known.
#[test]
fn the_mistakes_in_the_scenarios_are_those_that_are_meant() {
    let mut text = String::new();
    for path in documents() {
        for (_, files) in of_document(&path) {
            let findings =
                durhai::check::check(in_folder(&files).path(), &everything()).expect("the folder can be read");
            for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                writeln!(text, "{name}: {}\n    {}", finding.short(), finding.source.trim()).expect("a string");
            }
        }
    }
    let golden = root().join("tests/check/mistakes.txt");
    if std::env::var_os("DURHAI_BLESS").is_some() {
        std::fs::write(golden, text).expect("it can be written");
    } else {
        assert_eq!(text, std::fs::read_to_string(golden).expect("the list"));
    }
}

/// `languages.txt`: a script on one line, and under it the first thing that is found in it.
#[test]
fn what_other_languages_have_is_answered_by_one_sentence() {
    let path = root().join("tests/check/languages.txt");
    let text = std::fs::read_to_string(&path).expect("the list");
    let (mut out, mut forms) = (String::new(), 0);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").expect("a string");
        if line.is_empty() || line.starts_with("# ") && forms == 0 || line.starts_with("## ") {
            continue;
        }
        forms += 1;
        lines.next_if(|line| line.starts_with("    "));
        let script = line.replace("\\n", "\n");
        let files = BTreeMap::from([("flow.rhai".to_owned(), script)]);
        let findings = found(&files);
        let told: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Hint).collect();
        let first = told.iter().find(|finding| finding.code != FindingCode::UnusedVariable);
        let Some(first) = first else {
            writeln!(out, "    NOTHING").expect("a string");
            continue;
        };
        let help = first.help.as_ref().map_or(String::new(), |help| format!(" = {help}"));
        writeln!(
            out,
            "    {}:{} {}[{}]: {}{help}",
            first.line, first.column, first.severity, first.code, first.message
        )
        .expect("a string");
    }
    assert!(forms > 150, "{forms}");
    match std::env::var_os("DURHAI_BLESS") {
        Some(_) => std::fs::write(path, out).expect("it can be written"),
        None => assert_eq!(out, text),
    }
}

/// `host/docs/check.md` has a section for each code, with an example that gives it and a cure.
#[test]
fn every_code_is_documented() {
    let text = std::fs::read_to_string(root().join("host/docs/check.md")).expect("the document");
    let sections: Vec<&str> = text.split("\n### ").skip(1).collect();
    let names: Vec<&str> = sections.iter().map(|section| section.lines().next().unwrap_or("").trim()).collect();
    let codes: Vec<String> = FindingCode::ALL.iter().map(|code| format!("`{code}`")).collect();
    assert_eq!(names, codes);
    for (section, code) in sections.iter().zip(FindingCode::ALL) {
        let mut files = BTreeMap::new();
        let mut blocks = section.split("\n```rhai").skip(1);
        for block in blocks.by_ref() {
            let (head, rest) = block.split_once('\n').expect("a block");
            let body = rest.split_once("\n```").expect("a closed block").0;
            let path = if head.trim().is_empty() { "flow.rhai" } else { head.trim() };
            files.insert(path.to_owned(), body.to_owned());
        }
        let found = found(&files);
        assert!(found.iter().any(|finding| finding.code == *code), "{code}: its example gives\n{}", show(&found));
    }
}

/// A thousand files in seconds, in a debug build too.
#[test]
fn a_thousand_files() {
    let script = "import \"lib/a\" as a;\nlet total = 0;\nfor item in input.items {\n    total += use_step(\"charge\", \
                  a::price(item));\n    if total > 100 { break; }\n}\ntotal\n";
    let mut files: BTreeMap<String, String> =
        (0..1_000).map(|number| (format!("w{number}.rhai"), script.to_owned())).collect();
    files.insert("lib/a.rhai".into(), "fn price(item) { item.cents }".into());
    let began = std::time::Instant::now();
    assert_eq!(show(&found(&files)), "nothing");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}
