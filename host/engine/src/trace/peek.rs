//! Looking at values without keeping them.

use std::hash::{DefaultHasher, Hash, Hasher};

use rhai::{Caches, Dynamic, EvalContext, FnPtr, Scope};

use crate::program::modules::modules;
use crate::run::current;
use crate::values::show;

/// Parts of a value that its fingerprint covers; of what is behind them only the size.
const PARTS: usize = 512;

/// Bytes of one text that a fingerprint covers.
const BYTES: usize = 1024;

/// The variables of a scope as they were declared; Rhai gives the last one first.
pub fn in_order<'a>(scope: &'a Scope<'_>) -> Vec<(&'a str, bool, &'a Dynamic)> {
    let mut variables: Vec<_> = scope.iter_raw().collect();
    variables.reverse();
    variables
}

/// A number that changes, as a rule, when the value does; in bounded time however large the value is.
pub fn fingerprint(value: &Dynamic) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut left = PARTS;
    mix(value, &mut left, &mut hasher);
    hasher.finish()
}

fn mix(value: &Dynamic, left: &mut usize, hasher: &mut DefaultHasher) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    if let Ok(text) = value.as_immutable_string_ref() {
        text.len().hash(hasher);
        text.as_bytes()[..text.len().min(BYTES)].hash(hasher);
    } else if let Ok(items) = value.as_array_ref() {
        (1_u8, items.len()).hash(hasher);
        items.iter().take(*left).for_each(|item| mix(item, left, hasher));
        // What is added to a long array is at its end.
        if let Some(last) = items.last().filter(|_| *left == 0) {
            mix(last, &mut 1, hasher);
        }
    } else if let Ok(fields) = value.as_map_ref() {
        (2_u8, fields.len()).hash(hasher);
        for (key, field) in fields.iter().take(*left) {
            key.hash(hasher);
            mix(field, left, hasher);
        }
    } else if let Ok(number) = value.as_int() {
        (3_u8, number).hash(hasher);
    } else if let Ok(number) = value.as_float() {
        (4_u8, number.to_bits()).hash(hasher);
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        (5_u8, function.fn_name()).hash(hasher);
    } else if !value.is_locked() {
        value.type_name().hash(hasher);
        show::show(value, 64).hash(hasher);
    }
}

/// A value as a script would write it, at most about `limit` bytes; a longer one with its size.
pub fn brief(value: &Dynamic, limit: usize) -> String {
    let mut text = show::show(value, limit);
    if !text.ends_with('…') {
        return text;
    }
    if let Ok(items) = value.as_array_ref() {
        text.push_str(&format!(" ({} items)", items.len()));
    } else if let Ok(fields) = value.as_map_ref() {
        text.push_str(&format!(" ({} entries)", fields.len()));
    } else if let Ok(string) = value.as_immutable_string_ref() {
        text.push_str(&format!(" ({} bytes)", string.len()));
    }
    text
}

/// Evaluates an expression where the script stands, on copies of its variables: whatever the expression does, the script
/// does not see it. Durable calls fail.
pub fn evaluate(context: &EvalContext<'_, '_, '_, '_, '_, '_>, text: &str, limit: usize) -> Result<String, String> {
    let engine = context.engine();
    let ast = engine.compile_expression(text).map_err(|error| format!("{error}"))?;
    let mut scope = Scope::new();
    for (name, _, value) in in_order(context.scope()) {
        scope.push_dynamic(name, unshared(value));
    }
    let mut global = context.global_runtime_state().clone();
    // Its closures.
    global.lib.push(ast.shared_lib().clone());
    let run = || {
        #[allow(deprecated)] // Rhai marks what may change between its versions that way.
        engine.eval_statements_raw(&mut global, &mut Caches::new(), &mut scope, ast.statements())
    };
    match current::load(modules(), run) {
        Ok(value) => Ok(brief(&value, limit)),
        Err(error) if error.to_string().contains("needs a run") => {
            Err("an expression can make no durable call: it is evaluated without effects".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A copy through which the variable cannot be changed.
fn unshared(value: &Dynamic) -> Dynamic {
    if value.is_locked() { Dynamic::UNIT } else { value.flatten_clone() }
}
