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

const fn file(name: &'static str, forms: &'static [&'static str], text: &'static str) -> StepDoc {
    StepDoc { module: "file", name, forms, text }
}

const fn http(name: &'static str, forms: &'static [&'static str], text: &'static str) -> StepDoc {
    StepDoc { module: "http", name, forms, text }
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
    file("read", &["(path: String) -> String"], "The text of a file. Needs `--allow-read`."),
    file(
        "write",
        &["(path: String, text: String) -> int"],
        "Puts a text into a file, as a whole or not at all, and gives its bytes. Needs `--allow-write`.",
    ),
    file(
        "append",
        &["(path: String, text: String) -> int"],
        "Adds a text to the end of a file and gives the bytes it added. Needs `--allow-write`.",
    ),
    file("list", &["(path: String) -> Array"], "What is in a folder. Needs `--allow-read`."),
    file("exists", &["(path: String) -> bool"], "Whether there is something. Needs `--allow-read`."),
    file("remove", &["(path: String) -> bool"], "Removes a file; false if there was none. Needs `--allow-write`."),
    http("get", REQUEST, "Sends a GET request. See `http::request`."),
    http("post", REQUEST, "Sends a POST request. See `http::request`."),
    http("put", REQUEST, "Sends a PUT request. See `http::request`."),
    http("patch", REQUEST, "Sends a PATCH request. See `http::request`."),
    http("delete", REQUEST, "Sends a DELETE request. See `http::request`."),
    http("head", REQUEST, "Sends a HEAD request. See `http::request`."),
    http(
        "request",
        &["(method: String, url: String) -> Map", "(method: String, url: String, options: Map) -> Map"],
        "Sends an HTTP request and gives the answer: `status`, `headers`, and its body. Options: `headers`, `query`, one of \
         `json`, `body`, `form` and `base64`, `timeout`, `redirects`, `max_size` in bytes, `expect` (statuses that count as \
         done beside 2xx), `response` (`\"auto\"`, `\"json\"`, `\"text\"`, `\"base64\"`), `bearer`, `basic: #{ user, password }` and \
         `secrets` (header to secret) by names of secrets, `idempotency_key`. Needs `--allow-net`. Throws what is retried \
         for 408, 425, 429 and 5xx (`Retry-After` is obeyed) and when nobody answers, what is not for other statuses.",
    ),
    // exec and env: add here.
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
}
