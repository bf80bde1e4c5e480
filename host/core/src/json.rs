//! JSON that comes in: its numbers are exact, or they are refused.
//!
//! A whole number of a script has 64 bits with a sign. What reads JSON elsewhere makes a float of a longer one, and the
//! digits that are lost without a word are those of an id or a balance. So all JSON that comes in as text (a
//! request, a file, the output of a program) is read with [`from_slice`], and every [`Value`] that comes in as it is
//! (an embedder's input, the output of a step in Rust) is looked at with [`check`].
//!
//! A number with a point or an exponent is a float, as it says itself, and as near as a float comes. Of a key that is given
//! twice in one object the last counts.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::Value;

/// Why a text cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or not what is wanted.
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A whole number that does not fit into 64 bits with a sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{found} does not fit into 64 bits: send it as text", Place(path))]
pub struct TooLong {
    /// Where it is, as a script would write it: `input.order.id`, `[3]["a b"]`; empty where there is nothing around it.
    pub path: String,
    /// The number as it was written, cut where it is very long.
    pub found: String,
}

/// Digits of the smallest number that may be too long: `i64::MAX` has as many.
const DIGITS: usize = 19;

/// Digits of a number that a message shows.
const SHOWN: usize = 60;

/// Reads JSON. `name` begins the path of a number that is refused.
pub fn from_slice<T: DeserializeOwned>(text: &[u8], name: &str) -> Result<T, JsonError> {
    match serde_json::from_slice(text) {
        Ok(value) => exact(text, name).map(|()| value).map_err(JsonError::from),
        // The reader gives up where not even a float is as long.
        Err(error) if error.is_syntax() && error.to_string().starts_with("number out of range") => {
            exact(text, name)?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The same for what is known to be text.
pub fn from_str<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, JsonError> {
    from_slice(text.as_bytes(), name)
}

/// Looks for a whole number that is too long in what is known to be JSON.
pub fn exact(text: &[u8], name: &str) -> Result<(), TooLong> {
    // Hardly any text has one, so it is not taken apart before there is a row of as many digits.
    if has_row(text) { find(text, name).map_or(Ok(()), Err) } else { Ok(()) }
}

/// Looks for a whole number that a script could not hold.
pub fn check(value: &Value, name: &str) -> Result<(), TooLong> {
    let mut path = Vec::new();
    match first(value, &mut path) {
        None => Ok(()),
        Some(found) => {
            let mut place = name.to_owned();
            for part in path.into_iter().rev() {
                match part {
                    Part::Index(index) => push_index(&mut place, index),
                    Part::Key(key) => push_key(&mut place, key),
                }
            }
            Err(TooLong { path: place, found })
        }
    }
}

/// Writes every whole number that a script could not hold as text: for what cannot be refused, the data of an error.
pub fn as_text(value: &mut Value) {
    match value {
        Value::Number(number) if !fits(number) => *value = Value::String(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(as_text),
        Value::Object(fields) => fields.values_mut().for_each(as_text),
        _ => {}
    }
}

/// The size as JSON, near enough: escapes in strings are counted as one byte.
pub fn size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(number) => number.as_u64().map_or(12, |n| n.checked_ilog10().unwrap_or(0) as usize + 1),
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(key, item)| key.len() + 4 + size(item)).sum::<usize>(),
    }
}

/// Levels of arrays and objects; counts no further than `most`.
pub fn depth(value: &Value, most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    let deepest = |inner: Option<usize>| 1 + inner.unwrap_or(0);
    match value {
        Value::Array(items) => deepest(items.iter().map(|item| depth(item, most - 1)).max()),
        Value::Object(fields) => deepest(fields.values().map(|field| depth(field, most - 1)).max()),
        _ => 0,
    }
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

enum Part<'a> {
    Index(usize),
    Key(&'a str),
}

fn fits(number: &serde_json::Number) -> bool {
    number.is_i64() || !number.is_u64()
}

/// The first that does not fit, and the way to it, innermost first.
fn first<'a>(value: &'a Value, path: &mut Vec<Part<'a>>) -> Option<String> {
    match value {
        Value::Number(number) if !fits(number) => Some(number.to_string()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let found = first(item, path)?;
            path.push(Part::Index(index));
            Some(found)
        }),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| {
            let found = first(field, path)?;
            path.push(Part::Key(key));
            Some(found)
        }),
        _ => None,
    }
}

/// Whether there are that many digits in a row. Such a row has a digit at one of any so many bytes, so most are skipped.
fn has_row(text: &[u8]) -> bool {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = DIGITS - 1;
    while at < text.len() {
        if digit(at) {
            let begin = (0..at).rev().take_while(|before| digit(*before)).count();
            let end = (at..text.len()).take_while(|here| digit(*here)).count();
            if begin + end >= DIGITS {
                return true;
            }
            at += end;
        }
        at += DIGITS;
    }
    false
}

/// An array or an object that is open.
enum Level {
    Array(usize),
    /// Where its latest key is written, with quotes; and whether a key comes next.
    Object(Range<usize>, bool),
}

/// The first whole number that is too long. Texts that are not JSON give what they give, but never a panic.
fn find(text: &[u8], name: &str) -> Option<TooLong> {
    let mut open: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let begin = at;
        at += 1;
        match text[begin] {
            b'"' => {
                while at < text.len() && text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(text.len());
                if let Some(Level::Object(key, true)) = open.last_mut() {
                    *key = begin..at;
                }
            }
            b'[' => open.push(Level::Array(0)),
            b'{' => open.push(Level::Object(0..0, true)),
            b']' | b'}' => drop(open.pop()),
            b':' => {
                if let Some(Level::Object(_, awaits)) = open.last_mut() {
                    *awaits = false;
                }
            }
            b',' => match open.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                Some(Level::Object(_, awaits)) => *awaits = true,
                None => {}
            },
            b'-' | b'0'..=b'9' => {
                while text.get(at).is_some_and(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)) {
                    at += 1;
                }
                // ASCII only.
                let number = std::str::from_utf8(&text[begin..at]).unwrap_or_default();
                if number.len() >= DIGITS && !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() {
                    return Some(TooLong { path: place(text, name, &open), found: shown(number) });
                }
            }
            _ => {}
        }
    }
    None
}

fn place(text: &[u8], name: &str, open: &[Level]) -> String {
    let mut place = name.to_owned();
    for level in open {
        match level {
            Level::Array(index) => push_index(&mut place, *index),
            Level::Object(key, _) => {
                let key = serde_json::from_slice::<String>(&text[key.clone()]);
                push_key(&mut place, &key.unwrap_or_default());
            }
        }
    }
    place
}

fn push_index(place: &mut String, index: usize) {
    place.push_str(&format!("[{index}]"));
}

fn push_key(place: &mut String, key: &str) {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let plain = key.starts_with(begins) && key.chars().all(|c| begins(c) || c.is_ascii_digit());
    match (plain, place.is_empty()) {
        (true, true) => place.push_str(key),
        (true, false) => {
            place.push('.');
            place.push_str(key);
        }
        (false, _) => place.push_str(&format!("[{key:?}]")),
    }
}

fn shown(number: &str) -> String {
    match number.len() {
        0..=SHOWN => number.to_owned(),
        length => format!("{}… ({length} characters)", &number[..SHOWN]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str, name: &str) -> String {
        from_str::<Value>(text, name).expect_err(text).to_string()
    }

    #[test]
    fn what_fits_stays_as_it_is_written() {
        for (text, value) in [
            ("9223372036854775807", json!(i64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("-0", json!(-0.0)),
            ("1.0", json!(1.0)),
            ("1e300", json!(1e300)),
            ("0.1234567890123456789012345", json!(0.123_456_789_012_345_68)),
            ("12345678901234567890.0", json!(12_345_678_901_234_567_890.0)),
            ("12345678901234567890e-1", json!(1_234_567_890_123_456_789.0)),
            (
                r#"{"a":"12345678901234567890","b":["\"12345678901234567890"]}"#,
                json!({ "a": "12345678901234567890", "b": ["\"12345678901234567890"] }),
            ),
            (r#"{"12345678901234567890":1}"#, json!({ "12345678901234567890": 1 })),
            (r#"{"a":1,"a":2}"#, json!({ "a": 2 })),
        ] {
            let found: Value = from_str(text, "input").unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(found.to_string(), value.to_string(), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_path() {
        for (text, name, message) in [
            ("9223372036854775808", "", "9223372036854775808 does not fit into 64 bits: send it as text"),
            ("18446744073709551616", "input", "input: 18446744073709551616 does not fit into 64 bits: send it as text"),
            (" [ -9223372036854775809 ] ", "", "[0]: -9223372036854775809 does not"),
            (
                r#"{"order":{"id":123456789012345678901234567890}}"#,
                "input",
                "input.order.id: 123456789012345678901234567890 does not",
            ),
            (
                r#"{"order":{"id":123456789012345678901234567890}}"#,
                "",
                "order.id: 123456789012345678901234567890 does not",
            ),
            (
                r#"[1,{"a b":[[],[0,{}],{"\u0061":1}, 99999999999999999999 ]}]"#,
                "x",
                "x[1][\"a b\"][3]: 99999999999999999999 does",
            ),
            (r#"{"a":"}]{[:,\\\"","b" : {"c":1} , "d":99999999999999999999}"#, "", "d: 99999999999999999999 does"),
            (r#"{"a":[1],"ü":99999999999999999999}"#, "in", "in[\"ü\"]: 99999999999999999999 does"),
        ] {
            let found = refused(text, name);
            assert!(found.starts_with(message), "{text}: {found}");
        }
        // As long as no float is.
        let long = refused(&format!("{{\"a\":{}}}", "7".repeat(1000)), "input");
        assert!(long.starts_with("input.a: 7777") && long.contains("… (1000 characters) does not fit"), "{long}");
    }

    #[test]
    fn what_is_no_json_says_so_first() {
        for text in ["{\"a\":12345678901234567890", "[12345678901234567890 1]", "1e400", "\"12345678901234567890", ""] {
            assert!(matches!(from_str::<Value>(text, "input"), Err(JsonError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn rows_of_digits_wherever_they_begin() {
        for length in [DIGITS - 1, DIGITS, DIGITS + 1, 3 * DIGITS] {
            for before in 0..3 * DIGITS {
                for gap in [b'.', b'7'] {
                    let mut text = vec![b' '; before];
                    // A short row in front of it must not hide it.
                    text.extend(std::iter::repeat_n(gap, before % DIGITS));
                    text.push(b',');
                    text.extend(std::iter::repeat_n(b'1', length));
                    text.extend(std::iter::repeat_n(b' ', before % 5));
                    assert_eq!(has_row(&text), length >= DIGITS, "{length} behind {before}");
                }
            }
        }
    }

    #[test]
    fn sizes_are_near_the_text() {
        for value in [json!(null), json!([1, 22, "abc"]), json!({ "a": { "b": [true, false] }, "c": "x".repeat(100) })]
        {
            let text = value.to_string().len();
            assert!(size(&value).abs_diff(text) <= 8, "{value}: {} for {text}", size(&value));
        }
    }

    #[test]
    fn values_that_were_made_are_held_to_the_same() {
        let value = json!({ "order": [1, { "a b": u64::MAX }], "z": i64::MAX });
        let error = check(&value, "input").expect_err("too long");
        assert_eq!(error.path, "input.order[1][\"a b\"]");
        assert_eq!(error.found, "18446744073709551615");
        assert_eq!(check(&json!([i64::MAX, i64::MIN, -0.0, 1e300]), "input"), Ok(()));
        let mut data = value;
        as_text(&mut data);
        assert_eq!(data, json!({ "order": [1, { "a b": "18446744073709551615" }], "z": i64::MAX }));
    }
}
