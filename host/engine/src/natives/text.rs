//! Functions of texts, as Rhai has them: the same names, arguments and results. Rhai's own take what they take in one
//! operation, and some of them far too much: a list of all letters to cut three of them out, a result of any size before
//! its size is looked at, for ever where a text is padded with nothing. These count what they read as operations,
//! and refuse a result that is too large before they make it.

use durhai_core::{Failure, FailureKind};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};

use crate::errors::thrown::{Thrown, throw};
use crate::run::operations::spend;

type Ctx<'a> = NativeCallContext<'a>;
type Text = ImmutableString;
type Exclusive = std::ops::Range<i64>;
type Inclusive = std::ops::RangeInclusive<i64>;

/// Bytes of a text that are read in one operation.
const BYTES: usize = 512;

pub fn register(engine: &mut Engine) {
    look(engine);
    find(engine);
    cut(engine);
    change(engine);
    divide(engine);
}

/// One behind the other.
pub fn joined(ctx: &Ctx<'_>, a: &Text, b: &str) -> Result<Text, Thrown> {
    room(ctx, a.len() + b.len())?;
    Ok([a.as_str(), b].concat().into())
}

fn read(text: &str) -> Result<(), Thrown> {
    spend(text.len() / BYTES)
}

fn too_large<T>(what: &str) -> Result<T, Thrown> {
    Err(EvalAltResult::ErrorDataTooLarge(what.into(), Position::NONE).into())
}

/// Fails before a text of so many bytes is made.
fn room(ctx: &Ctx<'_>, bytes: usize) -> Result<(), Thrown> {
    let most = ctx.engine().max_string_size();
    if most > 0 && bytes > most {
        return too_large("Length of string");
    }
    spend(bytes / BYTES)
}

fn look(engine: &mut Engine) {
    fn len(text: &str) -> Result<i64, Thrown> {
        read(text)?;
        Ok(text.chars().count() as i64)
    }
    engine.register_fn("len", len).register_get("len", |text: &mut Text| len(text));
    engine
        .register_fn("to_upper", |text: Text| -> Result<Text, Thrown> {
            recased(text, char::is_uppercase, str::to_uppercase)
        })
        .register_fn("to_lower", |text: Text| -> Result<Text, Thrown> {
            recased(text, char::is_lowercase, str::to_lowercase)
        });
    changes!(engine, "make_upper", |text: &mut Text| -> Result<(), Thrown> {
        *text = recased(text.clone(), char::is_uppercase, str::to_uppercase)?;
        Ok(())
    });
    changes!(engine, "make_lower", |text: &mut Text| -> Result<(), Thrown> {
        *text = recased(text.clone(), char::is_lowercase, str::to_lowercase)?;
        Ok(())
    });
}

fn recased(text: Text, is: fn(char) -> bool, make: fn(&str) -> String) -> Result<Text, Thrown> {
    // Letters that are looked up take ten times as long as letters that are compared.
    spend(text.len() / (BYTES / 8))?;
    Ok(if text.chars().all(is) { text } else { make(&text).into() })
}

fn find(engine: &mut Engine) {
    engine
        .register_fn("contains", |text: &str, part: &str| -> Result<bool, Thrown> {
            read(text)?;
            Ok(text.contains(part))
        })
        .register_fn("contains", |text: &str, letter: char| -> Result<bool, Thrown> {
            read(text)?;
            Ok(text.contains(letter))
        })
        .register_fn("starts_with", |text: &str, part: &str| -> Result<bool, Thrown> {
            read(part)?;
            Ok(text.starts_with(part))
        })
        .register_fn("ends_with", |text: &str, part: &str| -> Result<bool, Thrown> {
            read(part)?;
            Ok(text.ends_with(part))
        })
        .register_fn("index_of", |text: &str, part: &str| index_of(text, 0, |rest| rest.find(part)))
        .register_fn("index_of", |text: &str, letter: char| index_of(text, 0, |rest| rest.find(letter)))
        .register_fn("index_of", |text: &str, part: &str, start: i64| index_of(text, start, |rest| rest.find(part)))
        .register_fn("index_of", |text: &str, letter: char, start: i64| index_of(text, start, |rest| rest.find(letter)))
        .register_fn("get", |text: &str, index: i64| -> Result<Dynamic, Thrown> {
            spend(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX).min(text.len()) / BYTES)?;
            let letter = match usize::try_from(index) {
                Ok(index) => text.chars().nth(index),
                Err(_) => from_end(index).and_then(|back| text.chars().rev().nth(back - 1)),
            };
            Ok(letter.map_or(Dynamic::UNIT, Into::into))
        });
}

/// How many places before the end a negative index is.
fn from_end(index: i64) -> Option<usize> {
    usize::try_from(index.unsigned_abs()).ok()
}

/// The index of a letter, found from the letter `start` on.
fn index_of(text: &str, start: i64, find: impl Fn(&str) -> Option<usize>) -> Result<i64, Thrown> {
    read(text)?;
    if text.is_empty() {
        return Ok(-1);
    }
    let from = match usize::try_from(start) {
        Ok(0) => Some(0),
        Ok(start) => text.char_indices().nth(start).map(|(at, _)| at),
        Err(_) => from_end(start).map(|back| byte_from_end(text, back)),
    };
    let Some(from) = from else { return Ok(-1) };
    Ok(find(&text[from..]).map_or(-1, |at| text[..from + at].chars().count() as i64))
}

/// Where the last `back` letters begin; the beginning if there are not so many.
fn byte_from_end(text: &str, back: usize) -> usize {
    match back {
        0 => text.len(),
        _ => text.char_indices().rev().nth(back - 1).map_or(0, |(at, _)| at),
    }
}

/// Where the letters from `start` on begin and end, at most `length` of them. Nothing where there are none.
fn part(text: &str, start: i64, length: i64) -> Result<std::ops::Range<usize>, Thrown> {
    read(text)?;
    if length <= 0 {
        return Ok(0..0);
    }
    let from = match usize::try_from(start) {
        Ok(start) => text.char_indices().nth(start).map(|(at, _)| at),
        Err(_) => from_end(start).map(|back| byte_from_end(text, back)),
    };
    let Some(from) = from else { return Ok(0..0) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let to = text[from..].char_indices().nth(length).map_or(text.len(), |(at, _)| from + at);
    Ok(from..to)
}

fn of_range(range: &Exclusive) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

fn of_inclusive(range: &Inclusive) -> (i64, i64) {
    let start = (*range.start()).max(0);
    let end = (*range.end()).max(start).min(i64::MAX - 1);
    // Both ends at the largest number: Rhai overflows here.
    (start, (end - start).saturating_add(1))
}

fn cut(engine: &mut Engine) {
    fn sub(text: &str, start: i64, length: i64) -> Result<Text, Thrown> {
        Ok(text[part(text, start, length)?].into())
    }
    engine
        .register_fn("sub_string", sub)
        .register_fn("sub_string", |text: &str, start: i64| sub(text, start, text.len() as i64))
        .register_fn("sub_string", |text: &str, range: Exclusive| {
            let (start, length) = of_range(&range);
            sub(text, start, length)
        })
        .register_fn("sub_string", |text: &str, range: Inclusive| {
            let (start, length) = of_inclusive(&range);
            sub(text, start, length)
        });
    fn crop(text: &mut Text, start: i64, length: i64) -> Result<(), Thrown> {
        *text = text[part(text, start, length)?].into();
        Ok(())
    }
    changes!(engine, "crop", crop);
    changes!(engine, "crop", |text: &mut Text, start: i64| {
        let length = text.len() as i64;
        crop(text, start, length)
    });
    changes!(engine, "crop", |text: &mut Text, range: Exclusive| {
        let (start, length) = of_range(&range);
        crop(text, start, length)
    });
    changes!(engine, "crop", |text: &mut Text, range: Inclusive| {
        let (start, length) = of_inclusive(&range);
        crop(text, start, length)
    });
    changes!(engine, "truncate", |text: &mut Text, length: i64| -> Result<(), Thrown> {
        read(text)?;
        let Ok(length) = usize::try_from(length.max(0)) else { return Ok(()) };
        if let Some((at, _)) = text.char_indices().nth(length) {
            text.make_mut().truncate(at);
        }
        Ok(())
    });
    changes!(engine, "trim", |text: &mut Text| -> Result<(), Thrown> {
        read(text)?;
        let trimmed = text.trim();
        if trimmed.len() != text.len() {
            *text = trimmed.into();
        }
        Ok(())
    });
    changes!(engine, "pop", |text: &mut Text, length: i64| -> Result<Text, Thrown> {
        read(text)?;
        let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) else { return Ok(Text::new()) };
        let from = byte_from_end(text, length);
        let popped = text[from..].into();
        text.make_mut().truncate(from);
        Ok(popped)
    });
}

fn change(engine: &mut Engine) {
    changes!(engine, "set", |text: &mut Text, index: i64, letter: char| -> Result<(), Thrown> {
        read(text)?;
        let at = match usize::try_from(index) {
            Ok(index) => text.char_indices().nth(index),
            Err(_) => from_end(index).and_then(|back| text.char_indices().rev().nth(back - 1)),
        };
        if let Some((at, old)) = at {
            let mut changed = String::with_capacity(text.len() + 3);
            changed.push_str(&text[..at]);
            changed.push(letter);
            changed.push_str(&text[at + old.len_utf8()..]);
            *text = changed.into();
        }
        Ok(())
    });
    changes!(engine, "replace", |ctx: Ctx<'_>, text: &mut Text, old: &str, new: &str| replace(&ctx, text, old, new));
    changes!(engine, "replace", |ctx: Ctx<'_>, text: &mut Text, old: &str, new: char| {
        replace(&ctx, text, old, new.encode_utf8(&mut [0; 4]))
    });
    changes!(engine, "replace", |ctx: Ctx<'_>, text: &mut Text, old: char, new: &str| {
        replace(&ctx, text, old.encode_utf8(&mut [0; 4]), new)
    });
    changes!(engine, "replace", |ctx: Ctx<'_>, text: &mut Text, old: char, new: char| {
        replace(&ctx, text, old.encode_utf8(&mut [0; 4]), new.encode_utf8(&mut [0; 4]))
    });
    changes!(engine, "remove", |ctx: Ctx<'_>, text: &mut Text, part: &str| -> Result<(), Thrown> {
        if part.is_empty() { Ok(()) } else { replace(&ctx, text, part, "") }
    });
    changes!(engine, "remove", |ctx: Ctx<'_>, text: &mut Text, letter: char| {
        replace(&ctx, text, letter.encode_utf8(&mut [0; 4]), "")
    });
    changes!(engine, "pad", |ctx: Ctx<'_>, text: &mut Text, length: i64, letter: char| {
        pad(&ctx, text, length, letter.encode_utf8(&mut [0; 4]))
    });
    changes!(engine, "pad", |ctx: Ctx<'_>, text: &mut Text, length: i64, padding: &str| {
        pad(&ctx, text, length, padding)
    });
}

fn replace(ctx: &Ctx<'_>, text: &mut Text, old: &str, new: &str) -> Result<(), Thrown> {
    if text.is_empty() {
        return Ok(());
    }
    read(text)?;
    let found = text.matches(old).count();
    if found == 0 {
        return Ok(());
    }
    // It is read once more, when others have had their turn.
    read(text)?;
    room(ctx, (text.len() - found * old.len()).saturating_add(found.saturating_mul(new.len())))?;
    *text = text.replace(old, new).into();
    Ok(())
}

/// Pads to so many letters.
fn pad(ctx: &Ctx<'_>, text: &mut Text, length: i64, padding: &str) -> Result<(), Thrown> {
    if length <= 0 {
        return Ok(());
    }
    let Ok(length) = usize::try_from(length) else { return too_large("Length of string") };
    room(ctx, length)?;
    read(text)?;
    let Some(missing) = length.checked_sub(text.chars().count()).filter(|missing| *missing > 0) else { return Ok(()) };
    let letters = padding.chars().count();
    if letters == 0 {
        let message = "pad: the padding is empty: there is nothing to pad the text with".to_string();
        return Err(throw(Failure::new(FailureKind::InvalidInput, message)));
    }
    let rest = padding.char_indices().nth(missing % letters).map_or(0, |(at, _)| at);
    let times = missing / letters;
    room(ctx, text.len().saturating_add(times.saturating_mul(padding.len())).saturating_add(rest))?;
    let mut padded = String::with_capacity(text.len() + times * padding.len() + rest);
    padded.push_str(text);
    for _ in 0..times {
        padded.push_str(padding);
    }
    padded.push_str(&padding[..rest]);
    *text = padded.into();
    Ok(())
}

fn divide(engine: &mut Engine) {
    engine
        .register_fn("to_chars", |ctx: Ctx<'_>, text: &str| -> Result<Array, Thrown> {
            listed(&ctx, text, || text.chars().map(Dynamic::from))
        })
        .register_fn("split", |ctx: Ctx<'_>, text: Text| -> Result<Array, Thrown> {
            if text.is_empty() {
                return Ok(vec![text.into()]);
            }
            listed(&ctx, &text, || text.split_whitespace().map(Into::into))
        })
        .register_fn("split", |text: Text, index: i64| -> Result<Array, Thrown> {
            read(&text)?;
            let at = match usize::try_from(index) {
                Ok(0) => text.len(),
                Ok(index) => text.char_indices().nth(index).map_or(text.len(), |(at, _)| at),
                Err(_) => from_end(index).map_or(0, |back| byte_from_end(&text, back)),
            };
            Ok(vec![text[..at].into(), text[at..].into()])
        })
        .register_fn("split", |ctx: Ctx<'_>, text: Text, by: &str| split(&ctx, &text, by, i64::MAX, false))
        .register_fn("split", |ctx: Ctx<'_>, text: Text, by: &str, most: i64| split(&ctx, &text, by, most, false))
        .register_fn("split_rev", |ctx: Ctx<'_>, text: Text, by: &str| split(&ctx, &text, by, i64::MAX, true))
        .register_fn("split_rev", |ctx: Ctx<'_>, text: Text, by: &str, most: i64| split(&ctx, &text, by, most, true));
    for (name, backwards) in [("split", false), ("split_rev", true)] {
        engine
            .register_fn(name, move |ctx: Ctx<'_>, text: Text, by: char| {
                split(&ctx, &text, by.encode_utf8(&mut [0; 4]), i64::MAX, backwards)
            })
            .register_fn(name, move |ctx: Ctx<'_>, text: Text, by: char, most: i64| {
                split(&ctx, &text, by.encode_utf8(&mut [0; 4]), most, backwards)
            });
    }
}

/// The parts of a text between what divides it, at most so many.
fn split(ctx: &Ctx<'_>, text: &Text, by: &str, most: i64, backwards: bool) -> Result<Array, Thrown> {
    read(text)?;
    if most <= 1 || text.is_empty() || (!by.is_empty() && !text.contains(by)) {
        return Ok(vec![text.clone().into()]);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match backwards {
        false => listed(ctx, text, || text.splitn(most, by).map(Into::into)),
        true => listed(ctx, text, || text.rsplitn(most, by).map(Into::into)),
    }
}

/// Makes a list, unless it would be too long.
fn listed<I: Iterator<Item = Dynamic>>(ctx: &Ctx<'_>, text: &str, items: impl Fn() -> I) -> Result<Array, Thrown> {
    read(text)?;
    let most = ctx.engine().max_array_size();
    let mut list = Array::new();
    for item in items() {
        if most > 0 && list.len() >= most {
            return too_large("Size of array/BLOB");
        }
        list.push(item);
    }
    spend(list.len() / 4)?;
    Ok(list)
}
