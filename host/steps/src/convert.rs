//! Between JSON and Rhai values.

use std::time::Duration;

use durhai::{Value, duration, json};
use durhai_stdlib::value;
pub use durhai_stdlib::value::to_json;
use rhai::Dynamic;

/// JSON as a script sees it. `null` is `()`. Fails for whole numbers that do not fit 64 bits with a sign.
pub fn to_dynamic(value: Value) -> Result<Dynamic, String> {
    json::check(&value, "")
        .map_err(|number| format!("the number {} is too large: whole numbers end at {}", number.found, i64::MAX))?;
    Ok(value::to_dynamic(&value))
}

/// A length of time as scripts write it.
pub fn to_duration(wait: &Dynamic) -> Result<Duration, String> {
    let millis = match (wait.as_int(), wait.as_float(), wait.as_immutable_string_ref()) {
        (Ok(seconds), ..) => duration::from_seconds(seconds as f64),
        (_, Ok(seconds), _) => duration::from_seconds(seconds),
        (.., Ok(text)) => duration::parse(&text),
        _ => Err(format!("{wait} is no duration: write seconds, or text like \"250ms\"")),
    };
    Ok(Duration::from_millis(millis?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_goes_in_comes_out() {
        for value in [
            json!(null),
            json!(true),
            json!(1),
            json!(1.0),
            json!(-0.5),
            json!(i64::MIN),
            json!("ünï"),
            json!([1, 1.0, "1", [], {}]),
            json!({ "b": { "a": [null] }, "a": 2 }),
        ] {
            let back = to_json(&to_dynamic(value.clone()).unwrap()).unwrap();
            // Compared as text: to serde 1 and 1.0 are different, but only just.
            assert_eq!(back.to_string(), value.to_string());
        }
        assert!(to_dynamic(json!(u64::MAX)).unwrap_err().contains("18446744073709551615"));
    }
}
