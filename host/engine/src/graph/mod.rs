//! A workflow as a graph, read from its text: what it calls, where it branches, repeats and ends.
//!
//! [`graph`] builds it, [`Graph::mermaid`] and [`Graph::dot`] write it down, [`Graph::mark`] colours it by what happened
//! in a run. The same text gives the same graph, to the byte.

mod build;
mod calls;
mod code;
mod dot;
mod marks;
mod mermaid;

use std::collections::BTreeMap;

use durhai_core::Site;

use crate::diagnostic::Diagnostic;
use crate::sandbox::SandboxConfig;

pub use marks::Mark;

/// What a workflow may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    pub name: String,
    /// By their index; those of a group need not stand together.
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub shape: Shape,
    pub label: String,
    pub group: Option<usize>,
    /// Where the call stands; for what leaves events only.
    pub site: Option<Site>,
    pub mark: Option<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Start,
    End,
    /// An error nobody in the script catches.
    Throw,
    Step,
    /// A timer, a signal, a person, a request.
    Wait,
    /// Another workflow.
    Child,
    /// A condition.
    Choice,
    Loop,
    /// Where tasks begin, or come together.
    Fork,
    Catch,
    /// Any other call that is shown.
    Call,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub label: String,
    pub kind: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    On,
    /// To the next round of a loop.
    Back,
    /// An error on its way to who catches it, or a task nobody waits for.
    Aside,
}

/// A frame around nodes and other groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub label: String,
    pub parent: Option<usize>,
}

/// The graph of the workflow `name`. `files` holds its text and that of the modules it imports, by path: `order.rhai`,
/// `lib/money.rhai`; of a module that is missing nothing is shown but the call. The error says why a text does not parse.
pub fn graph(files: &BTreeMap<String, String>, name: &str, config: &SandboxConfig) -> Result<Graph, Vec<Diagnostic>> {
    build::build(files, name, config)
}
