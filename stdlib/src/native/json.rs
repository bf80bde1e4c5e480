//! `std/json`.

use durhai_core::json::exact;
use rhai::{Array, Dynamic, Engine, ImmutableString, Map, NativeCallContext};
use serde_json::Value;

use super::Thrown;
use super::args::{self, Room, fail};
use super::value::{self, DEPTH, to_json};
use crate::value::to_dynamic;

type Ctx<'a> = NativeCallContext<'a>;

pub fn register(engine: &mut Engine) {
    engine
        // For the texts of runs that were written when long numbers became floats.
        .register_fn("__json_parse", |ctx: Ctx<'_>, source: Dynamic| -> Result<Dynamic, Thrown> {
            let source = args::text("json::parse: the text", &source)?;
            value::parse(&source, Room::of(&ctx), DEPTH).or_else(|error| fail(format!("json::parse: {error}")))
        })
        .register_fn("__json_parse_exact", |ctx: Ctx<'_>, source: Dynamic| -> Result<Dynamic, Thrown> {
            let source = args::text("json::parse: the text", &source)?;
            let value =
                value::parse(&source, Room::of(&ctx), DEPTH).or_else(|error| fail(format!("json::parse: {error}")))?;
            exact(source.as_bytes(), "").or_else(|number| fail(format!("json::parse: {number}")))?;
            Ok(value)
        })
        .register_fn("__json_stringify", |ctx: Ctx<'_>, value: Dynamic| {
            write(&ctx, "json::stringify", &value, |value| value.to_string())
        })
        .register_fn("__json_pretty", |ctx: Ctx<'_>, value: Dynamic| {
            write(&ctx, "json::pretty", &value, |value| format!("{value:#}"))
        })
        .register_fn("__json_canonical", |ctx: Ctx<'_>, value: Dynamic| {
            write(&ctx, "json::canonical", &value, |value| {
                let mut out = String::new();
                canonical(value, &mut out);
                out
            })
        })
        .register_fn("__json_get", |value: Dynamic, path: Dynamic, other: Dynamic| -> Result<Dynamic, Thrown> {
            let keys = keys("json::get", &path)?;
            Ok(within(&value, &keys).unwrap_or(other))
        })
        .register_fn("__json_has", |value: Dynamic, path: Dynamic| -> Result<bool, Thrown> {
            let keys = keys("json::has", &path)?;
            Ok(within(&value, &keys).is_some())
        })
        .register_fn("__json_set", |ctx: Ctx<'_>, value: Dynamic, path: Dynamic, new: Dynamic| {
            let keys = keys("json::set", &path)?;
            set(value.flatten(), &keys, new.flatten(), &[], Room::of(&ctx))
        })
        .register_fn("__json_remove", |value: Dynamic, path: Dynamic| -> Result<Dynamic, Thrown> {
            Ok(remove(value.flatten(), &keys("json::remove", &path)?))
        })
        .register_fn("__json_merge", |value: Dynamic, patch: Dynamic| merge(value, patch, DEPTH))
        .register_fn("__json_diff", |ctx: Ctx<'_>, from: Dynamic, to: Dynamic| -> Result<Dynamic, Thrown> {
            let room = Room::of(&ctx);
            let from = to_json("json::diff: the old value", &from, room)?;
            let to = to_json("json::diff: the new value", &to, room)?;
            Ok(to_dynamic(&diff(&from, &to).unwrap_or_else(|| Value::Object(serde_json::Map::new()))))
        });
}

fn write(
    ctx: &Ctx<'_>,
    function: &str,
    value: &Dynamic,
    text: fn(&Value) -> String,
) -> Result<ImmutableString, Thrown> {
    let room = Room::of(ctx);
    // Escapes and indents make it longer, by a factor that is bounded.
    let text = text(&to_json(&format!("{function}: the value"), value, room)?);
    room.bytes(function, text.len())?;
    Ok(text.into())
}

/// RFC 8785: keys in the order of their UTF-16 units, numbers as ECMAScript writes them.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => out.push_str(&ecma(float)),
            _ => out.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (index, (key, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(field, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// ECMA-262, `Number::toString`.
fn ecma(float: f64) -> String {
    if float == 0.0 {
        return "0".into();
    }
    let sign = if float < 0.0 { "-" } else { "" };
    let text = format!("{:e}", float.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    // The value is 0.DIGITS × 10^point.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let length = digits.len() as i32;
    let body = if length <= point && point <= 21 {
        format!("{digits}{}", "0".repeat((point - length) as usize))
    } else if 0 < point && point <= 21 {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else {
        let fraction = if length > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        format!("{}{fraction}e{}{}", &digits[..1], if point > 0 { "+" } else { "-" }, (point - 1).abs())
    };
    format!("{sign}{body}")
}

/// A JSON pointer (`/items/0/sku`, or nothing), or a path as scripts write it (`items[0].sku`, `items.0.sku`).
fn keys(function: &str, path: &Dynamic) -> Result<Vec<String>, Thrown> {
    let path = args::text(&format!("{function}: the path"), path)?;
    let bad = |why: &str| {
        let path = args::cut(&path, 80);
        fail(format!("{function}: {path:?} is no path: {why}; write it like \"/items/0/sku\" or \"items[0].sku\""))
    };
    let keys: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect(),
        None if path.is_empty() => Vec::new(),
        None => {
            let mut keys = Vec::new();
            for part in path.split('.') {
                let (name, mut indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
                if !name.is_empty() {
                    keys.push(name.to_owned());
                } else if indexes.is_empty() || !keys.is_empty() {
                    return bad("a key in it is empty");
                }
                while let Some(rest) = indexes.strip_prefix('[') {
                    let Some((index, rest)) = rest.split_once(']') else { return bad("a `[` is not closed") };
                    if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
                        return bad("what stands in `[` and `]` must be an index");
                    }
                    keys.push(index.to_owned());
                    indexes = rest;
                }
                if !indexes.is_empty() {
                    return bad("a `.` is missing behind a `]`");
                }
            }
            keys
        }
    };
    if keys.len() > DEPTH {
        return bad(&format!("it has more than {DEPTH} keys"));
    }
    Ok(keys)
}

/// What lies there. Nothing is copied on the way: what is above may be large at each level.
fn within(value: &Dynamic, keys: &[String]) -> Option<Dynamic> {
    let Some((key, rest)) = keys.split_first() else { return Some(value.flatten_clone()) };
    if let Ok(fields) = value.as_map_ref() {
        return within(fields.get(key.as_str())?, rest);
    }
    let items = value.as_array_ref().ok()?;
    within(items.get(index(key)?)?, rest)
}

/// RFC 6901: no sign, no leading zero.
fn index(key: &str) -> Option<usize> {
    let plain = key.bytes().all(|byte| byte.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    if plain { key.parse().ok() } else { None }
}

fn set(value: Dynamic, keys: &[String], new: Dynamic, above: &[String], room: Room) -> Result<Dynamic, Thrown> {
    let Some((key, rest)) = keys.split_first() else { return Ok(new) };
    let path = [above, std::slice::from_ref(key)].concat();
    if value.is_array() {
        let mut items = value.into_array().unwrap_or_default();
        let at = if key == "-" { Some(items.len()) } else { index(key) };
        match at {
            Some(at) if at < items.len() => {
                let old = std::mem::take(&mut items[at]).flatten();
                items[at] = set(old, rest, new, &path, room)?;
            }
            Some(at) if at == items.len() => {
                room.items("json::set", items.len() + 1)?;
                items.push(set(Dynamic::UNIT, rest, new, &path, room)?);
            }
            _ => {
                let (count, path) = (items.len(), path.join("/"));
                return fail(format!("json::set: /{path} is no place in an array of {count} elements"));
            }
        }
        return Ok(items.into());
    }
    if value.is_unit() || value.is_map() {
        let mut fields = value.try_cast::<Map>().unwrap_or_default();
        let old = fields.remove(key.as_str()).map_or(Dynamic::UNIT, Dynamic::flatten);
        fields.insert(key.as_str().into(), set(old, rest, new, &path, room)?);
        return Ok(fields.into());
    }
    args::wrong(&format!("json::set: what /{} leads into", path.join("/")), "a map or an array", &value)
}

fn remove(value: Dynamic, keys: &[String]) -> Dynamic {
    let Some((key, rest)) = keys.split_first() else { return Dynamic::UNIT };
    if value.is_map() {
        let mut fields = value.try_cast::<Map>().unwrap_or_default();
        if let Some(old) = fields.remove(key.as_str())
            && !rest.is_empty()
        {
            fields.insert(key.as_str().into(), remove(old.flatten(), rest));
        }
        return fields.into();
    }
    if value.is_array() {
        let mut items: Array = value.into_array().unwrap_or_default();
        if let Some(at) = index(key).filter(|at| *at < items.len()) {
            match rest.is_empty() {
                true => drop(items.remove(at)),
                false => items[at] = remove(std::mem::take(&mut items[at]).flatten(), rest),
            }
        }
        return items.into();
    }
    value
}

/// RFC 7396.
fn merge(value: Dynamic, patch: Dynamic, levels: usize) -> Result<Dynamic, Thrown> {
    let (value, patch) = (value.flatten(), patch.flatten());
    if levels == 0 {
        return fail(format!("json::merge: the patch nests more than {DEPTH} levels deep"));
    }
    if !patch.is_map() {
        return Ok(patch);
    }
    let mut fields = value.try_cast::<Map>().unwrap_or_default();
    for (key, new) in patch.try_cast::<Map>().unwrap_or_default() {
        crate::cost::spend(1)?;
        let new = new.flatten();
        if new.is_unit() {
            fields.remove(&key);
        } else {
            let old = fields.remove(&key).unwrap_or_default();
            fields.insert(key, merge(old, new, levels - 1)?);
        }
    }
    Ok(fields.into())
}

/// The merge patch that makes `to` of `from`; none: they are equal. A null in `to` cannot be told from a missing key.
fn diff(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter_map(|(key, new)| match from.get(key) {
        Some(old) => diff(old, new).map(|patch| (key.clone(), patch)),
        None => Some((key.clone(), new.clone())),
    });
    Some(Value::Object(gone.chain(changed).collect()))
}
