//! `env.get`: variables of the environment.

use durhai::{StepContext, StepError, Value};
use serde::Deserialize;

use super::take;
use crate::step_env::StepEnv;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map like #{ name: \"HOME\" }")]
struct Asked {
    name: String,
    /// Given where the variable is not set, also if it is null.
    #[serde(default, deserialize_with = "given")]
    default: Option<Value>,
}

/// The built-in step.
pub fn step(step_env: &StepEnv, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Asked { name, default } = take(context, input)?;
    match default {
        Some(default) => Ok(look(step_env, &name)?.map_or(default, Value::from)),
        None => get(step_env, &name).map(Value::from),
    }
}

/// Its value; fatal if it is not set.
pub fn get(step_env: &StepEnv, name: &str) -> Result<String, StepError> {
    look(step_env, name)?.ok_or_else(|| {
        StepError::fatal(format!("the variable {name} is not set: set it, or name a default to take instead"))
    })
}

/// Its value, if it is set.
pub fn look(step_env: &StepEnv, name: &str) -> Result<Option<String>, StepError> {
    step_env.permissions.variable(name)?;
    Ok(step_env.environment.get(name).map(str::to_owned))
}

fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}
