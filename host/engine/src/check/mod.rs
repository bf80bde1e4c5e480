//! What is wrong in a folder of scripts, found without running anything.
//!
//! [`check`] parses every file and walks its tree. One file can have several findings, each with a stable [`Code`]. An
//! `error` is what would fail when it is run; a `warning` is hardly ever meant; a `hint` is worth a look.

mod calls;
mod captures;
mod flow;
mod names;
mod numbers;
mod options;
mod project;
mod syntax;
mod texts;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::fmt;

use rhai::Position;
use serde::Serialize;

use crate::diagnostic::{Diagnostic, source_line};
use crate::sandbox::SandboxConfig;

/// What a folder holds, and what its host has beside it.
pub struct Folder<'a> {
    /// The texts by their path from the folder: `billing/invoice.rhai`, `lib/money.rhai`, `steps/mail.rhai`,
    /// `order.test.rhai`.
    pub files: &'a BTreeMap<String, String>,
    /// Whether a workflow may call this step.
    pub knows_step: &'a dyn Fn(&str) -> bool,
    /// The steps that are known by name, for what was probably meant.
    pub steps: &'a [String],
    /// Workflows of the host that are no files.
    pub workflows: &'a [String],
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look.
    Hint,
    /// Hardly ever meant.
    Warning,
    /// It fails when it is run, or cannot be run at all.
    Error,
}

macro_rules! codes {
    ($($code:ident $severity:ident $name:literal,)*) => {
        /// What kind of finding it is. The names are stable; `host/docs/check.md` has an example and a cure for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($code,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            pub fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Code::$code => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Syntax Error "syntax",
    TryAsValue Error "try-as-value",
    FunctionAfterValue Error "function-after-value",
    ReservedWord Error "reserved-word",
    Header Error "header",
    NeverDue Error "never-due",
    ImportMissing Error "import-missing",
    ImportComputed Error "import-computed",
    ImportCircle Error "import-circle",
    UnknownModule Error "unknown-module",
    UnknownMember Error "unknown-member",
    UnknownFunction Error "unknown-function",
    WrongArguments Error "wrong-arguments",
    UnknownVariable Error "unknown-variable",
    ConstantAssigned Error "constant-assigned",
    UnknownStep Error "unknown-step",
    UnknownWorkflow Error "unknown-workflow",
    UnknownOption Error "unknown-option",
    WrongValue Error "wrong-value",
    NotAClosure Error "not-a-closure",
    UnusedImport Warning "unused-import",
    UnusedVariable Warning "unused-variable",
    UnusedFunction Warning "unused-function",
    ShadowedInput Warning "shadowed-input",
    Unreachable Warning "unreachable",
    ConstantCondition Warning "constant-condition",
    Spins Warning "spins",
    CallInComparer Warning "call-in-comparer",
    StateNeverSet Warning "state-never-set",
    CapturedLater Warning "captured-later",
    ForeignField Warning "foreign-field",
    BacktickEscape Warning "backtick-escape",
    NoInterpolation Warning "no-interpolation",
    LabelTwice Warning "label-twice",
    LongNumber Warning "long-number",
    SignalUnsent Hint "signal-unsent",
    SharedWrite Hint "shared-write",
    CallInCallback Hint "call-in-callback",
    Endless Hint "endless",
}

/// Everything there is to say about these files, by file and place.
pub fn check(folder: &Folder<'_>, config: &SandboxConfig) -> Vec<Finding> {
    let project = project::Project::read(folder, config);
    let mut found = Vec::new();
    for file in project.files() {
        let mut report = Report::new(&file.path, file.text);
        project.imports(file, &mut report);
        match &file.parsed {
            project::Parsed::Broken(error) => syntax::explain(file, error, &mut report),
            project::Parsed::TooLarge(diagnostic) => report.diagnostic(Code::Syntax, diagnostic),
            project::Parsed::Good { tree, header } => {
                header.iter().for_each(|wrong| report.diagnostic(Code::Header, wrong));
                names::check(&project, file, tree, &mut report);
                if file.role.durable() {
                    calls::check(&project, file, tree, &mut report);
                }
                flow::check(&project, file, tree, &mut report);
                captures::check(tree, &mut report);
                texts::check(file, &mut report);
                numbers::check(file, tree, &mut report);
            }
        }
        found.append(&mut report.finish());
    }
    found
}

/// The findings of one file.
pub(crate) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    fn new(file: &'a str, text: &'a str) -> Self {
        Report { file, text, findings: Vec::new() }
    }

    fn add(&mut self, code: Code, at: Position, message: impl Into<String>) {
        let diagnostic = Diagnostic::new(self.file, "", at, message);
        self.diagnostic(code, &diagnostic);
    }

    fn help(&mut self, code: Code, at: Position, message: impl Into<String>, help: impl Into<String>) {
        let diagnostic = Diagnostic::new(self.file, "", at, message).with_help(help);
        self.diagnostic(code, &diagnostic);
    }

    fn diagnostic(&mut self, code: Code, diagnostic: &Diagnostic) {
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

    fn finish(mut self) -> Vec<Finding> {
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

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
