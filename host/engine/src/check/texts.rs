//! What only the text shows: how a string is quoted.

use rhai::Position;

use super::code::Code;
use super::project::File;
use super::report::Report;

/// A piece of text in quotes.
struct Quoted<'a> {
    quote: char,
    /// What is between the quotes, without what `${…}` holds.
    text: &'a str,
    at: (u32, u32),
}

pub fn check(file: &File<'_>, report: &mut Report<'_>) {
    for quoted in strings(file.text) {
        match quoted.quote {
            '`' => {
                if let Some(escape) = ["\\n", "\\t", "\\r", "\\\"", "\\`"].iter().find(|e| quoted.text.contains(**e)) {
                    let message = format!("`{escape}` is two characters here: backtick strings have no escapes");
                    let help = "break the line itself, or put the escape in: ${\"\\n\"}";
                    report.help(Code::BacktickEscape, position(quoted.at), message, help);
                }
            }
            _ => {
                if let Some(name) = interpolation(quoted.text) {
                    let message = format!("`${{{name}}}` stays as it is: strings in double quotes do not fill it in");
                    let help = "write the string in backticks: `…`";
                    report.help(Code::NoInterpolation, position(quoted.at), message, help);
                }
            }
        }
    }
}

/// Whether a string in the text is this name.
pub fn mentions(text: &str, name: &str) -> bool {
    // Most texts do not hold it at all.
    text.contains(name) && strings(text).iter().any(|quoted| quoted.text == name)
}

/// The name in `${name}` or `${name.field}`.
fn interpolation(text: &str) -> Option<&str> {
    let from = text.find("${")? + 2;
    let inner = &text[from..from + text[from..].find('}')?];
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.[]\"()".contains(c);
    let begins = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // In capitals it is a variable of a shell, more likely.
    (begins && inner.chars().all(legal) && inner.chars().any(|c| c.is_ascii_lowercase())).then_some(inner)
}

fn position((line, column): (u32, u32)) -> Position {
    Position::new(line.min(65_535) as u16, column.min(65_535) as u16)
}

/// Every string of a text that parses, comments left out.
fn strings(text: &str) -> Vec<Quoted<'_>> {
    let mut scan = Scan { text, rest: text.char_indices().peekable(), at: (1, 1), found: Vec::new() };
    scan.code(false);
    scan.found
}

struct Scan<'a> {
    text: &'a str,
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
    at: (u32, u32),
    found: Vec<Quoted<'a>>,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<(usize, char)> {
        let (index, c) = self.rest.next()?;
        self.at = if c == '\n' { (self.at.0 + 1, 1) } else { (self.at.0, self.at.1 + 1) };
        Some((index, c))
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, c)| *c)
    }

    /// To the end, or to the brace that closes an interpolation. Iterative but for strings inside of `${…}`, which nest as
    /// deeply as expressions may.
    fn code(&mut self, inside: bool) {
        let mut braces = 0;
        loop {
            let at = self.at;
            let Some((index, c)) = self.next() else { return };
            match c {
                '/' if self.peek() == Some('/') => while self.next().is_some_and(|(_, c)| c != '\n') {},
                '/' if self.peek() == Some('*') => self.comment(),
                '"' => self.double(index, at),
                '\'' => self.character(),
                '`' => self.backtick(index, at),
                '#' if matches!(self.peek(), Some('#' | '"')) => self.raw(),
                '{' => braces += 1,
                '}' if inside && braces == 0 => return,
                '}' => braces -= 1,
                _ => {}
            }
        }
    }

    fn comment(&mut self) {
        let mut depth = 0;
        let mut before = '/';
        while let Some((_, c)) = self.next() {
            match (before, c) {
                ('/', '*') => (depth, before) = (depth + 1, ' '),
                ('*', '/') => (depth, before) = (depth - 1, ' '),
                _ => before = c,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn double(&mut self, start: usize, at: (u32, u32)) {
        while let Some((index, c)) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '"' => return self.found.push(Quoted { quote: '"', text: &self.text[start + 1..index], at }),
                _ => {}
            }
        }
    }

    fn character(&mut self) {
        if let Some((_, '\\')) = self.next() {
            self.next();
        }
        while self.peek().is_some_and(|c| c != '\'' && c != '\n') {
            self.next();
        }
        self.next();
    }

    fn backtick(&mut self, start: usize, at: (u32, u32)) {
        let (mut from, mut at) = (start + 1, at);
        while let Some((index, c)) = self.next() {
            match c {
                '`' if self.peek() == Some('`') => drop(self.next()),
                '`' => return self.found.push(Quoted { quote: '`', text: &self.text[from..index], at }),
                '$' if self.peek() == Some('{') => {
                    self.next();
                    self.found.push(Quoted { quote: '`', text: &self.text[from..index], at });
                    self.code(true);
                    from = self.rest.peek().map_or(self.text.len(), |(index, _)| *index);
                    at = self.at;
                }
                _ => {}
            }
        }
    }

    /// `#"…"#`, `##"…"##`: nothing in it means anything.
    fn raw(&mut self) {
        let mut hashes = 1;
        while self.peek() == Some('#') {
            self.next();
            hashes += 1;
        }
        if self.peek() != Some('"') {
            return;
        }
        self.next();
        let mut run: Option<usize> = None;
        while let Some((_, c)) = self.next() {
            run = match (run, c) {
                (_, '"') => Some(0),
                (Some(seen), '#') => Some(seen + 1),
                _ => None,
            };
            if run == Some(hashes) {
                return;
            }
        }
    }
}
