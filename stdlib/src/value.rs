//! Between what a script holds and JSON, for every engine there is. Whole numbers and floats stay apart.

use rhai::{Array, Dynamic, Engine, Map};
use serde_json::{Number, Value};

use crate::native;

/// Nesting beyond this is refused: JSON readers stop at about the same depth.
const MAX_DEPTH: usize = 100;

/// JSON as a script sees it. `null` is `()`; whole numbers above `i64::MAX`, which a script cannot have, become floats.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => match number.as_i64() {
            Some(int) => int.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Array>().into(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.as_str().into(), to_dynamic(value))).collect::<Map>().into()
        }
    }
}

/// Levels at which the reader of JSON stops by itself.
const READABLE: usize = 128;

/// Reads JSON of at most as many elements and entries as the engine allows in a value: a text of a few megabytes could
/// hold millions. [An error of data](serde_json::Error::is_data) says that there are more.
pub fn parse(text: &str, engine: &Engine) -> Result<Dynamic, serde_json::Error> {
    native::value::parse(text, native::args::Room::within(engine), READABLE)
}

/// A script's value as JSON. What JSON cannot hold is named with its path: `$.items[3].when: a timestamp …`.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    let mut path = Vec::new();
    nested(value, MAX_DEPTH, &mut path).map_err(|found| {
        let path: String = path.iter().rev().map(String::as_str).collect();
        format!("${path}: {found} cannot be stored; use maps, arrays, strings, numbers, booleans and ()")
    })
}

/// On an error `path` holds the way to it, innermost first.
fn nested(value: &Dynamic, depth: usize, path: &mut Vec<String>) -> Result<Value, String> {
    if depth == 0 {
        return Err(format!("a value nested more than {MAX_DEPTH} levels deep"));
    }
    if value.is_shared() {
        return nested(&value.flatten_clone(), depth, path);
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(int) = value.as_int() {
        return Ok(int.into());
    }
    if let Ok(float) = value.as_float() {
        return Number::from_f64(float).map(Value::Number).ok_or_else(|| format!("the number {float}"));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(letter.to_string().into());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(text.as_str().into());
    }
    if let Ok(items) = value.as_array_ref() {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.push(nested(item, depth - 1, path).inspect_err(|_| path.push(format!("[{index}]")))?);
        }
        return Ok(Value::Array(list));
    }
    if let Ok(fields) = value.as_map_ref() {
        let mut object = serde_json::Map::new();
        for (key, item) in fields.iter() {
            let item = nested(item, depth - 1, path).inspect_err(|_| path.push(format!(".{key}")))?;
            object.insert(key.to_string(), item);
        }
        return Ok(Value::Object(object));
    }
    Err(format!("a value of type {}", value.type_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_cannot_hold_is_named_with_its_path() {
        let engine = rhai::Engine::new();
        for (script, wanted) in [
            ("#{ a: [1, #{ b: timestamp() }] }", "$.a[1].b: a value of type timestamp"),
            ("[0.0 / 0.0]", "$[0]: the number NaN"),
            ("|x| x", "$: a value of type Fn"),
            ("let a = 1; for i in 0..200 { a = [a]; } a", "nested more than 100 levels"),
        ] {
            let error = to_json(&engine.eval(script).unwrap()).unwrap_err();
            assert!(error.contains(wanted), "{script}: {error}");
        }
    }
}
