//! Script values as text, for people.

use std::fmt::Write;

pub use durhai_stdlib::words::{article, nice_type};
use rhai::{Array, Dynamic, FnPtr, Map};

use super::handles::{HookHandle, SagaHandle, TaskHandle, Timestamp};

/// Writes a value as a script would: `[1, "a", #{"b": ()}]`. Whatever the value is, this ends: nesting over 32 levels
/// and text over `limit` bytes are cut with `…`.
pub fn show(value: &Dynamic, limit: usize) -> String {
    let mut out = String::new();
    write(&mut out, value, limit, LEVELS);
    cut(out, limit)
}

/// [`show`] for an array.
pub fn show_array(items: &Array, limit: usize) -> String {
    let mut out = String::new();
    write_array(&mut out, items, limit, LEVELS);
    cut(out, limit)
}

/// [`show`] for a map.
pub fn show_map(fields: &Map, limit: usize) -> String {
    let mut out = String::new();
    write_map(&mut out, fields, limit, LEVELS);
    cut(out, limit)
}

/// What a closure captured is not shown: it may lead back to the closure.
pub fn show_function(function: &FnPtr) -> String {
    let name = function.fn_name();
    if name.starts_with("anon$") { "|…|".into() } else { format!("Fn({name})") }
}

const LEVELS: usize = 32;

fn cut(mut out: String, limit: usize) -> String {
    if out.len() > limit {
        let end = (0..=limit).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
        out.truncate(end);
        out.push('…');
    }
    out
}

/// A value's type in a word of the language.
pub fn type_name(value: &Dynamic) -> &str {
    nice_type(value.type_name())
}

/// What a message calls a wrong value: `an integer (42)`.
pub fn found(value: &Dynamic) -> String {
    let noun = article(type_name(value));
    let plain = value.is_int() || value.is_float() || value.is_bool() || value.is_string() || value.is_char();
    if plain { format!("{noun} ({})", show(value, 60)) } else { noun }
}

fn write(out: &mut String, value: &Dynamic, limit: usize, levels: usize) {
    if out.len() > limit || levels == 0 {
        out.push('…');
        return;
    }
    if value.is_shared() {
        if value.is_locked() {
            return out.push('…');
        }
        return write(out, &value.flatten_clone(), limit, levels);
    }
    // Writing to a string cannot fail, so the results below are of no interest.
    if let Ok(text) = value.as_immutable_string_ref() {
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at > limit).unwrap_or(text.len());
        let _ = write!(out, "{:?}", &text[..end]);
    } else if let Ok(items) = value.as_array_ref() {
        write_array(out, &items, limit, levels);
    } else if let Ok(fields) = value.as_map_ref() {
        write_map(out, &fields, limit, levels);
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        out.push_str(&show_function(&function));
    } else if let Some(time) = value.read_lock::<Timestamp>() {
        let _ = write!(out, "{}", *time);
    } else if value.is::<TaskHandle>() {
        out.push_str("task");
    } else if value.is::<HookHandle>() {
        out.push_str("hook");
    } else if value.is::<SagaHandle>() {
        out.push_str("saga");
    } else if let Ok(character) = value.as_char() {
        let _ = write!(out, "{character:?}");
    } else if value.is_unit() {
        out.push_str("()");
    } else {
        let _ = write!(out, "{value}");
    }
}

fn write_array(out: &mut String, items: &Array, limit: usize, levels: usize) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if out.len() > limit {
            break;
        }
        out.push_str(if index > 0 { ", " } else { "" });
        write(out, item, limit, levels - 1);
    }
    out.push(']');
}

fn write_map(out: &mut String, fields: &Map, limit: usize, levels: usize) {
    out.push_str("#{");
    for (index, (key, field)) in fields.iter().enumerate() {
        if out.len() > limit {
            break;
        }
        let _ = write!(out, "{}{key:?}: ", if index > 0 { ", " } else { "" });
        write(out, field, limit, levels - 1);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_a_script_would() {
        for (script, limit, text) in [
            ("[1, 2.0, \"a\\n\", 'x', ()]", 90, "[1, 2.0, \"a\\n\", 'x', ()]"),
            ("#{ b: [true], a: #{} }", 90, "#{\"a\": #{}, \"b\": [true]}"),
            ("[|x| x + 1]", 90, "[|…|]"),
            ("let s = []; s.pad(1000, 7); s", 9, "[7, 7, 7,…"),
        ] {
            let value: Dynamic = rhai::Engine::new().eval(script).expect(script);
            assert_eq!(show(&value, limit), text, "{script}");
        }
    }
}
