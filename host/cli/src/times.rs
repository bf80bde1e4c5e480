//! Times as people read and write them.

use std::time::{SystemTime, UNIX_EPOCH};

use durhai::Millis;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now, in milliseconds since the Unix epoch.
pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}

/// RFC 3339 in UTC: `2026-03-01T12:00:00.5Z`.
pub fn rfc3339(at: Millis) -> String {
    timestamp(at).map_or_else(|| format!("{at} ms"), |at| at.to_string())
}

/// The time of day where the user is: `12:00:01`.
pub fn clock(at: Millis) -> String {
    match timestamp(at) {
        Some(at) => at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
        None => format!("{at} ms"),
    }
}

/// How long ago, or in how long: `2m 5s ago`, `in 3d`.
pub fn from_now(at: Millis) -> String {
    let now = now();
    match at.checked_sub(now) {
        Some(ahead) => format!("in {}", durhai::duration::show(coarse(ahead))),
        None => format!("{} ago", durhai::duration::show(coarse(now - at))),
    }
}

/// A length of time: `3 ms`, `2.5s`, `1h 30m`.
pub fn span(ms: Millis) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { durhai::duration::show(ms) }
}

/// Reads a moment: RFC 3339, or a duration that counts back from now.
pub fn moment(text: &str) -> Result<Millis, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return u64::try_from(at.as_millisecond()).map_err(|_| format!("{text} is before 1970"));
    }
    match durhai::duration::parse(text) {
        Ok(ago) => Ok(now().saturating_sub(ago)),
        Err(_) => Err("write a time such as 2026-03-01T12:00:00Z, or a duration ago such as 2h".into()),
    }
}

fn timestamp(at: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}

/// Milliseconds tell a reader nothing of a wait of seconds.
fn coarse(ms: Millis) -> Millis {
    if ms < 1_000 { ms } else { ms / 1_000 * 1_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_both_forms() {
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Ok(1_500));
        assert_eq!(moment("1970-01-01T01:00:01+01:00"), Ok(1_000));
        let hour_ago = moment("1h").expect("a duration");
        assert!(now() - hour_ago >= 3_600_000 && now() - hour_ago < 3_700_000);
        for bad in ["", "tomorrow", "1960-01-01T00:00:00Z"] {
            assert!(moment(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_shown() {
        assert_eq!(rfc3339(1_500), "1970-01-01T00:00:01.5Z");
        assert_eq!(rfc3339(u64::MAX), format!("{} ms", u64::MAX));
        assert_eq!(span(3), "3 ms");
        assert_eq!(span(2_500), "2.5s");
        assert!(from_now(now() + 90_500).starts_with("in 1m"));
        assert!(from_now(0).ends_with("ago"));
    }
}
