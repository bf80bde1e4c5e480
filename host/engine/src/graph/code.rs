//! Script code on one line, for labels.

use durhai_stdlib::words::one_line;

use crate::check::tree::{FailureKind, Node};
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
        FailureKind::Unit => "()".into(),
        FailureKind::Bool(yes) => yes.to_string(),
        FailureKind::Value(value) => show::show(value, 60),
        FailureKind::Text(text) => format!("{text:?}"),
        FailureKind::Interpolated(parts) => {
            let part = |part: &Node| match part.text() {
                Some(text) => text.to_owned(),
                None => format!("${{{}}}", inner(part).trim_matches(['{', '}', ' '])),
            };
            format!("`{}`", parts.iter().map(part).collect::<String>())
        }
        FailureKind::Array(items) => format!("[{}]", list(items)),
        FailureKind::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|entry| format!("{}: {}", entry.key, inner(&entry.value))).collect();
            if entries.is_empty() { "#{}".into() } else { format!("#{{ {} }}", entries.join(", ")) }
        }
        FailureKind::Variable { path, name } => path.iter().chain([name]).cloned().collect::<Vec<_>>().join("::"),
        FailureKind::This => "this".into(),
        FailureKind::Property(of, name) => format!("{}.{name}", inner(of)),
        FailureKind::Index(of, by) => format!("{}[{}]", inner(of), inner(by)),
        FailureKind::Call(call) if call.operator => match call.args.as_slice() {
            [one] => format!("{}{}", call.name, inner(one)),
            [a, b] if call.name.starts_with("..") => format!("{}{}{}", inner(a), call.name, inner(b)),
            // `a in b` is parsed as a question to `b`.
            [a, b] => format!("{} {} {}", inner(a), call.name, inner(b)),
            _ => call.name.clone(),
        },
        FailureKind::Call(call) => {
            let front = match &call.receiver {
                Some(receiver) => format!("{}.", inner(receiver)),
                None => call.path.iter().map(|part| format!("{part}::")).collect(),
            };
            format!("{front}{}({})", call.name, list(&call.args))
        }
        FailureKind::Closure { params, .. } => format!("|{}| …", params.join(", ")),
        FailureKind::Logic(operator, parts) => {
            parts.iter().map(inner).collect::<Vec<_>>().join(&format!(" {operator} "))
        }
        FailureKind::Block(nodes) => match nodes.as_slice() {
            [only] => inner(only),
            _ => "{ … }".into(),
        },
        FailureKind::If { condition, .. } => format!("if {} …", inner(condition)),
        FailureKind::Switch { on, .. } => format!("switch {} …", inner(on)),
        _ => "…".into(),
    }
}
