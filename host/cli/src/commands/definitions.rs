//! `durhai definitions`: files from which the Rhai language server knows what scripts can call.
//!
//! The server has one scope for all scripts of a folder, so it offers what only steps have to workflows too, and the other
//! way round; `durhai check` tells them apart. It resolves an import beside the file that imports, and durhai from the
//! scripts folder: the modules of the library are therefore defined beside each folder with scripts.

use std::path::{Component, Path, PathBuf};

use durhai::check::{CALLS, CallDoc};
use durhai_stdlib::docs::{Module, docs as modules};
use serde_json::json;

use super::docs::steps::{ALWAYS, STEP_CALLS, StepDoc};
use crate::args::{Definitions, Globals};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::output::Out;

/// What every file says in its first line.
const MARK: &str = "/// Written by `durhai definitions`: changes are lost.\n///\n";

const LANGUAGE: &str = include_str!("definitions/rhai.d.rhai");

pub fn definitions(globals: &Globals, args: Definitions, out: &Out) -> Outcome {
    let scripts = folder::scripts(globals.scripts.as_deref())?;
    let failed =
        |path: &Path, error: std::io::Error| Fail::usage(format!("{} cannot be written: {error}", path.display()));
    let dir = resolved(&args.dir).map_err(|error| failed(&args.dir, error))?;
    let scripts = scripts.canonicalize().map_err(|error| failed(&scripts, error))?;
    if holds(&scripts, &dir) {
        let (dir, scripts) = (args.dir.display(), scripts.display());
        return Err(Fail::usage(format!(
            "{dir} is inside the scripts folder {scripts}, where its files would be workflows; choose a folder outside of \
             it, or one whose name begins with `.` or `_`"
        )));
    }
    let files = files(&dir, &scripts);
    for (name, _) in &files {
        let path = dir.join(name);
        let foreign = std::fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(MARK));
        if foreign {
            return Err(Fail::usage(format!("{} is there already and not from durhai; choose another folder", {
                path.display()
            })));
        }
    }
    for (name, text) in &files {
        let path = dir.join(name);
        let folder = path.parent().unwrap_or(&dir);
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text)).map_err(|e| failed(&path, e))?;
    }
    if out.json {
        let names: Vec<_> = files.iter().map(|(name, _)| args.dir.join(name).display().to_string()).collect();
        out.document(&json!({ "files": names }));
        return Ok(Exit::Done);
    }
    out.line(format!("wrote {} files to {}", files.len(), args.dir.display()));
    out.line(
        "The language server of https://github.com/rhaiscript/lsp reads them: open a folder that holds both them and",
    );
    out.line("the scripts in VS Code with its extension. If that folder has a Rhai.toml, its [source] include must name them.");
    Ok(Exit::Done)
}

/// A path without links, of which the end need not exist yet.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(resolved(parent)?.join(name))
        }
        (result, ..) => result,
    }
}

/// Whether durhai would look for workflows there.
fn holds(scripts: &Path, dir: &Path) -> bool {
    let Ok(inside) = dir.strip_prefix(scripts) else { return false };
    let hidden = |part: Component<'_>| part.as_os_str().to_string_lossy().starts_with(['.', '_']);
    !inside.components().any(hidden)
}

/// Names below the folder, and texts.
fn files(dir: &Path, scripts: &Path) -> Vec<(String, String)> {
    let mut files = vec![
        ("rhai.d.rhai".into(), format!("{MARK}{LANGUAGE}")),
        ("workflows.d.rhai".into(), workflows()),
        ("steps.d.rhai".into(), steps("", "What scripts in `steps/` can call.", "static")),
    ];
    let mut step_modules: Vec<_> = STEP_CALLS.iter().map(|call| call.module).filter(|name| !name.is_empty()).collect();
    step_modules.dedup();
    for name in step_modules {
        let text = steps(name, "A module that scripts in `steps/` have without an import.", name);
        files.push((format!("steps/{name}.d.rhai"), text));
    }
    for module in modules() {
        if ALWAYS.contains(&module.alias) {
            files.push((format!("steps/{}.d.rhai", module.alias), library(&module, module.alias)));
        }
        for folder in folders(scripts) {
            // As seen from the file, which lies in a folder of the folder's name.
            let file = dir.join("std").join(&folder);
            let target = scripts.join(&folder).join(format!("{}.rhai", module.name));
            let name = Path::new("std").join(&folder).join(format!("{}.d.rhai", module.alias));
            let header = format!("{:?}", slashes(&relative(&file, &target)));
            files.push((slashes(&name), library(&module, &header)));
        }
    }
    files
}

/// The scripts folder and those below it that hold scripts, as they are seen from it.
fn folders(scripts: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let names = folder::workflows(scripts);
    for name in &names {
        if let Some(folder) = Path::new(name).parent()
            && !found.iter().any(|known| known == folder)
        {
            found.push(folder.into());
        }
    }
    for other in ["lib", "steps"] {
        if scripts.join(other).is_dir() {
            found.push(other.into());
        }
    }
    found
}

/// The way from a folder to a file; both are absolute and without links.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn workflows() -> String {
    let mut out = format!("{MARK}/// The durable calls: what workflow scripts can call.\nmodule static;\n");
    out.push_str("\n/// What the run was started with.\nconst input: ?;\n");
    for call in CALLS {
        for form in call.forms {
            item(&mut out, call.text, &[], &format!("fn {}", signature(call, form)));
        }
    }
    for (name, text) in [("token", "The last part of the hook's address."), ("url", "The address of a hook.")] {
        item(&mut out, text, &[], &format!("fn get {name}(hook: ?) -> String"));
    }
    item(&mut out, "Seconds since a timestamp.", &[], "fn get elapsed(timestamp: ?) -> float");
    for (form, text) in [
        ("step(saga: ?, action: ?, compensation: ?) -> ?", "Calls the action and remembers how to undo it."),
        ("undo(saga: ?, compensation: ?)", "Remembers what undoes what the block does itself."),
    ] {
        item(&mut out, text, &[], &format!("fn {form}"));
    }
    out
}

/// A form of a call as a definition: `hook.wait(#{ timeout })` is `wait(hook: ?, options: ?)`.
fn signature(call: &CallDoc, form: &str) -> String {
    let (before, arguments) = form.split_once('(').unwrap_or((form, ""));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let mut parameters: Vec<String> = before.split_once('.').map(|(owner, _)| owner.into()).into_iter().collect();
    for argument in arguments_of(arguments) {
        parameters.push(match argument.chars().next() {
            Some('#') => "options".into(),
            Some('|') => "closure".into(),
            _ => argument.into(),
        });
    }
    let parameters: Vec<_> = parameters.iter().map(|name| format!("{name}: ?")).collect();
    format!("{}({})", call.name, parameters.join(", "))
}

/// Splits at the commas that stand in no brackets and no closure's parameters.
fn arguments_of(text: &str) -> Vec<&str> {
    let (mut depth, mut bars, mut start) = (0, 0, 0);
    let mut found = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            '|' => bars += 1,
            ',' if depth == 0 && bars % 2 == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|argument| !argument.is_empty());
    found
}

fn steps(module: &str, about: &str, header: &str) -> String {
    let mut out = format!("{MARK}/// {about}\nmodule {header};\n");
    let own = |call: &&StepDoc| call.module == module;
    for call in STEP_CALLS.iter().filter(own) {
        for form in call.forms {
            item(&mut out, call.text, &[], &format!("fn {}{form}", call.name));
        }
    }
    out
}

fn library(module: &Module, header: &str) -> String {
    let mut out = String::from(MARK);
    comment(&mut out, &module.text);
    out.push_str(&format!("module {header};\n"));
    for function in &module.functions {
        for form in &function.forms {
            let parameters: Vec<_> = form.iter().map(|name| format!("{name}: ?")).collect();
            let form = format!("fn {}({}) -> ?", function.name, parameters.join(", "));
            item(&mut out, &function.text, &function.examples, &form);
        }
    }
    out
}

fn item(out: &mut String, text: &str, examples: &[String], definition: &str) {
    out.push('\n');
    comment(out, text);
    for example in examples {
        comment(out, &format!("\n```rhai\n{example}```"));
    }
    out.push_str(&format!("{definition};\n"));
}

fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        out.push_str(format!("/// {line}").trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_become_signatures() {
        for (form, expected) in [
            ("use_step(name, input)", "x(name: ?, input: ?)"),
            ("hook.wait(#{ timeout })", "x(hook: ?, options: ?)"),
            ("foreach(items, |item, index| …, #{ concurrency })", "x(items: ?, closure: ?, options: ?)"),
            ("with_timeout(duration, || …)", "x(duration: ?, closure: ?)"),
            ("now()", "x()"),
        ] {
            assert_eq!(signature(&CallDoc { name: "x", forms: &[], text: "" }, form), expected, "{form}");
        }
    }

    /// A definition is a declaration without a body; with one it is a function, and the file is a script that Rhai's own
    /// parser must take, comments and all.
    #[test]
    fn definitions_are_functions_without_a_body() {
        let engine = rhai::Engine::new_raw();
        let mut count = 0;
        for (name, text) in files(Path::new("/flows/.definitions"), Path::new("/flows/scripts")) {
            assert!(text.starts_with(MARK), "{name}");
            let declared = text.lines().filter(|line| line.starts_with("module ")).count();
            assert_eq!(declared, 1, "{name}");
            for line in text.lines().filter(|line| line.starts_with("fn ")) {
                let line = line.strip_suffix(';').unwrap_or_else(|| panic!("{name}: {line}"));
                let (call, _) = line.split_once(" -> ").unwrap_or((line, ""));
                let (before, parameters) = call.split_once('(').expect("parameters");
                let names = parameters.trim_end_matches(')').split(", ").filter(|text| !text.is_empty());
                let names: Vec<_> = names.map(|text| text.split_once(": ").expect("a type").0).collect();
                let names: Vec<_> = names.iter().map(|name| name.trim_start_matches("...")).collect();
                let before = before.replace("fn get ", "fn ").replace("fn call", "fn call_");
                let script = format!("{} ({}) {{}}", before.replace("fn Fn", "fn Fn_"), names.join(", "));
                let known = ["print", "debug", "type_of", "is_shared", "is_def_var", "is_def_fn"];
                if !known.iter().any(|name| before == format!("fn {name}")) {
                    engine.compile(&script).unwrap_or_else(|error| panic!("{name}: {script}: {error}"));
                }
                count += 1;
            }
            // Everything else is a comment or empty.
            let code = text.lines().filter(|line| !line.starts_with("//") && !line.is_empty());
            for line in code {
                assert!(["fn ", "module ", "const "].iter().any(|word| line.starts_with(word)), "{name}: {line}");
            }
        }
        assert!(count > 300, "{count}");
    }

    #[test]
    fn ways_between_folders() {
        for (from, to, expected) in [
            ("/a/.definitions/std", "/a/scripts/std/text.rhai", "../../scripts/std/text.rhai"),
            ("/a/b", "/a/b/c.rhai", "c.rhai"),
            ("/x", "/a/c.rhai", "../a/c.rhai"),
        ] {
            assert_eq!(slashes(&relative(Path::new(from), Path::new(to))), expected);
        }
        for (dir, inside) in [("/s/definitions", true), ("/s/.definitions", false), ("/t", false), ("/s", true)] {
            assert_eq!(holds(Path::new("/s"), Path::new(dir)), inside, "{dir}");
        }
    }

    #[test]
    fn files_are_written_again_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().expect("a folder");
        let scripts = dir.path().join("scripts");
        std::fs::create_dir_all(scripts.join("billing")).expect("a folder");
        std::fs::write(scripts.join("billing/invoice.rhai"), "1").expect("a file");
        let globals =
            Globals { data: dir.path().into(), json: false, scripts: Some(scripts.clone()), config: None, store: None };
        let write = |folder: PathBuf| definitions(&globals, Definitions { dir: folder }, &Out::new(false));
        let target = dir.path().join("new/.definitions");
        for _ in 0..2 {
            assert_eq!(write(target.clone()), Ok(Exit::Done));
        }
        let text = std::fs::read_to_string(target.join("std/billing/text.d.rhai")).expect("a file");
        assert!(text.contains("\nmodule \"../../../../scripts/billing/std/text.rhai\";\n"), "{text}");
        assert!(text.contains("\nfn slug(source: ?) -> ?;\n"));

        std::fs::write(target.join("rhai.d.rhai"), "module mine;").expect("a file");
        let fail = write(target.clone()).expect_err("not ours");
        assert!(fail.message.contains("rhai.d.rhai is there already"), "{}", fail.message);
        let fail = write(scripts.join("definitions")).expect_err("would be workflows");
        assert!(fail.message.contains("inside the scripts folder"), "{}", fail.message);
        assert!(!scripts.join("definitions").exists());
    }
}
