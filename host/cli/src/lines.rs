//! Events, log lines and waits as one line of text.

use durhai::{Body, Event, LogEntry, Value};

use crate::output::short;
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

/// What an open task waits for: `signal "approved" (4) until …, line 12`.
pub fn waiting(wait: &Value) -> String {
    let field = |name: &str| wait.get(name).filter(|value| !value.is_null());
    let mut line = field("kind").and_then(Value::as_str).unwrap_or("something").to_string();
    if let Some(name) = field("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        line.push_str(&format!(" {name:?}"));
    }
    if let Some(id) = field("step_id").and_then(Value::as_str) {
        line.push_str(&format!(" ({id})"));
    }
    if let Some(until) = field("until").and_then(Value::as_u64) {
        line.push_str(&format!(" until {} ({})", times::rfc3339(until), times::from_now(until)));
    }
    if let Some(at) = field("line").and_then(Value::as_u64) {
        line.push_str(&format!(", line {at}"));
    }
    line
}

/// The name of the signal that would end this wait.
pub fn signal(wait: &Value) -> Option<&str> {
    let is_signal = wait.get("kind").and_then(Value::as_str) == Some("signal");
    wait.get("name").and_then(Value::as_str).filter(|_| is_signal)
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
    text
}

fn detail(event: &Event, width: usize) -> String {
    let site = event.site.as_ref().map(|site| format!("  line {site}")).unwrap_or_default();
    let text = match &event.body {
        Body::RunCreated(created) => {
            format!("{} {} {}", created.workflow, created.version.short(), short(&created.input, width))
        }
        Body::StepStarted { name, input, attempt, label } => {
            let label = label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
            let attempt = if *attempt > 1 { format!(" attempt {attempt}") } else { String::new() };
            let input = input.as_ref().map(|input| format!(" {}", short(input, width))).unwrap_or_default();
            format!("{name}{label}{attempt}{input}")
        }
        Body::StepRetrying { attempt, error, retry_at } => {
            format!("attempt {attempt}: {}; again at {}", error.message, times::rfc3339(*retry_at))
        }
        Body::StepCompleted { output } | Body::ChildCompleted { output } | Body::RunCompleted { output } => {
            short(output, width)
        }
        Body::StepFailed { error } | Body::ChildFailed { error } | Body::RunFailed { error } => {
            format!("{}: {}", error.kind, error.message)
        }
        Body::TimerStarted { wake_at } => format!("until {}", times::rfc3339(*wake_at)),
        Body::SignalReceived { name, payload, .. } => format!("{name} {}", short(payload, width)),
        Body::HookOpened { token } => token.clone(),
        Body::HookReceived { payload } | Body::Suspended { payload } => short(payload, width),
        Body::Resumed { data } => short(data, width),
        Body::ChildStarted { run_id } => run_id.to_string(),
        Body::CancelRequested { reason } | Body::RunCancelled { reason } => reason.clone(),
        Body::RunMigrated { from, to } => format!("{} -> {}", from.short(), to.short()),
        Body::RunContinued { next } => next.to_string(),
        Body::RunStarted | Body::TimerFired | Body::HookClosed => String::new(),
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
                json!({ "kind": "signal", "name": "approved", "step_id": "4", "line": 12 }),
                "signal \"approved\" (4), line 12",
            ),
            (json!({ "kind": "timer", "until": null }), "timer"),
            (json!({}), "something"),
        ] {
            assert_eq!(waiting(&wait), text);
        }
    }
}
