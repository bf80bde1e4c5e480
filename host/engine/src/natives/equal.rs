//! Whether values are the same, and where one is among others. Rhai's own copy what is left at each level, so they take
//! time with the square of the depth, and look up a function for each pair.

use durhai_core::{Failure, FailureKind};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext};

use crate::errors::thrown::{Thrown, throw};
use crate::run::operations::spend;

type Ctx<'a> = NativeCallContext<'a>;

/// Levels of nesting that are compared.
const LEVELS: usize = 256;

/// Pairs that are compared in one operation.
const PAIRS: usize = 8;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("==", |ctx: Ctx<'_>, a: &mut Array, b: Array| equal_arrays(&ctx, a, &b, LEVELS))
        .register_fn("!=", |ctx: Ctx<'_>, a: &mut Array, b: Array| equal_arrays(&ctx, a, &b, LEVELS).map(|same| !same))
        .register_fn("==", |ctx: Ctx<'_>, a: &mut Map, b: Map| equal_maps(&ctx, a, &b, LEVELS))
        .register_fn("!=", |ctx: Ctx<'_>, a: &mut Map, b: Map| equal_maps(&ctx, a, &b, LEVELS).map(|same| !same))
        .register_fn("contains", |ctx: Ctx<'_>, items: &mut Array, value: Dynamic| {
            position(&ctx, items, &value, 0).map(|at| at.is_some())
        })
        .register_fn("index_of", |ctx: Ctx<'_>, items: &mut Array, value: Dynamic| index_of(&ctx, items, &value, 0))
        .register_fn("index_of", |ctx: Ctx<'_>, items: &mut Array, value: Dynamic, start: i64| {
            let length = items.len();
            let start = match usize::try_from(start) {
                Ok(start) => start.min(length),
                Err(_) => length.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
            };
            index_of(&ctx, items, &value, start)
        });
    changes!(engine, "dedup", |ctx: Ctx<'_>, items: &mut Array| -> Result<(), Thrown> {
        let mut kept = Array::with_capacity(items.len());
        // What cannot be compared is kept.
        for item in std::mem::take(items) {
            let same = match kept.last() {
                None => false,
                Some(last) => match equal(&ctx, last, &item, LEVELS) {
                    Err(error) if matches!(*error, EvalAltResult::ErrorTerminated(..)) => return Err(error),
                    same => same.unwrap_or(false),
                },
            };
            if !same {
                kept.push(item);
            }
        }
        *items = kept;
        Ok(())
    });
}

fn index_of(ctx: &Ctx<'_>, items: &Array, value: &Dynamic, start: usize) -> Result<i64, Thrown> {
    position(ctx, items, value, start).map(|at| at.map_or(-1, |at| at as i64))
}

fn position(ctx: &Ctx<'_>, items: &Array, value: &Dynamic, start: usize) -> Result<Option<usize>, Thrown> {
    for (at, item) in items.iter().enumerate().skip(start) {
        if at % PAIRS == 0 {
            spend(1)?;
        }
        if equal(ctx, item, value, LEVELS)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Equal like Rhai's `==`: integers and floats are compared as numbers, values of different types are not equal.
fn equal(ctx: &Ctx<'_>, a: &Dynamic, b: &Dynamic, levels: usize) -> Result<bool, Thrown> {
    if levels == 0 {
        let message = format!("values that nest more than {LEVELS} levels deep cannot be compared");
        return Err(throw(Failure::new(FailureKind::Limit, message)));
    }
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Ok(a == b);
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return Ok(*a == *b);
    }
    if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
        return equal_arrays(ctx, &a, &b, levels);
    }
    if let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) {
        return equal_maps(ctx, &a, &b, levels);
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        return Ok(a == b);
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a == b);
    }
    if a.is_unit() && b.is_unit() {
        return Ok(true);
    }
    if a.type_id() != b.type_id()
        && [a, b].iter().any(|value| value.is_array() || value.is_map())
        && known(a)
        && known(b)
    {
        return Ok(false);
    }
    spend(4)?;
    let operands = [&mut a.flatten_clone(), &mut b.flatten_clone()];
    match ctx.call_native_fn_raw("==", true, &mut { operands }) {
        Ok(same) => Ok(same.as_bool().unwrap_or(false)),
        Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) && a.type_id() != b.type_id() => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a value is of a type of which Rhai knows that a list or a map never equals it. What is asked for others is copied.
fn known(value: &Dynamic) -> bool {
    value.is_array()
        || value.is_map()
        || value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_unit()
        || value.is_char()
        || value.is_string()
}

fn equal_arrays(ctx: &Ctx<'_>, a: &Array, b: &Array, levels: usize) -> Result<bool, Thrown> {
    spend(1)?;
    if a.len() != b.len() {
        return Ok(false);
    }
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        if at % PAIRS == PAIRS - 1 {
            spend(1)?;
        }
        if !equal(ctx, a, b, levels - 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps(ctx: &Ctx<'_>, a: &Map, b: &Map, levels: usize) -> Result<bool, Thrown> {
    spend(1)?;
    if a.len() != b.len() {
        return Ok(false);
    }
    for (at, ((a_key, a), (b_key, b))) in a.iter().zip(b).enumerate() {
        if at % PAIRS == PAIRS - 1 {
            spend(1)?;
        }
        if a_key != b_key || !equal(ctx, a, b, levels - 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}
