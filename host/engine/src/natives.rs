//! Functions of the language that Rhai's packages have in a form that does not suit: they recurse without end, take too
//! long, or come in one package with effects.

/// A function that changes its first argument: Rhai refuses it for constants.
macro_rules! changes {
    ($engine:expr, $name:expr, $function:expr) => {
        rhai::FuncRegistration::new($name).with_purity(false).register_into_engine($engine, $function);
    };
}

mod equal;
mod list;
mod text;

use std::any::TypeId;

use durhai_core::{Failure, FailureKind, json};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position};

use crate::errors::thrown::{Thrown, throw};
use crate::run::operations::spend;
use crate::values::convert::{self, Budget};
use crate::values::show;

/// Bytes of a value as text or JSON.
const TEXT: usize = 4 << 20;

/// Bytes of JSON that are read or written in one operation.
const JSON: usize = 64;

/// Elements that are measured in one operation.
const ITEMS: usize = 32;

pub fn register(engine: &mut Engine) {
    durhai_stdlib::cost::count_with(spend);
    engine
        .register_fn("exit", || -> Result<(), Thrown> {
            Err(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE).into())
        })
        .register_fn("exit", |value: Dynamic| -> Result<(), Thrown> {
            Err(EvalAltResult::Exit(value, Position::NONE).into())
        });
    changes!(engine, "take", |value: &mut Dynamic| std::mem::take(value));
    // Text: values may hold themselves through closures, and may nest deeply.
    for name in ["to_string", "to_debug", "print", "debug"] {
        engine
            .register_fn(name, |array: &mut Array| ImmutableString::from(show::show_array(array, TEXT)))
            .register_fn(name, |map: &mut Map| ImmutableString::from(show::show_map(map, TEXT)))
            .register_fn(name, |function: &mut FnPtr| ImmutableString::from(show::show_function(function)));
    }
    // JSON: Rhai's writer takes time with the square of the depth, its reader is the parser of the language.
    engine
        .register_fn("to_json", |map: &mut Map| json(&map.clone().into()))
        .register_fn("to_json", |array: &mut Array| json(&array.clone().into()))
        .register_fn("parse_json", |ctx: NativeCallContext<'_>, text: ImmutableString| -> Result<Dynamic, Thrown> {
            spend(text.len() / JSON)?;
            let wrong = |kind, why: String| throw(Failure::new(kind, format!("parse_json: {why}")));
            let value = durhai_stdlib::value::parse(&text, ctx.engine()).map_err(|error| {
                let kind = if error.is_data() { FailureKind::Limit } else { FailureKind::InvalidInput };
                wrong(kind, error.to_string())
            })?;
            json::exact(text.as_bytes(), "").map_err(|number| wrong(FailureKind::InvalidInput, number.to_string()))?;
            Ok(value)
        });
    equal::register(engine);
    list::register(engine);
    text::register(engine);
    // Reached through `reduce` and its like only, which make no operations themselves.
    engine
        .register_fn("+", |ctx: NativeCallContext<'_>, a: ImmutableString, b: &str| text::joined(&ctx, &a, b))
        .register_fn("+", |a: Array, b: Array| -> Result<Array, Thrown> {
            spend((a.len() + b.len()) / ITEMS)?;
            let mut joined = a;
            joined.extend(b);
            Ok(joined)
        })
        .register_fn("+", |a: Map, b: Map| -> Result<Map, Thrown> {
            spend((a.len() + b.len()) / ITEMS)?;
            let mut joined = a;
            joined.extend(b);
            Ok(joined)
        });
    // Rhai drops what a comparer throws; a cancellation would be lost in there.
    for name in ["sort", "sort_by"] {
        changes!(engine, name, |ctx: NativeCallContext<'_>,
                                array: &mut Array,
                                comparer: FnPtr|
         -> Result<(), Thrown> {
            *array = sort(&ctx, array.clone(), &comparer)?;
            Ok(())
        });
    }
    for name in ["order", "order_by"] {
        engine.register_fn(
            name,
            |ctx: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| -> Result<Array, Thrown> {
                sort(&ctx, array.clone(), &comparer)
            },
        );
    }
    changes!(engine, "dedup", |ctx: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| -> Result<(), Thrown> {
        *array = dedup(&ctx, array.clone(), &comparer)?;
        Ok(())
    });
    engine.register_raw_fn("push", [TypeId::of::<Array>(), TypeId::of::<Dynamic>()], push);
}

fn json(value: &Dynamic) -> Result<String, Thrown> {
    let budget = Budget { bytes: TEXT, depth: 64 };
    let text = convert::to_value(value, "value", budget).map(|value| value.to_string()).map_err(throw)?;
    spend(text.len() / JSON)?;
    Ok(text)
}

/// `array.push(item)`, in constant time.
///
/// After each method call Rhai measures the whole variable, so that a loop of n pushes takes n² time: 170 ms for 20 000
/// integers, 2 s for 20 000 small maps. What it measures is its first argument when the call is over; swapping the
/// arguments makes it measure the (moved) item. The array is still measured whole whenever it has grown by a sixteenth,
/// and when the item is not small beside it, so between two measurements it cannot outgrow the limit by much.
fn push(ctx: NativeCallContext<'_>, args: &mut [&mut Dynamic]) -> Result<(), Thrown> {
    if args[0].is_read_only() {
        return Err(EvalAltResult::ErrorNonPureMethodCallOnConstant("push".into(), Position::NONE).into());
    }
    let item = args[1].take().flatten();
    let length = {
        let Some(mut array) = args[0].write_lock::<Array>() else { return Ok(()) };
        let most = ctx.engine().max_array_size();
        if most > 0 && array.len() >= most {
            let what = "Size of array/BLOB".to_string();
            return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
        }
        let small = weighs_less(&item, array.len() / 64 + 8);
        array.push(item);
        if small { array.len() } else { 0 }
    };
    let grown = (length / 16).next_power_of_two().max(64);
    if length % grown != 0 {
        args.swap(0, 1);
    }
    Ok(())
}

/// A stable merge sort. Which elements it compares, and in which order, is part of what a run's log depends on: it must
/// stay as it is.
fn sort(ctx: &NativeCallContext<'_>, items: Array, comparer: &FnPtr) -> Result<Array, Thrown> {
    let mut runs: Vec<Array> = items.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut pairs = runs.into_iter();
        let mut merged = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(ctx, left, right, comparer)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merge(ctx: &NativeCallContext<'_>, left: Array, right: Array, comparer: &FnPtr) -> Result<Array, Thrown> {
    let mut merged = Array::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        // A comparer that is a native function makes no operations.
        spend(1)?;
        let order = comparer.call_raw(ctx, None, [a.clone(), b.clone()])?;
        // `true`: the first comes first.
        let swap = match (order.as_int(), order.as_bool()) {
            (Ok(order), _) => order > 0,
            (_, Ok(first)) => !first,
            _ => {
                let message = format!("sort: the comparer gave {}, not an integer or a boolean", order.type_name());
                return Err(throw(Failure::new(FailureKind::InvalidInput, message)));
            }
        };
        merged.extend(if swap { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

/// Drops each element that the comparer calls equal to the one kept before it.
fn dedup(ctx: &NativeCallContext<'_>, items: Array, comparer: &FnPtr) -> Result<Array, Thrown> {
    let mut kept = Array::with_capacity(items.len());
    for item in items {
        let same = match kept.last() {
            Some(last) => {
                spend(1)?;
                comparer.call_raw(ctx, None, [item.clone(), last.clone()])?.as_bool().unwrap_or(false)
            }
            None => false,
        };
        if !same {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// Whether a value holds fewer than `most` elements, entries and 100-byte pieces of text.
fn weighs_less(value: &Dynamic, most: usize) -> bool {
    fn weigh(value: &Dynamic, left: &mut usize, levels: usize) {
        let own = value.as_immutable_string_ref().map_or(0, |text| text.len() / 100);
        *left = left.saturating_sub(1 + own);
        if levels == 0 {
            *left = 0;
        }
        if *left == 0 || value.is_shared() {
            return;
        }
        if let Ok(items) = value.as_array_ref() {
            items
                .iter()
                .take_while(|item| {
                    weigh(item, left, levels - 1);
                    *left > 0
                })
                .for_each(drop);
        } else if let Ok(fields) = value.as_map_ref() {
            fields
                .values()
                .take_while(|field| {
                    weigh(field, left, levels - 1);
                    *left > 0
                })
                .for_each(drop);
        } else if let Ok(bytes) = value.as_blob_ref() {
            *left = left.saturating_sub(bytes.len());
        }
    }
    let mut left = most;
    weigh(value, &mut left, 16);
    left > 0
}
