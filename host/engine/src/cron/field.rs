//! The fields of a cron expression.

use jiff::civil::Date;

use crate::errors::suggest::near;

/// What a field counts.
pub struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Of the values from `least`.
    names: &'static [&'static str],
}

pub const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[] };
pub const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
pub const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
pub const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAY: Field = Field { name: "day of the month", least: 1, most: 31, names: &[] };
/// 7 is Sunday too.
const WEEKDAY: Field =
    Field { name: "day of the week", least: 0, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

/// Values of a field, from 0 to 59.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(u64);

/// Days, by their place in the month and in the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Days {
    /// `None`: any.
    of_month: Option<Set>,
    last_of_month: bool,
    of_week: Option<Set>,
    /// Weekday, and which one in the month; 0 is the last.
    of_week_in_month: Vec<(u8, u8)>,
}

impl Set {
    pub fn has(self, value: u8) -> bool {
        value < 64 && self.0 >> value & 1 == 1
    }

    /// The first value at or after one.
    pub fn from(self, value: u8) -> Option<u8> {
        let rest = self.0.checked_shr(u32::from(value))?;
        (rest != 0).then(|| value + rest.trailing_zeros() as u8)
    }

    pub fn is_every(self, field: &Field) -> bool {
        (field.least..=field.most).all(|value| self.has(value))
    }

    fn add(&mut self, value: u8) {
        self.0 |= 1 << value;
    }
}

impl Days {
    pub fn read(month: &str, week: &str) -> Result<Self, String> {
        let mut days = Days { of_month: None, last_of_month: false, of_week: None, of_week_in_month: Vec::new() };
        if !is_any(month) {
            let mut set = Set::default();
            for item in month.split(',') {
                match item {
                    "L" | "l" => days.last_of_month = true,
                    _ => add(&mut set, item, &DAY)?,
                }
            }
            days.of_month = Some(set);
        }
        if !is_any(week) {
            let mut set = Set::default();
            for item in week.split(',') {
                match item.split_once('#').or_else(|| item.strip_suffix(['L', 'l']).map(|day| (day, "L"))) {
                    None => add(&mut set, item, &WEEKDAY)?,
                    Some((day, which)) => {
                        let which = match which {
                            "L" | "l" => 0,
                            "1" | "2" | "3" | "4" | "5" => which.as_bytes()[0] - b'0',
                            _ => {
                                return Err(format!(
                                    "{item:?} names no day: after the # comes 1 to 5, or L for the last"
                                ));
                            }
                        };
                        days.of_week_in_month.push((value(day, &WEEKDAY)? % 7, which));
                    }
                }
            }
            if set.has(7) {
                set.add(0);
            }
            days.of_week = Some(set);
        }
        Ok(days)
    }

    pub fn has(&self, date: Date) -> bool {
        let in_month = |set: Set| set.has(date.day() as u8) || self.last_of_month && date.day() == date.days_in_month();
        let in_week = |set: Set| {
            let day = date.weekday().to_sunday_zero_offset() as u8;
            let which = (date.day() as u8 - 1) / 7 + 1;
            let last = date.day() + 7 > date.days_in_month();
            let told = |(on, nth): &(u8, u8)| *on == day && (*nth == which || *nth == 0 && last);
            set.has(day) || self.of_week_in_month.iter().any(told)
        };
        match (self.of_month, self.of_week) {
            (None, None) => true,
            (Some(set), None) => in_month(set),
            (None, Some(set)) => in_week(set),
            (Some(month), Some(week)) => in_month(month) || in_week(week),
        }
    }
}

fn is_any(text: &str) -> bool {
    text == "*" || text == "?"
}

/// Reads a field: values, ranges and steps, separated by commas.
pub fn read(text: &str, field: &Field) -> Result<Set, String> {
    let mut set = Set::default();
    for item in text.split(',') {
        add(&mut set, item, field)?;
    }
    Ok(set)
}

fn add(set: &mut Set, item: &str, field: &Field) -> Result<(), String> {
    let name = field.name;
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => match step.parse::<u8>() {
            Ok(step) if step > 0 && is_number(item.rsplit('/').next()) => (range, Some(step)),
            _ => return Err(format!("{item:?} in the {name}: a step is a whole number from 1")),
        },
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (field.least, field.most),
        Some((first, last)) => (value(first, field)?, value(last, field)?),
        // `5/10`: from 5 on.
        None => match step {
            Some(_) => (value(range, field)?, field.most),
            None => (value(range, field)?, value(range, field)?),
        },
    };
    if first > last {
        return Err(format!("{item:?} in the {name} ends before it begins"));
    }
    (first..=last).step_by(usize::from(step.unwrap_or(1))).for_each(|value| set.add(value));
    Ok(())
}

fn is_number(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn value(text: &str, field: &Field) -> Result<u8, String> {
    let Field { name, least, most, names } = field;
    if let Some(at) = names.iter().position(|known| known.eq_ignore_ascii_case(text)) {
        return Ok(least + at as u8);
    }
    match text.parse::<u8>() {
        Ok(value) if (*least..=*most).contains(&value) && is_number(Some(text)) => Ok(value),
        _ => {
            let upper = text.to_ascii_uppercase();
            let or = match (near(&upper, names.iter().copied()), names) {
                (Some(close), _) => format!("; did you mean {close}?"),
                (None, [first, .., last]) => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            Err(format!("{text:?} is no {name}: they go from {least} to {most}{or}"))
        }
    }
}
