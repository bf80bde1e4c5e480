//! Events, log lines and waits as one line of text.

use durhai::event::Takeover;
use durhai::view::LogEntry;
use durhai::{Event, EventBody, Value};

use crate::text::{quoted, short};
use crate::times;

/// The columns of an event in a list: number, time, type, step, detail.
pub fn event(event: &Event, width: usize) -> String {
    let step = event.step_id.as_ref().map(|id| id.as_str()).unwrap_or("-");
    let line = format!(
        "{:>5}  {:<24}  {:<16}  {step:<6}  {}",
        event.seq,
        times::rfc3339(event.at),
        event.body.name(),
        detail(event, width)
    );
    line.trim_end().into()
}

/// A log line with its full time.
pub fn log(entry: &LogEntry) -> String {
    format!("{}  {}", times::rfc3339(entry.line.at), text(entry))
}

/// A log line with the time of day.
pub fn log_short(entry: &LogEntry) -> String {
    format!("{} {}", times::clock(entry.line.at), text(entry))
}

/// What an open task waits for: `signal "approved" (4) until …, line 12:5`.
pub fn waiting(wait: &Value) -> String {
    let field = |name: &str| wait.get(name).filter(|value| !value.is_null());
    let mut line = match field("kind").and_then(Value::as_str).unwrap_or("something") {
        "suspend" => "the answer of a person".to_string(),
        "hook" => "a request to the hook".into(),
        "child" => "the child".into(),
        "tasks" => "its tasks".into(),
        "task" => "a task".into(),
        "retry" => "the next attempt of the step".into(),
        kind => kind.into(),
    };
    if let Some(name) = field("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        line.push_str(&format!(" {name:?}"));
    }
    if let Some(id) = field("step_id").and_then(Value::as_str) {
        line.push_str(&format!(" ({id})"));
    }
    if let Some(run) = field("run_id").and_then(Value::as_str) {
        line.push_str(&format!(", run {run}"));
    }
    if let Some(until) = field("until").and_then(Value::as_u64) {
        line.push_str(&format!(" until {} ({})", times::rfc3339(until), times::from_now(until)));
    }
    if let Some(at) = field("site").and_then(Value::as_str) {
        line.push_str(&format!(", line {at}"));
    }
    line
}

/// The command that ends this wait, where there is one; `several` people are asked at once.
pub fn answer(run: &str, wait: &Value, several: bool) -> Option<String> {
    let text = |name: &str| wait.get(name).and_then(Value::as_str);
    let run = quoted(run);
    match text("kind")? {
        "signal" => Some(format!("durhai signal {run} {} JSON", quoted(text("name")?))),
        "suspend" => Some(resume(&run, text("name"), text("step_id").filter(|_| several))),
        "hook" => Some(format!("durhai hook {} JSON", quoted(text("name")?))),
        _ => None,
    }
}

/// The command that answers a question; the step id names it where no label does.
pub fn resume(run: &str, label: Option<&str>, step_id: Option<&str>) -> String {
    match label.or(step_id) {
        Some(label) => format!("durhai resume {run} JSON --label {}", quoted(label)),
        None => format!("durhai resume {run} JSON"),
    }
}

fn text(entry: &LogEntry) -> String {
    let line = &entry.line;
    let mut text = match line.level.as_str() {
        "info" => line.message.clone(),
        level => format!("{level}: {}", line.message),
    };
    if !line.fields.is_null() {
        text.push_str(&format!("  {}", line.fields));
    }
    if let Some(attempt) = line.attempt.filter(|attempt| *attempt > 1) {
        text.push_str(&format!("  (attempt {attempt})"));
    }
    text
}

fn detail(event: &Event, width: usize) -> String {
    let site = event.site.as_ref().map(|site| format!("  line {site}")).unwrap_or_default();
    let text = match &event.body {
        EventBody::RunCreated(created) => {
            format!("{} {} {}", created.workflow, created.version.short(), short(&created.input, width))
        }
        EventBody::StepStarted { name, input, attempt, label } => {
            let label = label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
            let attempt = if *attempt > 1 { format!(" attempt {attempt}") } else { String::new() };
            let input = input.as_ref().map(|input| format!(" {}", short(input, width))).unwrap_or_default();
            format!("{name}{label}{attempt}{input}")
        }
        EventBody::StepRetrying { attempt, error, retry_at } => {
            format!("attempt {attempt}: {}; again at {}", error.message, times::rfc3339(*retry_at))
        }
        EventBody::StepCompleted { output }
        | EventBody::ChildCompleted { output }
        | EventBody::RunCompleted { output } => short(output, width),
        EventBody::StepFailed { error } | EventBody::ChildFailed { error } | EventBody::RunFailed { error } => {
            format!("{}: {}", error.kind, error.message)
        }
        EventBody::TimerStarted { wake_at } => format!("until {}", times::rfc3339(*wake_at)),
        EventBody::SignalReceived { name, payload, .. } => format!("{name} {}", short(payload, width)),
        EventBody::HookOpened { url, .. } => url.clone(),
        EventBody::HookConflict { token, run_id } => format!("{token} belongs to run {run_id}"),
        EventBody::HookReceived { payload, .. } => short(payload, width),
        EventBody::Suspended { payload, label, wake_at, .. } => {
            let label = label.as_ref().map(|label| format!("{label:?} ")).unwrap_or_default();
            let until = wake_at.map(|at| format!("  until {}", times::rfc3339(at))).unwrap_or_default();
            format!("{label}{}{until}", short(payload, width))
        }
        EventBody::Resumed { data } => short(data, width),
        EventBody::ChildStarted { run_id, name, input, label, detached } => {
            let label = label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
            let detached = if *detached { " detached" } else { "" };
            format!("{name}{label} {run_id}{detached} {}", short(input, width))
        }
        EventBody::CancelRequested { reason, .. } | EventBody::RunCancelled { reason } => reason.clone(),
        EventBody::RunMigrated { from, to } => format!("{} -> {}", from.short(), to.short()),
        EventBody::RunContinued { next } => next.to_string(),
        EventBody::RunStarted { again: Some(Takeover::Anew) } => {
            "with the log taken over; timeouts count from here".into()
        }
        EventBody::RunStarted { again: Some(Takeover::Paused(ms)) } => {
            format!("with the log taken over; timeouts stood still for {}", times::span(*ms))
        }
        EventBody::RunStarted { again: None } | EventBody::TimerFired | EventBody::HookClosed => String::new(),
    };
    format!("{}{site}", text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn waits_in_words() {
        for (wait, text) in [
            (
                json!({ "kind": "signal", "name": "approved", "step_id": "4", "site": "12:5" }),
                "signal \"approved\" (4), line 12:5",
            ),
            (
                json!({ "kind": "child", "name": "pay", "run_id": "p.1", "step_id": "1" }),
                "the child \"pay\" (1), run p.1",
            ),
            (json!({ "kind": "suspend", "name": "ok", "step_id": "2" }), "the answer of a person \"ok\" (2)"),
            (json!({ "kind": "timer", "until": null }), "timer"),
            (json!({}), "something"),
        ] {
            assert_eq!(waiting(&wait), text);
        }
    }

    #[test]
    fn what_ends_a_wait() {
        for (wait, several, command) in [
            (json!({ "kind": "signal", "name": "two words" }), false, Some("durhai signal r 'two words' JSON")),
            (json!({ "kind": "suspend", "step_id": "3" }), false, Some("durhai resume r JSON")),
            (json!({ "kind": "suspend", "step_id": "3" }), true, Some("durhai resume r JSON --label 3")),
            (json!({ "kind": "suspend", "name": "ok", "step_id": "3" }), true, Some("durhai resume r JSON --label ok")),
            (json!({ "kind": "hook", "name": "t" }), false, Some("durhai hook t JSON")),
            (json!({ "kind": "sleep" }), false, None),
            (json!({}), false, None),
        ] {
            assert_eq!(answer("r", &wait, several).as_deref(), command);
        }
    }
}
