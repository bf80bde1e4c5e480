//! Functions of arrays and maps, as Rhai has them: the same names, arguments and results. They count the elements they read
//! and move as operations; those that take out what a function says do so in one pass, where Rhai's move all that is behind
//! each element they take.

use std::any::TypeId;
use std::cmp::Ordering;

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position};

use crate::errors::thrown::Thrown;
use crate::run::operations::spend;

type Ctx<'a> = NativeCallContext<'a>;
type Exclusive = std::ops::Range<i64>;
type Inclusive = std::ops::RangeInclusive<i64>;

/// Elements that are moved in one operation: a kilobyte.
const MOVED: usize = 64;

/// Entries of maps that are put somewhere in one operation.
const ENTRIES: usize = 4;

/// Comparisons of a sort in one operation.
const COMPARED: usize = 16;

pub fn register(engine: &mut Engine) {
    order(engine);
    place(engine);
    part(engine);
    sift(engine);
    maps(engine);
}

/// Elements are moved, or may be.
fn moved(items: usize) -> Result<(), Thrown> {
    spend(items / MOVED)
}

/// From where, and how many: like Rhai's own.
fn span(all: usize, start: i64, length: i64) -> (usize, usize) {
    let start = match usize::try_from(start) {
        Ok(start) if start >= all => return (all, 0),
        Ok(start) => start,
        Err(_) => all - usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX).min(all),
    };
    let length = match usize::try_from(length) {
        Ok(length) => length.min(all - start),
        Err(_) => 0,
    };
    (start, length)
}

fn of_range(range: &Exclusive) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

fn of_inclusive(range: &Inclusive) -> (i64, i64) {
    let start = (*range.start()).max(0);
    let end = (*range.end()).max(start).min(i64::MAX - 1);
    (start, (end - start).saturating_add(1))
}

/// Registers what takes a start and a length for ranges as well.
macro_rules! spans {
    ($engine:ident, $name:literal, $function:ident) => {
        changes!($engine, $name, $function);
        changes!($engine, $name, |items: &mut Array, range: Exclusive| {
            let (start, length) = of_range(&range);
            $function(items, start, length)
        });
        changes!($engine, $name, |items: &mut Array, range: Inclusive| {
            let (start, length) = of_inclusive(&range);
            $function(items, start, length)
        });
    };
}

fn order(engine: &mut Engine) {
    changes!(engine, "reverse", |items: &mut Array| -> Result<(), Thrown> {
        moved(items.len())?;
        items.reverse();
        Ok(())
    });
    changes!(engine, "sort", |items: &mut Array| sort(items, false));
    changes!(engine, "sort_desc", |items: &mut Array| sort(items, true));
    for (name, backwards) in [("order", false), ("order_desc", true)] {
        changes!(engine, name, move |items: &mut Array| -> Result<Array, Thrown> {
            let mut items = items.clone();
            sort(&mut items, backwards)?;
            Ok(items)
        });
    }
}

fn sort(items: &mut Array, backwards: bool) -> Result<(), Thrown> {
    let refused = |why: String| Err(EvalAltResult::ErrorFunctionNotFound(why, Position::NONE).into());
    let Some(first) = items.first().filter(|_| items.len() > 1) else { return Ok(()) };
    spend(items.len() * items.len().ilog2() as usize / COMPARED)?;
    let (of, name) = (first.type_id(), first.type_name());
    if items.iter().any(|item| item.type_id() != of) {
        return refused("elements of different types cannot be sorted".into());
    }
    macro_rules! sort {
        ($read:ident, $compare:expr) => {
            items.sort_by(|a, b| {
                let order = match (a.$read(), b.$read()) {
                    (Ok(a), Ok(b)) => $compare(&a, &b),
                    _ => Ordering::Equal,
                };
                if backwards { order.reverse() } else { order }
            })
        };
    }
    if of == TypeId::of::<i64>() {
        sort!(as_int, i64::cmp);
    } else if of == TypeId::of::<char>() {
        sort!(as_char, char::cmp);
    } else if of == TypeId::of::<f64>() {
        sort!(as_float, |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    } else if of == TypeId::of::<ImmutableString>() {
        sort!(as_immutable_string_ref, |a: &str, b: &str| a.cmp(b));
    } else if of == TypeId::of::<bool>() {
        sort!(as_bool, bool::cmp);
    } else if of != TypeId::of::<()>() {
        return refused(format!("elements of {name} cannot be sorted"));
    }
    Ok(())
}

fn place(engine: &mut Engine) {
    changes!(engine, "insert", |items: &mut Array, index: i64, item: Dynamic| -> Result<(), Thrown> {
        let (at, _) = span(items.len(), index, 0);
        moved(items.len() - at)?;
        items.insert(at, item);
        Ok(())
    });
    changes!(engine, "remove", |items: &mut Array, index: i64| -> Result<Dynamic, Thrown> {
        let all = items.len();
        let at = match usize::try_from(index) {
            Ok(at) => Some(at).filter(|at| *at < all),
            Err(_) => usize::try_from(index.unsigned_abs()).ok().and_then(|back| all.checked_sub(back)),
        };
        let Some(at) = at else { return Ok(Dynamic::UNIT) };
        moved(all - at)?;
        Ok(items.remove(at))
    });
    changes!(engine, "shift", |items: &mut Array| -> Result<Dynamic, Thrown> {
        moved(items.len())?;
        Ok(if items.is_empty() { Dynamic::UNIT } else { items.remove(0) })
    });
    changes!(engine, "append", |items: &mut Array, more: Array| -> Result<(), Thrown> {
        moved(more.len())?;
        items.extend(more);
        Ok(())
    });
}

fn part(engine: &mut Engine) {
    changes!(engine, "clear", |items: &mut Array| -> Result<(), Thrown> {
        moved(items.len())?;
        items.clear();
        Ok(())
    });
    changes!(engine, "truncate", |items: &mut Array, length: i64| -> Result<(), Thrown> {
        let Ok(length) = usize::try_from(length.max(0)) else { return Ok(()) };
        moved(items.len().saturating_sub(length))?;
        items.truncate(length);
        Ok(())
    });
    changes!(engine, "chop", |items: &mut Array, length: i64| -> Result<(), Thrown> {
        let Ok(length) = usize::try_from(length.max(0)) else { return Ok(()) };
        moved(items.len())?;
        if length < items.len() {
            items.drain(..items.len() - length);
        }
        Ok(())
    });
    changes!(engine, "split", |items: &mut Array, index: i64| -> Result<Array, Thrown> {
        let (start, _) = span(items.len(), index, i64::MAX);
        moved(items.len() - start)?;
        Ok(items.split_off(start))
    });
    fn extract(items: &mut Array, start: i64, length: i64) -> Result<Array, Thrown> {
        let (start, length) = span(items.len(), start, length);
        moved(length)?;
        Ok(items[start..start + length].to_vec())
    }
    spans!(engine, "extract", extract);
    changes!(engine, "extract", |items: &mut Array, start: i64| extract(items, start, i64::MAX));
    fn drain(items: &mut Array, start: i64, length: i64) -> Result<Array, Thrown> {
        let (start, length) = span(items.len(), start, length);
        moved(items.len() - start)?;
        Ok(items.drain(start..start + length).collect())
    }
    spans!(engine, "drain", drain);
    fn retain(items: &mut Array, start: i64, length: i64) -> Result<Array, Thrown> {
        let (start, length) = span(items.len(), start, length);
        // Rhai keeps all of them then.
        if length == 0 {
            return Ok(Array::new());
        }
        moved(items.len())?;
        let mut dropped: Array = items.drain(..start).collect();
        dropped.extend(items.drain(length..));
        Ok(dropped)
    }
    spans!(engine, "retain", retain);
    fn splice(items: &mut Array, start: i64, length: i64, with: Array) -> Result<(), Thrown> {
        let (start, length) = span(items.len(), start, length);
        moved(items.len() - start + with.len())?;
        items.splice(start..start + length, with);
        Ok(())
    }
    changes!(engine, "splice", splice);
    changes!(engine, "splice", |items: &mut Array, range: Exclusive, with: Array| {
        let (start, length) = of_range(&range);
        splice(items, start, length, with)
    });
    changes!(engine, "splice", |items: &mut Array, range: Inclusive, with: Array| {
        let (start, length) = of_inclusive(&range);
        splice(items, start, length, with)
    });
}

fn sift(engine: &mut Engine) {
    changes!(engine, "drain", |ctx: Ctx<'_>, items: &mut Array, takes: FnPtr| sifted(
        &ctx, "drain", items, &takes, true
    ));
    changes!(engine, "retain", |ctx: Ctx<'_>, items: &mut Array, keeps: FnPtr| {
        sifted(&ctx, "retain", items, &keeps, false)
    });
}

/// Takes out the elements of which the function says `taken`. One that fails leaves what it has not said yet.
fn sifted(ctx: &Ctx<'_>, name: &str, items: &mut Array, says: &FnPtr, taken: bool) -> Result<Array, Thrown> {
    let (mut out, mut kept) = (Array::new(), Array::with_capacity(items.len()));
    let mut rest = std::mem::take(items).into_iter().enumerate();
    while let Some((index, mut item)) = rest.next() {
        // A native function makes no operations.
        let said = spend(1).and_then(|()| {
            says.call_raw_with_extra_args(name, ctx, Some(&mut item), [], [(index as i64).into()], Some(0))
        });
        match said {
            Ok(said) if said.as_bool().unwrap_or(false) == taken => out.push(item),
            Ok(_) => kept.push(item),
            Err(error) => {
                kept.push(item);
                kept.extend(rest.map(|(_, item)| item));
                *items = kept;
                return Err(error);
            }
        }
    }
    *items = kept;
    Ok(out)
}

fn maps(engine: &mut Engine) {
    for name in ["mixin", "+="] {
        changes!(engine, name, |map: &mut Map, more: Map| -> Result<(), Thrown> {
            spend(more.len() / ENTRIES)?;
            map.extend(more);
            Ok(())
        });
    }
    changes!(engine, "fill_with", |map: &mut Map, more: Map| -> Result<(), Thrown> {
        spend(more.len() / ENTRIES)?;
        for (key, value) in more {
            map.entry(key).or_insert(value);
        }
        Ok(())
    });
    changes!(engine, "clear", |map: &mut Map| -> Result<(), Thrown> {
        spend(map.len() / ENTRIES)?;
        map.clear();
        Ok(())
    });
    engine
        .register_fn("keys", |map: &mut Map| -> Result<Array, Thrown> {
            spend(map.len() / ENTRIES)?;
            Ok(map.keys().cloned().map(Into::into).collect())
        })
        .register_fn("values", |map: &mut Map| -> Result<Array, Thrown> {
            spend(map.len() / ENTRIES)?;
            Ok(map.values().cloned().collect())
        });
}
