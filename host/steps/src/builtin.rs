//! Steps that are always there: `file.read`, `file.write` and the like.

use std::sync::Arc;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Attempt;
use crate::files::{self, Writer};
use crate::permissions::Permissions;

/// The built-in steps, under permissions.
#[derive(Debug)]
pub struct BuiltinSteps {
    permissions: Arc<Permissions>,
}

/// One of them.
struct Builtin {
    permissions: Arc<Permissions>,
    run: Run,
}

/// Blocks; called on a thread that may.
type Run = fn(&Permissions, &StepContext, Value) -> Result<Value, StepError>;

const STEPS: [(&str, Run, &str); 6] = [
    ("file.read", |p, c, input| json(files::read(p, &take::<At>(c, input)?.path)?), "The text of a file: `#{ path }`."),
    ("file.write", write, "Replaces or creates a file, all or nothing: `#{ path, text }`."),
    ("file.append", append, "Adds text to the end of a file in one write: `#{ path, text }`."),
    (
        "file.list",
        |p, c, input| json(files::list(p, &take::<At>(c, input)?.path)?),
        "The entries of a folder by name, each with `name`, `kind`, `size` and `modified`: `#{ path }`.",
    ),
    (
        "file.exists",
        |p, c, input| json(files::exists(p, &take::<At>(c, input)?.path)?),
        "Whether there is such a file or folder: `#{ path }`.",
    ),
    (
        "file.remove",
        |p, c, input| json(files::remove(p, &take::<At>(c, input)?.path)?),
        "Removes a file or an empty folder; gives whether it was there: `#{ path }`.",
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    path: String,
    text: String,
}

impl BuiltinSteps {
    pub fn new(permissions: Permissions) -> Self {
        BuiltinSteps { permissions: Arc::new(permissions) }
    }
}

impl StepSource for BuiltinSteps {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let (_, run, _) = STEPS.into_iter().find(|(step, ..)| *step == name)?;
        Some(Arc::new(Builtin { permissions: self.permissions.clone(), run }))
    }

    fn list(&self) -> Vec<StepInfo> {
        let info = |(name, _, description): (&str, Run, &str)| StepInfo {
            name: name.into(),
            kind: "builtin".into(),
            description: description.into(),
        };
        STEPS.into_iter().map(info).collect()
    }
}

impl StepHandler for Builtin {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let (permissions, run) = (self.permissions.clone(), self.run);
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || run(&permissions, &context, input));
            work.await.unwrap_or_else(|error| Err(StepError::retry(format!("the step ended early: {error}"))))
        })
    }
}

fn write(permissions: &Permissions, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Text { path, text } = take(context, input)?;
    let key = context.idempotency_key();
    json(files::write(permissions, &path, &text, Writer { key: &key, attempt: context.attempt() })?)
}

fn append(permissions: &Permissions, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Text { path, text } = take(context, input)?;
    json(files::append(permissions, &path, &text)?)
}

fn take<T: DeserializeOwned>(context: &StepContext, input: Value) -> Result<T, StepError> {
    serde_json::from_value(input)
        .map_err(|error| StepError::fatal(format!("the input of {} does not fit: {error}", context.name())))
}

fn json(output: impl serde::Serialize) -> Result<Value, StepError> {
    Ok(serde_json::to_value(output)?)
}
