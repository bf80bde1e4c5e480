//! `schedule`: when a workflow starts by itself.

use durhai_core::Value;

use super::literal::{Literal, LiteralKind};
use super::reader::Reader;
use crate::check::code::Code;
use crate::cron::Cron;
use crate::schema::Schema;

/// When a workflow starts by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub cron: Cron,
    /// IANA name.
    pub timezone: String,
    pub overlap: Overlap,
    pub missed: Missed,
    /// What its runs begin with.
    pub input: Value,
}

/// What happens when the run before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// This time is left out.
    #[default]
    Skip,
    /// Both run.
    Allow,
    /// It begins when the one before has ended.
    Queue,
}

/// What happens to times that passed while no host was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// One run makes up for all of them.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

const KEYS: &[&str] = &["cron", "timezone", "overlap", "missed", "input"];

/// `schema` is what the input must be.
pub fn read(reader: &mut Reader<'_>, value: &Literal, schema: Option<&Schema>) -> Option<Schedule> {
    let (mut text, mut timezone) = (None, None);
    let (mut overlap, mut missed) = (Overlap::default(), Missed::default());
    let mut input = None;
    let before = reader.wrong.len();
    match &value.kind {
        LiteralKind::Text(cron) => text = Some((cron.clone(), value.position)),
        LiteralKind::Map(_) => {
            for entry in reader.entries("schedule", value, KEYS) {
                let value = &entry.value;
                match entry.key.as_str() {
                    "cron" => text = reader.text("schedule.cron", value).map(|cron| (cron, value.position)),
                    "timezone" => {
                        timezone = reader.text("schedule.timezone", value).map(|name| (name, value.position));
                    }
                    "overlap" => {
                        let known = [("skip", Overlap::Skip), ("allow", Overlap::Allow), ("queue", Overlap::Queue)];
                        overlap = reader.choice("schedule.overlap", value, &known).unwrap_or_default();
                    }
                    "missed" => {
                        let known = [("once", Missed::Once), ("skip", Missed::Skip)];
                        missed = reader.choice("schedule.missed", value, &known).unwrap_or_default();
                    }
                    _ => input = Some((value.to_value(), value.position)),
                }
            }
        }
        _ => {
            let message = format!(
                "`schedule` must be a string like \"0 9 * * MON-FRI\" or a map like #{{ cron: … }}, found {}",
                value.found()
            );
            return reader.refuse(value.position, message, None);
        }
    }
    if let Some(schema) = schema {
        let (value, what, position) = match &input {
            Some((value, position)) => (value.clone(), "`schedule.input`", *position),
            None => (Value::Null, "`schedule` has no `input`, and ()", value.position),
        };
        if let Err(problems) = schema.accept(value) {
            reader.misfit::<()>(position, what, &problems);
        }
    }
    let Some((cron, position)) = text else {
        let complete = reader.wrong.len() > before;
        return if complete { None } else { reader.refuse(value.position, "`schedule` has no `cron`".into(), None) };
    };
    let (timezone, zone_position) = timezone.unwrap_or_else(|| ("UTC".into(), position));
    // The zone first: an error in it is not one of the expression.
    if let Err(why) = Cron::parse("@daily", &timezone) {
        return reader.refuse(zone_position, format!("`schedule.timezone`: {why}"), None);
    }
    match Cron::parse(&cron, &timezone) {
        // Texts of the first edition were taken, and runs of them go on.
        Ok(parsed) if reader.edition > 1 && parsed.never_comes() => {
            let message = format!("`schedule`: {cron:?} never comes: none of its months has such a day");
            reader.refuse::<()>(position, message, Some("compare the day of the month with the months".into()));
            if let Some(wrong) = reader.wrong.last_mut() {
                wrong.code = Some(Code::NeverDue);
            }
            None
        }
        Ok(cron) => {
            let input = input.map_or(Value::Null, |(value, _)| value);
            Some(Schedule { cron, timezone, overlap, missed, input })
        }
        Err(why) => reader.refuse(position, format!("`schedule`: {why}"), None),
    }
}
