//! Width and edges: padding, trimming, wrapping.

use std::collections::HashSet;

use rhai::{Dynamic, Engine, NativeCallContext};

use crate::cost::Work;

use crate::native::Thrown;
use crate::native::args::{self, Room, fail};

type Ctx<'a> = NativeCallContext<'a>;

/// The widest column.
const MAX_WIDTH: i64 = 1_000_000;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__text_pad", |side: &str, value: Dynamic, width: Dynamic, fill: Dynamic| {
            pad(side, &value, &width, &fill)
        })
        .register_fn("__text_repeat", |ctx: Ctx<'_>, source: Dynamic, times: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::repeat: the text", &source)?;
            let times = args::count("text::repeat: the count", &times, 0, i64::MAX)?;
            Room::of(&ctx).bytes("text::repeat", source.len().saturating_mul(times))?;
            Ok(source.repeat(times))
        })
        .register_fn("__text_trim", |name: &str, source: Dynamic, characters: Dynamic| trim(name, &source, &characters))
        .register_fn("__text_strip", |name: &str, source: Dynamic, part: Dynamic| -> Result<String, Thrown> {
            let source = args::plain(&format!("text::{name}: the text"), &source)?;
            let part = args::text(&format!("text::{name}: the part"), &part)?;
            let rest = match name {
                "strip_prefix" => source.strip_prefix(part.as_str()),
                _ => source.strip_suffix(part.as_str()),
            };
            Ok(rest.unwrap_or(&source).into())
        })
        .register_fn("__text_cut", |name: &str, source: Dynamic, separator: Dynamic| -> Result<String, Thrown> {
            let source = args::plain(&format!("text::{name}: the text"), &source)?;
            let separator = args::text(&format!("text::{name}: the separator"), &separator)?;
            let split = source.split_once(separator.as_str());
            Ok(match name {
                "before" => split.map_or(source.as_str(), |(before, _)| before).into(),
                _ => split.map_or("", |(_, after)| after).into(),
            })
        })
        .register_fn("__text_truncate", |source: Dynamic, width: Dynamic, ending: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::truncate: the text", &source)?;
            let width = args::count("text::truncate: the width", &width, 0, i64::MAX)?;
            let ending = args::text("text::truncate: the ending", &ending)?;
            // No longer than its width: the bytes say so at once.
            if source.len() <= width || source.chars().nth(width).is_none() {
                return Ok(source.into());
            }
            match width.checked_sub(ending.chars().count()) {
                Some(kept) => Ok(source.chars().take(kept).chain(ending.chars()).collect()),
                None => fail(format!("text::truncate: the width {width} has no room for the ending {ending:?}")),
            }
        })
        .register_fn("__text_wrap", |ctx: Ctx<'_>, source: Dynamic, width: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::wrap: the text", &source)?;
            let width = args::count("text::wrap: the width", &width, 1, MAX_WIDTH)?;
            Room::of(&ctx).bytes("text::wrap", source.len().saturating_mul(2))?;
            wrap(&source, width)
        })
        .register_fn("__text_indent", |ctx: Ctx<'_>, source: Dynamic, prefix: Dynamic| {
            indent(Room::of(&ctx), &source, &prefix)
        });
}

fn trim(name: &str, source: &Dynamic, characters: &Dynamic) -> Result<String, Thrown> {
    let source = args::plain(&format!("text::{name}: the text"), source)?;
    let mut work = Work::default();
    // A text may have millions of letters on both sides.
    let mut letters = None;
    if !characters.is_unit() {
        let all = letters.insert(HashSet::new());
        for letter in args::text(&format!("text::{name}: the characters"), characters)?.chars() {
            work.done(64)?;
            all.insert(letter);
        }
    }
    let goes = |letter: char| letters.as_ref().map_or(letter.is_whitespace(), |all| all.contains(&letter));
    let mut rest = source.as_str();
    while name != "trim_end"
        && let Some(letter) = rest.chars().next().filter(|letter| goes(*letter))
    {
        work.done(32)?;
        rest = &rest[letter.len_utf8()..];
    }
    while name != "trim_start"
        && let Some(letter) = rest.chars().next_back().filter(|letter| goes(*letter))
    {
        work.done(32)?;
        rest = &rest[..rest.len() - letter.len_utf8()];
    }
    Ok(rest.into())
}

fn indent(room: Room, source: &Dynamic, prefix: &Dynamic) -> Result<String, Thrown> {
    let source = args::plain("text::indent: the text", source)?;
    let prefix = args::text("text::indent: the prefix", prefix)?;
    let lines = source.split_inclusive('\n').count();
    let bytes = source.len().saturating_add(lines.saturating_mul(prefix.len()));
    room.bytes("text::indent", bytes)?;
    let mut out = String::with_capacity(bytes);
    for line in source.split_inclusive('\n') {
        if !line.trim().is_empty() {
            out.push_str(&prefix);
        }
        out.push_str(line);
    }
    Ok(out)
}

fn pad(side: &str, value: &Dynamic, width: &Dynamic, fill: &Dynamic) -> Result<String, Thrown> {
    let function = if side == "center" { "text::center".into() } else { format!("text::pad_{side}") };
    let value = args::plain(&format!("{function}: the value"), value)?;
    let width = args::count(&format!("{function}: the width"), width, 0, MAX_WIDTH)?;
    let fill = args::plain(&format!("{function}: the filling"), fill)?;
    let missing = width.saturating_sub(value.chars().count());
    if missing > 0 && fill.is_empty() {
        return fail(format!("{function}: there is nothing to fill up with"));
    }
    let filling = |count: usize| fill.chars().cycle().take(count).collect::<String>();
    Ok(match side {
        "left" => format!("{}{value}", filling(missing)),
        "right" => format!("{value}{}", filling(missing)),
        _ => format!("{}{value}{}", filling(missing / 2), filling(missing - missing / 2)),
    })
}

/// Breaks lines at spaces. A word that is longer than a line is broken too.
fn wrap(source: &str, width: usize) -> Result<String, Thrown> {
    let mut work = Work::default();
    let mut out = String::with_capacity(source.len() + source.len() / width.max(1));
    for (index, line) in source.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let mut used = 0;
        work.done(16)?;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            work.done(16)?;
            if used > 0 && used + 1 + length <= width {
                out.push(' ');
                used += 1;
            } else if used > 0 {
                out.push('\n');
                used = 0;
            }
            for letter in word.chars() {
                work.done(4)?;
                if used == width {
                    out.push('\n');
                    used = 0;
                }
                out.push(letter);
                used += 1;
            }
        }
    }
    Ok(out)
}
