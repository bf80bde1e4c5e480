//! Calls in a graph: what waits, what opens tasks, functions drawn where they are called, closures.

use super::builder::{Builder, DEEP, Frame, MANY, Open, Source, WIDTH};
use super::code::short;
use super::model::{Shape, Way};
use crate::check::tree::{self, Call, Function, NodeKind};

impl<'t> Builder<'t> {
    pub fn call(&mut self, node: &'t tree::Node, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        // Closures come with the call; everything else is computed before it.
        let mut open = open;
        for child in call.receiver.iter().chain(&call.args) {
            if !open.is_empty() {
                open = self.node(child, open);
            }
        }
        if open.is_empty() {
            return open;
        }
        if let Some(function) = self.function(call) {
            return self.inline(call, function, open);
        }
        if call.path.is_empty()
            && let Some(done) = self.durable(node, call, &open)
        {
            return done;
        }
        if call.name == "call"
            && let Some(NodeKind::Variable { name, .. }) = call.receiver.as_ref().map(|receiver| &receiver.kind)
            && let Some(closure) = self.held_as(name).filter(|held| matches!(held.kind, NodeKind::Closure { .. }))
            && self.frames.len() < DEEP
        {
            return self.branch(closure, open);
        }
        self.callbacks(call, open)
    }

    /// What a variable holds, as far as closures go.
    fn held(&self, node: &tree::Node) -> Option<&'t tree::Node> {
        match &node.kind {
            NodeKind::Variable { path, name } if path.is_empty() => self.held_as(name),
            _ => None,
        }
    }

    fn held_as(&self, name: &str) -> Option<&'t tree::Node> {
        self.frames.iter().rev().find_map(|frame| frame.closures.get(name).copied())
    }

    /// The function of these files that is called, with the file it is in.
    fn function(&mut self, call: &Call) -> Option<(&'t Source<'t>, &'t Function)> {
        let here = self.frame().source;
        let source = match call.path.as_slice() {
            [] => here,
            [alias] => self.sources.get(here.imports.get(alias)?)?,
            _ => return None,
        };
        let fits = |function: &&Function| function.name == call.name && function.params.len() == call.args.len();
        source.tree.functions.iter().find(fits).map(|function| (source, function))
    }

    fn inline(
        &mut self,
        call: &'t Call,
        (source, function): (&'t Source<'t>, &'t Function),
        open: Vec<Open>,
    ) -> Vec<Open> {
        let label: String = call.path.iter().map(|part| format!("{part}::")).collect::<String>() + call.name.as_str();
        let inside = |frame: &Frame<'_>| frame.function.is_some_and(|outer| std::ptr::eq(outer, function));
        if self.frames.iter().any(inside) || self.frames.len() >= DEEP || self.graph.nodes.len() > MANY {
            return self.then(open, Shape::Call, format!("{label}(…)"), None);
        }
        // Closures that are handed to it are drawn at the call: what the function does with them is not followed.
        let open = self.callbacks(call, open);
        let before = self.before();
        self.frames.push(Frame::new(source, Some(function)));
        let mut out = self.group(&format!("{label}()"), |this| this.sequence(&function.body, open.clone()));
        let frame = self.frames.pop();
        out.extend(frame.map(|frame| frame.returned).unwrap_or_default());
        if self.graph.nodes.len() == before.nodes {
            self.back_to(&before);
            return open;
        }
        // A `return` of a function is no end.
        out.iter_mut().for_each(|open| goes_on(&mut open.label));
        out.dedup();
        out
    }

    /// A closure as a stretch of code.
    fn branch(&mut self, closure: &'t tree::Node, open: Vec<Open>) -> Vec<Open> {
        let closure = self.held(closure).unwrap_or(closure);
        let body = match &closure.kind {
            NodeKind::Closure { body, .. } => body,
            _ => return self.node(closure, open),
        };
        let source = self.frame().source;
        self.frames.push(Frame::new(source, None));
        let mut out = self.sequence(body, open);
        let frame = self.frames.pop();
        out.extend(frame.map(|frame| frame.returned).unwrap_or_default());
        out.iter_mut().for_each(|open| goes_on(&mut open.label));
        out
    }

    fn durable(&mut self, node: &'t tree::Node, call: &'t Call, open: &[Open]) -> Option<Vec<Open>> {
        let open = open.to_vec();
        let argument = |at: usize| call.args.get(at);
        let name = || {
            argument(0).map_or_else(String::new, |node| match node.text() {
                Some(text) => text.to_owned(),
                None => short(node, WIDTH),
            })
        };
        let of = || match &call.receiver {
            Some(receiver) => short(receiver, WIDTH),
            None => name(),
        };
        let option = |at: usize, key: &str| match argument(at).map(|node| &node.kind) {
            Some(NodeKind::Map(entries)) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        };
        let labelled = |at: usize, otherwise: String| match option(at, "label").and_then(tree::Node::text) {
            Some(label) => label.to_owned(),
            None => otherwise,
        };
        let method = call.receiver.is_some();
        let (shape, label) = match call.name.as_str() {
            "use_step" => (Shape::Step, labelled(2, name())),
            "sleep" => (Shape::Wait, format!("sleep {}", name())),
            "sleep_until" => (Shape::Wait, format!("sleep until {}", name())),
            "wait_for" => (Shape::Wait, format!("wait for {}", name())),
            "poll_signal" => (Shape::Wait, format!("poll {}", name())),
            "hook" => (Shape::Wait, "open a hook".into()),
            "wait" if method || call.args.len() == 1 => (Shape::Wait, format!("wait for {}", of())),
            "join" if method && call.args.is_empty() || !method && call.args.len() == 1 => {
                (Shape::Wait, format!("join {}", of()))
            }
            "suspend" => (Shape::Wait, format!("ask {}", labelled(1, name()))),
            "run_workflow" => (Shape::Child, labelled(2, name())),
            "start_workflow" => (Shape::Child, format!("start {}", labelled(2, name()))),
            "continue_as_new" => {
                let last = self.then(open, Shape::Child, "continue as new", None);
                self.ends(last, "");
                return Some(Vec::new());
            }
            "exit" if !method => {
                self.ends(open, "exit");
                return Some(Vec::new());
            }
            "parallel" | "race" => return Some(self.tasks(call, open)),
            "foreach" => return Some(self.each(call, open)),
            "with_timeout" => return Some(self.limited(call, open)),
            "task" => return Some(self.aside(call, open)),
            _ => return None,
        };
        let site = self.site(node.at);
        let node = self.add(shape, label, site);
        self.lead(open, node);
        self.may_fail(node);
        Some(vec![Open::of(node)])
    }

    /// `parallel` and `race`: branches beside each other.
    fn tasks(&mut self, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        let work = call.args.first().map(|work| self.held(work).unwrap_or(work));
        let branches: Vec<(String, &'t tree::Node)> = match work.map(|work| &work.kind) {
            Some(NodeKind::Array(items)) => items.iter().map(|item| (String::new(), item)).collect(),
            Some(NodeKind::Map(entries)) => entries.iter().map(|entry| (entry.key.clone(), &entry.value)).collect(),
            Some(_) => work.and_then(tree::innermost).map(|closure| ("each".into(), closure)).into_iter().collect(),
            None => Vec::new(),
        };
        let words = if call.name == "race" { "the first of" } else { "all of" };
        let label = if branches.len() == 1 && branches[0].0 == "each" { work.map(|w| short(w, WIDTH)) } else { None };
        let (name, label) = (call.name.clone(), label.unwrap_or_else(|| format!("{words} {}", branches.len())));
        self.group(&name, |this| {
            let head = this.add(Shape::Fork, name.clone(), None);
            this.lead(open, head);
            let mut out = Vec::new();
            for (label, branch) in branches {
                out.extend(this.branch(branch, vec![Open::labelled(head, label)]));
            }
            let tail = this.add(Shape::Fork, label, None);
            this.lead(if out.is_empty() { vec![Open::of(head)] } else { out }, tail);
            vec![Open::of(tail)]
        })
    }

    fn each(&mut self, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        let items = call.args.first().map_or_else(String::new, |items| short(items, WIDTH));
        self.group("foreach", |this| {
            let head = this.add(Shape::Loop, format!("each of {items}"), None);
            this.lead(open, head);
            let out = match call.args.get(1) {
                Some(closure) => this.branch(closure, vec![Open::of(head)]),
                None => Vec::new(),
            };
            let again = out.into_iter().filter(|open| open.from != head);
            let again = again.map(|open| Open { kind: Way::Back, ..open }).collect();
            this.lead(again, head);
            vec![Open::labelled(head, "done")]
        })
    }

    fn limited(&mut self, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        let length = call.args.first().map_or_else(String::new, |length| short(length, WIDTH));
        self.group(&format!("with_timeout {length}"), |this| {
            let head = this.add(Shape::Fork, format!("at most {length}"), None);
            this.lead(open, head);
            this.may_fail(head);
            match call.args.get(1) {
                Some(closure) => this.branch(closure, vec![Open::of(head)]),
                None => vec![Open::of(head)],
            }
        })
    }

    fn aside(&mut self, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        let head = self.add(Shape::Fork, "task", None);
        self.lead(open, head);
        self.group("task", |this| {
            if let Some(closure) = call.args.first() {
                let begin = Open { from: head, label: String::new(), kind: Way::Aside };
                // Where it ends, nothing goes on: `join` is drawn where it stands.
                this.branch(closure, vec![begin]);
            }
        });
        vec![Open::of(head)]
    }

    /// Closures that are handed to something else: a method of an array, a module.
    fn callbacks(&mut self, call: &'t Call, open: Vec<Open>) -> Vec<Open> {
        let mut open = open;
        for closure in call.args.iter().filter(|argument| matches!(argument.kind, NodeKind::Closure { .. })) {
            let before = self.before();
            let label: String =
                call.path.iter().map(|part| format!("{part}::")).collect::<String>() + call.name.as_str();
            let label = match &call.receiver {
                Some(receiver) => format!("{}.{label}", short(receiver, 24)),
                None => label,
            };
            let out = self.group(&label, |this| this.branch(closure, open.clone()));
            match self.graph.nodes.len() == before.nodes {
                true => self.back_to(&before),
                // It may be that it is never called.
                false => {
                    open.extend(out);
                    open.dedup();
                }
            }
        }
        open
    }
}

/// Drops the `return …` of an exit that was one and leads on.
fn goes_on(label: &mut String) {
    if label.starts_with("return") {
        label.clear();
    } else if let Some(at) = label.find(": return") {
        label.truncate(at);
    }
}
