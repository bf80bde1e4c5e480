//! `std/time`: arithmetic on Unix milliseconds. There is no clock in here, and the time zones are compiled in.

mod calendar;
mod zone;

use jiff::civil::Time;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::{rfc2822, temporal};
use jiff::{Timestamp, Zoned};
use rhai::{Dynamic, Engine, Map};

use self::zone::zone;
use super::Thrown;
use super::args::{self, cut, fail, wrong};

/// Bytes of a pattern, and of a text that is read.
const MAX_PATTERN: usize = 1_000;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__time_parse", |source: Dynamic, timezone: Dynamic| parse(&source, &timezone))
        .register_fn("__time_parse_as", |source: Dynamic, pattern: Dynamic, timezone: Dynamic| {
            parse_as(&source, &pattern, &timezone)
        })
        .register_fn("__time_iso", |time: Dynamic, timezone: Dynamic| iso(&time, &timezone))
        .register_fn("__time_format", |time: Dynamic, pattern: Dynamic, timezone: Dynamic| {
            format(&time, &pattern, &timezone)
        })
        .register_fn("__time_parts", |time: Dynamic, timezone: Dynamic| parts(&time, &timezone))
        .register_fn("__time_millis", |length: Dynamic| millis("time::millis: the duration", &length))
        .register_fn("__time_human", |length: Dynamic| -> Result<String, Thrown> {
            let length = args::int("time::human: the duration", &length)?;
            let sign = if length < 0 { "-" } else { "" };
            Ok(format!("{sign}{}", durhai_core::duration::show(length.unsigned_abs())))
        });
    calendar::register(engine);
}

fn moment(function: &str, time: &Dynamic) -> Result<Timestamp, Thrown> {
    let what = format!("{function}: the time");
    let expected = "Unix milliseconds between the years -9999 and 9999";
    let ms = time.flatten_clone().as_int().or_else(|_| wrong(&what, expected, time))?;
    Timestamp::from_millisecond(ms).or_else(|_| wrong(&what, expected, time))
}

fn local(function: &str, time: &Dynamic, timezone: &Dynamic) -> Result<Zoned, Thrown> {
    Ok(moment(function, time)?.to_zoned(zone(function, timezone)?))
}

/// A length of time in milliseconds: a number of seconds, or text like `"1h 30m"`.
pub fn millis(what: &str, length: &Dynamic) -> Result<i64, Thrown> {
    let length = length.flatten_clone();
    let negative = |text: &str| text.strip_prefix('-').map(ToOwned::to_owned);
    let (sign, ms) = if let Ok(text) = length.as_immutable_string_ref() {
        match negative(&text) {
            Some(rest) => (-1, durhai_core::duration::parse(&rest)),
            None => (1, durhai_core::duration::parse(&text)),
        }
    } else {
        let seconds = args::number(what, &length)
            .or_else(|_: Thrown| wrong(what, "a number of seconds or a string like \"1h 30m\"", &length))?;
        (if seconds < 0.0 { -1 } else { 1 }, durhai_core::duration::from_seconds(seconds.abs()))
    };
    ms.map(|ms| sign * ms as i64).or_else(|why| fail(format!("{what}: {why}")))
}

fn parse(source: &Dynamic, timezone: &Dynamic) -> Result<i64, Thrown> {
    const FUNCTION: &str = "time::parse";
    let source = short("time::parse: the text", source)?;
    let text = source.trim();
    let zone = zone(FUNCTION, timezone)?;
    let reader = temporal::DateTimeParser::new();
    if let Ok(time) = reader.parse_timestamp(text) {
        return Ok(time.as_millisecond());
    }
    if let Ok(time) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Ok(time.as_millisecond());
    }
    match reader.parse_datetime(text).and_then(|local| local.to_zoned(zone)) {
        Ok(time) => Ok(time.timestamp().as_millisecond()),
        Err(_) => fail(format!(
            "{FUNCTION}: {:?} is no time; expected one like \"2026-03-01\", \"2026-03-01T09:30:00\", \
             \"2026-03-01T09:30:00+01:00\" or \"Sun, 01 Mar 2026 09:30:00 GMT\" (time::parse_as takes a pattern)",
            cut(text, 60)
        )),
    }
}

fn parse_as(source: &Dynamic, pattern: &Dynamic, timezone: &Dynamic) -> Result<i64, Thrown> {
    const FUNCTION: &str = "time::parse_as";
    let source = short("time::parse_as: the text", source)?;
    let pattern = short("time::parse_as: the pattern", pattern)?;
    let zone = zone(FUNCTION, timezone)?;
    let bad = |why: String| fail(format!("{FUNCTION}: {:?} does not fit {pattern:?}: {why}", cut(&source, 60)));
    let read = match BrokenDownTime::parse(pattern.as_bytes(), source.as_bytes()) {
        Ok(read) => read,
        Err(error) => return bad(error.to_string()),
    };
    if read.offset().is_some() || read.timestamp().is_some() {
        return read.to_timestamp().map(Timestamp::as_millisecond).or_else(|error| bad(error.to_string()));
    }
    let time = if read.hour().is_some() { read.to_time() } else { Ok(Time::midnight()) };
    let zoned = read.to_date().and_then(|date| date.to_datetime(time?).to_zoned(zone));
    zoned.map(|time| time.timestamp().as_millisecond()).or_else(|error| bad(error.to_string()))
}

fn short(what: &str, value: &Dynamic) -> Result<rhai::ImmutableString, Thrown> {
    let text = args::text(what, value)?;
    match text.len() {
        0..=MAX_PATTERN => Ok(text),
        found => fail(format!("{what} has {found} bytes, the limit is {MAX_PATTERN}")),
    }
}

fn iso(time: &Dynamic, timezone: &Dynamic) -> Result<String, Thrown> {
    let local = local("time::iso", time, timezone)?;
    let fraction = if local.subsec_nanosecond() == 0 { "" } else { "%.3f" };
    let offset = if timezone.is_unit() { "Z" } else { "%:z" };
    let pattern = format!("%Y-%m-%dT%H:%M:%S{fraction}{offset}");
    BrokenDownTime::from(&local).to_string(&pattern).or_else(|error| fail(format!("time::iso: {error}")))
}

fn format(time: &Dynamic, pattern: &Dynamic, timezone: &Dynamic) -> Result<String, Thrown> {
    let pattern = short("time::format: the pattern", pattern)?;
    let local = local("time::format", time, timezone)?;
    let text = BrokenDownTime::from(&local).to_string(pattern.as_bytes());
    text.or_else(|error| fail(format!("time::format: the pattern {pattern:?} is wrong: {error}")))
}

fn parts(time: &Dynamic, timezone: &Dynamic) -> Result<Map, Thrown> {
    let local = local("time::parts", time, timezone)?;
    let parts = [
        ("year", i64::from(local.year())),
        ("month", local.month().into()),
        ("day", local.day().into()),
        ("hour", local.hour().into()),
        ("minute", local.minute().into()),
        ("second", local.second().into()),
        ("millisecond", local.millisecond().into()),
        ("weekday", local.weekday().to_monday_one_offset().into()),
        ("day_of_year", local.day_of_year().into()),
        ("week", local.date().iso_week_date().week().into()),
        ("offset", local.offset().seconds().into()),
    ];
    Ok(parts.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}
