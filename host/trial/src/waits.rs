//! Runs in words: what they wait for, how they ended.

use durhai::{Millis, RunView, Status, Value, duration};

/// `run run-1 (approval) is waiting: for the signal "decision" until 1d from now (approval.rhai:20:24)`
pub fn describe(view: &RunView, now: Millis) -> String {
    let mut text = format!("run {} ({}) is {}", view.id, view.workflow, view.status);
    if let Some(error) = &view.error {
        text.push_str(&format!(": {}", indent(&error.to_string())));
    }
    if let Some(reason) = &view.reason {
        text.push_str(&format!(": {}", indent(reason)));
    }
    if view.status == Status::Completed {
        text.push_str(&format!(" with {}", crate::values::short(&view.output, 200)));
    }
    if !view.status.is_terminal() && !view.waiting_for.is_empty() {
        let all: Vec<_> = view.waiting_for.iter().map(|wait| one(view, wait, now)).collect();
        text.push_str(&format!(": {}", all.join("; ")));
    }
    text
}

/// What one task waits for.
fn one(view: &RunView, wait: &Value, now: Millis) -> String {
    let field = |key: &str| wait.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = field("name");
    let what = match field("kind") {
        "step" => format!("for the step {name:?}, which is under way"),
        "retry" => format!("to try the step {name:?} again"),
        "sleep" => "asleep".into(),
        "signal" => format!("for the signal {name:?}"),
        "hook" => format!("for a payload of the hook {name:?}"),
        "suspend" if name.is_empty() => "for somebody's answer".into(),
        "suspend" => format!("for somebody's answer to {name:?}"),
        "child" => format!("for its child {} ({name})", field("run_id")),
        "tasks" => "for its tasks".into(),
        kind => format!("for a {kind}"),
    };
    let until = wait
        .get("until")
        .and_then(Value::as_u64)
        .map_or(String::new(), |until| format!(" until {} from now", duration::show(until.saturating_sub(now))));
    let site = field("site");
    // A place in a module names it.
    let file = if site.matches(':').count() > 1 { String::new() } else { format!("{}.rhai:", view.workflow) };
    format!("{what}{until} ({file}{site})")
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n  ")
}
