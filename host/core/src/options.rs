//! What a script may say about a step beside its name and input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Millis, RunId, Value};

/// Options of `run_workflow` and `start_workflow`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildOptions {
    /// The id of the new run; made from the caller's id and the call otherwise.
    pub id: Option<RunId>,
    pub tags: BTreeMap<String, String>,
    /// How long the whole run may take, instead of what its workflow says.
    pub timeout: Option<Millis>,
    /// Among the runs that wait for their workflow's `concurrency`; higher goes first.
    pub priority: i32,
    /// It begins that much later.
    pub delay: Option<Millis>,
    /// Shown instead of the name of the workflow.
    pub label: Option<String>,
}

/// Options of one `use_step` call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepOptions {
    pub retry: RetryPolicy,
    /// The call itself asks for `retry`; else what the host knows of the step comes first, see
    /// [`AttemptError::policy`](crate::replay::AttemptError::policy).
    pub asked_retry: bool,
    /// The longest one attempt may take.
    pub timeout: Option<Millis>,
    /// The longest all attempts and the waits between them may take, from the first start.
    pub deadline: Option<Millis>,
    /// At most once: an attempt that a crash interrupted is not repeated.
    pub once: bool,
    /// Shown instead of the name.
    pub label: Option<String>,
}

/// How often, and after which wait, a failed attempt is repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; at least 1.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub initial: Millis,
    /// Each further wait is this many times the one before.
    pub factor: f64,
    /// No wait is longer; see [`longest`](RetryPolicy::longest).
    pub max: Millis,
    /// Each wait is shortened by a random part of at most this fraction (0 to 1), drawn from the run's seed.
    pub jitter: f64,
    /// Errors that no further attempt mends: each is the kind of one (`timeout`), a code in its data (`card_declined`, `418`), or words of
    /// its message. See [`gives_up`](RetryPolicy::gives_up).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 4,
            initial: 1_000,
            factor: 2.0,
            max: RetryPolicy::MAX,
            jitter: 0.1,
            unless: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// The longest wait where nothing is said about it.
    pub const MAX: Millis = 60_000;

    /// The longest wait there is: the first one is never cut. Where `max` was left as it is, and the first wait is longer
    /// already, it may grow to a hundred times that.
    pub fn longest(&self) -> Millis {
        match self.max {
            max if self.initial <= max => max,
            RetryPolicy::MAX => self.initial.saturating_mul(100),
            _ => self.initial,
        }
    }

    /// Takes over what a script or the host says about the waits; `None` where it says nothing.
    pub fn say_waits(&mut self, initial: Option<Millis>, max: Option<Millis>) {
        self.initial = initial.unwrap_or(self.initial);
        self.max = match max {
            Some(max) => max.max(self.initial),
            None => self.longest(),
        };
    }

    /// Whether an error is one of those that no further attempt mends.
    pub fn gives_up(&self, kind: &str, message: &str, data: &Value) -> bool {
        self.unless.iter().any(|one| one == kind || has_code(data, one) || has_words(message, one))
    }

    /// One attempt, no second one.
    pub fn never() -> Self {
        RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }
    }
}

/// The fields of an error's data that say which one it is.
const CODES: [&str; 5] = ["code", "status", "kind", "type", "name"];

fn has_code(data: &Value, wanted: &str) -> bool {
    CODES.iter().filter_map(|field| data.get(field)).any(|found| match found {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        _ => false,
    })
}

/// Whether these words stand in a text, in this order and as whole words; upper case counts as lower case.
fn has_words(text: &str, words: &str) -> bool {
    let (text, words) = (text.to_lowercase(), words.trim().to_lowercase());
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !words.is_empty()
        && text.match_indices(&words).any(|(at, found)| {
            let (first, last) = (found.chars().next(), found.chars().next_back());
            let begins = !(inside(first) && inside(text[..at].chars().next_back()));
            begins && !(inside(last) && inside(text[at + found.len()..].chars().next()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_that_no_attempt_mends() {
        let policy =
            |unless: &str| RetryPolicy { unless: vec!["nothing".into(), unless.into()], ..RetryPolicy::default() };
        for (unless, message, data, found) in [
            ("step_failed", "", json!(null), true),
            ("card_declined", "no", json!({ "code": "card_declined" }), true),
            ("card_declined", "no", json!({ "code": "card_declined_2" }), false),
            ("418", "no", json!({ "status": 418 }), true),
            ("41", "no", json!({ "status": 418 }), false),
            ("23505", "no", json!({ "code": "23505", "constraint": "c" }), true),
            ("insufficient funds", "Card refused: Insufficient Funds.", json!(null), true),
            ("insufficient  funds", "insufficient funds", json!(null), false),
            ("fund", "insufficient funds", json!(null), false),
            ("418", "HTTP 418: a teapot", json!(null), true),
            ("418", "took 4180 ms", json!(null), false),
            ("(x)", "it is (x), no", json!(null), true),
            ("ß", "STRASSE", json!(null), false),
            ("straße", "die Straße", json!(null), true),
            ("", "anything", json!(null), false),
            (" ", "any thing", json!(null), false),
            ("code", "no", json!({ "other": "code" }), false),
        ] {
            assert_eq!(policy(unless).gives_up("step_failed", message, &data), found, "{unless:?} {message:?} {data}");
        }
    }
}
