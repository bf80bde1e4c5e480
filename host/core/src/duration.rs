//! Lengths of time as people write them: `"250ms"`, `"1h 30m"`, `"3 days"`.

use crate::{Millis, Value};

/// The longest duration there is: 1000 years.
pub const MAX: Millis = 1_000 * 366 * 24 * 3_600_000;

/// Reads a duration from text: numbers with units, the units added up. A number without a unit counts seconds.
///
/// Units: `ms`, `s`, `m`, `h`, `d`, `w` and their words (`millisecond`, `second`/`sec`, `minute`/`min`, `hour`/`hr`,
/// `day`, `week`), singular or plural. Fractions are allowed (`1.5h`), signs are not.
pub fn parse(text: &str) -> Result<Millis, String> {
    let bad = |why: &str| format!("{text:?} is no duration: {why}; write it like \"250ms\", \"1h 30m\" or \"3 days\"");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad("it is empty"));
    }
    if rest.starts_with('-') {
        return Err(bad("it is negative"));
    }
    let mut total = 0.0;
    let mut first = true;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad(&format!("{rest:?} does not begin with a number")))?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        rest = rest[letters..].trim_start();
        let factor = match unit {
            "" if first && rest.is_empty() => 1_000.0,
            "" => return Err(bad("a number in it has no unit")),
            _ => unit_millis(unit).ok_or_else(|| bad(&format!("{unit:?} is no unit of time")))?,
        };
        total += number * factor;
        first = false;
    }
    if total > MAX as f64 { Err(bad("it is longer than 1000 years")) } else { Ok(total.round() as Millis) }
}

/// Takes a number of seconds.
pub fn from_seconds(seconds: f64) -> Result<Millis, String> {
    match seconds * 1_000.0 {
        ms if ms.is_nan() => Err("not a number is no duration".into()),
        ms if ms < 0.0 => Err(format!("{seconds} s is no duration: it is negative")),
        ms if ms > MAX as f64 => Err(format!("{seconds} s is no duration: it is longer than 1000 years")),
        ms => Ok(ms.round() as Millis),
    }
}

/// Takes what stands for a duration in JSON: a number of seconds, or text.
pub fn from_json(value: &Value) -> Result<Millis, String> {
    let found = match value {
        Value::String(text) => return parse(text),
        Value::Number(seconds) => return from_seconds(seconds.as_f64().unwrap_or(f64::NAN)),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "a map".into(),
        other => other.to_string(),
    };
    Err(format!("{found} is no duration: write seconds, or text like \"250ms\", \"1h 30m\" or \"3 days\""))
}

/// Writes a duration with its two largest units: `1h 30m`, `2.5s`, `250ms`.
pub fn show(ms: Millis) -> String {
    const UNITS: [(Millis, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    if ms < 60_000 {
        let seconds = format!("{:.3}", ms as f64 / 1_000.0);
        return format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.'));
    }
    let mut rest = ms;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit && parts.len() < 2 {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    parts.join(" ")
}

fn unit_millis(unit: &str) -> Option<f64> {
    let lower = unit.to_ascii_lowercase();
    Some(match lower.as_str() {
        "ms" | "millisecond" | "milliseconds" | "msec" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        "w" | "week" | "weeks" => 604_800_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_people_write() {
        for (text, ms) in [
            ("250ms", 250),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("3 days", 259_200_000),
            ("90", 90_000),
            ("1.5s", 1_500),
            ("2 Weeks", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn durations_that_are_none_name_the_value() {
        for bad in ["", "soon", "-5s", "5 parsecs", "1h 30", "1..5s", "9999999 weeks", "s"] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        assert!(from_seconds(f64::NAN).is_err());
        assert!(from_seconds(-1.0).unwrap_err().contains("negative"));
    }

    #[test]
    fn durations_in_json() {
        use serde_json::json;
        for (value, wanted) in [
            (json!(90), Ok(90_000)),
            (json!(0.25), Ok(250)),
            (json!("1h 30m"), Ok(5_400_000)),
            (json!(0), Ok(0)),
            (json!(-1), Err("negative")),
            (json!(1e300), Err("1000 years")),
            (json!("soon"), Err("\"soon\" is no duration")),
            (json!(null), Err("null is no duration: write seconds, or text like")),
            (json!(true), Err("true is no duration")),
            (json!([1]), Err("an array is no duration")),
            (json!({ "s": 1 }), Err("a map is no duration")),
        ] {
            match (from_json(&value), wanted) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{value}: {error}"),
                (found, wanted) => assert_eq!(found, wanted.map_err(str::to_owned), "{value}"),
            }
        }
    }

    #[test]
    fn shown_short() {
        for (ms, text) in [(0, "0ms"), (1_500, "1.5s"), (60_000, "1m"), (5_400_000, "1h 30m"), (259_200_000, "3d")] {
            assert_eq!(show(ms), text);
        }
    }
}
