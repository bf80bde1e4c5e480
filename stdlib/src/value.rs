//! Between what a script holds and JSON, for every engine there is. Whole numbers and floats stay apart.

use rhai::{Array, Dynamic, Engine, Map};
use serde_json::Value;

use crate::native;
use crate::walk::{Path, Piece, Rules, Wrong, walk};

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
    walk(value, &mut Plain)
}

/// Anything that JSON can hold, whatever its size.
struct Plain;

impl Rules for Plain {
    type Error = String;

    fn levels(&self) -> usize {
        MAX_DEPTH
    }

    fn take(&mut self, _: Piece<'_>, _: &Path<'_>) -> Result<(), String> {
        Ok(())
    }

    fn refuse(&self, wrong: Wrong<'_>, path: &Path<'_>) -> String {
        let found = match wrong {
            Wrong::TooDeep => format!("a value nested more than {MAX_DEPTH} levels deep"),
            Wrong::Locked => "a value that a function is changing".into(),
            Wrong::Number(number) => format!("the number {number}"),
            Wrong::Type(value) => format!("a value of type {}", value.type_name()),
        };
        format!("${path}: {found} cannot be stored; use maps, arrays, strings, numbers, booleans and ()")
    }
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
