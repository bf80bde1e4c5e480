//! A run in short lines.

use durhai::{Body, Event, Failure, LogLine, Millis, RunView, Status};
use durhai_core::duration;
use durhai_testkit::START;

/// Its events, what it wrote, and how it ended.
pub fn result(events: &[Event], lines: &[LogLine], view: &RunView) -> String {
    let mut out = Vec::new();
    let mut before = START;
    for event in events.iter().skip(1) {
        let moved = if event.at == before { String::new() } else { format!(" @{}", since(event.at)) };
        before = event.at;
        out.push(format!("{}{moved}", full(event)));
    }
    out.extend(lines.iter().map(|line| format!("| {} {}", line.level, line.message)));
    out.push(end(view));
    out.join("\n")
}

/// How it stands.
pub fn end(view: &RunView) -> String {
    match view.status {
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
        Body::StepStarted { name, attempt: 1, .. } => format!(" {name}"),
        Body::StepStarted { attempt, .. } => format!(" #{attempt}"),
        Body::StepFailed { error } | Body::RunFailed { error } => format!(" {}", error.kind),
        _ => String::new(),
    };
    format!("{}{id}{more}", event.body.name())
}

fn full(event: &Event) -> String {
    let more = match &event.body {
        Body::StepStarted { input: Some(input), label, .. } => {
            let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            if input.is_null() { label } else { format!(" {input}{label}") }
        }
        Body::StepRetrying { attempt, error, retry_at } => {
            format!(" #{attempt} {}, again @{}", failure(error), since(*retry_at))
        }
        Body::StepCompleted { output } => format!(" {output}"),
        Body::StepFailed { error } => format!(": {}", error.message),
        Body::RunFailed { .. } | Body::RunCompleted { .. } => String::new(),
        Body::TimerStarted { wake_at } => format!(" until {}", since(*wake_at)),
        Body::SignalReceived { name, payload, .. } => format!(" {name} {payload}"),
        Body::CancelRequested { reason } | Body::RunCancelled { reason } => format!(" {reason}"),
        _ => String::new(),
    };
    format!("{}{more}", short(event))
}

fn failure(failure: &Failure) -> String {
    format!("{}: {}", failure.kind, failure.message)
}

fn since(at: Millis) -> String {
    if at < START { format!("-{}", duration::show(START - at)) } else { duration::show(at - START) }
}
