//! What is printed, and how: tables and colours on a terminal, plain columns in a pipe, JSON where asked.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell as TableCell, ContentArrangement, Table, presets};
use durhai::{Status, Value};
use serde::Serialize;

use crate::trace;

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

    /// Nobody reads any more.
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

/// A line on standard error, or an event of the log where that is JSON. Never fails, never panics.
pub fn note(text: impl AsRef<str>) {
    if trace::is_json() {
        return trace::tell(text.as_ref());
    }
    let mut err = io::stderr().lock();
    let text = if err.is_terminal() { harmless(text.as_ref()) } else { text.as_ref().into() };
    let _ = writeln!(err, "{text}");
}

/// Text as a terminal may have it: with colours, and with control characters shown instead of obeyed. What scripts print
/// and clients send must not move the cursor, rename the window or fill the clipboard.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find(obeyed) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let color = color_code(rest);
        if color > 0 {
            shown.push_str(&rest[..color]);
            rest = &rest[color..];
            continue;
        }
        let mut chars = rest.chars();
        if let Some(c) = chars.next() {
            shown.extend(c.escape_default());
        }
        rest = chars.as_str();
    }
    shown.push_str(rest);
    shown.into()
}

/// How long the colour is that the text begins with: `ESC [ 3 1 m`, as this program writes it.
fn color_code(text: &str) -> usize {
    let digits = |rest: &str| rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    match text.strip_prefix("\x1b[").map(|rest| (digits(rest), rest)) {
        Some((count, rest)) if rest[count..].starts_with('m') => count + 3,
        _ => 0,
    }
}

/// A value on one line, exact as far as it goes: where it gets longer than `width` characters, how many follow is said.
pub fn short(value: &Value, width: usize) -> String {
    // JSON has no line ends of its own, and its blanks are those of texts.
    let text = value.to_string();
    match text.char_indices().nth(width) {
        None => text,
        Some((at, _)) => format!("{}… ({} more characters)", &text[..at], text[at..].chars().count()),
    }
}

/// Text on one line, cut where it gets longer than `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(width) {
        None => line,
        Some(_) => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
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
    use serde_json::json;

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        for (word, text) in [
            ("order-42", "order-42"),
            ("a b", "'a b'"),
            ("", "''"),
            (r#"{"a":1}"#, r#"'{"a":1}'"#),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_but_colours() {
        for (text, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[38;5;1mred\x1b[m", "\x1b[38;5;1mred\x1b[m"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b[31", "\\u{1b}[31"),
            ("\x1b", "\\u{1b}"),
            ("over\rwritten\x08", "over\\rwritten\\u{8}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_exact_and_says_how_much_of_it_is_left_out() {
        for (value, width, shown) in [
            (json!({ "a": "two  blanks\tand\nlines" }), 80, r#"{"a":"two  blanks\tand\nlines"}"#),
            (json!("äöüß"), 6, r#""äöüß""#),
            (json!("äöüß"), 3, "\"äö… (3 more characters)"),
            (json!("  "), 80, "\"  \""),
            (json!("x".repeat(100)), 10, "\"xxxxxxxxx… (92 more characters)"),
            (Value::Null, 4, "null"),
        ] {
            assert_eq!(short(&value, width), shown);
        }
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(cut("äöü äöü", 4), "äöü…");
        assert_eq!(cut("a\n  b", 10), "a b");
        assert_eq!(cut("1234", 4), "1234");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "b".into()], vec!["long".into(), String::new()]];
        assert_eq!(columns(&rows), ["a     b", "long"]);
    }
}
