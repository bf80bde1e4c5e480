//! Every example of `host/docs/scripts.md` does what the guide says.

use durhai::{FailureKind, Value};

use crate::scenarios::{Scenario, end_of};

struct Example {
    line: usize,
    scenario: Scenario,
    output: Option<Value>,
}

fn guide() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("host/docs/scripts.md");
    std::fs::read_to_string(path).expect("the guide is there")
}

fn examples(text: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = lines[at].strip_prefix("```") else {
            at += 1;
            continue;
        };
        let end = (at + 1..lines.len()).find(|end| lines[*end] == "```").expect("a fence is closed");
        let block = lines[at + 1..end].join("\n");
        match kind.split_once(' ') {
            None if kind == "rhai" => {
                let mut scenario = Scenario::new("guide", &block, Vec::new());
                if let Some(input) = lines[at..end].iter().find_map(|line| line.strip_prefix("// input: ")) {
                    scenario.input = serde_json::from_str(input).expect("the input is JSON");
                }
                found.push(Example { line: at + 1, scenario, output: None });
            }
            Some(("rhai", name)) => {
                let example = found.last_mut().expect("a child belongs to an example");
                example.scenario.scripts.insert(name.into(), block);
            }
            _ if kind == "sh" => {
                let example = found.last_mut().expect("commands belong to an example");
                example.scenario.outside.extend(lines[at + 1..end].iter().map(|line| action(line)));
            }
            _ if kind == "json" => {
                let example = found.last_mut().expect("an output belongs to an example");
                example.output = Some(serde_json::from_str(&block).expect("the output is JSON"));
            }
            _ => panic!("line {}: what is a block of {kind:?}?", at + 1),
        }
        at = end + 1;
    }
    found
}

/// What a command of the guide does, in the words of scenarios.
fn action(line: &str) -> String {
    if let Some((step, why)) = line.strip_prefix("# step ").and_then(|rest| rest.split_once(" fails: ")) {
        return format!("fatal {step} {why}");
    }
    let quoted = line.split_once('\'').and_then(|(_, rest)| rest.split_once('\'')).map_or("", |(json, _)| json);
    let words: Vec<_> = line.split_whitespace().collect();
    let option = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
    match (words[1], words[2]) {
        ("signal", _) => format!("signal {} {quoted}", words[3]),
        ("hook", token) => format!("hook {token} {quoted}"),
        ("resume", _) => format!("resume {} {quoted}", option("--label").unwrap_or(&"-")),
        ("cancel", _) => format!("cancel {}", option("--reason").unwrap_or(&"")),
        _ => panic!("{line:?} is no command that the guide can use"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_gives_what_it_says() {
    let examples = examples(&guide());
    assert!(examples.len() > 12);
    for Example { line, scenario, output } in examples {
        let output = output.unwrap_or_else(|| panic!("the example at line {line} has no output"));
        assert_eq!(end_of(&scenario).await, format!("= completed {output}"), "the example at line {line}");
    }
}

#[test]
fn every_call_and_every_kind_of_error_is_shown() {
    let text = guide();
    let scripts: String =
        examples(&text).iter().flat_map(|example| example.scenario.scripts.values().cloned()).collect();
    for call in durhai_engine::CALLS {
        assert!(scripts.contains(&format!("{}(", call.name)), "no example calls {}", call.name);
    }
    for kind in [
        FailureKind::StepFailed,
        FailureKind::Timeout,
        FailureKind::Cancelled,
        FailureKind::Interrupted,
        FailureKind::UnknownStep,
        FailureKind::InvalidInput,
        FailureKind::HookConflict,
        FailureKind::ChildFailed,
        FailureKind::Limit,
        FailureKind::NotStorable,
        FailureKind::Thrown,
        FailureKind::Script,
        FailureKind::InvalidOutput,
        FailureKind::Deadlock,
        FailureKind::Terminated,
    ] {
        assert!(text.contains(&format!("`{kind}`")), "the guide does not say what {kind} is");
    }
}
