//! Errors as values: a [`Failure`] as the map that a script catches, and back.

use durhai_core::{Failure, Kind, StepId};
use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::convert::{self, Budget};
use crate::current::{self, Thrown};

/// The fields of the map, all of them there in each; absent ones are `()`.
const FIELDS: [&str; 7] = ["kind", "message", "step", "step_id", "attempts", "data", "cause"];

/// An error that a native function gives back; Rhai adds the place of the call.
pub fn throw(failure: Failure) -> Thrown {
    EvalAltResult::ErrorRuntime(failure_to_map(&failure).into(), Position::NONE).into()
}

/// [`throw`] for a failure that may have a place of its own: it is kept aside, for when nobody catches the map.
pub fn failure_to_error(failure: Failure) -> Thrown {
    let error = throw_ref(&failure);
    current::with(|state| state.thrown = Some(failure));
    error
}

fn throw_ref(failure: &Failure) -> Thrown {
    // What a branch of the script threw arrives as it was thrown.
    let value = match failure.kind {
        Kind::Thrown => convert::to_dynamic(&failure.data),
        _ => failure_to_map(failure).into(),
    };
    EvalAltResult::ErrorRuntime(value, Position::NONE).into()
}

pub fn failure_to_map(failure: &Failure) -> Map {
    let text = |text: &str| Dynamic::from(text.to_string());
    let values: [Dynamic; 7] = [
        text(failure.kind.as_str()),
        text(&failure.message),
        failure.step.as_deref().map_or(Dynamic::UNIT, text),
        failure.step_id.as_ref().map_or(Dynamic::UNIT, |id| text(id.as_str())),
        if failure.attempts > 0 { i64::from(failure.attempts).into() } else { Dynamic::UNIT },
        convert::to_dynamic(&failure.data),
        failure.cause.as_deref().map_or(Dynamic::UNIT, |cause| failure_to_map(cause).into()),
    ];
    FIELDS.into_iter().map(Into::into).zip(values).collect()
}

/// Reads a map that [`failure_to_map`] made; `None` if this is another map.
pub fn map_to_failure(map: &Map, budget: Budget) -> Option<Failure> {
    map_to_failure_within(map, budget, 16)
}

fn map_to_failure_within(map: &Map, budget: Budget, levels: usize) -> Option<Failure> {
    if levels == 0 || FIELDS.iter().any(|field| !map.contains_key(*field)) {
        return None;
    }
    let text = |field: &str| map[field].as_immutable_string_ref().ok().map(|text| text.to_string());
    let mut failure = Failure::new(text("kind")?.parse::<Kind>().ok()?, text("message")?);
    failure.step = text("step");
    failure.step_id = text("step_id").and_then(|id| StepId::parse(&id));
    failure.attempts = map["attempts"].as_int().ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    failure.data = convert::to_value(&map["data"], "data", budget).unwrap_or_default();
    if let Ok(cause) = map["cause"].as_map_ref() {
        failure.cause = map_to_failure_within(&cause, budget, levels - 1).map(Box::new);
    }
    Some(failure)
}
