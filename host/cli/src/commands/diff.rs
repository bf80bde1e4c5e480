//! `durhai diff`: two texts of a workflow line by line, or two runs' logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::diff_runs::diff_runs;
use super::replay::script;
use crate::args::{Diff, Globals};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Texts by file, and what they are called.
struct Side {
    label: String,
    files: BTreeMap<String, String>,
}

/// Exit 1 if there is a difference.
pub async fn diff(globals: &Globals, args: Diff, out: &Out) -> Outcome {
    let Some(right) = &args.right else { return diff_runs(globals, &args.first, &args.left, out).await };
    let client = Client::connect(globals).await?;
    let outcome = versions(globals, &client, &args.first, [&args.left, right], out).await;
    client.close().await;
    outcome
}

async fn versions(globals: &Globals, client: &Client, name: &str, sides: [&str; 2], out: &Out) -> Outcome {
    let left = side(globals, client, name, sides[0]).await?;
    let right = side(globals, client, name, sides[1]).await?;
    let names: BTreeSet<_> = left.files.keys().chain(right.files.keys()).collect();
    let mut found = Vec::new();
    for file in names {
        let text = |side: &Side| side.files.get(file).cloned().unwrap_or_default();
        let (old, new) = (text(&left), text(&right));
        if old != new {
            found.push((file.clone(), old, new));
        }
    }
    if out.json {
        let files: Vec<_> = found
            .iter()
            .map(|(file, old, new)| json!({ "file": file, "diff": unified(file, [&left, &right], old, new) }))
            .collect();
        out.document(&json!({ "left": left.label, "right": right.label, "files": files }));
    } else {
        for (file, old, new) in &found {
            unified(file, [&left, &right], old, new).lines().for_each(|line| out.line(colored(line, out)));
        }
    }
    Ok(if found.is_empty() { Exit::Done } else { Exit::Failed })
}

/// A version of the workflow, or a file as it is now.
async fn side(globals: &Globals, client: &Client, name: &str, text: &str) -> Result<Side, Fail> {
    let path = Path::new(text);
    if text.ends_with(".rhai") {
        let script = script(globals, path)?;
        let file = |path: &str| if path.starts_with("std/") { path.to_owned() } else { format!("{path}.rhai") };
        let mut files: BTreeMap<_, _> =
            script.modules.iter().map(|(path, source)| (file(path), source.clone())).collect();
        files.insert(format!("{name}.rhai"), script.source);
        return Ok(Side { label: text.into(), files });
    }
    let source = client.source(name, text).await?;
    let own = format!("{}.rhai", source.workflow);
    // Two workflows with the same text share it under one of their names.
    let files = source
        .files
        .into_iter()
        .map(|(file, text)| if file == own { (format!("{name}.rhai"), text) } else { (file, text) });
    Ok(Side { label: source.version.short().into(), files: files.collect() })
}

fn unified(file: &str, sides: [&Side; 2], old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let label = |side: &Side| match side.files.contains_key(file) {
        true => format!("{file}  {}", side.label),
        false => "/dev/null".into(),
    };
    let mut text = format!("--- {}\n+++ {}\n", label(sides[0]), label(sides[1]));
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        text.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            let mark = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push(mark);
            text.push_str(change.value());
            if change.missing_newline() {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    text
}

fn colored(line: &str, out: &Out) -> String {
    match line.as_bytes() {
        [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => out.colored(1, line),
        [b'-', ..] => out.colored(31, line),
        [b'+', ..] => out.colored(32, line),
        [b'@', ..] => out.colored(36, line),
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_the_lines_around_it() {
        let side = |label: &str| Side { label: label.into(), files: [("w.rhai".into(), String::new())].into() };
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh";
        assert_eq!(
            unified("w.rhai", [&side("old"), &side("new")], old, new),
            "--- w.rhai  old\n+++ w.rhai  new\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n-h\n+h\n\\ No newline at end of file\n"
        );
        let gone = Side { label: "new".into(), files: BTreeMap::new() };
        assert!(unified("w.rhai", [&side("old"), &gone], "x\n", "").starts_with("--- w.rhai  old\n+++ /dev/null\n"));
    }
}
