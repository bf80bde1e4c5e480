//! From the tree of a script to its graph.

use std::collections::BTreeMap;

use durhai_stdlib::words::one_line;
use rhai::Position;

use super::builder::{Builder, Frame, Open, Source, WIDTH};
use super::code::short;
use super::model::{Graph, Shape, Way};
use crate::check::tree::{self, NodeKind, Tree};
use crate::errors::diagnostic::Diagnostic;
use crate::limits::SandboxConfig;
use crate::program::parse::parse;
use crate::program::texts::file_name;
use crate::sandbox::Sandbox;

pub fn build(files: &BTreeMap<String, String>, name: &str, config: &SandboxConfig) -> Result<Graph, Vec<Diagnostic>> {
    let sandbox = Sandbox::new(config);
    let mut sources: BTreeMap<String, Source<'_>> = BTreeMap::new();
    let mut open = vec![name.to_owned()];
    while let Some(key) = open.pop() {
        let path = file_name(&key);
        let text = match key.strip_prefix("std/") {
            // What the library does inside is its own affair.
            Some(_) => continue,
            None => files.get(&path),
        };
        let Some(text) = text.filter(|_| !sources.contains_key(&key)) else { continue };
        let ast = parse(&sandbox.engine, &path, text).map_err(|wrong| vec![wrong])?;
        let tree = Tree::of(&ast, text);
        let mut imports = BTreeMap::new();
        tree.each(&mut |node| {
            if let tree::NodeKind::Import { path, alias: Some((alias, _)) } = &node.kind
                && let Some(path) = path.text()
            {
                imports.insert(alias.clone(), path.to_owned());
            }
        });
        open.extend(imports.values().cloned());
        let file = (key != name).then(|| key.as_str().into());
        sources.insert(key, Source { tree, text, imports, file });
    }
    let Some(main) = sources.get(name) else {
        let message = format!("there is no text of the workflow {name:?}");
        return Err(vec![Diagnostic::new(&file_name(name), "", Position::NONE, message)]);
    };
    let graph = Graph { name: name.into(), nodes: Vec::new(), edges: Vec::new(), groups: Vec::new() };
    let mut builder =
        Builder { graph, sources: &sources, group: None, frames: Vec::new(), catching: Vec::new(), end: None };
    let start = builder.add(Shape::Start, name, None);
    builder.frames.push(Frame::new(main, None));
    let mut open = builder.sequence(&main.tree.body, vec![Open::of(start)]);
    open.extend(builder.frames.pop().map(|frame| frame.returned).unwrap_or_default());
    builder.ends(open, "");
    Ok(builder.graph)
}

impl<'t> Builder<'t> {
    pub fn sequence(&mut self, nodes: &'t [tree::Node], mut open: Vec<Open>) -> Vec<Open> {
        for node in nodes {
            // What nothing leads to is not drawn.
            if open.is_empty() {
                break;
            }
            open = self.node(node, open);
        }
        open
    }

    pub fn node(&mut self, node: &'t tree::Node, open: Vec<Open>) -> Vec<Open> {
        match &node.kind {
            NodeKind::Call(call) if !call.operator => self.call(node, call, open),
            // Made here, called elsewhere.
            NodeKind::Closure { .. } => open,
            NodeKind::Let { name, value, .. } => {
                if tree::innermost(value).is_some() {
                    self.frame().closures.insert(name, value);
                }
                self.node(value, open)
            }
            NodeKind::If { condition, then, otherwise } => {
                let open = self.node(condition, open);
                let label = short(condition, WIDTH);
                self.choice(label, open, &mut |this, choice| {
                    let mut out = this.sequence(then, vec![Open::labelled(choice, "yes")]);
                    out.extend(this.sequence(otherwise, vec![Open::labelled(choice, "no")]));
                    out
                })
            }
            NodeKind::Switch { on, cases } => self.switch(on, cases, open),
            NodeKind::While { condition, body } => {
                let label = condition.as_ref().map_or("loop".into(), |c| format!("while {}", short(c, WIDTH)));
                self.repeat(label, condition.as_deref(), body, open)
            }
            NodeKind::Do { body, condition, until } => {
                let word = if *until { "until" } else { "while" };
                self.repeat(format!("do … {word} {}", short(condition, WIDTH)), Some(condition), body, open)
            }
            NodeKind::For { names, over, body } => {
                let open = self.node(over, open);
                let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
                let label = format!("for {} in {}", names.join(", "), short(over, WIDTH));
                self.repeat(label, Some(over), body, open)
            }
            NodeKind::Try { body, name, handler } => {
                self.attempt(body, name.as_ref().map(|(n, _)| n.as_str()), handler, open)
            }
            NodeKind::Return(value) => self.returns(value.as_deref(), open),
            NodeKind::Throw(value) => self.throws(value.as_deref(), open),
            NodeKind::Break(_) => {
                if let Some((broken, _)) = self.frame().loops.last_mut() {
                    broken.extend(open);
                }
                Vec::new()
            }
            NodeKind::Continue => {
                if let Some((_, continued)) = self.frame().loops.last_mut() {
                    continued.extend(open);
                }
                Vec::new()
            }
            _ => node.children().into_iter().fold(open, |open, child| match open.is_empty() {
                true => open,
                false => self.node(child, open),
            }),
        }
    }

    fn switch(&mut self, on: &'t tree::Node, cases: &'t [tree::Case], open: Vec<Open>) -> Vec<Open> {
        let open = self.node(on, open);
        let label = format!("switch {}", short(on, WIDTH));
        self.choice(label, open, &mut |this, choice| {
            let mut out = Vec::new();
            for case in cases {
                let label = this.case(case);
                out.extend(this.node(&case.body, vec![Open::labelled(choice, label)]));
            }
            if !cases.iter().any(|case| case.default) {
                out.push(Open::labelled(choice, "else"));
            }
            out
        })
    }

    fn returns(&mut self, value: Option<&'t tree::Node>, open: Vec<Open>) -> Vec<Open> {
        let open = value.iter().fold(open, |open, value| self.node(value, open));
        let label = value.as_ref().map_or("return".into(), |value| format!("return {}", short(value, 24)));
        let named = open.into_iter().map(|open| match open.label.as_str() {
            "" => Open { label: label.clone(), ..open },
            before => Open { label: format!("{before}: {label}"), ..open },
        });
        let named: Vec<_> = named.collect();
        self.frame().returned.extend(named);
        Vec::new()
    }

    fn throws(&mut self, value: Option<&'t tree::Node>, open: Vec<Open>) -> Vec<Open> {
        let open = value.iter().fold(open, |open, value| self.node(value, open));
        let label = value.as_ref().map_or("throw".into(), |value| format!("throw {}", short(value, WIDTH)));
        let thrown = self.add(Shape::Throw, label, None);
        self.lead(open, thrown);
        self.may_fail(thrown);
        Vec::new()
    }

    /// A branching; one whose branches have nothing to show is left out.
    fn choice(
        &mut self,
        label: String,
        open: Vec<Open>,
        branches: &mut dyn FnMut(&mut Self, usize) -> Vec<Open>,
    ) -> Vec<Open> {
        let (before, exits) = (self.before(), self.exits());
        let choice = self.add(Shape::Choice, label, None);
        self.lead(open.clone(), choice);
        let edges = self.graph.edges.len();
        let mut out = branches(self, choice);
        let plain = self.graph.nodes.len() == before.nodes + 1 && self.graph.edges.len() == edges;
        if plain && self.exits() == exits {
            self.back_to(&before);
            return open;
        }
        out.dedup();
        out
    }

    /// How many ways lead out of what is being drawn, by `return`, `break` and `continue`.
    fn exits(&self) -> usize {
        let frame = self.frames.last().map_or(0, |frame| {
            frame.returned.len() + frame.loops.iter().map(|(broken, again)| broken.len() + again.len()).sum::<usize>()
        });
        frame + self.catching.iter().map(Vec::len).sum::<usize>()
    }

    fn case(&mut self, case: &tree::Case) -> String {
        if case.default {
            return "else".into();
        }
        let text = self.frame().source.text;
        let pattern = pattern(text, case);
        match &case.guard {
            Some(guard) => format!("{pattern} if {}", short(guard, 24)),
            None => pattern,
        }
    }

    fn repeat(
        &mut self,
        label: String,
        condition: Option<&'t tree::Node>,
        body: &'t [tree::Node],
        open: Vec<Open>,
    ) -> Vec<Open> {
        let before = self.before();
        let exits = self.exits();
        let head = self.add(Shape::Loop, label, None);
        self.lead(open.clone(), head);
        self.frame().loops.push((Vec::new(), Vec::new()));
        let mut again = self.sequence(body, vec![Open::of(head)]);
        let (broken, continued) = self.frame().loops.pop().unwrap_or_default();
        again.extend(continued);
        let plain =
            self.graph.nodes[before.nodes..].iter().all(|node| matches!(node.shape, Shape::Choice | Shape::Loop));
        if plain && self.exits() == exits {
            self.back_to(&before);
            return open;
        }
        let again = again.into_iter().map(|open| Open { kind: Way::Back, ..open }).collect();
        self.lead(again, head);
        let mut out = broken;
        if let Some(condition) = condition
            && !matches!(condition.kind, NodeKind::Bool(true))
        {
            out.push(Open::labelled(head, "done"));
        }
        out
    }

    fn attempt(
        &mut self,
        body: &'t [tree::Node],
        name: Option<&str>,
        handler: &'t [tree::Node],
        open: Vec<Open>,
    ) -> Vec<Open> {
        let before = self.before();
        self.catching.push(Vec::new());
        let mut out = self.group("try", |this| this.sequence(body, open));
        let failed = self.catching.pop().unwrap_or_default();
        if self.graph.nodes.len() == before.nodes {
            self.graph.groups.truncate(before.groups);
        }
        if failed.is_empty() {
            return out;
        }
        let caught = self.add(Shape::Catch, name.map_or("catch".into(), |name| format!("catch {name}")), None);
        self.lead(failed, caught);
        out.extend(self.sequence(handler, vec![Open::of(caught)]));
        out
    }
}

/// What a case of a `switch` is for, from the text in front of its `=>`, or of its guard.
fn pattern(text: &str, case: &tree::Case) -> String {
    let before = case.guard.as_ref().map_or(case.body.at, |guard| guard.at);
    let (Some(line), Some(column)) = (before.line(), before.position()) else { return "…".into() };
    let Some(text) = text.lines().nth(line - 1) else { return "…".into() };
    let front: String = text.chars().take(column).collect();
    let word = if case.guard.is_some() { " if " } else { "=>" };
    let front = front.rfind(word).map_or(front.as_str(), |at| &front[..at]);
    let begin = front.rfind(['{', ',', '}', ';']).map_or(0, |at| at + 1);
    match front[begin..].trim() {
        "" => "…".into(),
        pattern => one_line(pattern, WIDTH),
    }
}
