//! What is wrong in a script, and where, for the people who wrote it.

use std::fmt;

use durhai_core::failure::Frame;
use durhai_core::failure::SourcePlace;
use durhai_core::{Failure, FailureKind, Value};
use durhai_stdlib::foreign;
use rhai::{Dynamic, EvalAltResult, ParseError, Position};

use super::suggest;
use super::thrown::map_to_failure;
use crate::check::code::Code;
use crate::program::modules::edition;
use crate::program::texts::{Texts, source_line};
use crate::values::convert::{self, Budget};
use crate::values::show;

/// Something wrong in a script, found without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `order.rhai`, `lib/money.rhai`, `std/batch`.
    pub file: String,
    /// From 1; 0 where no place is known.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub message: String,
    pub source_line: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where `durhai check` has a code of its own for it.
    pub code: Option<Code>,
}

impl Diagnostic {
    /// `source` is the whole text of the file.
    pub fn new(file: &str, source: &str, position: Position, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(position);
        Diagnostic {
            file: file.into(),
            line,
            column,
            message: message.into(),
            source_line: source_line(source, line).into(),
            help: None,
            code: None,
        }
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn from_parse(file: &str, source: &str, error: &ParseError) -> Self {
        if let Some((at, message)) = foreign::explain(error.err_type(), error.position(), source) {
            return Diagnostic::new(file, source, at, message);
        }
        let diagnostic = Diagnostic::new(file, source, error.position(), error.err_type().to_string());
        match suggest::parse_help(error.err_type(), &diagnostic.source_line) {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }

    /// What went wrong while a module was loaded.
    pub(crate) fn from_failure(file: &str, source: &str, failure: &Failure) -> Self {
        let place = failure.place.as_deref().filter(|place| place.line > 0);
        let position = place.filter(|place| place.file == file).map_or(Position::NONE, |place| {
            Position::new(place.line.min(65_535) as u16, place.column.min(65_535) as u16)
        });
        Diagnostic::new(file, source, position, format!("this module cannot be loaded: {}", failure.message))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: error: {}", self.file, self.message)?,
            _ => write!(f, "{}:{}:{}: error: {}", self.file, self.line, self.column, self.message)?,
        }
        if self.line > 0 && !self.source_line.is_empty() {
            let number = self.line.to_string();
            let before = self.source_line.chars().take(self.column.saturating_sub(1) as usize);
            let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n {number} | {}\n {:w$} | {pad}^", self.source_line, "", w = number.len())?;
        }
        match &self.help {
            Some(help) => write!(f, "\n help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// What a script's error means: kind, message, place and call stack. `file` is the text that was run, as Rhai knows it;
/// `thrown` is what a durable call threw last.
pub fn failure(error: &EvalAltResult, file: &str, texts: &Texts, thrown: Option<&Failure>, budget: Budget) -> Failure {
    // Frames come outermost first; each names the file of the function it is about, so the place of its call is in the
    // file of the frame before.
    let mut stack = Vec::new();
    let mut file = file.to_string();
    let mut inner = error;
    loop {
        let (function, source, next, position) = match inner {
            EvalAltResult::ErrorInFunctionCall(function, source, next, position) => (function, source, next, position),
            EvalAltResult::ErrorInModule(module, next, position) => (module, module, next, position),
            _ => break,
        };
        let closure = function.as_str();
        // Functions like `map` wrap the errors of their callbacks, without a place.
        if !position.is_none() {
            let (line, column) = line_and_column(*position);
            let function = if closure.starts_with("anon$") { "a closure".into() } else { function.clone() };
            stack.push(Frame { function, file: texts.file_name(&file), line, column });
        }
        if !source.is_empty() {
            file = texts.of_closure(closure, source).to_owned();
        }
        inner = next;
    }
    stack.reverse();
    let (line, column) = line_and_column(inner.position());
    let mut failure = match inner {
        EvalAltResult::ErrorRuntime(value, _) => thrown_value(value, thrown, budget),
        _ => Failure::new(kind_of(inner), suggest::message(inner, texts)),
    };
    match &mut failure.place {
        // An error of the script that was caught and thrown on: it stays where it was, and these calls led to it too.
        Some(place) if place.source.is_empty() && edition() > 1 => {
            place.source = source_line(texts.of_file(&place.file).unwrap_or(""), place.line).to_string();
            stack.truncate(FRAMES.saturating_sub(place.stack.len()));
            place.stack.append(&mut stack);
        }
        Some(_) => {}
        None => {
            let source = source_line(texts.text(&file).unwrap_or(""), line).to_string();
            let place = (line > 0).then(|| SourcePlace { file: texts.file_name(&file), line, column, source, stack });
            failure.place = place.map(Box::new);
        }
    }
    failure
}

/// Calls that an error of the script names, with those it was thrown on through.
const FRAMES: usize = 64;

fn thrown_value(value: &Dynamic, thrown: Option<&Failure>, budget: Budget) -> Failure {
    let same = |failure: &Failure| {
        thrown.filter(|thrown| {
            (thrown.kind, &thrown.message, &thrown.step_id, &thrown.data)
                == (failure.kind, &failure.message, &failure.step_id, &failure.data)
        })
    };
    let failure = match value.as_map_ref() {
        Ok(map) => map_to_failure(&map, budget),
        Err(_) => None,
    };
    let failure = failure.unwrap_or_else(|| {
        let message = match value.as_map_ref() {
            Ok(map) => map.get("message").and_then(|text| text.as_immutable_string_ref().ok().map(|t| t.to_string())),
            Err(_) => value.as_immutable_string_ref().ok().map(|text| text.to_string()),
        };
        let message = message.unwrap_or_else(|| if value.is_unit() { "()".into() } else { show::show(value, 1_000) });
        let data = convert::to_value(value, "error", budget).unwrap_or_else(|_| Value::from(message.clone()));
        let mut failure = Failure::new(FailureKind::Thrown, message).with_data(data);
        failure.cause = cause(value, budget).map(Box::new);
        failure
    });
    // What has a place of its own needs no other.
    if failure.place.is_some() {
        return failure;
    }
    same(&failure).cloned().unwrap_or(failure)
}

/// The error that a script has put as `cause` into the map it throws.
fn cause(value: &Dynamic, budget: Budget) -> Option<Failure> {
    if edition() < 2 {
        return None;
    }
    let map = value.as_map_ref().ok()?;
    let cause = map.get("cause")?.as_map_ref().ok()?;
    map_to_failure(&cause, budget)
}

fn kind_of(error: &EvalAltResult) -> FailureKind {
    match error {
        EvalAltResult::ErrorTooManyOperations(_)
        | EvalAltResult::ErrorTooManyVariables(_)
        | EvalAltResult::ErrorTooManyModules(_)
        | EvalAltResult::ErrorStackOverflow(_)
        | EvalAltResult::ErrorDataTooLarge(..)
        | EvalAltResult::ErrorTerminated(..) => FailureKind::Limit,
        _ => FailureKind::Script,
    }
}

fn line_and_column(position: Position) -> (u32, u32) {
    (position.line().unwrap_or(0) as u32, position.position().unwrap_or(0) as u32)
}
