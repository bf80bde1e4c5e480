//! When a schedule is due. A pure function of the time: there is no clock in here, and the time zones are compiled in.

mod field;

use std::fmt;

use durhai_core::Millis;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use self::field::{Days, Set};
use crate::errors::suggest::near;

/// A cron expression in a time zone.
///
/// Five fields (minute, hour, day of month, month, day of week) or six with the seconds first, each a list of values,
/// ranges and steps (`1,10-20,*/5`), months and days also by name; `L` is the last day of the month, `5L` or `FRI#L` its
/// last Friday, `FRI#2` its second one. Also `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. If both the day of
/// the month and that of the week are told, either will do.
///
/// When the clocks change: a time that does not exist that day is due at the next moment that does, and one that exists
/// twice is due the first time. A schedule for every hour (`*`) does not stop meanwhile: it goes by the hours that pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    text: String,
    zone: TimeZone,
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Days,
}

/// No date comes back less often than this: a fifth Monday in February takes 40 years.
const YEARS: i16 = 50;

impl Cron {
    /// Reads an expression; `timezone` is an IANA name (`Europe/Berlin`).
    pub fn parse(text: &str, timezone: &str) -> Result<Cron, String> {
        let zone = zone(timezone)?;
        let text = text.trim();
        let written = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let wrong = |why: String| format!("{text:?} is no schedule: {why}");
        if text.starts_with('@') && written == text {
            return Err(wrong("there are @hourly, @daily, @weekly, @monthly and @yearly".into()));
        }
        let fields: Vec<&str> = written.split_whitespace().collect();
        let (second, rest) = match &fields[..] {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest if rest.len() == 5 => ("0", rest),
            other => {
                let count = other.len();
                return Err(wrong(format!(
                    "it has {count} field{}, not 5 (minute, hour, day, month, weekday) or 6 (seconds first)",
                    if count == 1 { "" } else { "s" }
                )));
            }
        };
        Ok(Cron {
            text: text.into(),
            zone,
            seconds: field::read(second, &field::SECOND).map_err(wrong)?,
            minutes: field::read(rest[0], &field::MINUTE).map_err(wrong)?,
            hours: field::read(rest[1], &field::HOUR).map_err(wrong)?,
            months: field::read(rest[3], &field::MONTH).map_err(wrong)?,
            days: Days::read(rest[2], rest[4]).map_err(wrong)?,
        })
    }

    /// The first moment after `at`; `None` if there is none (the 30th of February).
    pub fn next_after(&self, at: Millis) -> Option<Millis> {
        let at = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
        let found = if self.hours.is_every(&field::HOUR) { self.next_passing(at) } else { self.next_fixed(at) };
        u64::try_from(found?.as_millisecond()).ok()
    }

    /// Whether there is no such moment at all, whatever the time is.
    pub fn never_comes(&self) -> bool {
        self.next_after(0).is_none()
    }

    /// Each local time once.
    fn next_fixed(&self, at: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(at);
        loop {
            local = self.next_local(local)?;
            // Moments grow with the local times, so the first that is later is the next one.
            let moment = self.moment(local)?;
            if moment > at {
                return Some(moment);
            }
            local = local.checked_add(1.second()).ok()?;
        }
    }

    /// The moment of a local time: the first of two, or the next one if it does not exist.
    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let passed = before.to_timestamp(local).ok()?.checked_add(1.nanosecond()).ok()?;
                Some(self.zone.preceding(passed).next()?.timestamp())
            }
        }
    }

    /// As the hours pass: from one change of the clocks to the next.
    fn next_passing(&self, at: Timestamp) -> Option<Timestamp> {
        let mut from = Timestamp::from_second(at.as_second().checked_add(1)?).ok()?;
        let last = from.checked_add((i64::from(YEARS) * 366 * 24).hours()).ok()?;
        while from <= last {
            let offset: Offset = self.zone.to_offset(from);
            let moment = offset.to_timestamp(self.next_local(offset.to_datetime(from))?).ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= moment => from = change.timestamp(),
                _ => return Some(moment),
            }
        }
        None
    }

    /// The first local time that fits, at or after a whole second of one.
    fn next_local(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, time) = (from.date(), from.time());
        if self.months.has(date.month() as u8)
            && self.days.has(date)
            && let Some(time) = self.next_time(time)
        {
            return Some(date.to_datetime(time));
        }
        let first = self.next_time(Time::midnight())?;
        let end = date.year().checked_add(YEARS)?;
        loop {
            date = match self.months.has(date.month() as u8) {
                true => date.tomorrow().ok()?,
                false => first_of_next_month(date)?,
            };
            if date.year() > end {
                return None;
            }
            if self.months.has(date.month() as u8) && self.days.has(date) {
                return Some(date.to_datetime(first));
            }
        }
    }

    fn next_time(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour() as u8, from.minute() as u8, from.second() as u8);
        let time = |hour: u8, minute: u8, second: u8| Time::new(hour as i8, minute as i8, second as i8, 0).ok();
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.from(second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = self.minutes.from(minute + 1) {
                return time(hour, minute, self.seconds.from(0)?);
            }
        }
        time(self.hours.from(hour + 1)?, self.minutes.from(0)?, self.seconds.from(0)?)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.zone.iana_name() {
            Some("UTC") | None => Ok(()),
            Some(zone) => write!(f, " ({zone})"),
        }
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    match date.month() {
        12 => Date::new(date.year().checked_add(1)?, 1, 1).ok(),
        month => Date::new(date.year(), month + 1, 1).ok(),
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let zones = TimeZoneDatabase::bundled();
    zones.get(name).map_err(|_| {
        let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let help = match near(name, names.iter().map(String::as_str)) {
            Some(close) => format!("did you mean {close:?}?"),
            None => "it would be like \"Europe/Berlin\" or \"UTC\"".into(),
        };
        format!("there is no time zone {name:?}; {help}")
    })
}

#[cfg(test)]
mod tests;
