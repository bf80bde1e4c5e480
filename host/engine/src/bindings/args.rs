//! Reading arguments and options of durable calls, and giving their answers. What is wrong is named, with what was
//! expected instead.

use std::collections::BTreeMap;

use durhai_core::replay::Answer;
use durhai_core::{Failure, FailureKind, Millis, duration};
use rhai::{Dynamic, FnPtr, Identifier, Map, NativeCallContext};

use crate::errors::thrown::{Thrown, throw};
use crate::run::current;
use crate::schema::Schema;
use crate::values::convert::{self, Budget};
use crate::values::show::found;

/// An error of kind `invalid_input`.
pub fn invalid<T>(message: String) -> Result<T, Thrown> {
    Err(throw(Failure::new(FailureKind::InvalidInput, message)))
}

/// A string that is not empty. `what` is like `use_step: the name`.
pub fn name(what: &str, value: &Dynamic) -> Result<String, Thrown> {
    match text(what, value)? {
        text if text.is_empty() => invalid(format!("{what} must not be empty")),
        text => Ok(text),
    }
}

/// An array of those.
pub fn names(what: &str, value: &Dynamic) -> Result<Vec<String>, Thrown> {
    let Ok(all) = value.as_array_ref() else {
        return invalid(format!("{what} must be an array of texts, found {}", found(value)));
    };
    all.iter().enumerate().map(|(at, one)| name(&format!("{what}[{at}]"), one)).collect()
}

pub fn text(what: &str, value: &Dynamic) -> Result<String, Thrown> {
    match value.as_immutable_string_ref() {
        Ok(text) => Ok(text.to_string()),
        Err(_) => invalid(format!("{what} must be a string, found {}", found(value))),
    }
}

/// A length of time: a number of seconds, or text like `"1h 30m"`.
pub fn millis(what: &str, value: &Dynamic) -> Result<Millis, Thrown> {
    let parsed = if let Ok(text) = value.as_immutable_string_ref() {
        duration::parse(&text)
    } else if let Ok(seconds) = value.as_int() {
        duration::from_seconds(seconds as f64)
    } else if let Ok(seconds) = value.as_float() {
        duration::from_seconds(seconds)
    } else {
        let found = found(value);
        return invalid(format!("{what} must be a number of seconds or a string like \"1h 30m\", found {found}"));
    };
    parsed.or_else(|why| invalid(format!("{what}: {why}")))
}

pub fn boolean(what: &str, value: &Dynamic) -> Result<bool, Thrown> {
    value.as_bool().or_else(|_| invalid(format!("{what} must be true or false, found {}", found(value))))
}

/// A whole number from 1.
pub fn count(what: &str, value: &Dynamic) -> Result<u32, Thrown> {
    match value.as_int().map(u32::try_from) {
        Ok(Ok(count)) if count > 0 => Ok(count),
        _ => invalid(format!("{what} must be a whole number from 1, found {}", found(value))),
    }
}

/// A number in a range.
pub fn number(what: &str, value: &Dynamic, least: f64, most: f64) -> Result<f64, Thrown> {
    let number = value.as_float().or_else(|_| value.as_int().map(|int| int as f64));
    match number {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if most.is_infinite() => invalid(format!("{what} must be a number from {least}, found {}", found(value))),
        _ => invalid(format!("{what} must be a number from {least} to {most}, found {}", found(value))),
    }
}

pub fn closure(what: &str, value: &Dynamic) -> Result<FnPtr, Thrown> {
    match value.read_lock::<FnPtr>() {
        Some(closure) => Ok(closure.clone()),
        None => invalid(format!("{what} must be a closure like || use_step(…), found {}", found(value))),
    }
}

/// A JSON Schema.
pub fn schema(ctx: &NativeCallContext<'_>, what: &str, value: &Dynamic) -> Result<Schema, Thrown> {
    if !value.is_map() && !value.is_bool() {
        let found = found(value);
        return invalid(format!("{what} must be a JSON Schema like #{{ type: \"object\" }}, found {found}"));
    }
    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
    let document = convert::to_value(value, "schema", budget).map_err(throw)?;
    Schema::compile(&document).or_else(|why| invalid(format!("{what} is no JSON Schema: {why}")))
}

/// A map with known keys only.
pub fn options(call: &str, value: &Dynamic, known: &[&str]) -> Result<Map, Thrown> {
    let Ok(map) = value.as_map_ref() else {
        return invalid(format!(
            "{call}: the options must be a map like #{{ {}: … }}, found {}",
            known[0],
            found(value)
        ));
    };
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(map.clone()),
        Some(key) => invalid(format!("{call} has no option `{key}`; there are: {}", known.join(", "))),
    }
}

/// A length of time that is not nothing.
pub fn positive(what: &str, value: &Dynamic) -> Result<Millis, Thrown> {
    match millis(what, value)? {
        0 => invalid(format!("{what} must be longer than nothing, found {}", found(value))),
        ms => Ok(ms),
    }
}

/// The tags of a run: a map of strings.
pub fn tags(what: &str, value: &Dynamic) -> Result<BTreeMap<String, String>, Thrown> {
    let Ok(map) = value.as_map_ref() else {
        return invalid(format!(
            "{what} must be a map of strings like #{{ customer: \"42\" }}, found {}",
            found(value)
        ));
    };
    let tag = |(key, value): (&Identifier, &Dynamic)| match value.as_immutable_string_ref() {
        Ok(text) => Ok((key.to_string(), text.to_string())),
        Err(_) => {
            let message = format!("{what}: the tag `{key}` must be a string, found {}", found(value));
            Err(throw(Failure::new(FailureKind::InvalidInput, message)))
        }
    };
    map.iter().map(tag).collect()
}

/// The value of calls that are answered with one.
pub fn value_of(answer: Answer) -> Dynamic {
    match answer {
        Answer::Value(value) => convert::into_dynamic(value),
        _ => Dynamic::UNIT,
    }
}
