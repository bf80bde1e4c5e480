//! A run in short lines.

use durhai::event::LogLine;
use durhai::{Event, EventBody, Failure, Millis, RunView, Status, Value};
use durhai_core::duration;
use durhai_testkit::START;

/// Its events, what it wrote, and how it ended.
pub fn result(events: &[Event], lines: &[LogLine], view: &RunView, shown: &[String]) -> String {
    let mut out = Vec::new();
    let mut before = START;
    for event in events.iter().skip(1) {
        let moved = if event.at == before { String::new() } else { format!(" @{}", since(event.at)) };
        before = event.at;
        out.push(format!("{}{moved}", full(event)));
    }
    out.extend(lines.iter().map(|line| format!("| {} {}", line.level, line.message)));
    out.extend_from_slice(shown);
    out.push(end(view));
    out.join("\n")
}

/// What it shows of itself: one line each for its state, its status text and its streams.
pub fn shown(view: &RunView, streams: &[(String, Vec<Value>)]) -> Vec<String> {
    let mut out = Vec::new();
    if view.state.as_object().is_some_and(|state| !state.is_empty()) {
        out.push(format!("% state {}", view.state));
    }
    out.extend(view.status_text.as_ref().map(|text| format!("% status {text}")));
    for (name, values) in streams {
        out.push(format!("% {name} {}", Value::from(values.clone())));
    }
    out
}

/// How it stands.
pub fn end(view: &RunView) -> String {
    match view.status {
        Status::Continued => format!("= continued as {}", view.next.as_ref().expect("a successor")),
        Status::Completed => format!("= completed {}", view.output),
        Status::Cancelled => format!("= cancelled: {}", view.reason.as_deref().unwrap_or_default()),
        Status::Failed => {
            let error = view.error.as_ref().expect("a failed run has an error");
            let place = error
                .place
                .as_ref()
                .map(|place| format!("\n  {}:{}:{}: {}", place.file, place.line, place.column, place.source.trim()));
            format!("= failed {}{}", failure(error), place.unwrap_or_default())
        }
        Status::Parked => format!("= parked: {}", view.reason.as_deref().unwrap_or_default()),
        status => {
            let waits = view.waiting_for.iter().map(|wait| {
                let text = |key: &str| wait.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
                format!("{} {}", text("kind"), text("name")).trim().to_owned()
            });
            format!("= {status} for {}", waits.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The event without what depends on time.
pub fn short(event: &Event) -> String {
    let id = event.step_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let more = match &event.body {
        EventBody::StepStarted { name, attempt: 1, .. } => format!(" {name}"),
        EventBody::StepStarted { attempt, .. } => format!(" #{attempt}"),
        EventBody::StepFailed { error } | EventBody::RunFailed { error } | EventBody::ChildFailed { error } => {
            format!(" {}", error.kind)
        }
        EventBody::HookOpened { token, .. } | EventBody::HookConflict { token, .. } => {
            format!(" {}", token_name(token))
        }
        EventBody::ChildStarted { name, run_id, .. } => format!(" {name} {run_id}"),
        EventBody::RunContinued { next } => format!(" {next}"),
        _ => String::new(),
    };
    format!("{}{id}{more}", event.body.name())
}

fn full(event: &Event) -> String {
    let more = match &event.body {
        EventBody::StepStarted { input: Some(input), label, .. } => {
            let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            if input.is_null() { label } else { format!(" {input}{label}") }
        }
        EventBody::StepRetrying { attempt, error, retry_at } => {
            format!(" #{attempt} {}, again @{}", failure(error), since(*retry_at))
        }
        EventBody::StepCompleted { output } | EventBody::ChildCompleted { output } => format!(" {output}"),
        EventBody::StepFailed { error } | EventBody::ChildFailed { error } => format!(": {}", error.message),
        EventBody::HookConflict { run_id, .. } => format!(" of {run_id}"),
        EventBody::HookReceived { payload, .. } => format!(" {}", payload["body"]),
        EventBody::Suspended { payload, label, wake_at, .. } => {
            let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            let until = wake_at.map(|at| format!(" until {}", since(at))).unwrap_or_default();
            format!(" {payload}{label}{until}")
        }
        EventBody::Resumed { data } => format!(" {data}"),
        EventBody::ChildStarted { input, label, detached, .. } => {
            let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            let detached = if *detached { " detached" } else { "" };
            if input.is_null() { format!("{label}{detached}") } else { format!(" {input}{label}{detached}") }
        }
        EventBody::RunFailed { .. } | EventBody::RunCompleted { .. } => String::new(),
        EventBody::TimerStarted { wake_at } => format!(" until {}", since(*wake_at)),
        EventBody::SignalReceived { name, payload, .. } => format!(" {name} {payload}"),
        EventBody::CancelRequested { reason, .. } | EventBody::RunCancelled { reason } => format!(" {reason}"),
        _ => String::new(),
    };
    format!("{}{more}", short(event))
}

fn failure(failure: &Failure) -> String {
    let cause = failure.cause.as_ref().map(|cause| format!(" <- {}", cause.kind)).unwrap_or_default();
    format!("{}: {}{cause}", failure.kind, failure.message)
}

/// One that was made is another one each time.
fn token_name(token: &str) -> &str {
    if token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) { "<token>" } else { token }
}

fn since(at: Millis) -> String {
    if at < START { format!("-{}", duration::show(START - at)) } else { duration::show(at - START) }
}
