//! Values: between script and JSON, compared, and shown as a script would write them.

use durhai::Value;

pub use durhai_stdlib::value::{to_dynamic, to_json};

/// As scripts compare: 1 and 1.0 are the same.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Whether `part` is in `whole`: text in text, an item in an array, entries in a map (each with a value that the one there
/// is equal to, or that is a part of it).
pub fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => whole.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| includes(item, part)),
        (Value::Object(_), Value::Object(_)) => includes(whole, part),
        _ => false,
    }
}

fn includes(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| includes(whole, part)))
        }
        _ => equal(whole, part),
    }
}

/// On one line, cut where it gets long.
pub fn short(value: &Value, limit: usize) -> String {
    let mut text = String::new();
    write(&mut text, value, limit);
    if text.chars().count() > limit {
        text = text.chars().take(limit).collect();
        text.push('…');
    }
    text
}

fn write(out: &mut String, value: &Value, limit: usize) {
    if out.len() > 4 * limit {
        return;
    }
    match value {
        Value::Null => out.push_str("()"),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(out, item, limit);
            }
            out.push(']');
        }
        Value::Object(fields) if fields.is_empty() => out.push_str("#{}"),
        Value::Object(fields) => {
            for (index, (key, field)) in fields.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "#{ " });
                out.push_str(&name(key));
                out.push_str(": ");
                write(out, field, limit);
            }
            out.push_str(" }");
        }
        other => out.push_str(&other.to_string()),
    }
}

fn name(key: &str) -> String {
    if rhai::is_valid_identifier(key) { key.to_owned() } else { format!("{key:?}") }
}

/// What is different, line by line: `-` was expected, `+` was found. Parts that are the same are named once.
pub fn diff(expected: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    differ(&mut lines, 0, "", expected, found);
    lines.join("\n")
}

/// Characters of a value that stands on one line.
const LINE: usize = 160;

fn differ(lines: &mut Vec<String>, depth: usize, label: &str, expected: &Value, found: &Value) {
    let pad = "  ".repeat(depth);
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            lines.push(format!("  {pad}{label}#{{"));
            let mut same = 0;
            for (key, a) in a {
                let label = format!("{}: ", name(key));
                match b.get(key) {
                    Some(b) if equal(a, b) => same += 1,
                    Some(b) => differ(lines, depth + 1, &label, a, b),
                    None => lines.push(format!("- {pad}  {label}{}", short(a, LINE))),
                }
            }
            for (key, b) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                lines.push(format!("+ {pad}  {}: {}", name(key), short(b, LINE)));
            }
            unchanged(lines, &pad, same);
            lines.push(format!("  {pad}}}"));
        }
        (Value::Array(a), Value::Array(b)) => {
            lines.push(format!("  {pad}{label}["));
            let mut same = 0;
            for at in 0..a.len().max(b.len()) {
                let label = format!("[{at}] ");
                match (a.get(at), b.get(at)) {
                    (Some(a), Some(b)) if equal(a, b) => same += 1,
                    (Some(a), Some(b)) => differ(lines, depth + 1, &label, a, b),
                    (Some(a), None) => lines.push(format!("- {pad}  {label}{}", short(a, LINE))),
                    (None, Some(b)) => lines.push(format!("+ {pad}  {label}{}", short(b, LINE))),
                    (None, None) => {}
                }
            }
            unchanged(lines, &pad, same);
            lines.push(format!("  {pad}]"));
        }
        (a, b) => {
            lines.push(format!("- {pad}{label}{}", short(a, LINE)));
            lines.push(format!("+ {pad}{label}{}", short(b, LINE)));
        }
    }
}

fn unchanged(lines: &mut Vec<String>, pad: &str, same: usize) {
    if same > 0 {
        lines.push(format!("  {pad}  … {same} more, the same"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_shown_and_nothing_else() {
        let expected = json!({ "ok": true, "by": "ann", "items": [1, 2, 3], "gone": null });
        let found = json!({ "ok": false, "by": "ann", "items": [1, 5, 3, 4], "a b": "new" });
        let text = "  #{
-   gone: ()
    items: [
-     [1] 2
+     [1] 5
+     [3] 4
      … 2 more, the same
    ]
-   ok: true
+   ok: false
+   \"a b\": \"new\"
    … 1 more, the same
  }";
        assert_eq!(diff(&expected, &found), text);
    }

    #[test]
    fn equal_and_contained() {
        for (whole, part, same, within) in [
            (json!(1), json!(1.0), true, false),
            (json!(1), json!("1"), false, false),
            (json!([1, 2]), json!(2.0), false, true),
            (json!("abc"), json!("b"), false, true),
            (json!({ "a": { "b": 1, "c": 2 } }), json!({ "a": { "b": 1 } }), false, true),
            (json!({ "a": 1 }), json!({ "a": 2 }), false, false),
            (json!([{ "a": 1, "b": 2 }]), json!({ "b": 2 }), false, true),
        ] {
            assert_eq!(equal(&whole, &part), same, "{whole} {part}");
            assert_eq!(contains(&whole, &part), within, "{whole} {part}");
        }
    }
}
