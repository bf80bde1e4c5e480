//! As Mermaid, which GitHub and most editors show.

use std::fmt::Write;

use super::model::{Graph, Mark, Node, Shape, Way};

impl Graph {
    /// As a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        self.inside(None, 1, &mut out);
        for edge in &self.edges {
            let (line, end) = match edge.kind {
                Way::On | Way::Back => ("--", "-->"),
                Way::Aside => ("-.", ".->"),
            };
            let _ = match edge.label.is_empty() {
                true if edge.kind == Way::Aside => writeln!(out, "    n{} -.-> n{}", edge.from, edge.to),
                true => writeln!(out, "    n{} --> n{}", edge.from, edge.to),
                false => writeln!(out, "    n{} {line} {} {end} n{}", edge.from, quoted(&edge.label), edge.to),
            };
        }
        if self.nodes.iter().any(|node| node.mark.is_some()) {
            out.push_str("    classDef done fill:#d4edda,stroke:#2e7d32,color:#1b1b1b\n");
            out.push_str("    classDef failed fill:#f8d7da,stroke:#b3261e,color:#1b1b1b\n");
            out.push_str("    classDef waiting fill:#fff3cd,stroke:#b58105,color:#1b1b1b\n");
            out.push_str("    classDef untouched fill:#f4f4f4,stroke:#b0b0b0,color:#767676\n");
            for (at, node) in self.nodes.iter().enumerate() {
                if let Some(mark) = node.mark {
                    let _ = writeln!(out, "    class n{at} {}", class(mark));
                }
            }
        }
        out
    }

    fn inside(&self, group: Option<usize>, depth: usize, out: &mut String) {
        let pad = "    ".repeat(depth);
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.group == group) {
            let _ = writeln!(out, "{pad}n{at}{}", shaped(node));
        }
        for (at, inner) in self.groups.iter().enumerate().filter(|(_, inner)| inner.parent == group) {
            // An empty one is no longer a frame but a mistake.
            if self.holds_nodes(at) {
                let _ = writeln!(out, "{pad}subgraph g{at} [{}]", quoted(&inner.label));
                self.inside(Some(at), depth + 1, out);
                let _ = writeln!(out, "{pad}end");
            }
        }
    }

    pub(super) fn holds_nodes(&self, group: usize) -> bool {
        self.nodes.iter().any(|node| node.group == Some(group))
            || (0..self.groups.len()).any(|at| self.groups[at].parent == Some(group) && self.holds_nodes(at))
    }
}

/// How the state of a call is called in classes.
pub(super) fn class(mark: Mark) -> &'static str {
    match mark {
        Mark { open: 1.., .. } => "waiting",
        Mark { failed: 1.., .. } => "failed",
        Mark { done: 1.., .. } => "done",
        _ => "untouched",
    }
}

/// The label, with how often it was done where that is more than once.
pub(super) fn label(node: &Node) -> String {
    let Some(mark) = node.mark.filter(|mark| mark.done + mark.failed + mark.open > 1) else {
        return node.label.clone();
    };
    let counts = [(mark.done, "done"), (mark.failed, "failed"), (mark.open, "waiting")];
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{} ({})", node.label, counts.join(", "))
}

fn shaped(node: &Node) -> String {
    let label = quoted(&label(node));
    match node.shape {
        Shape::Start | Shape::End => format!("([{label}])"),
        Shape::Throw => format!(">{label}]"),
        Shape::Step => format!("[{label}]"),
        Shape::Wait => format!("(({label}))"),
        Shape::Child => format!("[[{label}]]"),
        Shape::Choice => format!("{{{label}}}"),
        Shape::Loop => format!("{{{{{label}}}}}"),
        Shape::Fork => format!("[/{label}\\]"),
        Shape::Catch => format!("[\\{label}/]"),
        Shape::Call => format!("({label})"),
    }
}

/// Between quotes Mermaid takes anything but quotes, line breaks and what it reads as markup.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            '\\' => out.push_str("#92;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    if out.len() == 1 {
        out.push(' ');
    }
    out.push('"');
    out
}
