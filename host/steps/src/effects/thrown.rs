//! Errors that say whether another attempt makes sense.

use durhai::{StepError, Value};
use rhai::{Dynamic, Engine, EvalAltResult, Position};

use crate::convert::{to_duration, to_dynamic, to_json};

pub type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// What `fatal`, `retry_after` and the file functions throw: a script that catches it can look and throw it again.
#[derive(Debug, Clone)]
pub struct ThrownStepError {
    pub error: StepError,
    pub data: Value,
}

pub fn add_step_errors(engine: &mut Engine) {
    engine.register_type_with_name::<ThrownStepError>("StepError");
    engine.register_get("message", |error: &mut ThrownStepError| error.error.message().to_owned());
    engine.register_get("fatal", |error: &mut ThrownStepError| error.error.is_fatal());
    engine.register_get("data", |error: &mut ThrownStepError| to_dynamic(error.data.clone()).unwrap_or_default());
    engine.register_fn("to_string", |error: &mut ThrownStepError| error.error.message().to_owned());
    engine.register_fn("to_debug", |error: &mut ThrownStepError| error.error.message().to_owned());

    let throw = |make: fn(String) -> StepError, message: Dynamic| -> Fallible<Dynamic> {
        let (message, data) = in_words(&message);
        Err(ThrownStepError { error: make(message), data }.thrown())
    };
    engine.register_fn("fatal", move |message: Dynamic| throw(StepError::fatal, message));
    engine.register_fn("fatal", |message: &str, data: Dynamic| -> Fallible<Dynamic> {
        Err(ThrownStepError { error: StepError::fatal(message), data: to_json(&data)? }.thrown())
    });
    engine.register_fn("retry_after", |wait: Dynamic, message: &str| -> Fallible<Dynamic> {
        Err(ThrownStepError { error: StepError::retry(message).retry_after(to_duration(&wait)?), data: Value::Null }
            .thrown())
    });
    engine.register_fn("retry_after", |wait: Dynamic, message: &str, data: Dynamic| -> Fallible<Dynamic> {
        let error = StepError::retry(message).retry_after(to_duration(&wait)?);
        Err(ThrownStepError { error, data: to_json(&data)? }.thrown())
    });
}

impl ThrownStepError {
    pub fn thrown(self) -> Box<EvalAltResult> {
        EvalAltResult::ErrorRuntime(Dynamic::from(self), Position::NONE).into()
    }
}

impl From<StepError> for ThrownStepError {
    fn from(error: StepError) -> Self {
        let data = error.details().clone();
        ThrownStepError { error, data }
    }
}

/// The outcome of a function of a module, for the script that called it.
pub fn give<T>(result: Result<T, StepError>) -> Fallible<T> {
    result.map_err(|error| ThrownStepError::from(error).thrown())
}

/// A thrown value as a message and what is kept of it as data.
pub fn in_words(thrown: &Dynamic) -> (String, Value) {
    if let Ok(text) = thrown.as_immutable_string_ref() {
        return (text.to_string(), Value::Null);
    }
    let data = to_json(thrown).unwrap_or_else(|_| thrown.to_string().into());
    match data.get("message").and_then(Value::as_str) {
        Some(message) => (message.to_owned(), data),
        None => (data.to_string(), data),
    }
}
