//! Between what a script holds ([`Dynamic`]) and what can be stored ([`Value`]).

use std::borrow::Borrow;

use durhai_core::replay::Limits;
use durhai_core::{Failure, FailureKind, Value};
use durhai_stdlib::walk::{Path, Piece, Rules, Wrong, walk};
use rhai::Dynamic;

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
/// [`FailureKind::NotStorable`]; a value over the budget is [`FailureKind::Limit`].
pub fn to_value(value: &Dynamic, name: &str, budget: Budget) -> Result<Value, Failure> {
    // It goes to the log, and lives and dies there.
    meter::apart(|| walk(value, &mut Stored { name, budget, used: 0 }))
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

/// What the log takes.
struct Stored<'a> {
    name: &'a str,
    budget: Budget,
    used: usize,
}

impl Rules for Stored<'_> {
    type Error = Failure;

    fn levels(&self) -> usize {
        self.budget.depth
    }

    #[inline]
    fn take(&mut self, piece: Piece<'_>, _: &Path<'_>) -> Result<(), Failure> {
        self.used += match piece {
            Piece::Null => 4,
            Piece::Bool => 5,
            Piece::Int(int) => int.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1,
            Piece::Float => 8,
            Piece::Text(text) => text.len() + 2,
            Piece::Char(character) => character.len_utf8() + 2,
            Piece::Array(length) | Piece::Map(length) => 2 + length,
            Piece::Key(key) => key.len() + 3,
        };
        if self.used <= self.budget.bytes { Ok(()) } else { Err(self.too_large()) }
    }

    fn refuse(&self, wrong: Wrong<'_>, path: &Path<'_>) -> Failure {
        let Stored { name, budget, .. } = self;
        let why = match wrong {
            Wrong::TooDeep => {
                let message = format!("{name} nests more than {} levels deep (the limit `depth`)", budget.depth);
                return Failure::new(FailureKind::Limit, message);
            }
            Wrong::Locked => "is being changed by the function that waits here; copy it to a variable first".into(),
            Wrong::Number(number) if number.is_nan() => "is not a number (NaN)".into(),
            Wrong::Number(_) => "is infinite".into(),
            Wrong::Type(value) => format!("is {}", show::article(show::type_name(value))),
        };
        let message = format!(
            "{name}{path} {why}; only null, booleans, numbers, strings, arrays and maps can be stored in the run's log"
        );
        Failure::new(FailureKind::NotStorable, message)
    }
}

impl Stored<'_> {
    #[cold]
    fn too_large(&self) -> Failure {
        let message = format!(
            "{} is larger than {} bytes as JSON (the limit `payload`); keep large data outside the run and pass a reference",
            self.name, self.budget.bytes
        );
        Failure::new(FailureKind::Limit, message)
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
            assert_eq!(failure.kind, FailureKind::NotStorable);
            assert!(failure.message.starts_with(message), "{script}: {}", failure.message);
        }
    }

    #[test]
    fn limits_name_themselves() {
        let long = to_value(&"x".repeat(2_000).into(), "input", BUDGET).unwrap_err();
        assert_eq!(long.kind, FailureKind::Limit);
        assert!(long.message.starts_with("input is larger than 1000 bytes"), "{}", long.message);
        let deep = (0..100_000).fold(Dynamic::UNIT, |inner, _| vec![inner].into());
        let failure = to_value(&deep, "output", BUDGET).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Limit);
        assert!(failure.message.starts_with("output nests more than 8 levels"), "{}", failure.message);
        // Its own drop would recurse 100 000 levels on this small stack.
        crate::fiber::on_large_stack(move || drop(deep)).expect("a stack");
        let many: Array = vec![Dynamic::TRUE; 500];
        assert_eq!(to_value(&many.into(), "input", BUDGET).unwrap_err().kind, FailureKind::Limit);
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
