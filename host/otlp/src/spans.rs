//! What has ended, as spans. Names and attributes are listed in `host/docs/telemetry.md`.

use std::time::Duration;

use durhai::observe::{AttemptEnded, AttemptOutcome, ObservedError, RunEnded, TraceContext};
use durhai::{Millis, Status as RunStatus};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

/// Of a message, in bytes.
const MOST: usize = 4 * 1024;
/// It is known where the parent is …
const PARENT_KNOWN: u32 = 0x100;
/// … and it is not here.
const PARENT_REMOTE: u32 = 0x200;

pub(crate) fn of_attempt(attempt: &AttemptEnded) -> Span {
    let mut attributes = vec![
        text("durhai.run_id", attempt.run.as_str()),
        text("durhai.workflow", &attempt.workflow),
        text("durhai.version", attempt.version.as_str()),
        text("durhai.step", &attempt.step),
        text("durhai.step_id", attempt.step_id.as_str()),
        number("durhai.attempt", attempt.attempt.into()),
        text("durhai.outcome", outcome(attempt.outcome)),
    ];
    let began = nanos(attempt.began);
    let took = u64::try_from(attempt.took.as_nanos()).unwrap_or(u64::MAX);
    let end = nanos(attempt.ended).max(began.saturating_add(took));
    let (status, events) = failure(attempt.error.as_ref(), end, &mut attributes);
    // What goes to another service by itself.
    let kind = if attempt.step.starts_with("http.") { SpanKind::Client } else { SpanKind::Internal };
    Span {
        parent_span_id: attempt.parent.bytes().to_vec(),
        flags: u32::from(attempt.context.flags) | PARENT_KNOWN,
        name: attempt.step.to_string(),
        kind: kind.into(),
        start_time_unix_nano: began,
        end_time_unix_nano: end,
        attributes,
        events,
        status,
        ..named(&attempt.context)
    }
}

pub(crate) fn of_run(run: &RunEnded) -> Span {
    let mut attributes = vec![
        text("durhai.run_id", run.run.as_str()),
        text("durhai.workflow", &run.workflow),
        text("durhai.version", run.version.as_str()),
        text("durhai.status", &run.status.to_string()),
    ];
    attributes.extend(run.parent.iter().map(|parent| text("durhai.parent_run_id", parent.as_str())));
    attributes.extend(run.origin.iter().map(|origin| text("durhai.origin_run_id", origin.as_str())));
    attributes.extend(run.tags.iter().map(|(key, value)| text(&format!("durhai.tag.{key}"), value)));
    if let Some(started) = run.started_at {
        attributes.push(number("durhai.queued_ms", started.saturating_sub(run.created_at) as i64));
    }
    // A run that never began lasted from its creation on.
    let start = run.started_at.unwrap_or(run.created_at);
    let end = nanos(run.ended_at.max(start));
    let error = run.error.as_ref().filter(|_| run.status == RunStatus::Failed);
    let (status, events) = failure(error, end, &mut attributes);
    if let (Some(reason), RunStatus::Cancelled) = (&run.error, run.status) {
        attributes.push(text("durhai.reason", &reason.message));
    }
    // Somebody else asked for it, from another process.
    let remote = run.starter.is_some() && run.parent.is_none();
    let parent = match (&run.starter, remote) {
        (None, _) => 0,
        (Some(_), false) => PARENT_KNOWN,
        (Some(_), true) => PARENT_KNOWN | PARENT_REMOTE,
    };
    Span {
        parent_span_id: run.starter.map(|starter| starter.span.bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(run.context.flags) | parent,
        name: run.workflow.clone(),
        kind: (if remote { SpanKind::Server } else { SpanKind::Internal }).into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: end,
        attributes,
        events,
        status,
        ..named(&run.context)
    }
}

/// An attribute with a text.
pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(cut(value)))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn named(context: &TraceContext) -> Span {
    Span { trace_id: context.trace.bytes().to_vec(), span_id: context.span.bytes().to_vec(), ..Span::default() }
}

/// An error as the conventions want it: a status, `error.type`, and an event with the exception.
fn failure(error: Option<&ObservedError>, at: u64, attributes: &mut Vec<KeyValue>) -> (Option<Status>, Vec<Event>) {
    let Some(ObservedError { kind, message }) = error else { return (None, Vec::new()) };
    let kind = kind.to_string();
    attributes.push(text("error.type", &kind));
    let event = Event {
        time_unix_nano: at,
        name: "exception".into(),
        attributes: vec![text("exception.type", &kind), text("exception.message", message)],
        dropped_attributes_count: 0,
    };
    (Some(Status { message: cut(message), code: StatusCode::Error.into() }), vec![event])
}

fn outcome(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Completed => "completed",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::TimedOut => "timed_out",
        AttemptOutcome::Cancelled => "cancelled",
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MOST {
        return text.into();
    }
    let end = (0..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

fn nanos(at: Millis) -> u64 {
    u64::try_from(Duration::from_millis(at).as_nanos()).unwrap_or(u64::MAX)
}
