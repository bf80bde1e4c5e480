//! `env.get`: variables of the environment.

use durhai::{StepContext, StepError, Value};
use serde::Deserialize;

use super::take;
use crate::outside::Kit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map like #{ name: \"HOME\" }")]
struct Asked {
    name: String,
    /// Given where the variable is not set, also if it is null.
    #[serde(default, deserialize_with = "given")]
    default: Option<Value>,
}

/// The built-in step.
pub fn step(kit: &Kit, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Asked { name, default } = take(context, input)?;
    match default {
        Some(default) => Ok(look(kit, &name)?.map_or(default, Value::from)),
        None => get(kit, &name).map(Value::from),
    }
}

/// Its value; fatal if it is not set.
pub fn get(kit: &Kit, name: &str) -> Result<String, StepError> {
    look(kit, name)?.ok_or_else(|| {
        StepError::fatal(format!("the variable {name} is not set: set it, or name a default to take instead"))
    })
}

/// Its value, if it is set.
pub fn look(kit: &Kit, name: &str) -> Result<Option<String>, StepError> {
    kit.permissions.variable(name)?;
    Ok(kit.environment.get(name).map(str::to_owned))
}

fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}
