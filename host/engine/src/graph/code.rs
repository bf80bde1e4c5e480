//! Script code on one line, for labels.

use durhai_stdlib::words::one_line;

use crate::check::tree::{Node, NodeKind};
use crate::values::show;

/// A node of the tree as a script writes it, cut where it gets longer than `width` characters.
pub fn short(node: &Node, width: usize) -> String {
    one_line(&code(node, 6), width)
}

/// What nests deeper than `depth` is left out.
fn code(node: &Node, depth: usize) -> String {
    if depth == 0 {
        return "…".into();
    }
    let inner = |node: &Node| code(node, depth - 1);
    let list = |nodes: &[Node]| nodes.iter().map(inner).collect::<Vec<_>>().join(", ");
    match &node.kind {
        NodeKind::Unit => "()".into(),
        NodeKind::Bool(yes) => yes.to_string(),
        NodeKind::Value(value) => show::show(value, 60),
        NodeKind::Text(text) => format!("{text:?}"),
        NodeKind::Interpolated(parts) => {
            let part = |part: &Node| match part.text() {
                Some(text) => text.to_owned(),
                None => format!("${{{}}}", inner(part).trim_matches(['{', '}', ' '])),
            };
            format!("`{}`", parts.iter().map(part).collect::<String>())
        }
        NodeKind::Array(items) => format!("[{}]", list(items)),
        NodeKind::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|entry| format!("{}: {}", entry.key, inner(&entry.value))).collect();
            if entries.is_empty() { "#{}".into() } else { format!("#{{ {} }}", entries.join(", ")) }
        }
        NodeKind::Variable { path, name } => path.iter().chain([name]).cloned().collect::<Vec<_>>().join("::"),
        NodeKind::This => "this".into(),
        NodeKind::Property(of, name) => format!("{}.{name}", inner(of)),
        NodeKind::Index(of, by) => format!("{}[{}]", inner(of), inner(by)),
        NodeKind::Call(call) if call.operator => match call.args.as_slice() {
            [one] => format!("{}{}", call.name, inner(one)),
            [a, b] if call.name.starts_with("..") => format!("{}{}{}", inner(a), call.name, inner(b)),
            // `a in b` is parsed as a question to `b`.
            [a, b] => format!("{} {} {}", inner(a), call.name, inner(b)),
            _ => call.name.clone(),
        },
        NodeKind::Call(call) => {
            let front = match &call.receiver {
                Some(receiver) => format!("{}.", inner(receiver)),
                None => call.path.iter().map(|part| format!("{part}::")).collect(),
            };
            format!("{front}{}({})", call.name, list(&call.args))
        }
        NodeKind::Closure { params, .. } => format!("|{}| …", params.join(", ")),
        NodeKind::Logic(operator, parts) => parts.iter().map(inner).collect::<Vec<_>>().join(&format!(" {operator} ")),
        NodeKind::Block(nodes) => match nodes.as_slice() {
            [only] => inner(only),
            _ => "{ … }".into(),
        },
        NodeKind::If { condition, .. } => format!("if {} …", inner(condition)),
        NodeKind::Switch { on, .. } => format!("switch {} …", inner(on)),
        _ => "…".into(),
    }
}
