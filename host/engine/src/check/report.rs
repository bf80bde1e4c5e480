//! What is found in one file.

use std::fmt;

use rhai::Position;
use serde::Serialize;

use super::code::{Code, Severity};
use crate::errors::diagnostic::Diagnostic;
use crate::program::texts::source_line;

/// Something worth telling about a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub code: Code,
    /// From the scripts folder: `lib/money.rhai`.
    pub file: String,
    /// From 1; 0 where no place is known.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub message: String,
    /// The line of the script.
    pub source: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The findings of one file.
pub(crate) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Report { file, text, findings: Vec::new() }
    }

    pub fn add(&mut self, code: Code, at: Position, message: impl Into<String>) {
        let diagnostic = Diagnostic::new(self.file, "", at, message);
        self.diagnostic(code, &diagnostic);
    }

    pub fn help(&mut self, code: Code, at: Position, message: impl Into<String>, help: impl Into<String>) {
        let diagnostic = Diagnostic::new(self.file, "", at, message).with_help(help);
        self.diagnostic(code, &diagnostic);
    }

    pub fn diagnostic(&mut self, code: Code, diagnostic: &Diagnostic) {
        let code = diagnostic.code.unwrap_or(code);
        self.findings.push(Finding {
            severity: code.severity(),
            code,
            file: self.file.into(),
            line: diagnostic.line,
            column: diagnostic.column,
            message: diagnostic.message.clone(),
            source: String::new(),
            help: diagnostic.help.clone(),
        });
    }

    pub fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.line, finding.column, finding.code));
        self.findings.dedup();
        // Each line is looked up once, however many findings there are.
        let lines: Vec<&str> = self.text.lines().collect();
        for finding in &mut self.findings {
            let line = (finding.line as usize).checked_sub(1).and_then(|at| lines.get(at));
            finding.source = line.map(|line| source_line(line, 1).to_owned()).unwrap_or_default();
        }
        self.findings
    }
}

impl Finding {
    /// One line, as editors and compilers' readers take it.
    pub fn short(&self) -> String {
        let message = self.message.replace('\n', " ");
        format!("{}:{}:{}: {}[{}]: {message}", self.file, self.line, self.column, self.severity, self.code)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        let number = self.line.to_string();
        let w = number.len();
        write!(f, "\n {:w$}--> {}:{}:{}", "", self.file, self.line, self.column)?;
        if !self.source.is_empty() {
            let before = self.source.chars().take(self.column.saturating_sub(1) as usize);
            let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n {number} | {}\n {:w$} | {pad}^", self.source, "")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n {:w$} = {help}", ""),
            None => Ok(()),
        }
    }
}
