//! `const WORKFLOW = #{ … }`: what a workflow says about itself, read without running it.

mod literal;
mod schedule;

use std::collections::BTreeSet;

use durhai_core::{Millis, RetryPolicy, Value, duration};
use rhai::{AST, Position};

use self::literal::{Entry, Kind, Literal};
pub use self::schedule::{Missed, Overlap, Schedule};
use crate::diagnostic::Diagnostic;
use crate::schema::{self, Schema};
use crate::suggest::near;

/// What a workflow says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// What the input must be.
    pub input: Option<Schema>,
    /// What the output must be.
    pub output: Option<Schema>,
    /// The longest a run may take.
    pub timeout: Option<Millis>,
    /// What its steps do unless they say otherwise.
    pub retry: Option<RetryPolicy>,
    pub schedule: Option<Schedule>,
    pub concurrency: Option<Concurrency>,
    /// How long a run is kept after its end.
    pub retain: Option<Millis>,
    pub on_reload: OnReload,
    raw: Value,
}

/// How many runs there may be at a time; the others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    pub limit: u32,
    /// The path below `input` of what the limit counts by. `None`: all runs of the workflow.
    pub key: Option<Vec<String>>,
}

/// What becomes of live runs when a new version is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReload {
    /// They stay on their text.
    #[default]
    Pin,
    /// Those that are compatible move over.
    Upgrade,
    /// The new version does not serve while a live run diverges from it.
    Refuse,
}

const KEYS: &[&str] = &["input", "output", "timeout", "retry", "schedule", "concurrency", "retain", "on_reload"];

/// How many mistakes are told.
const MOST: usize = 20;

impl Header {
    /// The whole header as JSON, as it was written; null if there is none.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

impl Concurrency {
    /// What a run counts under: the text at the path, other values as JSON, what is not there as `null`.
    pub fn value(&self, input: &Value) -> String {
        let mut value = input;
        for key in self.key.iter().flatten() {
            value = value.get(key).unwrap_or(&Value::Null);
        }
        match (&self.key, value) {
            (None, _) => String::new(),
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        }
    }
}

/// Reads the header of a workflow's own text; `file` and `source` are for messages. `edition`: see
/// [`Bundle::EDITION`](crate::Bundle::EDITION).
pub(crate) fn read(ast: &AST, file: &str, source: &str, edition: u32) -> Result<Header, Vec<Diagnostic>> {
    let mut reader = Reader { file, source, edition, wrong: Vec::new() };
    let header = match literal::find(ast) {
        Ok(None) => Header::default(),
        Ok(Some(literal)) => reader.header(&literal),
        Err((position, message, help)) => {
            reader.refuse::<()>(position, message, help);
            Header::default()
        }
    };
    if reader.wrong.is_empty() { Ok(header) } else { Err(reader.wrong) }
}

/// Turns literals into what they stand for, and collects what is wrong.
struct Reader<'a> {
    file: &'a str,
    source: &'a str,
    edition: u32,
    wrong: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn header(&mut self, literal: &Literal) -> Header {
        let mut header = Header { raw: literal.to_value(), ..Header::default() };
        let mut schedule = None;
        for entry in self.entries("WORKFLOW", literal, KEYS) {
            let value = &entry.value;
            match entry.key.as_str() {
                "input" => header.input = self.schema("input", value),
                "output" => header.output = self.schema("output", value),
                "timeout" => header.timeout = self.longer_than_nothing("timeout", value),
                "retry" => header.retry = self.retry(value),
                "schedule" => schedule = Some(value),
                "concurrency" => header.concurrency = self.concurrency(value),
                "retain" => header.retain = self.millis("retain", value),
                _ => {
                    let known = [("pin", OnReload::Pin), ("upgrade", OnReload::Upgrade), ("refuse", OnReload::Refuse)];
                    header.on_reload = self.choice("on_reload", value, &known).unwrap_or_default();
                }
            }
        }
        // The input of a schedule must fit the schema, which may come later.
        header.schedule = schedule.and_then(|value| self.schedule(value, header.input.as_ref()));
        header
    }

    fn schema(&mut self, what: &str, value: &Literal) -> Option<Schema> {
        if !matches!(value.kind, Kind::Map(_) | Kind::Bool(_)) {
            return self.refuse(
                value.position,
                format!("`{what}` must be a JSON Schema like #{{ type: \"object\" }}, found {}", value.found()),
                None,
            );
        }
        match Schema::compile(&value.to_value()) {
            Ok(schema) => Some(schema),
            Err(why) => {
                let position = value.at_path(why.split(": ").next().unwrap_or(""));
                self.refuse(position, format!("`{what}` is no JSON Schema: {why}"), None)
            }
        }
    }

    fn retry(&mut self, value: &Literal) -> Option<RetryPolicy> {
        let mut policy = RetryPolicy::default();
        match value.kind {
            Kind::Bool(false) => return Some(RetryPolicy::never()),
            Kind::Bool(true) => return Some(policy),
            Kind::Map(_) => {}
            _ => {
                let message =
                    format!("`retry` must be false or a map like #{{ max_attempts: 5 }}, found {}", value.found());
                return self.refuse(value.position, message, None);
            }
        }
        let (mut initial, mut max) = (None, None);
        for entry in self.entries("retry", value, &["max_attempts", "initial", "factor", "max", "jitter"]) {
            let what = format!("retry.{}", entry.key);
            let value = &entry.value;
            match entry.key.as_str() {
                "max_attempts" => policy.max_attempts = self.count(&what, value).unwrap_or(1),
                "initial" => initial = self.millis(&what, value),
                "factor" => policy.factor = self.number(&what, value, 1.0, f64::INFINITY).unwrap_or(1.0),
                "max" => max = self.millis(&what, value),
                _ => policy.jitter = self.number(&what, value, 0.0, 1.0).unwrap_or(0.0),
            }
        }
        policy.say_waits(initial, max);
        Some(policy)
    }

    fn concurrency(&mut self, value: &Literal) -> Option<Concurrency> {
        match value.kind {
            Kind::Int(_) => {
                return Some(Concurrency { limit: self.count("concurrency", value)?, key: None });
            }
            Kind::Map(_) => {}
            _ => {
                let message = format!(
                    "`concurrency` must be a number or a map like #{{ limit: 10, key: \"input.tenant\" }}, found {}",
                    value.found()
                );
                return self.refuse(value.position, message, None);
            }
        }
        let (mut limit, mut key, before) = (None, None, self.wrong.len());
        for entry in self.entries("concurrency", value, &["limit", "key"]) {
            match entry.key.as_str() {
                "limit" => limit = self.count("concurrency.limit", &entry.value),
                _ => {
                    let text = self.text("concurrency.key", &entry.value);
                    key = text.and_then(|text| match input_path(&text) {
                        Ok(path) => Some(path),
                        Err(why) => self.refuse(
                            entry.value.position,
                            format!("`concurrency.key`: {text:?} is no path into the input: {why}"),
                            Some(
                                "write it like \"input.tenant\", \"input.user.id\" or \"input[\\\"a b\\\"].c\"".into(),
                            ),
                        ),
                    });
                }
            }
        }
        match limit {
            Some(limit) => Some(Concurrency { limit, key }),
            None if self.wrong.len() > before => None,
            None => self.refuse(value.position, "`concurrency` has no `limit`".into(), None),
        }
    }

    // ---- plain values

    /// The entries of a map whose keys are all known. What is not known is reported and left out.
    fn entries<'l>(&mut self, what: &str, value: &'l Literal, known: &[&str]) -> Vec<&'l Entry> {
        let Kind::Map(entries) = &value.kind else {
            let message = format!("`{what}` must be a map like #{{ {}: … }}, found {}", known[0], value.found());
            self.refuse::<()>(value.position, message, None);
            return Vec::new();
        };
        let mut fits = Vec::new();
        for entry in entries {
            if known.contains(&entry.key.as_str()) {
                fits.push(entry);
                continue;
            }
            let close = near(&entry.key, known.iter().copied());
            let close = close.map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
            let message = format!("`{what}` has no key `{}`{close}", entry.key);
            self.refuse::<()>(entry.position, message, Some(format!("there are: {}", known.join(", "))));
        }
        fits
    }

    fn text(&mut self, what: &str, value: &Literal) -> Option<String> {
        match &value.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => self.refuse(value.position, format!("`{what}` must be a string, found {}", value.found()), None),
        }
    }

    fn millis(&mut self, what: &str, value: &Literal) -> Option<Millis> {
        let parsed = match &value.kind {
            Kind::Text(text) => duration::parse(text),
            Kind::Int(seconds) => duration::from_seconds(*seconds as f64),
            Kind::Float(seconds) => duration::from_seconds(*seconds),
            _ => Err(format!("it must be a number of seconds or a string like \"1h 30m\", found {}", value.found())),
        };
        parsed.map_or_else(|why| self.refuse(value.position, format!("`{what}`: {why}"), None), Some)
    }

    fn longer_than_nothing(&mut self, what: &str, value: &Literal) -> Option<Millis> {
        match self.millis(what, value)? {
            0 => self.refuse(value.position, format!("`{what}` must be longer than nothing"), None),
            ms => Some(ms),
        }
    }

    fn count(&mut self, what: &str, value: &Literal) -> Option<u32> {
        match value.kind {
            Kind::Int(count @ 1..=0xffff_ffff) => u32::try_from(count).ok(),
            _ => {
                let message = format!("`{what}` must be a whole number from 1, found {}", value.found());
                self.refuse(value.position, message, None)
            }
        }
    }

    fn number(&mut self, what: &str, value: &Literal, least: f64, most: f64) -> Option<f64> {
        let number = match value.kind {
            Kind::Int(int) => Some(int as f64),
            Kind::Float(float) => Some(float),
            _ => None,
        };
        number.filter(|number| (least..=most).contains(number)).or_else(|| {
            let to = if most.is_infinite() { String::new() } else { format!(" to {most}") };
            let message = format!("`{what}` must be a number from {least}{to}, found {}", value.found());
            self.refuse(value.position, message, None)
        })
    }

    fn choice<T: Copy>(&mut self, what: &str, value: &Literal, known: &[(&str, T)]) -> Option<T> {
        let text = self.text(what, value)?;
        if let Some((_, choice)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let names: BTreeSet<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let close = near(&text, known.iter().map(|(name, _)| *name));
        let close = close.map_or_else(String::new, |close| format!("; did you mean {close:?}?"));
        self.refuse(value.position, format!("`{what}` cannot be {text:?}{close}"), Some(format!("there are: {names}")))
    }

    /// Notes what is wrong.
    fn refuse<T>(&mut self, position: Position, message: String, help: Option<String>) -> Option<T> {
        if self.wrong.len() < MOST {
            let mut diagnostic = Diagnostic::new(self.file, self.source, position, message);
            diagnostic.help = help;
            self.wrong.push(diagnostic);
        }
        None
    }

    /// Notes that a value does not fit a schema.
    fn misfit<T>(&mut self, position: Position, what: &str, problems: &[schema::Problem]) -> Option<T> {
        let message = format!("{what} does not fit the `input` schema: {}", schema::list(problems));
        self.refuse(position, message, None)
    }
}

/// Reads `input.user["a b"].id`.
fn input_path(text: &str) -> Result<Vec<String>, String> {
    let mut rest = text.trim().strip_prefix("input").ok_or("it does not begin with `input`")?;
    let mut path = Vec::new();
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if !rhai::is_valid_identifier(&name[..end]) {
                return Err(format!("{:?} is no name; other keys are written [\"…\"]", &name[..end]));
            }
            path.push(name[..end].to_string());
            rest = &name[end..];
        } else if let Some(quoted) = rest.strip_prefix('[') {
            let mut key = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let name = key.next().and_then(Result::ok).ok_or("after `[` comes a string in quotes")?;
            rest = quoted[key.byte_offset()..].strip_prefix(']').ok_or("a `]` is missing")?;
            path.push(name);
        } else {
            return Err(format!("{rest:?} does not begin with `.` or `[`"));
        }
    }
    if path.is_empty() { Err("it names nothing in the input".into()) } else { Ok(path) }
}
