//! `exec.run`, and `exec::run` in scripts: a program under permissions.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use durhai::json::{self, JsonError};
use durhai::{StepContext, StepError, Value, duration};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::json;

use super::variables::{for_script, search_path};
use super::{Done, Ending, Job, MOST_OUTPUT, OUTPUT, run};
use crate::Attempt;
use crate::attempt::Caller;
use crate::permissions::{Access, Refusal};
use crate::step_env::StepEnv;

/// Unless a call says otherwise; as long as steps in scripts may take.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// Bytes of stdout and of stderr that an error carries.
const EXCERPT: usize = 4 * 1024;
/// Bytes of stdout that a message shows.
const BEGINNING: usize = 200;

/// What is asked of `exec.run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map like #{ program: \"git\", args: [\"status\"] }")]
pub struct Asked {
    program: String,
    #[serde(default)]
    args: Vec<Word>,
    /// Text as it is, all else as JSON.
    #[serde(default)]
    stdin: Value,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, Word>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "length")]
    timeout: Option<Duration>,
    #[serde(default)]
    max_output: Option<usize>,
    #[serde(default = "success")]
    expect: Vec<i32>,
    #[serde(default)]
    output: Output,
    /// What a script gives instead of `stdin`.
    #[serde(skip)]
    pub bytes: Option<Vec<u8>>,
}

/// An argument: text, or what is written as text without a doubt.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected text, a number or a truth value")]
enum Word {
    Text(String),
    Int(i64),
    Float(f64),
    Flag(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    #[default]
    Text,
    Json,
    Base64,
}

/// The built-in step.
pub fn step(step_env: Arc<StepEnv>, context: StepContext, input: Value) -> Attempt {
    Box::pin(async move {
        let asked = serde_json::from_value(input)
            .map_err(|error| StepError::fatal(format!("the input of exec.run does not fit: {error}")))?;
        exec(&step_env, &Caller::new(&context), asked, context.cancelled()).await
    })
}

/// `#{ status, stdout, stderr }` of a program that ended as expected.
pub async fn exec(
    step_env: &StepEnv,
    caller: &Caller,
    asked: Asked,
    unwanted: impl Future<Output = ()>,
) -> Result<Value, StepError> {
    let Asked { program, args, stdin, cwd, env, secrets, timeout, max_output, expect, output, bytes } = asked;
    let file = step_env.permissions.program(&program, search_path(&step_env.environment))?;
    let env = env.into_iter().map(|(name, word)| (name, word.text())).collect();
    let variables = for_script(step_env, caller, env, &secrets)?;
    let max_output = max_output.unwrap_or(OUTPUT);
    if max_output > MOST_OUTPUT {
        return Err(StepError::fatal(format!("max_output is {max_output}, and {MOST_OUTPUT} bytes at most")));
    }
    let job = Job {
        name: program,
        file,
        args: args.into_iter().map(Word::text).collect(),
        stdin: match (bytes, stdin) {
            (Some(bytes), _) => bytes,
            (None, Value::Null) => Vec::new(),
            (None, Value::String(text)) => text.into_bytes(),
            (None, other) => other.to_string().into_bytes(),
        },
        cwd: folder(step_env, cwd.as_deref())?,
        variables,
        timeout: Some(timeout.unwrap_or(TIMEOUT)),
        max_output,
    };
    let name = job.name.clone();
    let tell = |line| caller.log("info", line, Value::Null);
    let done = run(job, &step_env.known, &tell, unwanted).await?;
    match done.ending {
        Ending::Status(status) if expect.contains(&status) => {
            let stdout = output.of(&name, &done, step_env)?;
            Ok(json!({ "status": status, "stdout": stdout, "stderr": done.stderr }))
        }
        // What a shell and its relatives say for a program that they cannot find or run.
        Ending::Status(126 | 127) => Err(failed(step_env, &name, &done, StepError::fatal)),
        _ => Err(failed(step_env, &name, &done, StepError::retry)),
    }
}

/// The error of a program that ended otherwise than it should: its last line of stderr in the message, the rest as data.
pub fn failed(step_env: &StepEnv, name: &str, done: &Done, error: fn(String) -> StepError) -> StepError {
    let mut message = format!("{name} {}", done.ending);
    if let Some(last) = done.stderr.lines().rev().find(|line| !line.trim().is_empty()) {
        message.push_str(": ");
        message.push_str(last.trim());
    }
    // From the beginning of a line.
    let start = done.stderr.len().saturating_sub(EXCERPT);
    let next_line = done.stderr.as_bytes()[start..].iter().position(|byte| *byte == b'\n');
    let stderr = match next_line {
        Some(end) if start > 0 => &done.stderr[start + end + 1..],
        _ => &done.stderr,
    };
    let mut data = json!({ "stdout": step_env.known.excerpt(&String::from_utf8_lossy(&done.stdout), EXCERPT, true), "stderr": stderr });
    match done.ending {
        Ending::Status(status) => data["status"] = status.into(),
        Ending::Signal(signal) => data["signal"] = signal.into(),
    }
    error(message).data(data)
}

impl Output {
    fn of(self, name: &str, done: &Done, step_env: &StepEnv) -> Result<Value, StepError> {
        match self {
            Output::Base64 => Ok(STANDARD.encode(&done.stdout).into()),
            Output::Text => match std::str::from_utf8(&done.stdout) {
                Ok(text) => Ok(text.into()),
                Err(error) => Err(StepError::fatal(format!(
                    "what {name} wrote to stdout is no UTF-8 text (byte {}): take it with output: \"base64\"",
                    error.valid_up_to()
                ))),
            },
            Output::Json => in_json(name, &done.stdout, step_env),
        }
    }
}

/// Standard output as JSON; nothing at all is null.
pub fn in_json(name: &str, stdout: &[u8], step_env: &StepEnv) -> Result<Value, StepError> {
    // What some programs write in front of a text is no part of it.
    let stdout = stdout.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stdout);
    if stdout.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    json::from_slice(stdout, "output").map_err(|error| match error {
        JsonError::Syntax(error) => {
            let begins = step_env.known.excerpt(&String::from_utf8_lossy(stdout), BEGINNING, true);
            StepError::fatal(format!("what {name} wrote to stdout is no JSON ({error}): {begins}"))
        }
        JsonError::TooLong(number) => {
            let message = format!("what {name} wrote to stdout cannot be taken: {number}");
            StepError::fatal(step_env.known.excerpt(&message, usize::MAX, true))
        }
    })
}

fn folder(step_env: &StepEnv, cwd: Option<&str>) -> Result<PathBuf, StepError> {
    match cwd {
        Some(cwd) => step_env.permissions.resolve(Access::Read, cwd).map_err(|refusal| match refusal {
            Refusal::Denied(message) => StepError::fatal(message),
            Refusal::Io(error) => StepError::fatal(format!("the folder {cwd} to run in: {error}")),
        }),
        None => std::env::current_dir()
            .map_err(|error| StepError::retry(format!("the current folder of the host cannot be found: {error}"))),
    }
}

fn success() -> Vec<i32> {
    vec![0]
}

fn length<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        value => match duration::from_json(&value).map_err(|why| D::Error::custom(format!("`timeout`: {why}")))? {
            0 => Err(D::Error::custom("`timeout` is 0: no program is that fast")),
            ms => Ok(Some(Duration::from_millis(ms))),
        },
    }
}

impl Word {
    fn text(self) -> String {
        match self {
            Word::Text(text) => text,
            Word::Int(number) => number.to_string(),
            Word::Float(number) => number.to_string(),
            Word::Flag(flag) => flag.to_string(),
        }
    }
}
