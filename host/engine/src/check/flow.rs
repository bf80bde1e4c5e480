//! Where a script goes: what is never reached, what never ends, what several tasks change at once.

use std::collections::HashSet;

use super::code::Code;
use super::names;
use super::project::{File, Project};
use super::report::Report;
use super::tree::{Call, Node, NodeKind, Tree};

pub fn check(project: &Project<'_>, file: &File<'_>, tree: &Tree, report: &mut Report<'_>) {
    let flow = Flow { project, file };
    let bodies = [&tree.body].into_iter().chain(tree.functions.iter().map(|function| &function.body));
    for body in bodies {
        flow.sequence(body, report);
    }
}

struct Flow<'a, 'p> {
    project: &'a Project<'p>,
    file: &'a File<'p>,
}

impl Flow<'_, '_> {
    /// Statements one after the other, and all that is in them.
    fn sequence(&self, nodes: &[Node], report: &mut Report<'_>) {
        if let Some(at) = nodes.iter().position(|node| self.leaves(node))
            && let Some(next) = nodes.get(at + 1)
        {
            let message = "this is never reached";
            let line = nodes[at].at.line().unwrap_or(0);
            let help = format!("what stands in line {line} does not go on; remove one of the two");
            report.help(Code::Unreachable, next.at, message, help);
        }
        nodes.iter().for_each(|node| self.node(node, report));
    }

    fn node(&self, node: &Node, report: &mut Report<'_>) {
        match &node.kind {
            NodeKind::If { condition, then, otherwise } => {
                self.condition(condition, report);
                self.node(condition, report);
                self.sequence(then, report);
                self.sequence(otherwise, report);
            }
            NodeKind::While { condition, body } => {
                if let Some(condition) = condition {
                    if !matches!(condition.kind, NodeKind::Bool(true)) {
                        self.condition(condition, report);
                    }
                    self.node(condition, report);
                }
                if condition.as_ref().is_none_or(|condition| matches!(condition.kind, NodeKind::Bool(true))) {
                    self.endless(node, body, report);
                }
                self.sequence(body, report);
            }
            NodeKind::Do { body, condition, until } => {
                match condition.kind {
                    NodeKind::Bool(value) if value != *until => self.endless(node, body, report),
                    _ => self.node(condition, report),
                }
                self.sequence(body, report);
            }
            NodeKind::For { over, body, .. } => {
                self.node(over, report);
                self.sequence(body, report);
            }
            NodeKind::Try { body, handler, .. } => {
                self.sequence(body, report);
                self.sequence(handler, report);
            }
            NodeKind::Block(body) | NodeKind::Closure { body, .. } => self.sequence(body, report),
            NodeKind::Call(call) if !call.operator => {
                self.call(call, report);
                node.children().into_iter().for_each(|child| self.node(child, report));
            }
            _ => node.children().into_iter().for_each(|child| self.node(child, report)),
        }
    }

    /// Whether nothing that stands behind it is ever reached.
    fn leaves(&self, node: &Node) -> bool {
        let all = |nodes: &[Node]| nodes.iter().any(|node| self.leaves(node));
        match &node.kind {
            NodeKind::Return(_) | NodeKind::Throw(_) | NodeKind::Break(_) | NodeKind::Continue => true,
            NodeKind::Call(call) if call.path.is_empty() && call.receiver.is_none() => {
                call.name == "exit" || call.name == "continue_as_new" && self.file.role.durable()
            }
            NodeKind::Block(body) => all(body),
            NodeKind::If { then, otherwise, .. } => all(then) && all(otherwise),
            NodeKind::While { condition: None, body } => !breaks(body),
            NodeKind::Try { body, handler, .. } => all(body) && all(handler),
            _ => false,
        }
    }

    fn condition(&self, condition: &Node, report: &mut Report<'_>) {
        let always = match &condition.kind {
            NodeKind::Bool(value) => Some(if *value { "always true" } else { "never true" }),
            NodeKind::Call(call) if call.operator && COMPARES.contains(&call.name.as_str()) => {
                match call.args.as_slice() {
                    [a, b] if a.literal().is_some() && b.literal().is_some() => Some("always the same"),
                    [a, b] if same(a, b) => Some("about the same thing on both sides"),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(always) = always {
            let help = "remove the condition, or the part that is never reached";
            report.help(Code::ConstantCondition, condition.at, format!("this condition is {always}"), help);
        }
    }

    /// A loop that only `break`, `return` and `throw` end.
    fn endless(&self, node: &Node, body: &[Node], report: &mut Report<'_>) {
        let waits = body.iter().any(|node| self.project.waits(self.file, node));
        if !waits {
            // What is called may throw, or break out in some other way that is not seen here.
            let own = body.iter().any(|node| self.calls_own(node));
            if !breaks(body) && !own {
                report.help(
                    Code::Spins,
                    node.at,
                    "this loop never ends, and nothing in it waits: it runs into the limit of operations",
                    "end it with `break`, or let it wait: `sleep`, `wait_for`, `use_step`",
                );
            }
            return;
        }
        let mut continued = false;
        body.iter().for_each(|node| {
            node.each(&mut |node| continued |= node.call().is_some_and(|call| call.name == "continue_as_new"));
        });
        if !breaks(body) && !continued && self.file.role.durable() {
            report.help(
                Code::Endless,
                node.at,
                "this loop has no end, but the log of a run has: 50 000 events, 50 MiB",
                "after some rounds call continue_as_new(…), which begins a successor with an empty log",
            );
        }
    }

    fn calls_own(&self, node: &Node) -> bool {
        let own = |name: &str| {
            self.file.tree().is_some_and(|tree| tree.functions.iter().any(|function| function.name == name))
        };
        let mut found = false;
        node.each(&mut |node| {
            found |= node.call().is_some_and(|call| {
                !call.path.is_empty() || own(&call.name) || call.name == "call" || call.name == "exit"
            });
        });
        found
    }

    fn call(&self, call: &Call, report: &mut Report<'_>) {
        let waits = |argument: &Node| match &argument.kind {
            NodeKind::Closure { body, .. } => body.iter().any(|node| self.project.waits(self.file, node)),
            NodeKind::Variable { path, name } if path.is_empty() => self.project.function_waits(self.file, name),
            _ => pointer(argument).is_some_and(|name| self.project.function_waits(self.file, name)),
        };
        let name = call.name.as_str();
        if self.file.role.durable() && call.path.is_empty() {
            let waiting = call.args.iter().find(|argument| waits(argument));
            if let Some(argument) = waiting.filter(|_| COMPARERS.contains(&name)) {
                let what = "how often it is called depends on the order of the elements";
                let message = format!("the comparer of `{name}` makes durable calls: {what}");
                let help = "get the values first, with foreach(…), and compare those";
                report.help(Code::CallInComparer, argument.at, message, help);
            } else if let Some(argument) =
                waiting.filter(|_| call.receiver.as_ref().is_some_and(held) && CALLBACKS.contains(&name))
            {
                let message = format!("`{name}` holds its array while the durable calls in it wait");
                let help = "foreach(array, |x| …) does not, and can do several at a time";
                report.help(Code::CallInCallback, argument.at, message, help);
            }
        }
        match (name, call.args.as_slice()) {
            ("parallel" | "race", [work, ..]) => match &work.kind {
                NodeKind::Array(items) => self.shared(name, &items.iter().collect::<Vec<_>>(), report),
                NodeKind::Map(entries) => {
                    self.shared(name, &entries.iter().map(|entry| &entry.value).collect::<Vec<_>>(), report);
                }
                _ => {}
            },
            // One closure, which several tasks run at a time.
            ("foreach", [_, work, options]) if several(options) => self.shared(name, &[work, work], report),
            _ => {}
        }
    }

    /// Variables from outside that more than one branch changes, or one changes and another reads across a wait.
    fn shared(&self, call: &str, branches: &[&Node], report: &mut Report<'_>) {
        let mut changed: Vec<HashSet<&str>> = Vec::new();
        let mut told = HashSet::new();
        for branch in branches {
            let mut writes = Vec::new();
            let NodeKind::Closure { params, body } = &branch.kind else { continue };
            let mut own: HashSet<&str> = params.iter().map(String::as_str).collect();
            body.iter().for_each(|node| node.each(&mut |node| declared(node, &mut own)));
            body.iter().for_each(|node| {
                node.each(&mut |node| {
                    if let Some((name, at)) = written(node, &own) {
                        writes.push((name, at));
                    }
                });
            });
            for (name, at) in &writes {
                if changed.iter().any(|before| before.contains(name)) && told.insert(*name) {
                    let message = format!("several tasks of this `{call}` change `{name}`");
                    let help = "let each task give its value back, and put them together from the results; the order in \
                                which tasks go on is that of the log";
                    report.help(Code::SharedWrite, *at, message, help);
                }
            }
            changed.push(writes.into_iter().map(|(name, _)| name).collect());
        }
    }
}

/// Whether a method holds a variable while it runs.
fn held(receiver: &Node) -> bool {
    match &receiver.kind {
        NodeKind::Variable { .. } => true,
        NodeKind::Property(inner, _) | NodeKind::Index(inner, _) => held(inner),
        _ => false,
    }
}

/// The name in `Fn("name")`.
fn pointer(node: &Node) -> Option<&str> {
    node.call().filter(|call| call.name == "Fn").and_then(|call| call.args.first()?.text())
}

/// Whether the options of a `foreach` allow more than one task at a time.
fn several(options: &Node) -> bool {
    let NodeKind::Map(entries) = &options.kind else { return false };
    let concurrency = entries.iter().find(|entry| entry.key == "concurrency");
    concurrency.is_some_and(|entry| entry.value.literal().is_none_or(|value| value.as_int().is_ok_and(|n| n > 1)))
}

fn declared<'n>(node: &'n Node, own: &mut HashSet<&'n str>) {
    match &node.kind {
        NodeKind::Let { name, .. } => drop(own.insert(name)),
        NodeKind::For { names, .. } => own.extend(names.iter().map(|(name, _)| name.as_str())),
        NodeKind::Try { name: Some((name, _)), .. } => drop(own.insert(name)),
        NodeKind::Closure { params, .. } => own.extend(params.iter().map(String::as_str)),
        _ => {}
    }
}

/// The variable from outside that is changed here.
fn written<'n>(node: &'n Node, own: &HashSet<&str>) -> Option<(&'n str, rhai::Position)> {
    let mut root = match &node.kind {
        NodeKind::Assign { target, .. } => &**target,
        NodeKind::Call(call) if names::CHANGING.contains(&call.name.as_str()) => call.receiver.as_ref()?,
        _ => return None,
    };
    let at = root.at;
    while let NodeKind::Property(inner, _) | NodeKind::Index(inner, _) = &root.kind {
        // Each task has a place of its own, if the index is its own.
        if let NodeKind::Index(_, by) = &root.kind {
            let mut mine = false;
            by.each(&mut |node| {
                mine |= matches!(&node.kind, NodeKind::Variable { name, .. } if own.contains(name.as_str()));
            });
            if mine || by.literal().is_some() {
                return None;
            }
        }
        if let (NodeKind::Property(..), NodeKind::Assign { .. }) = (&root.kind, &node.kind) {
            return None;
        }
        root = inner;
    }
    match &root.kind {
        NodeKind::Variable { path, name } if path.is_empty() && !own.contains(name.as_str()) => Some((name, at)),
        _ => None,
    }
}

/// Whether a loop with this body can be left. Loops inside keep their `break` to themselves, closures their `return`.
fn breaks(body: &[Node]) -> bool {
    fn leaves(node: &Node, inner: bool) -> bool {
        match &node.kind {
            NodeKind::Break(_) => !inner,
            NodeKind::Return(_) | NodeKind::Throw(_) => true,
            NodeKind::Call(call) if call.name == "exit" => true,
            NodeKind::Closure { .. } => false,
            NodeKind::While { .. } | NodeKind::Do { .. } | NodeKind::For { .. } => {
                node.children().into_iter().any(|child| leaves(child, true))
            }
            _ => node.children().into_iter().any(|child| leaves(child, inner)),
        }
    }
    body.iter().any(|node| leaves(node, false))
}

/// The same variable, or field of one.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (NodeKind::Variable { path, name }, NodeKind::Variable { path: other_path, name: other }) => {
            path == other_path && name == other
        }
        (NodeKind::Property(a, name), NodeKind::Property(b, other)) => name == other && same(a, b),
        _ => false,
    }
}

const COMPARES: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
const COMPARERS: &[&str] = &["sort", "sort_by", "order", "order_by", "dedup"];
const CALLBACKS: &[&str] = &[
    "map",
    "filter",
    "for_each",
    "reduce",
    "reduce_rev",
    "find",
    "find_map",
    "index_of",
    "some",
    "all",
    "drain",
    "retain",
    "extract",
    "zip",
];
