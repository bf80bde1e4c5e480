//! Errors as values: a [`Failure`] as the map that a script catches, and back.

use durhai_core::failure::{Frame, SourcePlace};
use durhai_core::{Failure, FailureKind, StepId};
use rhai::{Array, Dynamic, EvalAltResult, Map, Position};

use crate::program::modules::edition;
use crate::values::convert::{self, Budget};

/// What a native function or a step of the interpreter gives back when it fails.
pub type Thrown = Box<EvalAltResult>;

/// The fields of the map, all of them there in each; absent ones are `()`.
const FIELDS: [&str; 7] = ["kind", "message", "step", "step_id", "attempts", "data", "cause"];

/// An error that a native function gives back; Rhai adds the place of the call.
pub fn throw(failure: Failure) -> Thrown {
    EvalAltResult::ErrorRuntime(failure_to_map(&failure).into(), Position::NONE).into()
}

/// The error that a script is given for a failure that a durable call came to.
pub fn error_of(failure: &Failure) -> Thrown {
    // What a branch of the script threw arrives as it was thrown.
    let value = match failure.kind {
        FailureKind::Thrown => convert::to_dynamic(&failure.data),
        _ => failure_to_map(failure).into(),
    };
    EvalAltResult::ErrorRuntime(value, Position::NONE).into()
}

/// Errors of the script also have `file`, `line`, `column` and `stack`, so that they keep their place wherever the map goes.
/// In the first edition they had none.
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
    let mut map: Map = FIELDS.into_iter().map(Into::into).zip(values).collect();
    if failure.kind == FailureKind::Script && edition() > 1 {
        let place = failure.place.as_deref();
        let number = |number: Option<u32>| number.map_or(Dynamic::UNIT, |number| i64::from(number).into());
        map.insert("file".into(), place.map_or(Dynamic::UNIT, |place| text(&place.file)));
        map.insert("line".into(), number(place.map(|place| place.line)));
        map.insert("column".into(), number(place.map(|place| place.column)));
        let frames = place.map(|place| place.stack.as_slice()).unwrap_or_default();
        let frame = |frame: &Frame| {
            Dynamic::from(Map::from([
                ("function".into(), text(&frame.function)),
                ("file".into(), text(&frame.file)),
                ("line".into(), number(Some(frame.line))),
                ("column".into(), number(Some(frame.column))),
            ]))
        };
        map.insert("stack".into(), frames.iter().map(frame).collect::<Array>().into());
    }
    map
}

/// The place in a map that [`failure_to_map`] made of an error of the script; without the text of its line.
fn map_to_place(map: &Map) -> Option<SourcePlace> {
    let file = map.get("file")?.as_immutable_string_ref().ok()?.to_string();
    let number = |map: &Map, field: &str| u32::try_from(map.get(field)?.as_int().ok()?).ok();
    let frame = |frame: &Dynamic| {
        let frame = frame.as_map_ref().ok()?;
        let text = |field: &str| Some(frame.get(field)?.as_immutable_string_ref().ok()?.to_string());
        let (line, column) = (number(&frame, "line")?, number(&frame, "column")?);
        Some(Frame { function: text("function")?, file: text("file")?, line, column })
    };
    let stack = map.get("stack").and_then(|stack| stack.as_array_ref().ok());
    let stack = stack.map(|stack| stack.iter().filter_map(frame).collect()).unwrap_or_default();
    Some(SourcePlace { file, line: number(map, "line")?, column: number(map, "column")?, source: String::new(), stack })
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
    let mut failure = Failure::new(text("kind")?.parse::<FailureKind>().ok()?, text("message")?);
    failure.step = text("step");
    failure.step_id = text("step_id").and_then(|id| StepId::parse(&id));
    failure.attempts = map["attempts"].as_int().ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    failure.data = convert::to_value(&map["data"], "data", budget).unwrap_or_default();
    if failure.kind == FailureKind::Script && edition() > 1 {
        failure.place = map_to_place(map).map(Box::new);
    }
    if let Ok(cause) = map["cause"].as_map_ref() {
        failure.cause = map_to_failure_within(&cause, budget, levels - 1).map(Box::new);
    }
    Some(failure)
}
