//! `const WORKFLOW = #{ … }`: what a workflow says about itself, read without running it.

mod literal;
mod reader;
mod schedule;

use durhai_core::{Millis, RetryPolicy, Value};
use rhai::AST;

use self::literal::{Literal, LiteralKind};
use self::reader::Reader;
pub use self::schedule::{Missed, Overlap, Schedule};
use crate::errors::diagnostic::Diagnostic;
use crate::schema::Schema;

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
        Ok(Some(literal)) => read_header(&mut reader, &literal),
        Err((position, message, help)) => {
            reader.refuse::<()>(position, message, help);
            Header::default()
        }
    };
    if reader.wrong.is_empty() { Ok(header) } else { Err(reader.wrong) }
}

fn read_header(reader: &mut Reader<'_>, literal: &Literal) -> Header {
    let mut header = Header { raw: literal.to_value(), ..Header::default() };
    let mut schedule = None;
    for entry in reader.entries("WORKFLOW", literal, KEYS) {
        let value = &entry.value;
        match entry.key.as_str() {
            "input" => header.input = schema(reader, "input", value),
            "output" => header.output = schema(reader, "output", value),
            "timeout" => header.timeout = reader.longer_than_nothing("timeout", value),
            "retry" => header.retry = retry(reader, value),
            "schedule" => schedule = Some(value),
            "concurrency" => header.concurrency = concurrency(reader, value),
            "retain" => header.retain = reader.millis("retain", value),
            _ => {
                let known = [("pin", OnReload::Pin), ("upgrade", OnReload::Upgrade), ("refuse", OnReload::Refuse)];
                header.on_reload = reader.choice("on_reload", value, &known).unwrap_or_default();
            }
        }
    }
    // The input of a schedule must fit the schema, which may come later.
    header.schedule = schedule.and_then(|value| schedule::read(reader, value, header.input.as_ref()));
    header
}

fn schema(reader: &mut Reader<'_>, what: &str, value: &Literal) -> Option<Schema> {
    if !matches!(value.kind, LiteralKind::Map(_) | LiteralKind::Bool(_)) {
        return reader.refuse(
            value.position,
            format!("`{what}` must be a JSON Schema like #{{ type: \"object\" }}, found {}", value.found()),
            None,
        );
    }
    match Schema::compile(&value.to_value()) {
        Ok(schema) => Some(schema),
        Err(why) => {
            let position = value.at_path(why.split(": ").next().unwrap_or(""));
            reader.refuse(position, format!("`{what}` is no JSON Schema: {why}"), None)
        }
    }
}

fn retry(reader: &mut Reader<'_>, value: &Literal) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy::default();
    match value.kind {
        LiteralKind::Bool(false) => return Some(RetryPolicy::never()),
        LiteralKind::Bool(true) => return Some(policy),
        LiteralKind::Map(_) => {}
        _ => {
            let message =
                format!("`retry` must be false or a map like #{{ max_attempts: 5 }}, found {}", value.found());
            return reader.refuse(value.position, message, None);
        }
    }
    let (mut initial, mut max) = (None, None);
    for entry in reader.entries("retry", value, &["max_attempts", "initial", "factor", "max", "jitter", "unless"]) {
        let what = format!("retry.{}", entry.key);
        let value = &entry.value;
        match entry.key.as_str() {
            "max_attempts" => policy.max_attempts = reader.count(&what, value).unwrap_or(1),
            "initial" => initial = reader.millis(&what, value),
            "factor" => policy.factor = reader.number(&what, value, 1.0, f64::INFINITY).unwrap_or(1.0),
            "max" => max = reader.millis(&what, value),
            "unless" => policy.unless = reader.texts(&what, value),
            _ => policy.jitter = reader.number(&what, value, 0.0, 1.0).unwrap_or(0.0),
        }
    }
    policy.say_waits(initial, max);
    Some(policy)
}

fn concurrency(reader: &mut Reader<'_>, value: &Literal) -> Option<Concurrency> {
    match value.kind {
        LiteralKind::Int(_) => {
            return Some(Concurrency { limit: reader.count("concurrency", value)?, key: None });
        }
        LiteralKind::Map(_) => {}
        _ => {
            let message = format!(
                "`concurrency` must be a number or a map like #{{ limit: 10, key: \"input.tenant\" }}, found {}",
                value.found()
            );
            return reader.refuse(value.position, message, None);
        }
    }
    let (mut limit, mut key, before) = (None, None, reader.wrong.len());
    for entry in reader.entries("concurrency", value, &["limit", "key"]) {
        match entry.key.as_str() {
            "limit" => limit = reader.count("concurrency.limit", &entry.value),
            _ => {
                let text = reader.text("concurrency.key", &entry.value);
                key = text.and_then(|text| match input_path(&text) {
                    Ok(path) => Some(path),
                    Err(why) => reader.refuse(
                        entry.value.position,
                        format!("`concurrency.key`: {text:?} is no path into the input: {why}"),
                        Some("write it like \"input.tenant\", \"input.user.id\" or \"input[\\\"a b\\\"].c\"".into()),
                    ),
                });
            }
        }
    }
    match limit {
        Some(limit) => Some(Concurrency { limit, key }),
        None if reader.wrong.len() > before => None,
        None => reader.refuse(value.position, "`concurrency` has no `limit`".into(), None),
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
