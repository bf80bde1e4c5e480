//! What one payload may hold.

use durhai_core::{TooLong, Value, json};

/// Checks the size as JSON, the depth, and that a script can hold each of its numbers. The message says what was found and
/// what the limit is.
pub(crate) fn check(value: &Value, most_bytes: usize, most_levels: usize) -> Result<(), String> {
    if json::depth(value, most_levels.saturating_add(1)) > most_levels {
        return Err(format!("is nested deeper than {most_levels} levels"));
    }
    json::check(value, "").map_err(|TooLong { path, found }| {
        let place = if path.is_empty() { path } else { format!(" at {path}") };
        format!("has the number {found}{place}, which does not fit into 64 bits: send it as text")
    })?;
    let bytes = json::size(value);
    if bytes > most_bytes { Err(format!("has {bytes} bytes as JSON, the limit is {most_bytes}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_named() {
        assert_eq!(check(&json!("x".repeat(100)), 50, 4).unwrap_err(), "has 102 bytes as JSON, the limit is 50");
        assert!(check(&json!([[[[1]]]]), 500, 3).unwrap_err().contains("3 levels"));
        assert_eq!(check(&json!([[[1]]]), 500, 3), Ok(()));
    }

    #[test]
    fn numbers_that_a_script_could_not_hold_are_named() {
        let number = "18446744073709551615, which does not fit into 64 bits: send it as text";
        let at = |value: Value, place: &str| {
            let why = check(&value, 500, 3).unwrap_err();
            assert_eq!(why, format!("has the number {}", number.replacen(',', &format!("{place},"), 1)));
        };
        at(json!({ "order": [{ "id": u64::MAX }] }), " at order[0].id");
        at(json!(u64::MAX), "");
        assert_eq!(check(&json!([i64::MAX, i64::MIN]), 500, 3), Ok(()));
    }
}
