//! Values as text: templates, numbers, and what must be escaped.

use std::str::Split;

use rhai::{Dynamic, Engine, NativeCallContext};

use crate::cost::Work;
use crate::native::Thrown;
use crate::native::args::{self, Room, fail, wrong};
use crate::native::value::to_json;

type Ctx<'a> = NativeCallContext<'a>;

/// Decimals of a number.
const MAX_DECIMALS: i64 = 30;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__text_fill", |ctx: Ctx<'_>, template: Dynamic, values: Dynamic| -> Result<String, Thrown> {
            fill(&args::text("text::fill: the template", &template)?, &values, Room::of(&ctx))
        })
        .register_fn("__text_fixed", |number: Dynamic, decimals: Dynamic| -> Result<String, Thrown> {
            let decimals = args::count("text::fixed: the decimals", &decimals, 0, MAX_DECIMALS)?;
            fixed("text::fixed: the number", &number, decimals)
        })
        .register_fn("__text_number", |number: Dynamic, options: Dynamic| number_text(&number, &options))
        .register_fn("__text_bytes", |count: Dynamic| -> Result<String, Thrown> {
            let count = args::int("text::bytes: the number", &count)?;
            Ok(size(count))
        })
        .register_fn("__text_escape_html", |ctx: Ctx<'_>, source: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::escape_html: the text", &source)?;
            let mut out = String::with_capacity(source.len());
            let mut work = Work::default();
            for letter in source.chars() {
                work.done(4)?;
                match letter {
                    '&' => out.push_str("&amp;"),
                    '<' => out.push_str("&lt;"),
                    '>' => out.push_str("&gt;"),
                    '"' => out.push_str("&quot;"),
                    '\'' => out.push_str("&#39;"),
                    _ => out.push(letter),
                }
            }
            Room::of(&ctx).bytes("text::escape_html", out.len())?;
            Ok(out)
        })
        .register_fn("__text_url_encode", |ctx: Ctx<'_>, source: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::url_encode: the text", &source)?;
            let mut out = String::with_capacity(source.len());
            url_encode(&source, &mut out)?;
            Room::of(&ctx).bytes("text::url_encode", out.len())?;
            Ok(out)
        })
        .register_fn("__text_url_decode", |source: Dynamic| -> Result<String, Thrown> {
            url_decode(&args::text("text::url_decode: the text", &source)?)
        })
        .register_fn("__text_query", |ctx: Ctx<'_>, values: Dynamic| query(&values, Room::of(&ctx)));
}

/// A value inside of text: strings as they are, `()` as nothing, arrays and maps as JSON.
pub fn shown(what: &str, value: &Dynamic, room: Room) -> Result<String, Thrown> {
    let value = value.flatten_clone();
    match value.type_name() {
        "()" => Ok(String::new()),
        "string" | "char" | "i64" | "f64" | "bool" => Ok(value.to_string()),
        _ => Ok(to_json(what, &value, room)?.to_string()),
    }
}

fn fill(template: &str, values: &Dynamic, room: Room) -> Result<String, Thrown> {
    let values = values.flatten_clone();
    let Ok(values) = values.as_map_ref() else { return wrong("text::fill: the values", "a map", &values) };
    let (mut out, mut work) = (String::with_capacity(template.len()), Work::default());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        let name = if brace == "{" { rest.split_once('}') } else { None };
        let Some((name, after)) = name else {
            return fail(format!(
                "text::fill: a {brace:?} has no partner in {:?}; {brace}{brace} is the letter itself",
                { args::cut(template, 60) }
            ));
        };
        work.done(name.len() + 64)?;
        let mut keys = name.trim().split('.');
        let first = values.get(keys.next().unwrap_or_default());
        let what = || format!("text::fill: the value of {{{}}}", args::cut(name, 60));
        let Some(value) = first.and_then(|first| within(first, &mut keys, |value| shown(&what(), value, room))) else {
            let known: Vec<_> = values.keys().take(20).map(|key| key.as_str()).collect();
            let name = args::cut(name.trim(), 60);
            return fail(format!("text::fill: there is no value for {{{name}}}; there are: {}", known.join(", ")));
        };
        let value = value?;
        work.done(value.len())?;
        out.push_str(&value);
        room.bytes("text::fill", out.len())?;
        rest = after;
    }
    out.push_str(rest);
    room.bytes("text::fill", out.len())?;
    Ok(out)
}

/// Reads what lies there. Nothing is copied on the way, since that is done for each place of a template.
fn within<R>(value: &Dynamic, keys: &mut Split<'_, char>, read: impl FnOnce(&Dynamic) -> R) -> Option<R> {
    let Some(key) = keys.next() else { return Some(read(value)) };
    if let Ok(fields) = value.as_map_ref() {
        return within(fields.get(key)?, keys, read);
    }
    let items = value.as_array_ref().ok()?;
    within(items.get(key.parse::<usize>().ok()?)?, keys, read)
}

fn fixed(what: &str, number: &Dynamic, decimals: usize) -> Result<String, Thrown> {
    let number = number.flatten_clone();
    match number.as_int() {
        Ok(int) if decimals == 0 => Ok(int.to_string()),
        Ok(int) => Ok(format!("{int}.{}", "0".repeat(decimals))),
        Err(_) => {
            let float = args::number(what, &number)?;
            if !float.is_finite() {
                return wrong(what, "a finite number", &number);
            }
            let text = format!("{float:.decimals$}");
            // A reader takes -0.00 for a mistake.
            let zero = text.starts_with('-') && text.bytes().all(|byte| b"-0.".contains(&byte));
            Ok(if zero { text[1..].into() } else { text })
        }
    }
}

fn number_text(number: &Dynamic, options: &Dynamic) -> Result<String, Thrown> {
    let options = args::options("text::number", options, &["decimals", "thousands", "point"])?;
    let option = |name: &str, default: &str| match options.get(name) {
        Some(value) => args::text(&format!("text::number: {name}"), value).map(|text| text.to_string()),
        None => Ok(default.to_string()),
    };
    let (thousands, point) = (option("thousands", ",")?, option("point", ".")?);
    if thousands.len() > 8 || point.len() > 8 {
        return fail("text::number: thousands and point must be short, at most 8 bytes");
    }
    let text = match options.get("decimals") {
        Some(decimals) => {
            let decimals = args::count("text::number: decimals", decimals, 0, MAX_DECIMALS)?;
            fixed("text::number: the number", number, decimals)?
        }
        None => match number.flatten_clone() {
            number if number.is_int() => number.to_string(),
            number => match args::number("text::number: the number", &number)? {
                float if float.is_finite() => format!("{float}"),
                _ => return wrong("text::number: the number", "a finite number", &number),
            },
        },
    };
    let (sign, digits) = text.split_at(usize::from(text.starts_with('-')));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push_str(&thousands);
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push_str(&point);
        out.push_str(fraction);
    }
    Ok(out)
}

/// Bytes in units of 1024, with one decimal below 10.
fn size(count: i64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let sign = if count < 0 { "-" } else { "" };
    let mut left = count.unsigned_abs() as f64;
    let mut unit = 0;
    while left >= 1023.5 && unit + 1 < UNITS.len() {
        left /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && left < 9.95);
    format!("{sign}{left:.decimals$} {}", UNITS[unit])
}

/// RFC 3986: all but unreserved characters.
fn url_encode(source: &str, out: &mut String) -> Result<(), Thrown> {
    let mut work = Work::default();
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in source.bytes() {
        work.done(4)?;
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => {
                out.push('%');
                out.push(DIGITS[(byte >> 4) as usize] as char);
                out.push(DIGITS[(byte & 15) as usize] as char);
            }
        }
    }
    Ok(())
}

fn url_decode(source: &str) -> Result<String, Thrown> {
    let mut out = Vec::with_capacity(source.len());
    let mut work = Work::default();
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        work.done(4)?;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| (byte as char).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => out.push((high << 4 | low) as u8),
                    _ => {
                        let source = args::cut(source, 60);
                        return fail(format!("text::url_decode: a % without two hex digits behind it in {source:?}"));
                    }
                }
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).or_else(|_| fail("text::url_decode: what it says is no UTF-8 text"))
}

fn query(values: &Dynamic, room: Room) -> Result<String, Thrown> {
    let values = values.flatten_clone();
    let Ok(values) = values.as_map_ref() else { return wrong("text::query: the values", "a map", &values) };
    let mut out = String::new();
    let mut add = |key: &str, value: &Dynamic| -> Result<(), Thrown> {
        if value.is_unit() {
            return Ok(());
        }
        let text = args::plain(&format!("text::query: {:?}", args::cut(key, 60)), value)?;
        if !out.is_empty() {
            out.push('&');
        }
        url_encode(key, &mut out)?;
        out.push('=');
        url_encode(&text, &mut out)?;
        room.bytes("text::query", out.len())
    };
    for (key, value) in values.iter() {
        let value = value.flatten_clone();
        match value.as_array_ref() {
            Ok(items) => items.iter().try_for_each(|item| add(key, &item.flatten_clone()))?,
            Err(_) => add(key, &value)?,
        }
    }
    Ok(out)
}
