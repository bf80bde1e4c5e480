//! Between what a script holds ([`Dynamic`]) and what can be stored ([`Value`]).

use std::borrow::Borrow;

use durhai_core::replay::Limits;
use durhai_core::{Failure, Kind, Value};
use rhai::Dynamic;
use serde_json::Number;

use super::show;
use crate::meter;

/// How large one stored value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes as JSON, more or less (escapes are not counted).
    pub bytes: usize,
    /// Levels of arrays and maps.
    pub depth: usize,
}

impl From<&Limits> for Budget {
    fn from(limits: &Limits) -> Self {
        Budget { bytes: limits.payload, depth: limits.depth }
    }
}

/// Takes what a script hands out. `name` begins the path in an error: `input.items[3].callback is a function`.
///
/// `()` becomes null, a character a string; captured variables are read through. What JSON cannot hold is
/// [`Kind::NotStorable`]; a value over the budget is [`Kind::Limit`].
pub fn to_value(value: &Dynamic, name: &str, budget: Budget) -> Result<Value, Failure> {
    // It goes to the log, and lives and dies there.
    meter::apart(|| {
        let mut walk = Walk { name, budget, used: 0, path: Vec::new() };
        walk.value(value)
    })
}

/// [`to_dynamic`] of a value that the host lets go of: the script pays for what it is given, and is not credited with
/// what goes.
pub fn into_dynamic(value: impl Borrow<Value>) -> Dynamic {
    let dynamic = to_dynamic(value.borrow());
    meter::apart(|| drop(value));
    dynamic
}

/// Gives a stored value to a script. Numbers above `i64::MAX` cannot come from a script; a step that returns one gives a
/// float.
pub use durhai_stdlib::value::to_dynamic;

struct Walk<'a> {
    name: &'a str,
    budget: Budget,
    used: usize,
    path: Vec<Part>,
}

enum Part {
    Index(usize),
    Key(String),
}

impl Walk<'_> {
    /// Recurses at most `budget.depth` levels.
    fn value(&mut self, value: &Dynamic) -> Result<Value, Failure> {
        if value.is_shared() {
            if value.is_locked() {
                return Err(
                    self.refuse("is being changed by the function that waits here; copy it to a variable first")
                );
            }
            return self.value(&value.flatten_clone());
        }
        if value.is_unit() {
            self.charge(4)?;
            return Ok(Value::Null);
        }
        if let Ok(yes) = value.as_bool() {
            self.charge(5)?;
            return Ok(Value::Bool(yes));
        }
        if let Ok(int) = value.as_int() {
            self.charge(int.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1)?;
            return Ok(Value::from(int));
        }
        if let Ok(float) = value.as_float() {
            self.charge(8)?;
            return match Number::from_f64(float) {
                Some(number) => Ok(Value::Number(number)),
                None if float.is_nan() => Err(self.refuse("is not a number (NaN)")),
                None => Err(self.refuse("is infinite")),
            };
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            self.charge(text.len() + 2)?;
            return Ok(Value::String(text.to_string()));
        }
        if let Ok(character) = value.as_char() {
            self.charge(character.len_utf8() + 2)?;
            return Ok(Value::String(character.to_string()));
        }
        if let Ok(items) = value.as_array_ref() {
            self.deeper()?;
            self.charge(2 + items.len())?;
            let mut array = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                self.path.push(Part::Index(index));
                array.push(self.value(item)?);
                self.path.pop();
            }
            return Ok(Value::Array(array));
        }
        if let Ok(fields) = value.as_map_ref() {
            self.deeper()?;
            self.charge(2 + fields.len())?;
            let mut object = serde_json::Map::new();
            for (key, field) in fields.iter() {
                self.charge(key.len() + 3)?;
                self.path.push(Part::Key(key.to_string()));
                object.insert(key.to_string(), self.value(field)?);
                self.path.pop();
            }
            return Ok(Value::Object(object));
        }
        Err(self.refuse(&format!("is {}", show::article(show::type_name(value)))))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Failure> {
        self.used += bytes;
        if self.used <= self.budget.bytes {
            return Ok(());
        }
        let message = format!(
            "{} is larger than {} bytes as JSON (the limit `payload`); keep large data outside the run and pass a reference",
            self.name, self.budget.bytes
        );
        Err(Failure::new(Kind::Limit, message))
    }

    fn deeper(&self) -> Result<(), Failure> {
        if self.path.len() < self.budget.depth {
            return Ok(());
        }
        let message = format!("{} nests more than {} levels deep (the limit `depth`)", self.name, self.budget.depth);
        Err(Failure::new(Kind::Limit, message))
    }

    fn refuse(&self, why: &str) -> Failure {
        let mut place = self.name.to_string();
        for part in &self.path {
            match part {
                Part::Index(index) => place.push_str(&format!("[{index}]")),
                Part::Key(key) if rhai::is_valid_identifier(key) => place.push_str(&format!(".{key}")),
                Part::Key(key) => place.push_str(&format!("[{key:?}]")),
            }
        }
        let message = format!(
            "{place} {why}; only null, booleans, numbers, strings, arrays and maps can be stored in the run's log"
        );
        Failure::new(Kind::NotStorable, message)
    }
}

#[cfg(test)]
mod tests {
    use rhai::{Array, Engine, FnPtr};
    use serde_json::json;

    use super::*;
    use rhai::Map;

    const BUDGET: Budget = Budget { bytes: 1_000, depth: 8 };

    fn eval(script: &str) -> Dynamic {
        Engine::new().eval(script).expect(script)
    }

    #[test]
    fn there_and_back() {
        for (script, value) in [
            ("()", json!(null)),
            ("[1, 1.0, -0.5, true]", json!([1, 1.0, -0.5, true])),
            ("#{ b: 'x', a: \"y\", c: #{} }", json!({ "a": "y", "b": "x", "c": {} })),
            ("9223372036854775807", json!(i64::MAX)),
            ("let x = 1; let f = || x += 1; f.call(); [x, #{ x: x }]", json!([2, { "x": 2 }])),
        ] {
            let stored = to_value(&eval(script), "it", BUDGET).expect(script);
            assert_eq!(stored, value, "{script}");
            assert_eq!(to_value(&to_dynamic(&stored), "it", BUDGET), Ok(stored), "{script}");
        }
    }

    #[test]
    fn integers_and_floats_stay_apart() {
        assert!(to_dynamic(&json!(2)).is_int());
        assert!(to_dynamic(&json!(2.0)).is_float());
        assert!(to_dynamic(&json!(u64::MAX)).is_float());
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        for (script, message) in [
            ("#{ items: [0, 1, 2, #{ callback: || 1 }] }", "input.items[3].callback is a function"),
            ("#{ \"a b\": Fn(\"x\") }", "input[\"a b\"] is a function"),
            ("[0.0 / 0.0]", "input[0] is not a number (NaN)"),
            ("1.0 / 0.0", "input is infinite"),
            ("[blob(3)]", "input[0] is a blob"),
            ("timestamp()", "input is a timestamp"),
        ] {
            let failure = to_value(&eval(script), "input", BUDGET).expect_err(script);
            assert_eq!(failure.kind, Kind::NotStorable);
            assert!(failure.message.starts_with(message), "{script}: {}", failure.message);
        }
    }

    #[test]
    fn limits_name_themselves() {
        let long = to_value(&"x".repeat(2_000).into(), "input", BUDGET).unwrap_err();
        assert_eq!(long.kind, Kind::Limit);
        assert!(long.message.starts_with("input is larger than 1000 bytes"), "{}", long.message);
        let deep = (0..100_000).fold(Dynamic::UNIT, |inner, _| vec![inner].into());
        let failure = to_value(&deep, "output", BUDGET).unwrap_err();
        assert_eq!(failure.kind, Kind::Limit);
        assert!(failure.message.starts_with("output nests more than 8 levels"), "{}", failure.message);
        // Its own drop would recurse 100 000 levels on this small stack.
        crate::fiber::on_large_stack(move || drop(deep)).expect("a stack");
        let many: Array = vec![Dynamic::TRUE; 500];
        assert_eq!(to_value(&many.into(), "input", BUDGET).unwrap_err().kind, Kind::Limit);
    }

    #[test]
    fn a_value_that_holds_itself() {
        let cyclic = Dynamic::from_map(Map::new()).into_shared();
        let mut closure = FnPtr::new("f").expect("a name");
        closure.add_curry(cyclic.clone());
        cyclic.clone().write_lock::<Map>().expect("a map").insert("me".into(), closure.into());
        let failure = to_value(&cyclic, "input", BUDGET).unwrap_err();
        assert!(failure.message.starts_with("input.me is a function"), "{}", failure.message);
    }
}
