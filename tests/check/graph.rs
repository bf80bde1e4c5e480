//! `durhai graph`: goldens in `graph.md`, and what is written parses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use durhai::check::Graph;
use durhai::{StepContext, StepError, Value};
use durhai_testkit::TestHost;

use super::root;

fn path() -> std::path::PathBuf {
    root().join("tests/check/graph.md")
}

/// Title, files, and the lines where the graph stands or belongs.
struct Case {
    title: String,
    files: BTreeMap<String, String>,
    expected: String,
    lines: (usize, usize),
}

fn cases(lines: &[&str]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if let Some(title) = lines[at].strip_prefix("## ") {
            cases.push(Case { title: title.into(), files: BTreeMap::new(), expected: String::new(), lines: (0, 0) });
        } else if let Some(kind) = lines[at].strip_prefix("```") {
            let end = (at + 1..lines.len()).find(|end| lines[*end] == "```").expect("a fence is closed");
            let case = cases.last_mut().expect("a section");
            let block = lines[at + 1..end].join("\n");
            case.lines = (end + 1, end + 1);
            match kind {
                "mermaid" => (case.expected, case.lines) = (block, (at, end + 1)),
                "rhai" => drop(case.files.insert("flow.rhai".into(), block)),
                other => drop(case.files.insert(other.trim_start_matches("rhai ").into(), block)),
            }
            at = end;
        }
        at += 1;
    }
    cases
}

#[test]
fn every_graph_is_as_it_was_and_parses() {
    let text = std::fs::read_to_string(path()).expect("the cases");
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut from = 0;
    let bless = std::env::var_os("DURHAI_BLESS").is_some();
    for case in cases(&lines) {
        let graph = durhai::check::graph(&case.files, "flow").unwrap_or_else(|error| panic!("{}: {error}", case.title));
        assert_eq!(graph, durhai::check::graph(&case.files, "flow").expect("again"), "{}", case.title);
        let mermaid = graph.mermaid();
        mermaid_parses(&mermaid, &graph);
        dot_parses(&graph.dot(), &graph);
        if bless {
            lines[from..case.lines.0].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
            write!(out, "```mermaid\n{mermaid}```\n").expect("a string");
            from = case.lines.1;
        } else {
            assert_eq!(mermaid.trim_end(), case.expected, "{}\n{mermaid}", case.title);
        }
    }
    if bless {
        lines[from..].iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
        std::fs::write(path(), out).expect("it can be written");
    }
}

#[test]
fn all_that_runs_in_the_scenarios_can_be_drawn() {
    let mut documents = super::documents();
    documents.push(root().join("host/docs/scripts.md"));
    let mut drawn = 0;
    for document in documents {
        for (line, files) in super::of_document(&document) {
            // A few do not parse, on purpose.
            if let Ok(graph) = durhai::check::graph(&files, "flow") {
                mermaid_parses(&graph.mermaid(), &graph);
                dot_parses(&graph.dot(), &graph);
                let ends = graph.nodes.iter().any(|node| ["end"].contains(&node.label.as_str()));
                let thrown = graph.nodes.iter().any(|node| node.label.starts_with("throw"));
                let loops = graph.nodes.iter().any(|node| node.label == "loop");
                assert!(ends || thrown || loops, "{}:{line}: it has no end", document.display());
                drawn += 1;
            }
        }
    }
    assert!(drawn > 150, "{drawn}");
}

/// The part of Mermaid's language that is used: one statement a line, texts in quotes.
fn mermaid_parses(text: &str, graph: &Graph) {
    let mut lines = text.lines().map(str::trim_start);
    assert_eq!(lines.next(), Some("flowchart TD"));
    let (mut nodes, mut depth) = (BTreeSet::new(), 0);
    let node = |word: &str| word.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
    let mut edges = 0;
    for line in lines {
        let bare = unquoted(line);
        let words: Vec<&str> = bare.split(' ').collect();
        match words.as_slice() {
            ["subgraph", _, "[\"\"]"] => depth += 1,
            ["end"] => depth -= 1,
            ["classDef", ..] => {}
            ["class", one, "done" | "failed" | "waiting" | "untouched"] => assert!(node(one).is_some(), "{line}"),
            [from, "-->" | "-.->", to] | [from, "--", "\"\"", "-->", to] | [from, "-.", "\"\"", ".->", to] => {
                let ends = [node(from), node(to)].map(|end| end.expect(line));
                assert!(ends.iter().all(|end| *end < graph.nodes.len()), "{line}");
                edges += 1;
            }
            [one] => {
                let open = one.find(['[', '(', '{', '>']).unwrap_or_else(|| panic!("{line}"));
                let shape = &one[open..];
                let shapes = [
                    "([\"\"])",
                    ">\"\"]",
                    "[\"\"]",
                    "((\"\"))",
                    "[[\"\"]]",
                    "{\"\"}",
                    "{{\"\"}}",
                    "[/\"\"\\]",
                    "[\\\"\"/]",
                    "(\"\")",
                ];
                assert!(shapes.contains(&shape), "{line}");
                assert!(nodes.insert(node(&one[..open]).expect(line)), "twice: {line}");
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!((depth, nodes.len(), edges), (0, graph.nodes.len(), graph.edges.len()), "{text}");
}

/// The line with nothing in its quotes.
fn unquoted(line: &str) -> String {
    let mut out = String::new();
    for (at, part) in line.split('"').enumerate() {
        if at % 2 == 0 {
            out.push_str(part);
            continue;
        }
        assert!(!part.is_empty() && !part.contains(['<', '>', '`', '\\']), "{line}");
        out.push_str("\"\"");
    }
    assert_eq!(line.matches('"').count() % 2, 0, "{line}");
    out
}

/// Quotes and braces close, and edges lead to nodes.
fn dot_parses(text: &str, graph: &Graph) {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut bare = String::new();
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => assert!(!c.is_control(), "{text}"),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if !quoted {
            bare.push(c);
        }
    }
    assert!(!quoted && depth == 0, "{text}");
    let edges = bare.lines().filter(|line| line.contains(" -> ")).count();
    assert_eq!(edges, graph.edges.len(), "{text}");
    let nodes = bare.lines().filter(|line| line.contains("shape=")).count();
    assert_eq!(nodes, graph.nodes.len(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_colours_what_it_did() {
    let script = r#"
        let n = 0;
        for i in 0..3 { n += use_step("add", i); }
        try { use_step("fail", 1, #{ retry: false }); } catch { }
        if n > 100 { use_step("never"); }
        wait_for("go");
        use_step("later")
    "#;
    let test = TestHost::new()
        .workflow("flow", script)
        .step("add", async |_: StepContext, n: i64| Ok::<_, StepError>(n))
        .step("fail", async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("no")));
    let host = test.start().await;
    let run = host.run("flow").start().await.expect("a run");
    test.rests().await;
    let view = run.view().await.expect("a view");
    let files = BTreeMap::from([("flow.rhai".to_owned(), script.to_owned())]);
    let mut graph = durhai::check::graph(&files, "flow").expect("a graph");
    let sites = view.waiting_for.iter().filter_map(|wait| durhai::event::Site::parse(wait["site"].as_str()?));
    graph.mark(&run.events(1, 100).await.expect("events"), &sites.collect::<Vec<_>>());
    let marks: BTreeMap<&str, (u32, u32, u32)> = graph
        .nodes
        .iter()
        .filter_map(|node| Some((node.label.as_str(), node.mark.map(|mark| (mark.done, mark.failed, mark.open))?)))
        .collect();
    let expected = [
        ("add", (3, 0, 0)),
        ("end", (0, 0, 0)),
        ("fail", (0, 1, 0)),
        ("flow", (1, 0, 0)),
        ("later", (0, 0, 0)),
        ("never", (0, 0, 0)),
        ("wait for go", (0, 0, 1)),
    ];
    assert_eq!(marks, BTreeMap::from(expected));
    assert!(graph.mermaid().contains("add (3 done)"));
    mermaid_parses(&graph.mermaid(), &graph);
    dot_parses(&graph.dot(), &graph);
    host.shutdown().await;
}
