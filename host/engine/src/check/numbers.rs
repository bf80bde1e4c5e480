//! Numbers that are not what they say: Rhai makes a float of a whole number that is too long.

use super::code::Code;
use super::project::File;
use super::report::Report;
use super::tree::{Node, NodeKind, Tree};

pub fn check(file: &File<'_>, tree: &Tree, report: &mut Report<'_>) {
    // Lines are looked up where there is such a number, which is hardly ever.
    let mut floats: Vec<&Node> = Vec::new();
    tree.each(&mut |node| {
        if let NodeKind::Value(value) = &node.kind
            && value.as_float().is_ok_and(|float| float.abs() >= i64::MAX as f64)
        {
            floats.push(node);
        }
    });
    if floats.is_empty() {
        return;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    for node in floats {
        let (Some(line), Some(column)) = (node.at.line(), node.at.position()) else { continue };
        let literal = lines.get(line - 1).map(|line| literal(line, column)).unwrap_or_default();
        if !literal.is_empty() && !literal.contains(['.', 'e', 'E']) {
            let message = format!("{literal} does not fit into 64 bits: it is a float here, and loses digits");
            let plain = literal.replace('_', "");
            let help = format!("write it as text, \"{plain}\", or as the float that it is: {plain}.0");
            report.help(Code::LongNumber, node.at, message, help);
        }
    }
}

/// The number that stands in a line at a column, from 1.
fn literal(line: &str, column: usize) -> String {
    let part = |c: &char| c.is_ascii_digit() || matches!(c, '_' | '.' | 'e' | 'E');
    let mut rest = line.chars().skip(column - 1).peekable();
    let sign: String = rest.next_if_eq(&'-').into_iter().collect();
    let number: String = rest.take_while(part).collect();
    if number.is_empty() { number } else { format!("{sign}{number}") }
}
