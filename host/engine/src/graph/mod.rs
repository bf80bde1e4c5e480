//! A workflow as a graph, read from its text: what it calls, where it branches, repeats and ends.
//!
//! [`graph`] builds it, [`Graph::mermaid`] and [`Graph::dot`] write it down, [`Graph::mark`] colours it by what happened
//! in a run. The same text gives the same graph, to the byte.

mod build;
mod builder;
mod calls;
mod code;
mod dot;
mod marks;
mod mermaid;
mod model;

use std::collections::BTreeMap;

use crate::errors::diagnostic::Diagnostic;
use crate::limits::SandboxConfig;

pub use self::model::{Edge, Graph, Group, Mark, Node, Shape, Way};

/// The graph of the workflow `name`. `files` holds its text and that of the modules it imports, by path: `order.rhai`,
/// `lib/money.rhai`; of a module that is missing nothing is shown but the call. The error says why a text does not parse.
pub fn graph(files: &BTreeMap<String, String>, name: &str, config: &SandboxConfig) -> Result<Graph, Vec<Diagnostic>> {
    build::build(files, name, config)
}
