//! The graph while it is drawn: its nodes, and the exits that have not been led anywhere yet.

use std::collections::BTreeMap;

use durhai_core::Site;
use durhai_stdlib::words::one_line;
use rhai::Position;

use super::model::{Edge, Graph, Group, Node, Shape, Way};
use crate::check::tree::{self, Function, Tree};

/// Characters of a condition or a name.
pub const WIDTH: usize = 40;

/// Functions are drawn at each of their calls, until there are so many nodes.
pub const MANY: usize = 400;

/// Functions that call each other, one inside of the other.
pub const DEEP: usize = 8;

/// One file.
pub struct Source<'t> {
    pub tree: Tree,
    pub text: &'t str,
    /// By alias.
    pub imports: BTreeMap<String, String>,
    /// What sites name it; none for the workflow itself.
    pub file: Option<std::sync::Arc<str>>,
}

/// An exit that has not been led anywhere yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub from: usize,
    pub label: String,
    pub kind: Way,
}

/// The body of the workflow, of a function, or of a closure.
pub struct Frame<'t> {
    pub source: &'t Source<'t>,
    /// The function it is, so that none is drawn inside of itself.
    pub function: Option<&'t Function>,
    /// What `return` leads out of.
    pub returned: Vec<Open>,
    /// What `break` and `continue` lead out of, for each loop that is open.
    pub loops: Vec<(Vec<Open>, Vec<Open>)>,
    /// Closures that variables hold, and what closures are made in.
    pub closures: BTreeMap<&'t str, &'t tree::Node>,
}

pub struct Builder<'t> {
    pub graph: Graph,
    pub sources: &'t BTreeMap<String, Source<'t>>,
    pub group: Option<usize>,
    pub frames: Vec<Frame<'t>>,
    /// For each `try` around: what can fail in it.
    pub catching: Vec<Vec<Open>>,
    pub end: Option<usize>,
}

impl Open {
    pub fn of(from: usize) -> Self {
        Open { from, label: String::new(), kind: Way::On }
    }

    pub fn labelled(from: usize, label: impl Into<String>) -> Self {
        Open { from, label: label.into(), kind: Way::On }
    }
}

impl<'t> Frame<'t> {
    pub fn new(source: &'t Source<'t>, function: Option<&'t Function>) -> Self {
        Frame { source, function, returned: Vec::new(), loops: Vec::new(), closures: BTreeMap::new() }
    }
}

/// What the graph was like, to go back to when a branch has nothing to show.
pub struct Before {
    pub nodes: usize,
    pub edges: usize,
    pub groups: usize,
}

impl<'t> Builder<'t> {
    pub fn add(&mut self, shape: Shape, label: impl Into<String>, site: Option<Site>) -> usize {
        let label = one_line(&label.into(), 2 * WIDTH);
        self.graph.nodes.push(Node { shape, label, group: self.group, site, mark: None });
        self.graph.nodes.len() - 1
    }

    /// Leads exits to a node.
    pub fn lead(&mut self, open: Vec<Open>, to: usize) {
        for Open { from, label, kind } in open {
            let edge = Edge { from, to, label, kind };
            if !self.graph.edges.iter().rev().take(64).any(|known| *known == edge) {
                self.graph.edges.push(edge);
            }
        }
    }

    /// A node behind these exits; it is what goes on.
    pub fn then(&mut self, open: Vec<Open>, shape: Shape, label: impl Into<String>, site: Option<Site>) -> Vec<Open> {
        let node = self.add(shape, label, site);
        self.lead(open, node);
        vec![Open::of(node)]
    }

    pub fn group<T>(&mut self, label: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.group;
        self.graph.groups.push(Group { label: one_line(label, 2 * WIDTH), parent: outer });
        self.group = Some(self.graph.groups.len() - 1);
        let result = work(self);
        self.group = outer;
        result
    }

    pub fn ends(&mut self, open: Vec<Open>, label: &str) {
        if open.is_empty() {
            return;
        }
        let end = match self.end {
            Some(end) => end,
            None => {
                let inside = self.group.take();
                let end = self.add(Shape::End, "end", None);
                self.group = inside;
                *self.end.insert(end)
            }
        };
        let named = |open: Open| match open.label.is_empty() {
            true => Open { label: label.into(), ..open },
            false => open,
        };
        self.lead(open.into_iter().map(named).collect(), end);
    }

    /// What may throw: the next `catch` is where it leads.
    pub fn may_fail(&mut self, node: usize) {
        if let Some(catching) = self.catching.last_mut() {
            catching.push(Open { from: node, label: "error".into(), kind: Way::Aside });
        }
    }

    pub fn frame(&mut self) -> &mut Frame<'t> {
        self.frames.last_mut().expect("something is being drawn")
    }

    pub fn before(&self) -> Before {
        let Graph { nodes, edges, groups, .. } = &self.graph;
        Before { nodes: nodes.len(), edges: edges.len(), groups: groups.len() }
    }

    pub fn back_to(&mut self, before: &Before) {
        self.graph.nodes.truncate(before.nodes);
        self.graph.edges.truncate(before.edges);
        self.graph.groups.truncate(before.groups);
    }

    pub fn site(&mut self, at: Position) -> Option<Site> {
        let file = self.frame().source.file.clone();
        Some(Site { file, line: at.line()? as u32, column: at.position()? as u32 })
    }
}
