//! Texts that are made to break the checker: it answers, whatever they are.

use std::collections::BTreeMap;

use durhai_engine::SandboxConfig;
use durhai_engine::check::{Finding, Folder, check};
use durhai_engine::graph::graph;

fn found(text: &str) -> Vec<Finding> {
    let files = BTreeMap::from([("flow.rhai".to_owned(), text.to_owned())]);
    let folder = Folder { files: &files, knows_step: &|_| true, steps: &[], workflows: &[] };
    if let Ok(graph) = graph(&files, "flow", &SandboxConfig::default()) {
        assert!(!graph.mermaid().is_empty() && !graph.dot().is_empty());
    }
    check(&folder, &SandboxConfig::default())
}

#[test]
fn hostile_texts() {
    let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    let texts = [
        format!("1{}", " + 1".repeat(20_000)),
        format!("let a = [1]; a{}", ".len()".repeat(5_000)),
        format!("let a = [1]; a{}", "[0]".repeat(5_000)),
        format!("if true {{ 1 }}{}", " else if true { 1 }".repeat(5_000)),
        nested("[", "]", 5_000),
        nested("(", ")", 5_000),
        nested("{", "}", 5_000),
        nested("`${", "}`", 5_000),
        nested("|| ", "", 60),
        nested("if true { sleep(1); ", "}", 30),
        format!("true{}", " && true".repeat(20_000)),
        "use_step(\"a\");".repeat(20_000),
        "if input { use_step(\"a\"); }".repeat(5_000),
        "fn f() { g(); g() } fn g() { f(); use_step(\"a\"); f() } f(); f()".into(),
        (0..300).map(|n| format!("fn f{n}() {{ f{m}(); f{m}() }} ", m = n + 1)).collect::<String>()
            + "fn f300() { sleep(1) } f0()",
        "x".repeat(2 << 20),
        "`${`${`".into(),
        "'".into(),
        "/* /* */".into(),
        "#\"".into(),
        "\u{0}\u{feff}ä".into(),
        format!("{}x", "\n".repeat(70_000)),
    ];
    for text in texts {
        let began = std::time::Instant::now();
        found(&text);
        let name: String = text.chars().take(30).collect();
        assert!(began.elapsed().as_secs() < 20, "{name:?}: {:?}", began.elapsed());
    }
}
