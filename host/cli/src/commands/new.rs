//! `durhai new`: a workflow and a step that work at once.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::{Globals, New};
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;

const WORKFLOW: &str = include_str!("../../templates/workflow.rhai");
const STEPS: &str = include_str!("../../templates/steps.rhai");

pub fn new(globals: &Globals, args: New, out: &Out) -> Outcome {
    let name = check(&args.name)?;
    // Not the current folder, as elsewhere: scripts get a folder of their own.
    let root = globals.scripts.clone().unwrap_or_else(|| PathBuf::from("scripts"));
    let steps = name.replace(['/', '-'], "_");
    let files =
        [(root.join(format!("{name}.rhai")), WORKFLOW), (root.join("steps").join(format!("{steps}.rhai")), STEPS)];
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(Fail::usage(format!("{} is there already; choose another name", path.display())));
    }
    for (path, template) in &files {
        write(path, &template.replace("{steps}", &steps))
            .map_err(|error| Fail::usage(format!("{} cannot be written: {error}", path.display())))?;
    }
    let paths: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    if out.json {
        out.document(&json!({ "workflow": name, "files": paths }));
        return Ok(Exit::Done);
    }
    paths.iter().for_each(|path| out.line(format!("wrote {path}")));
    out.line(format!("try it: durhai run {} --input '{{ \"name\": \"Ada\" }}'", paths[0]));
    Ok(Exit::Done)
}

/// A name that can be a workflow's.
fn check(name: &str) -> Result<&str, Fail> {
    let name = name.strip_suffix(".rhai").unwrap_or(name);
    let bad = |why: &str| Err(Fail::usage(format!("{name:?} cannot be the name of a workflow: {why}")));
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    for part in name.split('/') {
        match part {
            "" => return bad("a part of it is empty"),
            part if !part.chars().all(legal) => return bad("use letters, digits, `-`, `_`, and `/` for folders"),
            part if part.starts_with('_') => return bad("files with `_` in front hold no workflow"),
            part if part.starts_with(|c: char| !c.is_ascii_alphabetic()) => {
                return bad("let each part begin with a letter");
            }
            _ => {}
        }
    }
    match name.split('/').next() {
        Some("lib" | "steps") => bad("`lib/` and `steps/` hold no workflows"),
        _ => Ok(name),
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Another process may have made it since the look.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, good) in [
            ("hello", true),
            ("billing/in-voice_2", true),
            ("hello.rhai", true),
            ("", false),
            ("/hello", false),
            ("a//b", false),
            ("../up", false),
            ("_draft", false),
            ("2fast", false),
            ("lib/x", false),
            ("steps/x", false),
            ("a b", false),
        ] {
            assert_eq!(check(name).is_ok(), good, "{name:?}");
        }
    }
}
