//! Values of scripts as parameters of statements: as text, which the server reads as the type that it has found for the parameter.

use std::error::Error;
use std::fmt::Write;

use bytes::BytesMut;
use durhai::Value;
use durhai::postgres::client::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

/// One parameter.
#[derive(Debug)]
pub struct Parameter<'a>(pub &'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(match text(self.0, ty)? {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// `None`: NULL.
pub fn text(value: &Value, ty: &Type) -> Result<Option<String>, String> {
    if let Kind::Domain(base) = ty.kind() {
        return text(value, base);
    }
    Ok(Some(match (value, ty.kind()) {
        (Value::Null, _) => return Ok(None),
        (value, _) if *ty == Type::JSON || *ty == Type::JSONB => value.to_string(),
        (Value::Array(items), Kind::Array(member)) => array(items, member)?,
        (Value::Bool(yes), _) => yes.to_string(),
        (Value::Number(number), _) => number.to_string(),
        (Value::String(text), _) => text.clone(),
        (Value::Array(_), _) => return Err(format!("found a list, expected a value of the type {ty}")),
        (Value::Object(_), _) => {
            return Err(format!("found a map, expected a value of the type {ty}; a map can be json or jsonb"));
        }
    }))
}

fn array(items: &[Value], member: &Type) -> Result<String, String> {
    let mut out = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        // An array of several dimensions has a type of its own only by its members.
        match item {
            Value::Array(inner) if *member != Type::JSON && *member != Type::JSONB => {
                out.push_str(&array(inner, member)?)
            }
            item => match text(item, member)? {
                Some(text) => quoted(&mut out, &text),
                None => out.push_str("NULL"),
            },
        }
    }
    out.push('}');
    Ok(out)
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        // Writing into a text does not fail.
        let _ = out.write_char(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_as_text() {
        for (value, ty, wanted) in [
            (json!(null), Type::TEXT, None),
            (json!(null), Type::JSONB, None),
            (json!(true), Type::BOOL, Some("true")),
            (json!(9_007_199_254_740_993_i64), Type::INT8, Some("9007199254740993")),
            (json!(0.1), Type::NUMERIC, Some("0.1")),
            (json!("it's"), Type::TEXT, Some("it's")),
            (json!("text"), Type::JSONB, Some("\"text\"")),
            (json!({ "a": [1, null] }), Type::JSON, Some("{\"a\":[1,null]}")),
            (json!([1, null]), Type::INT4_ARRAY, Some("{\"1\",NULL}")),
            (json!(["a\"b", "c\\d", "", "NULL"]), Type::TEXT_ARRAY, Some("{\"a\\\"b\",\"c\\\\d\",\"\",\"NULL\"}")),
            (json!([[1, 2], [3, 4]]), Type::INT4_ARRAY, Some("{{\"1\",\"2\"},{\"3\",\"4\"}}")),
            (json!([[1], { "a": 1 }]), Type::JSONB_ARRAY, Some("{\"[1]\",\"{\\\"a\\\":1}\"}")),
            (json!([]), Type::TEXT_ARRAY, Some("{}")),
        ] {
            assert_eq!(text(&value, &ty).unwrap().as_deref(), wanted, "{value} as {ty}");
        }
        for (value, ty) in [(json!([1]), Type::TEXT), (json!({}), Type::INT4), (json!([{}]), Type::TEXT_ARRAY)] {
            assert!(text(&value, &ty).unwrap_err().contains("expected"), "{value} as {ty}");
        }
    }
}
