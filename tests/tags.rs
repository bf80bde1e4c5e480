//! Tags have limits, wherever they are set, and what they refuse is told to whoever set them.

use std::collections::BTreeMap;

use durhai::archive::{ExportOptions, ImportOptions};
use durhai::check::CheckOptions;
use durhai::{HostError, Query, Value};
use durhai_testkit::TestHost;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::export::exported;

/// Tags, and what is said of them; nothing: they are taken.
fn table() -> Vec<(BTreeMap<String, String>, Option<&'static str>)> {
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".into())).collect();
    let one = |key: usize, value: usize| BTreeMap::from([("k".repeat(key), "v".repeat(value))]);
    vec![
        (many(32), None),
        (one(64, 256), None),
        (many(33), Some("33 tags are given; a run can have 32")),
        (one(65, 1), Some("has 65 bytes; it can have 64")),
        (one(1, 257), Some("has 257 bytes; it can have 256")),
    ]
}

const STARTS: &str = r#"
    let said = [];
    try { run_workflow("one", (), #{ tags: input }); said.push("taken"); } catch (e) { said.push([e.kind, e.message]); }
    try { start_workflow("one", (), #{ tags: input }); said.push("taken"); } catch (e) { said.push([e.kind, e.message]); }
    said
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_and_scripts_are_held_to_the_limits() {
    let host = TestHost::new().workflow("one", "1").workflow("starts", STARTS).start().await;
    for (tags, said) in table() {
        let start = tags.iter().fold(host.run("one"), |start, (key, value)| start.tag(key, value)).start().await;
        let run = host.run("starts").input(&tags).start().await.expect("a run");
        let output: Value = run.output().await.expect("an output");
        match said {
            None => {
                assert_eq!(start.expect("it starts").view().await.expect("a view").tags, tags);
                assert_eq!(output, json!(["taken", "taken"]));
            }
            Some(said) => {
                assert!(matches!(&start, Err(HostError::Invalid(text)) if text.contains(said)), "{start:?}");
                for told in output.as_array().expect("both") {
                    assert_eq!(told[0], "invalid_input");
                    assert!(told[1].as_str().expect("text").contains(said), "{told}");
                }
            }
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_more_is_not_imported() {
    let host = TestHost::new().workflow("one", "1").start().await;
    let run = host.run("one").id("r").tag("color", "light blue").start().await.expect("a run");
    run.output::<i64>().await.expect("an output");
    let file = String::from_utf8(exported(&run, ExportOptions { children: true, tokens: false }).await).expect("text");
    assert!(file.contains("light blue"));
    for (value, said) in [("dark blue", None), (&*"v".repeat(257), Some("`color` has 257 bytes; it can have 256"))] {
        // As somebody would write it who knows how.
        let lines = file.trim_end().rfind('\n').expect("lines") + 1;
        let body = file[..lines].replace("light blue", value);
        let digest: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let end = file[lines..].trim_end();
        let old = end.rsplit('"').nth(1).expect("a digest");
        let file = format!("{body}{}\n", end.replace(old, &digest));
        let options = ImportOptions { id: Some(format!("new-{}", value.len())), ..ImportOptions::default() };
        let imported = host.import(std::io::Cursor::new(file), options).await;
        match said {
            None => {
                let run = imported.expect("it is imported").run;
                let view = host.get(run.as_str()).await.expect("a run").view().await.expect("a view");
                assert_eq!(view.tags["color"], value);
            }
            Some(said) => {
                let right = |text: &str| text.starts_with("line ") && text.contains(said);
                assert!(matches!(&imported, Err(HostError::Invalid(text)) if right(text)), "{imported:?}");
            }
        }
    }
    assert_eq!(host.list(Query::default()).await.expect("runs").runs.len(), 2);
    host.shutdown().await;
}

#[test]
fn check_tells_it_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("start_workflow(\"b\", (), #{{ tags: #{{ k: \"{}\" }} }})", "v".repeat(257));
    std::fs::write(folder.path().join("a.rhai"), text).expect("a file");
    std::fs::write(folder.path().join("b.rhai"), "1").expect("a file");
    let found = durhai::check::check(folder.path(), &CheckOptions::default()).expect("findings");
    let said = "start_workflow: option `tags`: the value of the tag `k` has 257 bytes; it can have 256";
    assert!(found.iter().any(|finding| finding.message.contains(said)), "{found:?}");
}
