//! Durable calls: steps and workflows that no host has, arguments that cannot be, names that nothing answers.

use std::collections::{BTreeMap, HashSet};

use rhai::Position;

use super::code::Code;
use super::options;
use super::project::{File, Parsed, Project};
use super::report::Report;
use super::texts::mentions;
use super::tree::{Call, Node, NodeKind, Tree};
use crate::errors::suggest::near;

pub fn check(project: &Project<'_>, file: &File<'_>, tree: &Tree, report: &mut Report<'_>) {
    let own: HashSet<&str> = tree.functions.iter().map(|function| function.name.as_str()).collect();
    tree.each(&mut |node| {
        let Some(call) = node.call().filter(|call| call.path.is_empty() && !own.contains(call.name.as_str())) else {
            return;
        };
        options::check(call, report);
        options::arguments(call, report);
        closures(call, report);
        let name = call.args.first().and_then(|node| Some((node.at, node.text()?)));
        let Some((at, name)) = name.filter(|(_, name)| !name.is_empty() && call.receiver.is_none()) else { return };
        match call.name.as_str() {
            "use_step" => step(project, at, name, report),
            "run_workflow" | "start_workflow" => workflow(project, at, name, report),
            "wait_for" | "poll_signal" => signal(project, file, at, name, report),
            _ => {}
        }
    });
    labels(tree, report);
    state(project, file, tree, report);
}

fn step(project: &Project<'_>, at: Position, name: &str, report: &mut Report<'_>) {
    if (project.folder.knows_step)(name) {
        return;
    }
    let help = match near(name, project.folder.steps.iter().map(String::as_str)) {
        Some(close) => format!("did you mean {close:?}?"),
        None => match name.rsplit_once('.') {
            Some((module, function)) if !module.is_empty() && !function.is_empty() => format!(
                "it would be `fn {function}(input)` in steps/{module}.rhai; steps that a host has in Rust are named with \
                 --assume-step"
            ),
            _ => "`durhai step` lists the steps; those that a host has in Rust are named with --assume-step".into(),
        },
    };
    report.help(Code::UnknownStep, at, format!("there is no step {name:?}"), help);
}

fn workflow(project: &Project<'_>, at: Position, name: &str, report: &mut Report<'_>) {
    if project.workflows.iter().any(|known| known == name) {
        return;
    }
    let help = match near(name, project.workflows.iter().map(String::as_str)) {
        Some(close) => format!("did you mean {close:?}?"),
        None => format!("it would be the file {name}.rhai in the scripts folder"),
    };
    report.help(Code::UnknownWorkflow, at, format!("there is no workflow {name:?}"), help);
}

/// Signals come from outside, mostly. Still, one that no test and no other script knows may be misspelled.
fn signal(project: &Project<'_>, file: &File<'_>, at: Position, name: &str, report: &mut Report<'_>) {
    let others: Vec<_> = project.files().filter(|other| other.key != file.key).collect();
    if others.iter().any(|other| mentions(other.text, name)) {
        return;
    }
    let message = format!("no other file names the signal {name:?}");
    report.help(Code::SignalUnsent, at, message, "nothing to do if it is sent from outside; else compare the names");
}

/// Work for tasks must be closures; a call instead is made at once, before there are tasks.
fn closures(call: &Call, report: &mut Report<'_>) {
    let check = |node: &Node, report: &mut Report<'_>| {
        let durable = |call: &Call| super::project::WAITING.contains(&call.name.as_str()) && call.path.is_empty();
        if let Some(inner) = node.call().filter(|inner| durable(inner)) {
            let message = format!("{}: `{}` is called here, at once: it is no closure", call.name, inner.name);
            let help = format!("put two bars in front: `|| {}(…)`", inner.name);
            report.help(Code::NotAClosure, node.at, message, help);
        } else if let Some(value) = node.literal() {
            let found = crate::values::show::found(&value);
            let message = format!("{}: a closure is needed here, found {found}", call.name);
            report.help(Code::NotAClosure, node.at, message, "a closure is written `|| use_step(…)`");
        }
    };
    match (call.name.as_str(), call.args.as_slice()) {
        ("parallel" | "race", [work, ..]) => match &work.kind {
            NodeKind::Array(items) => items.iter().for_each(|item| check(item, report)),
            NodeKind::Map(entries) => entries.iter().for_each(|entry| check(&entry.value, report)),
            _ => check(work, report),
        },
        ("foreach" | "with_timeout", [_, work, ..]) | ("task", [work]) => check(work, report),
        _ => {}
    }
}

/// The same question twice in one stretch of code.
fn labels(tree: &Tree, report: &mut Report<'_>) {
    fn scope(nodes: &[Node], report: &mut Report<'_>) {
        let mut first = BTreeMap::new();
        nodes.iter().for_each(|node| walk(node, &mut first, report));
    }
    fn walk(node: &Node, first: &mut BTreeMap<String, Position>, report: &mut Report<'_>) {
        if let NodeKind::Closure { body, .. } = &node.kind {
            return scope(body, report);
        }
        if let Some(call) = node.call()
            && call.name == "suspend"
            && let Some(NodeKind::Map(entries)) = call.args.get(1).map(|options| &options.kind)
            && let Some(entry) = entries.iter().find(|entry| entry.key == "label")
            && let Some(label) = entry.value.text()
        {
            match first.get(label) {
                None => drop(first.insert(label.into(), entry.value.at)),
                Some(before) => {
                    let line = before.line().unwrap_or(0);
                    let message = format!("the label {label:?} is used in line {line} already");
                    let help = "give each question its own label, so that an answer finds the right one";
                    report.help(Code::LabelTwice, entry.value.at, message, help);
                }
            }
        }
        node.children().into_iter().for_each(|child| walk(child, first, report));
    }
    scope(&tree.body, report);
    tree.functions.iter().for_each(|function| scope(&function.body, report));
}

/// What is read from the state of a run and never set: in this file, or in one it imports.
fn state(project: &Project<'_>, file: &File<'_>, tree: &Tree, report: &mut Report<'_>) {
    let mut set = HashSet::new();
    let mut computed = false;
    let mut seen = |tree: &Tree| {
        tree.each(&mut |node| {
            if let Some(call) = node.call().filter(|call| call.name == "set_state" && call.path.is_empty()) {
                match call.args.first().and_then(Node::text) {
                    Some(key) => drop(set.insert(key.to_owned())),
                    None => computed = true,
                }
            }
        });
    };
    seen(tree);
    // A module and those that import it are one program: all modules count, whichever file imports them.
    for other in project.files().filter(|other| other.role.module || file.role.module) {
        if let Parsed::Good { tree, .. } = &other.parsed {
            seen(tree);
        }
    }
    if computed {
        return;
    }
    tree.each(&mut |node| {
        if let Some(call) = node.call().filter(|call| call.name == "get_state" && call.path.is_empty())
            && let Some(argument) = call.args.first()
            && let Some(key) = argument.text()
            && !set.contains(key)
        {
            let message = format!("no `set_state` sets {key:?}, so this is always ()");
            match near(key, set.iter().map(String::as_str)) {
                Some(close) => {
                    report.help(Code::StateNeverSet, argument.at, message, format!("did you mean {close:?}?"))
                }
                None => report.add(Code::StateNeverSet, argument.at, message),
            }
        }
    });
}
