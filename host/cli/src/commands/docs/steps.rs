//! What scripts in `steps/` can call beside Rhai's own functions, the library's and their own.

use serde::Serialize;

/// A function of the engine that runs `steps/*.rhai`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StepDoc {
    /// `file`; empty: it stands alone.
    pub module: &'static str,
    pub name: &'static str,
    /// Parameters and result of each form, as definition files write them: `(path: String) -> String`.
    pub forms: &'static [&'static str],
    /// Markdown; the first sentence says what it does.
    pub text: &'static str,
}

/// The modules of the standard library that steps have without an import.
pub const ALWAYS: [&str; 4] = ["hash", "json", "text", "time"];

impl StepDoc {
    /// `file::read`.
    pub fn path(&self) -> String {
        if self.module.is_empty() { self.name.into() } else { format!("{}::{}", self.module, self.name) }
    }
}

const fn own(name: &'static str, forms: &'static [&'static str], text: &'static str) -> StepDoc {
    StepDoc { module: "", name, forms, text }
}

const fn of(module: &'static str, name: &'static str, forms: &'static [&'static str], text: &'static str) -> StepDoc {
    StepDoc { module, name, forms, text }
}

const REQUEST: &[&str] = &["(url: String) -> Map", "(url: String, options: Map) -> Map"];

/// All of them.
pub const STEP_CALLS: &[StepDoc] = &[
    own("attempt", &["() -> int"], "Which attempt of this step this is, from 1."),
    own("run_id", &["() -> String"], "The run that asked for the step; empty for one called by hand."),
    own("workflow_name", &["() -> String"], "The workflow of that run."),
    own("step_id", &["() -> String"], "Which call of the run this is: `4`, `4.2.1`."),
    own(
        "idempotency_key",
        &["() -> String"],
        "A text that is the same for all attempts of this call, and for no other call: give it to services, so that what \
         an earlier attempt did is not done twice.",
    ),
    own("is_cancelled", &["() -> bool"], "Whether the result is not wanted any more: clean up and return."),
    own("heartbeat", &["(detail: ?)"], "Tells how far the attempt is. The detail is any value that JSON can hold."),
    own(
        "log",
        &["(level: String, message: ?)", "(level: String, message: ?, fields: Map)"],
        "Writes a line to the run's log, with the step and its attempt. Levels: `debug`, `info`, `warn`, `error`.",
    ),
    own(
        "sleep",
        &["(duration: ?)"],
        "Waits on the real clock, and not durably: seconds, or text like \"250ms\". It ends early when the attempt must.",
    ),
    own("now", &["() -> int"], "The real time in Unix milliseconds."),
    own(
        "fatal",
        &["(message: ?)", "(message: String, data: ?)"],
        "Ends the step as failed for good: no further attempt. The data reaches the workflow under `data` of the error. Any \
         other error of a step is retried.",
    ),
    own(
        "retry_after",
        &["(wait: ?, message: String)", "(wait: ?, message: String, data: ?)"],
        "Ends the attempt as failed, to be made again after so long: seconds, or text like \"1m\".",
    ),
    own(
        "secret",
        &["(name: String) -> String"],
        "The value of a secret that `durhai.toml` or the environment names. It is hidden in whatever the step hands over: \
         output, errors, log.",
    ),
    of(
        "file",
        "read",
        &["(path: String) -> String"],
        "The text of a file, UTF-8 and at most 2 MiB. Needs `--allow-read`.",
    ),
    of(
        "file",
        "write",
        &["(path: String, text: String) -> int"],
        "Puts a text into a file, as a whole or not at all, and gives its bytes; folders are made. Needs `--allow-write`.",
    ),
    of(
        "file",
        "append",
        &["(path: String, text: String) -> int"],
        "Adds a text to the end of a file in one write and gives the bytes it added. Needs `--allow-write`.",
    ),
    of(
        "file",
        "list",
        &["(path: String) -> Array"],
        "What is in a folder, by name: maps with `name`, `kind` (`file`, `folder`, `link`, `other`), `size` in bytes and \
         `modified` in Unix milliseconds. Needs `--allow-read`.",
    ),
    of("file", "exists", &["(path: String) -> bool"], "Whether there is something. Needs `--allow-read`."),
    of(
        "file",
        "remove",
        &["(path: String) -> bool"],
        "Removes a file or an empty folder and gives whether it was there. Needs `--allow-write`.",
    ),
    of("http", "get", REQUEST, "Sends a GET request. Options and answer are those of `http::request`."),
    of("http", "post", REQUEST, "Sends a POST request. Options and answer are those of `http::request`."),
    of("http", "put", REQUEST, "Sends a PUT request. Options and answer are those of `http::request`."),
    of("http", "patch", REQUEST, "Sends a PATCH request. Options and answer are those of `http::request`."),
    of("http", "delete", REQUEST, "Sends a DELETE request. Options and answer are those of `http::request`."),
    of("http", "head", REQUEST, "Sends a HEAD request. Options and answer are those of `http::request`."),
    of(
        "http",
        "request",
        &["(method: String, url: String) -> Map", "(method: String, url: String, options: Map) -> Map"],
        "Sends an HTTP request and gives the answer: `#{ status, headers, body, encoding, url }`, the encoding being \
         `\"json\"`, `\"text\"`, `\"base64\"` or `\"empty\"`. Options: `headers`, `query`, one of `json`, `body`, `form` and `base64`, \
         `timeout`, `redirects` (how many are followed), `max_size` in bytes, `expect` (statuses that are no failure beside \
         2xx), `response` (`\"auto\"`, `\"json\"`, `\"text\"`, `\"base64\"`), `bearer`, `basic: #{ user, password }` and `secrets` \
         (header to secret) by names of secrets, `idempotency_key`. Needs `--allow-net`. No answer, 408, 425, 429 and 5xx \
         throw what is retried, after `Retry-After` if the answer has it; other statuses what is not.",
    ),
    of(
        "exec",
        "run",
        &["(program: String, args: Array) -> Map", "(program: String, args: Array, options: Map) -> Map"],
        "Runs a program, without a shell, and gives `#{ status, stdout, stderr }`. Options: `stdin` (text, a blob, or a value \
         that is sent as JSON), `cwd`, `env`, `secrets` (variable to secret), `timeout`, `max_output` in bytes, `expect` \
         (statuses that are no failure, `[0]` unless told), `output` (`\"text\"`, `\"json\"`, `\"base64\"`). Another status is \
         thrown. Needs `--allow-exec`.",
    ),
    of(
        "env",
        "get",
        &["(name: String) -> String", "(name: String, other: ?) -> ?"],
        "A variable of the environment; fatal, or `other`, if it is not set. Needs `--allow-env`.",
    ),
    of("env", "has", &["(name: String) -> bool"], "Whether a variable is set. Needs `--allow-env`."),
    of(
        "sql",
        "query",
        &["(database: String, sql: String) -> Array", "(database: String, sql: String, params: Array) -> Array"],
        "Rows of a PostgreSQL database that `durhai.toml` names, as maps by the names of columns; `$1` in the SQL is the first \
         parameter. It only reads: the server refuses all else. Needs `--allow-sql`.",
    ),
    of(
        "sql",
        "execute",
        &[
            "(database: String, sql: String) -> Map",
            "(database: String, sql: String, params: Array) -> Map",
            "(database: String, statements: Array) -> Array",
        ],
        "Changes a database, and gives `#{ count, rows }`: how many rows the statement changed, and those it returns. \
         Statements like `#{ sql, params }` in a list are one transaction. Made at least once, with the step that it is in; the built-in step \
         `sql.execute` is made exactly once in the database that the host keeps its runs in. Needs `--allow-sql`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once_and_forms_can_be_read() {
        let mut paths: Vec<_> = STEP_CALLS.iter().map(StepDoc::path).collect();
        paths.sort();
        let count = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), count);
        for call in STEP_CALLS {
            assert!(call.forms.iter().all(|form| form.starts_with('(') && form.contains(')')), "{}", call.path());
            assert!(call.text.ends_with('.'), "{}", call.path());
        }
    }

    /// A call of a form with something for each parameter.
    fn made_up(call: &StepDoc, form: &str) -> String {
        let (parameters, _) = form.trim_start_matches('(').split_once(')').expect("parameters");
        let values = parameters.split(", ").filter(|text| !text.is_empty()).map(|parameter| {
            match parameter.split_once(": ").expect("a type") {
                ("level", _) => "\"info\"",
                (_, "String" | "?") => "\"x\"",
                (_, "Map") => "#{}",
                (_, "Array") => "[]",
                (name, other) => panic!("{name}: {other}"),
            }
        });
        format!("{}({})", call.path(), values.collect::<Vec<_>>().join(", "))
    }

    /// Each call is found by the engine of steps, with so many parameters of these types, whatever comes of it.
    #[tokio::test]
    async fn steps_have_what_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let forms: Vec<_> =
            STEP_CALLS.iter().flat_map(|call| call.forms.iter().map(move |form| (call, *form))).collect();
        let functions = forms
            .iter()
            .enumerate()
            .map(|(index, (call, form))| format!("fn f{index}() {{ {} }}\n", made_up(call, form)));
        std::fs::create_dir(dir.path().join("steps")).expect("a folder");
        std::fs::write(dir.path().join("steps/all.rhai"), functions.collect::<String>()).expect("a file");
        let steps = durhai_steps::RhaiSteps::open(dir.path(), durhai_steps::Permissions::none());
        let builder = durhai::Host::builder().world(durhai::MemoryWorld::new()).workers(1);
        let host = builder.steps(std::sync::Arc::new(steps)).start().await.expect("a host");
        for (index, (call, form)) in forms.iter().enumerate() {
            let result = host.call_step(&format!("all.f{index}"), durhai::Value::Null).await;
            let said = result.err().map(|error| error.message).unwrap_or_default();
            assert!(!said.contains("unction not found") && !said.contains("no step"), "{}{form}: {said}", call.path());
        }
        host.shutdown().await;
    }
}
