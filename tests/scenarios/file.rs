//! Reading scenario files, and writing what is expected into them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use durhai::Value;

/// One section of a scenario file.
pub struct Scenario {
    pub title: String,
    /// By name: `flow`, which is run, and those it may start.
    pub scripts: BTreeMap<String, String>,
    pub input: Value,
    /// What happens outside, one action a line; see `README.md` beside the files.
    pub outside: Vec<String>,
    /// Not to be run with crashes at every write: what a crash does is part of the expectation.
    pub undisturbed_only: bool,
    pub expected: String,
    /// The lines of the expectation in the file, without its fences; or where it belongs.
    lines: (usize, usize),
    fenced: bool,
}

impl Scenario {
    pub fn new(title: &str, script: &str, outside: Vec<String>) -> Self {
        Scenario {
            title: title.into(),
            scripts: BTreeMap::from([("flow".to_owned(), script.to_owned())]),
            input: Value::Null,
            outside,
            undisturbed_only: false,
            expected: String::new(),
            lines: (0, 0),
            fenced: false,
        }
    }
}

pub struct File {
    path: PathBuf,
    text: Vec<String>,
    pub scenarios: Vec<Scenario>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

pub fn read(name: &str) -> File {
    let path = folder().join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = &text[at];
        if let Some(title) = line.strip_prefix("## ") {
            scenarios.push(Scenario::new(title, "", Vec::new()));
        } else if let Some(kind) = line.strip_prefix("```") {
            let end = (at + 1..text.len()).find(|end| text[*end] == "```").expect("a fence is closed");
            let scenario = scenarios.last_mut().expect("a block belongs to a scenario");
            let block = text[at + 1..end].join("\n");
            match kind {
                "rhai" => drop(scenario.scripts.insert("flow".into(), block)),
                "json" => scenario.input = serde_json::from_str(&block).expect("the input is JSON"),
                "outside" => {
                    let lines = text[at + 1..end].iter().filter(|line| !line.is_empty()).cloned();
                    scenario.outside = lines.collect();
                    scenario.undisturbed_only = scenario.outside.first().is_some_and(|line| line == "undisturbed");
                    if scenario.undisturbed_only {
                        scenario.outside.remove(0);
                    }
                }
                "result" => {
                    scenario.expected = block;
                    (scenario.lines, scenario.fenced) = ((at + 1, end), true);
                }
                other if other.starts_with("rhai ") => drop(scenario.scripts.insert(other[5..].into(), block)),
                other => panic!("{name}.md:{}: what is a block of {other:?}?", at + 1),
            }
            if !scenario.fenced {
                scenario.lines = (end + 1, end + 1);
            }
            at = end;
        }
        at += 1;
    }
    File { path, text, scenarios }
}

/// Writes what came out as what is expected.
pub fn bless(file: &File, results: &[String]) {
    let mut out = String::new();
    let mut at = 0;
    for (scenario, result) in file.scenarios.iter().zip(results) {
        let (start, end) = scenario.lines;
        file.text[at..start].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
        match scenario.fenced {
            true => writeln!(out, "{result}"),
            false => writeln!(out, "```result\n{result}\n```"),
        }
        .expect("a string");
        at = end;
    }
    file.text[at..].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
    std::fs::write(&file.path, out).expect("a scenario file can be written");
}
