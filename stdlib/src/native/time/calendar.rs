//! Days, weeks, months and years, in a time zone.

use jiff::civil::{Date, Time, Weekday};
use jiff::{Span, Timestamp, ToSpan, Unit, Zoned, ZonedDifference};
use rhai::{Dynamic, Engine};

use super::zone::zone;
use super::{local, millis, moment};
use crate::native::Thrown;
use crate::native::args::{self, fail, wrong};

const SPANS: [&str; 9] =
    ["years", "months", "weeks", "days", "business_days", "hours", "minutes", "seconds", "milliseconds"];

/// Working days that are counted one by one.
const MAX_BUSINESS_DAYS: i64 = 10_000;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__time_of", |parts: Dynamic, timezone: Dynamic| of(&parts, &timezone))
        .register_fn("__time_add", |name: &str, time: Dynamic, span: Dynamic, timezone: Dynamic| {
            add(&format!("time::{name}"), &time, &span, &timezone, if name == "sub" { -1 } else { 1 })
        })
        .register_fn("__time_edge", |name: &str, time: Dynamic, unit: Dynamic, timezone: Dynamic| {
            let function = format!("time::{name}");
            let local = local(&function, &time, &timezone)?;
            let (start, next) = edges(&function, &local, &unit)?;
            Ok::<_, Thrown>(if name == "start_of" { start } else { next - 1 })
        })
        .register_fn("__time_difference", |from: Dynamic, to: Dynamic, unit: Dynamic, timezone: Dynamic| {
            difference(&from, &to, &unit, &timezone)
        })
        .register_fn("__time_weekday", |time: Dynamic, timezone: Dynamic| -> Result<i64, Thrown> {
            Ok(local("time::weekday", &time, &timezone)?.weekday().to_monday_one_offset().into())
        })
        .register_fn("__time_is_leap", |year: Dynamic| -> Result<bool, Thrown> {
            Ok(month("time::is_leap", &year, &1_i64.into())?.in_leap_year())
        })
        .register_fn("__time_days_in_month", |year: Dynamic, number: Dynamic| -> Result<i64, Thrown> {
            Ok(month("time::days_in_month", &year, &number)?.days_in_month().into())
        });
}

fn month(function: &str, year: &Dynamic, month: &Dynamic) -> Result<Date, Thrown> {
    let year = year_number(&format!("{function}: the year"), year)?;
    let month = args::count(&format!("{function}: the month"), month, 1, 12)?;
    Date::new(year, month as i8, 1).or_else(|error| fail(format!("{function}: {error}")))
}

fn year_number(what: &str, value: &Dynamic) -> Result<i16, Thrown> {
    match value.flatten_clone().as_int() {
        Ok(year @ -9_999..=9_999) => Ok(year as i16),
        _ => wrong(what, "a year from -9999 to 9999", value),
    }
}

fn of(parts: &Dynamic, timezone: &Dynamic) -> Result<i64, Thrown> {
    const KNOWN: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "millisecond"];
    let zone = zone("time::of", timezone)?;
    let parts = args::options("time::of", parts, &KNOWN)?;
    let Some(year) = parts.get("year") else { return fail("time::of: the year is missing") };
    let part = |name: &str, default: usize, least: i64, most: i64| match parts.get(name) {
        Some(value) => args::count(&format!("time::of: the {name}"), value, least, most),
        None => Ok(default),
    };
    let year = year_number("time::of: the year", year)?;
    let date = Date::new(year, part("month", 1, 1, 12)? as i8, part("day", 1, 1, 31)? as i8);
    let nanoseconds = part("millisecond", 0, 0, 999)? as i32 * 1_000_000;
    let (hour, minute) = (part("hour", 0, 0, 23)? as i8, part("minute", 0, 0, 59)? as i8);
    let time = Time::new(hour, minute, part("second", 0, 0, 59)? as i8, nanoseconds);
    let moment = date.and_then(|date| Ok(date.to_datetime(time?))).and_then(|local| local.to_zoned(zone));
    moment.map(|moment| moment.timestamp().as_millisecond()).or_else(|error| fail(format!("time::of: {error}")))
}

fn add(function: &str, time: &Dynamic, span: &Dynamic, timezone: &Dynamic, sign: i64) -> Result<i64, Thrown> {
    let from = local(function, time, timezone)?;
    let span = span.flatten_clone();
    let outside = || fail(format!("{function}: the result is not between the years -9999 and 9999"));
    let Ok(parts) = span.as_map_ref() else {
        let length = match span.is_string() || span.is_int() || span.is_float() {
            true => millis(&format!("{function}: the duration"), &span)?,
            false => wrong(&format!("{function}: the duration"), "text like \"1h 30m\", seconds, or a map", &span)?,
        };
        let moved = from.timestamp().as_millisecond().checked_add(sign * length);
        let moved = moved.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        return moved.map_or_else(outside, |moment| Ok(moment.as_millisecond()));
    };
    let parts = args::options(function, &Dynamic::from_map(parts.clone()), &SPANS)?;
    let part = |unit: &str| match parts.get(unit) {
        Some(value) => Ok(args::int(&format!("{function}: {unit}"), value)?.saturating_mul(sign)),
        None => Ok::<_, Thrown>(0),
    };
    let mut date = from.date();
    for unit in ["years", "months", "weeks", "days"] {
        let count = part(unit)?;
        let span = match unit {
            "years" => Span::new().try_years(count),
            "months" => Span::new().try_months(count),
            "weeks" => Span::new().try_weeks(count),
            _ => Span::new().try_days(count),
        };
        date = match span.and_then(|span| date.checked_add(span)) {
            Ok(date) => date,
            Err(_) => return outside(),
        };
    }
    let business_days = part("business_days")?;
    if business_days.abs() > MAX_BUSINESS_DAYS {
        let most = format!("a whole number to {MAX_BUSINESS_DAYS}");
        return wrong(&format!("{function}: business_days"), &most, &business_days.into());
    }
    let Some(date) = working_day(date, business_days) else { return outside() };
    let mut length: i64 = 0;
    for (unit, ms) in [("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000), ("milliseconds", 1)] {
        length = length.saturating_add(part(unit)?.saturating_mul(ms));
    }
    // The same date is the same moment, also in an hour that comes twice.
    let moved = match date == from.date() {
        true => Ok(from),
        false => date.to_datetime(from.time()).to_zoned(from.time_zone().clone()),
    };
    let moved = moved.ok().and_then(|moment| moment.timestamp().as_millisecond().checked_add(length));
    let moved = moved.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moved.map_or_else(outside, |moment| Ok(moment.as_millisecond()))
}

/// So many days from Monday to Friday further. None: the date stays, whatever day it is.
fn working_day(mut date: Date, count: i64) -> Option<Date> {
    for _ in 0..count.abs() {
        loop {
            date = if count < 0 { date.yesterday().ok()? } else { date.tomorrow().ok()? };
            if !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday) {
                break;
            }
        }
    }
    Some(date)
}

/// Where the unit of time begins that a moment lies in, and where the next one does.
fn edges(function: &str, local: &Zoned, unit: &Dynamic) -> Result<(i64, i64), Thrown> {
    const UNITS: &str = "\"second\", \"minute\", \"hour\", \"day\", \"week\", \"month\", \"quarter\" or \"year\"";
    let name = args::text(&format!("{function}: the unit"), unit)?;
    let date = local.date();
    let first = |year: i16, month: i8| Date::new(year, month, 1);
    let (start, span) = match name.as_str() {
        "second" | "minute" | "hour" => {
            // By the clock on the wall: some time zones are half an hour off.
            let length = match name.as_str() {
                "second" => 1_000,
                "minute" => 60_000,
                _ => 3_600_000,
            };
            let offset = i64::from(local.offset().seconds()) * 1_000;
            let ms = local.timestamp().as_millisecond() + offset;
            let start = ms - ms.rem_euclid(length) - offset;
            return Ok((start, start + length));
        }
        "day" => (Ok(date), 1.day()),
        "week" => (date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()), 1.week()),
        "month" => (first(date.year(), date.month()), 1.month()),
        "quarter" => (first(date.year(), (date.month() - 1) / 3 * 3 + 1), 3.months()),
        "year" => (first(date.year(), 1), 1.year()),
        _ => return wrong(&format!("{function}: the unit"), UNITS, unit),
    };
    let moment = |date: Date| {
        let zoned = date.to_datetime(Time::midnight()).to_zoned(local.time_zone().clone())?;
        Ok::<_, jiff::Error>(zoned.timestamp().as_millisecond())
    };
    let edges = start.and_then(|start| Ok((moment(start)?, moment(start.checked_add(span)?)?)));
    edges.or_else(|_| fail(format!("{function}: the result is not between the years -9999 and 9999")))
}

fn difference(from: &Dynamic, to: &Dynamic, unit: &Dynamic, timezone: &Dynamic) -> Result<i64, Thrown> {
    const FUNCTION: &str = "time::difference";
    const UNITS: &str =
        "\"milliseconds\", \"seconds\", \"minutes\", \"hours\", \"days\", \"weeks\", \"months\" or \"years\"";
    let zone = zone(FUNCTION, timezone)?;
    let (from, to) = (moment(FUNCTION, from)?, moment(FUNCTION, to)?);
    let passed = to.as_millisecond() - from.as_millisecond();
    let what = format!("{FUNCTION}: the unit");
    let unit = match args::text(&what, unit)?.as_str() {
        "milliseconds" => return Ok(passed),
        "seconds" => return Ok(passed / 1_000),
        "minutes" => return Ok(passed / 60_000),
        "hours" => return Ok(passed / 3_600_000),
        "days" => Unit::Day,
        "weeks" => Unit::Week,
        "months" => Unit::Month,
        "years" => Unit::Year,
        _ => return wrong(&what, UNITS, unit),
    };
    let to = to.to_zoned(zone.clone());
    let span = from.to_zoned(zone).until(ZonedDifference::new(&to).largest(unit).smallest(unit));
    let count = span.map(|span| match unit {
        Unit::Day => i64::from(span.get_days()),
        Unit::Week => i64::from(span.get_weeks()),
        Unit::Month => i64::from(span.get_months()),
        _ => i64::from(span.get_years()),
    });
    count.or_else(|error| fail(format!("{FUNCTION}: {error}")))
}
