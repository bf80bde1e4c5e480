//! Steps that are always there: `file.read`, `file.write` and the like.

pub mod env;
mod http;
mod sql;

use std::sync::Arc;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Attempt;
use crate::exec;
use crate::files::{self, Writer};
use crate::step_env::{StepEnv, StepEnvHandle};

/// The built-in steps, under permissions.
#[derive(Debug)]
pub struct BuiltinSteps {
    step_env: StepEnvHandle,
}

/// One of them.
struct Builtin {
    step_env: Arc<StepEnv>,
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    /// Called on a thread that may block.
    Blocks(fn(&StepEnv, &StepContext, Value) -> Result<Value, StepError>),
    /// Waits without a thread; dropped when the host does not want the result any more.
    Waits(fn(Arc<StepEnv>, StepContext, Value) -> Attempt),
    /// The same, and sees for itself that the host does not want the result any more.
    Ends(fn(Arc<StepEnv>, StepContext, Value) -> Attempt),
}

const STEPS: &[(&str, Run, &str)] = &[
    (
        "env.get",
        Run::Blocks(env::step),
        "A variable of the environment: `#{ name }`; `default` is given where it is not set.",
    ),
    (
        "exec.run",
        Run::Ends(exec::step),
        "Runs a program, never a shell: `#{ program, args, stdin, cwd, env, secrets, timeout, max_output, expect, output }`. \
         Gives `#{ status, stdout, stderr }`.",
    ),
    (
        "file.read",
        Run::Blocks(|step_env, c, input| json(files::read(&step_env.permissions, &take::<At>(c, input)?.path)?)),
        "The text of a file: `#{ path }`.",
    ),
    ("file.write", Run::Blocks(write), "Replaces or creates a file, all or nothing: `#{ path, text }`."),
    ("file.append", Run::Blocks(append), "Adds text to the end of a file in one write: `#{ path, text }`."),
    (
        "file.list",
        Run::Blocks(|step_env, c, input| json(files::list(&step_env.permissions, &take::<At>(c, input)?.path)?)),
        "The entries of a folder by name, each with `name`, `kind`, `size` and `modified`: `#{ path }`.",
    ),
    (
        "file.exists",
        Run::Blocks(|step_env, c, input| json(files::exists(&step_env.permissions, &take::<At>(c, input)?.path)?)),
        "Whether there is such a file or folder: `#{ path }`.",
    ),
    (
        "file.remove",
        Run::Blocks(|step_env, c, input| json(files::remove(&step_env.permissions, &take::<At>(c, input)?.path)?)),
        "Removes a file or an empty folder; gives whether it was there: `#{ path }`.",
    ),
    (
        "http.request",
        Run::Waits(|step_env, c, input| http::send(step_env, c, None, input)),
        "Sends an HTTP request, see http.get for what comes back: `#{ method, url, headers, query, json, … }`.",
    ),
    (
        "http.get",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::GET), input)),
        "Gets a URL: its text, or `#{ url, headers, query, … }`. Gives `#{ status, headers, body, encoding, url }`.",
    ),
    (
        "http.post",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::POST), input)),
        "Posts to a URL, see http.get for what comes back: `#{ url, json or form or body or base64, … }`.",
    ),
    (
        "http.put",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::PUT), input)),
        "Puts to a URL, see http.get for what comes back: `#{ url, json or form or body or base64, … }`.",
    ),
    (
        "http.patch",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::PATCH), input)),
        "Patches what is at a URL, see http.get for what comes back: `#{ url, json or form or body or base64, … }`.",
    ),
    (
        "http.delete",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::DELETE), input)),
        "Deletes what is at a URL, see http.get for what comes back: `#{ url, … }`.",
    ),
    (
        "http.head",
        Run::Waits(|step_env, c, input| http::send(step_env, c, Some(Method::HEAD), input)),
        "The status and headers of a URL, see http.get for what comes back: `#{ url, … }`.",
    ),
    (
        "sql.query",
        Run::Waits(sql::query),
        "Rows of a PostgreSQL database, changing nothing: its SQL, or `#{ database, sql, params }`. Gives a list of maps.",
    ),
    (
        "sql.execute",
        Run::Waits(sql::execute),
        "Changes a PostgreSQL database, in one transaction: `#{ database, sql, params }` or `#{ database, statements }`. \
         Gives `#{ count, rows }`, or a list of them.",
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map like #{ path: \"…\" }")]
struct At {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map like #{ path: \"…\", text: \"…\" }")]
struct Text {
    path: String,
    text: String,
}

impl BuiltinSteps {
    pub fn new(step_env: impl Into<StepEnvHandle>) -> Self {
        BuiltinSteps { step_env: step_env.into() }
    }
}

impl StepSource for BuiltinSteps {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let (_, run, _) = STEPS.iter().find(|(step, ..)| *step == name)?;
        Some(Arc::new(Builtin { step_env: self.step_env.current(), run: *run }))
    }

    fn knows(&self, name: &str) -> bool {
        STEPS.iter().any(|(step, ..)| *step == name)
    }

    fn list(&self) -> Vec<StepInfo> {
        let info = |(name, _, description): &(&str, Run, &str)| StepInfo {
            name: (*name).into(),
            kind: "builtin".into(),
            description: (*description).into(),
        };
        STEPS.iter().map(info).collect()
    }
}

impl StepHandler for Builtin {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let step_env = self.step_env.clone();
        match self.run {
            Run::Ends(run) => run(step_env, context, input),
            Run::Waits(run) => Box::pin(async move {
                let work = run(step_env, context.clone(), input);
                tokio::select! {
                    outcome = work => outcome,
                    () = context.cancelled() => Err(StepError::retry("stopped: its result was not wanted any more")),
                }
            }),
            Run::Blocks(run) => Box::pin(async move {
                let work = tokio::task::spawn_blocking(move || run(&step_env, &context, input));
                work.await.unwrap_or_else(|error| Err(StepError::retry(format!("the step ended early: {error}"))))
            }),
        }
    }
}

fn write(step_env: &StepEnv, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Text { path, text } = take(context, input)?;
    let key = context.idempotency_key();
    json(files::write(&step_env.permissions, &path, &text, Writer { key: &key, attempt: context.attempt() })?)
}

fn append(step_env: &StepEnv, context: &StepContext, input: Value) -> Result<Value, StepError> {
    let Text { path, text } = take(context, input)?;
    json(files::append(&step_env.permissions, &path, &text)?)
}

fn take<T: DeserializeOwned>(context: &StepContext, input: Value) -> Result<T, StepError> {
    serde_json::from_value(input)
        .map_err(|error| StepError::fatal(format!("the input of {} does not fit: {error}", context.name())))
}

fn json(output: impl serde::Serialize) -> Result<Value, StepError> {
    Ok(serde_json::to_value(output)?)
}
