//! What is printed, and how: tables and colours on a terminal, plain columns in a pipe, JSON where asked.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell as TableCell, ContentArrangement, Table, presets};
use durhai::Status;
use serde::Serialize;

use crate::text::harmless;

/// Standard output. A reader that goes away (`| head`) is no error: what follows is dropped.
#[derive(Debug)]
pub struct Out {
    pub json: bool,
    pub terminal: bool,
    color: bool,
    closed: Cell<bool>,
}

impl Out {
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out { json, terminal, color: terminal && !plain, closed: Cell::new(false) }
    }

    /// The reader of the output went away.
    pub fn closed(&self) -> bool {
        self.closed.get()
    }

    pub fn line(&self, text: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        let text = if self.terminal { harmless(text.as_ref()) } else { text.as_ref().into() };
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            self.closed.set(true);
        }
    }

    /// One JSON document: indented for people, on one line for programs.
    pub fn document<T: Serialize>(&self, value: &T) {
        let text = if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        // Everything that is printed has string keys.
        self.line(text.expect("views are always JSON"));
    }

    /// One of many JSON lines.
    pub fn row<T: Serialize>(&self, value: &T) {
        self.line(serde_json::to_string(value).expect("views are always JSON"));
    }

    /// A table on a terminal, aligned columns without a heading elsewhere.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        if !self.terminal {
            return columns(rows).iter().for_each(|line| self.line(line));
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        // A terminal that does not know its width, or has none, gets long lines rather than broken words.
        if table.width().is_some_and(|width| width >= 60) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(head.iter().map(|head| {
            let cell = TableCell::new(head);
            if self.color { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in rows {
            table.add_row(row.iter().map(|text| match text.parse::<Status>() {
                Ok(status) if self.color => TableCell::new(text).fg(color(status)),
                _ => TableCell::new(text),
            }));
        }
        table.to_string().lines().for_each(|line| self.line(line.trim_end()));
    }

    /// Text in an ANSI colour, where there are colours.
    pub fn colored(&self, code: u8, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    /// A status in its colour.
    pub fn status(&self, status: Status) -> String {
        let code = match status {
            _ if !self.color => return status.to_string(),
            Status::Completed | Status::Continued => 32,
            Status::Failed | Status::Parked => 31,
            Status::Cancelled | Status::Suspended => 33,
            Status::Pending | Status::Running | Status::Waiting => 36,
        };
        format!("\x1b[{code}m{status}\x1b[0m")
    }
}

fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        })
        .collect()
}

fn color(status: Status) -> comfy_table::Color {
    use comfy_table::Color;
    match status {
        Status::Completed | Status::Continued => Color::Green,
        Status::Failed | Status::Parked => Color::Red,
        Status::Cancelled | Status::Suspended => Color::Yellow,
        Status::Pending | Status::Running | Status::Waiting => Color::Cyan,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "b".into()], vec!["long".into(), String::new()]];
        assert_eq!(columns(&rows), ["a     b", "long"]);
    }
}
