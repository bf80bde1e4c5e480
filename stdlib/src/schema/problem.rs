//! What does not fit a schema, and where.

use std::fmt;

/// Something in a value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer; empty: the whole value.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&at(&self.path, &self.message))
    }
}

/// Problems in one line; at most 20 of them.
pub fn list(problems: &[Problem]) -> String {
    const TOLD: usize = 20;
    let told: Vec<_> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    match problems.len().checked_sub(TOLD) {
        Some(more @ 1..) => format!("{} and {more} more", told.join("; ")),
        _ => told.join("; "),
    }
}

/// A message with its path in front.
pub(super) fn at(path: &str, message: &str) -> String {
    if path.is_empty() { message.to_string() } else { format!("{path}: {message}") }
}
