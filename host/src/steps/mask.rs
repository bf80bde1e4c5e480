//! Secrets, hidden in whatever a step hands to its host.

use std::sync::Arc;

use durhai_core::Value;
use durhai_core::replay::LogLine;

use crate::steps::step::{Note, StepError};

/// The text to take instead of the one given, if there is something to hide in it.
pub(crate) type Mask = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

pub(crate) fn result(mask: Option<&Mask>, result: Result<Value, StepError>) -> Result<Value, StepError> {
    let Some(mask) = mask else { return result };
    match result {
        Ok(mut output) => {
            value(mask, &mut output);
            Ok(output)
        }
        Err(mut error) => {
            text(mask, &mut error.message);
            value(mask, &mut error.data);
            if let Some(failure) = &mut error.failure {
                text(mask, &mut failure.message);
                value(mask, &mut failure.data);
            }
            Err(error)
        }
    }
}

pub(crate) fn note(mask: Option<&Mask>, mut note: Note) -> Note {
    let Some(mask) = mask else { return note };
    match &mut note {
        Note::Heartbeat(detail) => value(mask, detail),
        Note::Log(LogLine { message, fields, .. }) => {
            text(mask, message);
            value(mask, fields);
        }
    }
    note
}

/// A text as it may be shown.
pub(crate) fn hidden(mask: Option<&Mask>, text: &str) -> String {
    mask.and_then(|mask| mask(text)).unwrap_or_else(|| text.to_owned())
}

fn text(mask: &Mask, text: &mut String) {
    if let Some(masked) = mask(text) {
        *text = masked;
    }
}

fn value(mask: &Mask, found: &mut Value) {
    match found {
        Value::String(found) => text(mask, found),
        Value::Array(items) => items.iter_mut().for_each(|item| value(mask, item)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| value(mask, field));
            let named: Vec<_> = fields.keys().filter_map(|key| Some((key.clone(), mask(key)?))).collect();
            for (key, masked) in named {
                if let Some(field) = fields.remove(&key) {
                    fields.insert(masked, field);
                }
            }
        }
        // A secret of digits may come back as a number.
        Value::Number(number) => {
            if let Some(masked) = mask(&number.to_string()) {
                *found = Value::String(masked);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_text_is_looked_at() {
        let mask: Mask = Arc::new(|text| text.contains("4711").then(|| text.replace("4711", "***")));
        let output = json!({ "a": ["x4711", { "k4711": 14711, "b": 1 }], "c": [true, null, 2.5] });
        assert_eq!(
            result(Some(&mask), Ok(output)).unwrap(),
            json!({ "a": ["x***", { "k***": "1***", "b": 1 }], "c": [true, null, 2.5] })
        );
        let error = StepError::fatal("no 4711").data(json!({ "sent": "4711" }));
        let error = result(Some(&mask), Err(error)).unwrap_err();
        assert_eq!((error.message(), &error.data), ("no ***", &json!({ "sent": "***" })));
    }
}
