//! Moments, dates and lengths of time, as PostgreSQL counts them: from the year 2000 on.

use durhai::Value;
use jiff::civil::{DateTime, date as civil_date};
use jiff::{Span, Timestamp, tz::TimeZone};

use super::values::{Wrong, bytes};

/// Microseconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800_000_000;

const SECOND: i64 = 1_000_000;

/// `timestamptz`: in UTC, as RFC 3339 has it.
pub fn instant(micros: i64) -> Result<Value, Wrong> {
    Ok(match endless(micros) {
        Some(word) => word.into(),
        None => at(micros)?.to_string().into(),
    })
}

/// `timestamp`: the same without a zone.
pub fn moment(micros: i64) -> Result<Value, Wrong> {
    Ok(match endless(micros) {
        Some(word) => word.into(),
        None => DateTime::from(at(micros)?.to_zoned(TimeZone::UTC)).to_string().into(),
    })
}

pub fn date(days: i32) -> Result<Value, Wrong> {
    Ok(match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        days => {
            let since_2000 = Span::new().try_days(days).and_then(|span| civil_date(2000, 1, 1).checked_add(span));
            since_2000.map_err(|_| "a date is before the year -9999 or beyond 9999")?.to_string().into()
        }
    })
}

/// From midnight on; 24:00 is one of them.
pub fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    format!("{:02}:{:02}:{:02}{}", seconds / 3_600, seconds / 60 % 60, seconds % 60, behind_point(fraction))
}

pub fn time_with_zone(raw: &[u8]) -> Result<Value, Wrong> {
    let micros = i64::from_be_bytes(bytes(raw.get(..8).unwrap_or_default())?);
    // Seconds west of Greenwich.
    let west = i32::from_be_bytes(bytes(raw.get(8..).unwrap_or_default())?);
    let (sign, away) = (if west > 0 { '-' } else { '+' }, west.unsigned_abs());
    Ok(format!("{}{sign}{:02}:{:02}", time(micros), away / 3_600, away / 60 % 60).into())
}

/// As ISO 8601 has it; months, days and the rest each have a sign of their own.
pub fn interval(raw: &[u8]) -> Result<Value, Wrong> {
    let micros = i64::from_be_bytes(bytes(raw.get(..8).unwrap_or_default())?);
    let days = i32::from_be_bytes(bytes(raw.get(8..12).unwrap_or_default())?);
    let months = i32::from_be_bytes(bytes(raw.get(12..).unwrap_or_default())?);
    let mut out = String::from("P");
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    if micros != 0 || out.len() == 1 {
        out.push('T');
        let (hours, minutes, rest) = (micros / (3_600 * SECOND), micros / (60 * SECOND) % 60, micros % (60 * SECOND));
        for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
            if count != 0 {
                out.push_str(&format!("{count}{unit}"));
            }
        }
        if rest != 0 || out.ends_with('T') {
            let sign = if rest < 0 { "-" } else { "" };
            let rest = rest.unsigned_abs() as i64;
            out.push_str(&format!("{sign}{}{}S", rest / SECOND, behind_point(rest % SECOND)));
        }
    }
    Ok(out.into())
}

fn at(micros: i64) -> Result<Timestamp, Wrong> {
    let since_1970 = micros.checked_add(EPOCH).ok_or("a moment is beyond the year 9999")?;
    Timestamp::from_microsecond(since_1970).map_err(|_| "a moment is before the year -9999 or beyond 9999".into())
}

fn endless(micros: i64) -> Option<&'static str> {
    match micros {
        i64::MAX => Some("infinity"),
        i64::MIN => Some("-infinity"),
        _ => None,
    }
}

fn behind_point(micros: i64) -> String {
    match micros {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    }
}
