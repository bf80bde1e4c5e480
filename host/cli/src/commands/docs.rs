//! `durhai docs`: what scripts can call, in the terminal.

pub mod steps;

use durhai::check::{CALLS, CallDoc};
use durhai_stdlib::docs::{Function, Module, docs as modules, summary};
use serde_json::{Value, json};

use self::steps::{ALWAYS, STEP_CALLS, StepDoc};
use crate::args::Docs;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder::near;
use crate::output::Out;

/// Characters of a line of text.
const WIDTH: usize = 100;

/// What a name stands for.
enum Entry<'a> {
    Call(&'a CallDoc),
    Module(&'a Module),
    Function(&'a Module, &'a Function),
    Step(&'a StepDoc),
    /// A module that only steps have.
    StepModule(&'static str),
}

pub fn docs(args: Docs, out: &Out) -> Outcome {
    let modules = modules();
    let Some(name) = args.name else {
        list(&modules, out);
        return Ok(Exit::Done);
    };
    let found = find(&modules, name.trim_end_matches("()"));
    if found.is_empty() {
        let near = meant(&name, &names(&modules));
        let hint = match near.len() {
            0 => "; `durhai docs` lists what there is".into(),
            _ => format!("; did you mean {}?", near.join(" or ")),
        };
        return Err(Fail::not_found(format!("nothing is called {name:?}{hint}")));
    }
    if out.json {
        let entries: Vec<Value> = found.iter().map(as_json).collect();
        match <[Value; 1]>::try_from(entries) {
            Ok([entry]) => out.document(&entry),
            Err(entries) => out.document(&entries),
        }
        return Ok(Exit::Done);
    }
    for (index, entry) in found.iter().enumerate() {
        if index > 0 {
            out.line("");
        }
        as_text(entry).lines().for_each(|line| out.line(line));
    }
    Ok(Exit::Done)
}

fn list(modules: &[Module], out: &Out) {
    if out.json {
        return out.document(&json!({
            "calls": CALLS,
            "modules": modules.iter().map(|module| as_json(&Entry::Module(module))).collect::<Vec<_>>(),
            "steps": STEP_CALLS,
        }));
    }
    let rows: Vec<_> = CALLS.iter().map(|call| vec![call.name.into(), summary(call.text).into()]).collect();
    out.table(&["durable call", "does"], &rows);
    out.line("");
    let rows: Vec<_> = modules.iter().map(|module| vec![module.name.into(), module.summary().into()]).collect();
    out.table(&["module", "for"], &rows);
    out.line("");
    let rows: Vec<_> = STEP_CALLS.iter().map(|call| vec![call.path(), summary(call.text).into()]).collect();
    out.table(&["in steps", "does"], &rows);
    out.line("");
    out.line("durhai docs NAME says more: `durhai docs use_step`, `durhai docs std/time`, `durhai docs time::format`");
}

fn find<'a>(modules: &'a [Module], name: &str) -> Vec<Entry<'a>> {
    if let Some(module) = modules.iter().find(|module| module.name == name || module.alias == name) {
        return vec![Entry::Module(module)];
    }
    if let Some(call) = STEP_CALLS.iter().find(|call| !call.module.is_empty() && call.module == name) {
        return vec![Entry::StepModule(call.module)];
    }
    let (wanted, name) = match name.trim_start_matches("std/").split_once("::") {
        Some((module, name)) => (Some(module), name),
        None => (None, name),
    };
    let mut found: Vec<Entry<'_>> = Vec::new();
    if wanted.is_none() {
        found.extend(CALLS.iter().filter(|call| call.name == name).map(Entry::Call));
    }
    for module in modules.iter().filter(|module| wanted.is_none_or(|wanted| wanted == module.alias)) {
        let functions = module.functions.iter().filter(|function| function.name == name);
        found.extend(functions.map(|function| Entry::Function(module, function)));
    }
    let fits = |call: &&StepDoc| call.name == name && wanted.is_none_or(|wanted| wanted == call.module);
    found.extend(STEP_CALLS.iter().filter(fits).map(Entry::Step));
    found
}

/// Every name that has an entry, for those who mistype one.
fn names(modules: &[Module]) -> Vec<String> {
    let mut names: Vec<String> = CALLS.iter().map(|call| call.name.into()).collect();
    for module in modules {
        names.push(module.name.into());
        names.extend(module.functions.iter().map(|function| format!("{}::{}", module.alias, function.name)));
    }
    names.extend(STEP_CALLS.iter().map(StepDoc::path));
    names.sort();
    names.dedup();
    names
}

/// Names that look like this one, with their modules; a function may be asked for without its module.
fn meant(name: &str, names: &[String]) -> Vec<String> {
    let found = near(name, names);
    if !found.is_empty() || name.contains("::") {
        return found;
    }
    let bare: Vec<String> = names.iter().filter_map(|name| Some(name.split_once("::")?.1.into())).collect();
    let near = near(name, &bare);
    let ends = |full: &&String| full.split_once("::").is_some_and(|(_, own)| near.iter().any(|near| near == own));
    names.iter().filter(ends).take(3).cloned().collect()
}

fn as_text(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Call(call) => format!("{}\n\n{}", call.forms.join("\n"), wrap(call.text)),
        Entry::Function(module, function) => {
            let text = durhai_stdlib::docs::text(module, function);
            let heading = if module.pure { "" } else { "\n\nIn workflows only: it makes durable calls." };
            format!("{}{heading}", text.trim_end())
        }
        Entry::Module(module) => {
            let use_in_steps = match (module.pure, ALWAYS.contains(&module.alias)) {
                (true, true) => "Steps have it without an import.",
                (true, false) => "Steps can import it too.",
                (false, _) => "In workflows only: it makes durable calls.",
            };
            let rows = module.functions.iter();
            let rows = rows.map(|function| (format!("{}::{}", module.alias, function.name), function.summary()));
            format!("{}\n\n{use_in_steps}\n\n{}", module.text, columns(rows.collect()))
        }
        Entry::Step(call) => {
            let forms: Vec<_> = call.forms.iter().map(|form| format!("{}{form}", call.path())).collect();
            format!("{}\n\nIn steps: {}", forms.join("\n"), wrap(call.text))
        }
        Entry::StepModule(name) => {
            let calls = STEP_CALLS.iter().filter(|call| call.module == *name);
            let rows = calls.map(|call| (call.path(), summary(call.text))).collect();
            format!("{name}: a module that scripts in steps/ have.\n\n{}", columns(rows))
        }
    }
}

fn columns(rows: Vec<(String, &str)>) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, text): &(String, &str)| format!("{name:width$}  {}", text.replace('\n', " "));
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn as_json(entry: &Entry<'_>) -> Value {
    let function = |module: &Module, function: &Function| {
        let forms = function.signatures();
        let forms: Vec<_> = forms.iter().map(|form| format!("{}::{form}", module.alias)).collect();
        json!({
            "name": format!("{}::{}", module.alias, function.name),
            "forms": forms,
            "text": function.text,
            "examples": function.examples,
        })
    };
    match entry {
        Entry::Call(call) => json!(call),
        Entry::Step(call) => json!(call),
        Entry::Function(module, found) => function(module, found),
        Entry::Module(module) => json!({
            "name": module.name,
            "text": module.text,
            "pure": module.pure,
            "functions": module.functions.iter().map(|found| function(module, found)).collect::<Vec<_>>(),
        }),
        Entry::StepModule(name) => json!({
            "name": name,
            "functions": STEP_CALLS.iter().filter(|call| call.module == *name).collect::<Vec<_>>(),
        }),
    }
}

/// Lines of a paragraph.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > WIDTH {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str) -> String {
        let modules = modules();
        find(&modules, name).iter().map(as_text).collect::<Vec<_>>().join("\n--\n")
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        for (name, parts) in [
            ("use_step", &["use_step(name, input, options)", "`unknown_step`"][..]),
            ("std/time", &["import \"std/time\" as time", "time::format"]),
            ("time", &["time::start_of"]),
            (
                "time::format",
                &["time::format(time, pattern, timezone)", "    time::format(at, \"%d.%m.%Y\")", "// => "],
            ),
            ("std/time::format", &["strftime"]),
            ("start_of", &["time::start_of(time, unit)"]),
            ("parse", &["json::parse(source)", "time::parse(source)"]),
            ("retry::run", &["In workflows only"]),
            ("file", &["file::write"]),
            ("file::write", &["file::write(path: String, text: String) -> int", "--allow-write"]),
            // A workflow has one and a step has another one.
            ("sleep", &["durably", "In steps: "]),
        ] {
            let text = shown(name);
            for part in parts {
                assert!(text.contains(part), "{name}: {part:?} is not in\n{text}");
            }
        }
        assert_eq!(shown("nothing_of_that_name"), "");
    }

    #[test]
    fn names_that_were_meant() {
        let names = names(&modules());
        for (name, expected) in [
            ("use_stpe", &["use_step"][..]),
            ("std/tmie", &["std/time"]),
            ("tiem::format", &["time::format"]),
            ("sluug", &["text::slug"]),
            ("xyzzyxyzzy", &[]),
        ] {
            assert_eq!(meant(name, &names).iter().take(1).collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn every_name_has_an_entry_and_a_summary() {
        let modules = modules();
        for name in names(&modules) {
            for entry in find(&modules, &name) {
                let text = match entry {
                    Entry::Call(call) => summary(call.text).to_owned(),
                    Entry::Step(call) => summary(call.text).to_owned(),
                    Entry::Module(module) => module.summary().to_owned(),
                    Entry::Function(_, function) => function.summary().to_owned(),
                    Entry::StepModule(name) => name.to_owned(),
                };
                assert!((3..160).contains(&text.len()), "{name}: {text:?}");
            }
            assert!(!find(&modules, &name).is_empty(), "{name}");
        }
    }
}
