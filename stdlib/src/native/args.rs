//! Reading arguments, and room for results. What is wrong is named, with what was expected and what was found.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};

use super::Thrown;
use crate::cost;

/// Bytes of a text that a function takes or gives where the engine sets no limit itself.
pub const MAX_TEXT: usize = 16 << 20;

/// Elements of arrays, or entries of maps, likewise.
pub const MAX_ITEMS: usize = 1_000_000;

/// How large a result may get: the limits of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub text: usize,
    /// Elements of arrays, all that is nested included.
    pub items: usize,
    /// Entries of maps, likewise.
    pub entries: usize,
}

impl Room {
    pub fn of(ctx: &NativeCallContext<'_>) -> Room {
        Room::within(ctx.engine())
    }

    pub fn within(engine: &Engine) -> Room {
        let or = |limit: usize, most: usize| if limit == 0 { most } else { limit };
        Room {
            text: or(engine.max_string_size(), MAX_TEXT),
            items: or(engine.max_array_size(), MAX_ITEMS),
            entries: or(engine.max_map_size(), MAX_ITEMS),
        }
    }

    /// Fails before a text of so many bytes is made.
    pub fn bytes(&self, function: &str, bytes: usize) -> Result<(), Thrown> {
        if bytes <= self.text {
            return Ok(());
        }
        fail(format!("{function}: the result would have {bytes} bytes, the limit is {}", self.text))
    }

    pub fn items(&self, function: &str, items: usize) -> Result<(), Thrown> {
        if items <= self.items {
            return Ok(());
        }
        fail(format!("{function}: the result would have more than {} elements, which is the limit", self.items))
    }
}

/// An error with a text. Rhai adds the place of the call.
pub fn fail<T>(message: impl Into<String>) -> Result<T, Thrown> {
    Err(error(message))
}

pub fn error(message: impl Into<String>) -> Thrown {
    let message: ImmutableString = message.into().into();
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}

/// Text that a function works on: a string, or what else has a plain text form (numbers, booleans, characters).
/// `what` is like `text::upper: the text`.
pub fn plain(what: &str, value: &Dynamic) -> Result<ImmutableString, Thrown> {
    let value = value.flatten_clone();
    match value.type_name() {
        "i64" | "f64" | "bool" | "char" => Ok(value.to_string().into()),
        _ => text(what, &value),
    }
}

pub fn text(what: &str, value: &Dynamic) -> Result<ImmutableString, Thrown> {
    let value = value.flatten_clone();
    let Ok(text) = value.as_immutable_string_ref().map(|text| text.clone()) else {
        return wrong(what, "a string", &value);
    };
    cost::read(text.len())?;
    Ok(text)
}

pub fn int(what: &str, value: &Dynamic) -> Result<i64, Thrown> {
    let value = value.flatten_clone();
    value.as_int().or_else(|_| wrong(what, "a whole number", &value))
}

/// A whole number in a range.
pub fn count(what: &str, value: &Dynamic, least: i64, most: i64) -> Result<usize, Thrown> {
    let value = value.flatten_clone();
    match value.as_int() {
        Ok(count) if (least..=most).contains(&count) => Ok(count as usize),
        _ => wrong(what, &format!("a whole number from {least} to {most}"), &value),
    }
}

pub fn number(what: &str, value: &Dynamic) -> Result<f64, Thrown> {
    let value = value.flatten_clone();
    let number = value.as_float().or_else(|_| value.as_int().map(|int| int as f64));
    number.or_else(|_| wrong(what, "a number", &value))
}

pub fn wrong<T>(what: &str, expected: &str, value: &Dynamic) -> Result<T, Thrown> {
    fail(format!("{what} must be {expected}, found {}", found(value)))
}

/// A value in a few words, for messages.
pub fn found(value: &Dynamic) -> String {
    let value = value.flatten_clone();
    match value.type_name() {
        "i64" | "f64" | "bool" => value.to_string(),
        "()" => "()".into(),
        "char" | "string" => format!("{:?}", cut(&value.to_string(), 60)),
        "array" => "an array".into(),
        "map" => "a map".into(),
        "blob" => "a blob".into(),
        "Fn" => "a function".into(),
        other => format!("a value of type {}", other.rsplit("::").next().unwrap_or(other).to_lowercase()),
    }
}

/// The first characters of a text.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A map with known keys only.
pub fn options(function: &str, value: &Dynamic, known: &[&str]) -> Result<rhai::Map, Thrown> {
    let value = value.flatten_clone();
    let Ok(map) = value.as_map_ref() else {
        return wrong(&format!("{function}: the options"), &format!("a map like #{{ {}: … }}", known[0]), &value);
    };
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(map.clone()),
        Some(key) => fail(format!("{function} has no option `{key}`; there are: {}", known.join(", "))),
    }
}

/// What was compiled lately, by its text: pure, so that no script can tell that it is kept.
pub struct Cache<T>(Arc<Mutex<HashMap<String, T>>>);

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

impl<T: Clone> Cache<T> {
    const MOST: usize = 64;

    pub fn new() -> Self {
        Cache(Arc::default())
    }

    pub fn get(&self, text: &str, make: impl FnOnce() -> Result<T, Thrown>) -> Result<T, Thrown> {
        if let Some(made) = self.0.lock().get(text) {
            return Ok(made.clone());
        }
        let made = make()?;
        let mut kept = self.0.lock();
        if kept.len() >= Self::MOST {
            kept.clear();
        }
        kept.insert(text.into(), made.clone());
        Ok(made)
    }
}
