//! As DOT, for Graphviz.

use std::fmt::Write;

use super::mermaid::{class, label};
use super::model::{Graph, Node, Shape, Way};

impl Graph {
    /// As a DOT digraph.
    pub fn dot(&self) -> String {
        let mut out = format!("digraph {} {{\n", quoted(&self.name));
        out.push_str("    node [fontname=\"sans-serif\" fontsize=11]\n    edge [fontname=\"sans-serif\" fontsize=9]\n");
        self.cluster(None, 1, &mut out);
        for edge in &self.edges {
            let mut attributes = Vec::new();
            if !edge.label.is_empty() {
                attributes.push(format!("label={}", quoted(&edge.label)));
            }
            match edge.kind {
                Way::On => {}
                Way::Back => attributes.push("constraint=false".into()),
                Way::Aside => attributes.push("style=dashed".into()),
            }
            let attributes = match attributes.is_empty() {
                true => String::new(),
                false => format!(" [{}]", attributes.join(" ")),
            };
            let _ = writeln!(out, "    n{} -> n{}{attributes}", edge.from, edge.to);
        }
        out.push_str("}\n");
        out
    }

    fn cluster(&self, group: Option<usize>, depth: usize, out: &mut String) {
        let pad = "    ".repeat(depth);
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.group == group) {
            let _ = writeln!(out, "{pad}n{at} [label={} {}]", quoted(&label(node)), look(node));
        }
        for (at, inner) in self.groups.iter().enumerate().filter(|(_, inner)| inner.parent == group) {
            if self.holds_nodes(at) {
                let _ = writeln!(out, "{pad}subgraph cluster_{at} {{\n{pad}    label={}", quoted(&inner.label));
                self.cluster(Some(at), depth + 1, out);
                let _ = writeln!(out, "{pad}}}");
            }
        }
    }
}

fn look(node: &Node) -> String {
    let shape = match node.shape {
        Shape::Start | Shape::End => "oval",
        Shape::Throw => "octagon",
        Shape::Step => "box",
        Shape::Wait => "circle",
        Shape::Child => "box3d",
        Shape::Choice => "diamond",
        Shape::Loop => "hexagon",
        Shape::Fork => "trapezium",
        Shape::Catch => "invtrapezium",
        Shape::Call => "box",
    };
    let mut styles = Vec::new();
    if node.shape == Shape::Call {
        styles.push("rounded");
    }
    let colors = match node.mark.map(class) {
        None => "",
        Some(class) => {
            styles.push("filled");
            match class {
                "done" => " fillcolor=\"#d4edda\" color=\"#2e7d32\"",
                "failed" => " fillcolor=\"#f8d7da\" color=\"#b3261e\"",
                "waiting" => " fillcolor=\"#fff3cd\" color=\"#b58105\"",
                _ => " fillcolor=\"#f4f4f4\" color=\"#b0b0b0\" fontcolor=\"#767676\"",
            }
        }
    };
    let style = if styles.is_empty() { String::new() } else { format!(" style=\"{}\"", styles.join(",")) };
    format!("shape={shape}{style}{colors}")
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
