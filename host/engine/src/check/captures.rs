//! Closures that are made in a loop, run later, and see a variable as the loop leaves it. (The variables of a `for` are new in
//! each turn, and so is what a turn declares.)

use std::collections::{BTreeMap, HashSet};

use rhai::Position;

use super::code::Code;
use super::report::Report;
use super::tree::{Node, NodeKind, Tree};

pub fn check(tree: &Tree, report: &mut Report<'_>) {
    tree.each(&mut |node| {
        let (names, body) = match &node.kind {
            NodeKind::For { names, body, .. } => (names.as_slice(), body),
            NodeKind::While { body, .. } | NodeKind::Do { body, .. } => (&[][..], body),
            _ => return,
        };
        let mut turn = Turn { own: names.iter().map(|(name, _)| name.as_str()).collect(), ..Turn::default() };
        body.iter().for_each(|node| turn.look(node));
        for (at, name) in &turn.kept {
            if turn.changed.contains(name) && !turn.own.contains(name) {
                let message = format!("this closure runs later, and sees `{name}` as the loop leaves it");
                let help = format!("copy it where the closure is made: `let {name}_now = {name};`, and use the copy");
                report.help(Code::CapturedLater, *at, message, help);
            }
        }
    });
}

/// What one turn of a loop does, closures apart.
#[derive(Default)]
struct Turn<'n> {
    /// What is new in each turn.
    own: HashSet<&'n str>,
    changed: HashSet<&'n str>,
    /// Closures that are kept, and what they read.
    kept: BTreeMap<Position, &'n str>,
}

impl<'n> Turn<'n> {
    fn look(&mut self, node: &'n Node) {
        match &node.kind {
            NodeKind::Closure { .. } => return,
            NodeKind::Let { name, .. } => drop(self.own.insert(name)),
            NodeKind::For { names, .. } => self.own.extend(names.iter().map(|(name, _)| name.as_str())),
            NodeKind::Try { name: Some((name, _)), .. } => drop(self.own.insert(name)),
            NodeKind::Assign { target, value, .. } => {
                if let NodeKind::Variable { path, name } = &target.kind
                    && path.is_empty()
                {
                    self.changed.insert(name);
                }
                self.keep(value);
            }
            NodeKind::Call(call) if ["push", "insert", "task"].contains(&call.name.as_str()) => {
                call.args.iter().for_each(|argument| self.keep(argument));
            }
            _ => {}
        }
        node.children().into_iter().for_each(|child| self.look(child));
    }

    /// A value that is kept: a closure, or what holds some.
    fn keep(&mut self, value: &'n Node) {
        match &value.kind {
            NodeKind::Closure { params, body } => {
                let mut inside: HashSet<&str> = params.iter().map(String::as_str).collect();
                let mut read = Vec::new();
                for node in body {
                    node.each(&mut |node| match &node.kind {
                        NodeKind::Let { name, .. } => drop(inside.insert(name)),
                        // What it changes itself is shared on purpose.
                        NodeKind::Assign { target, .. } => {
                            if let NodeKind::Variable { name, .. } = &target.kind {
                                inside.insert(name);
                            }
                        }
                        NodeKind::For { names, .. } => inside.extend(names.iter().map(|(name, _)| name.as_str())),
                        NodeKind::Closure { params, .. } => inside.extend(params.iter().map(String::as_str)),
                        NodeKind::Variable { path, name } if path.is_empty() => read.push((node.at, name.as_str())),
                        _ => {}
                    });
                }
                self.kept.extend(read.into_iter().filter(|(_, name)| !inside.contains(name)));
            }
            NodeKind::Array(items) => items.iter().for_each(|item| self.keep(item)),
            NodeKind::Map(entries) => entries.iter().for_each(|entry| self.keep(&entry.value)),
            _ => {}
        }
    }
}
