//! What has ended, as spans. Names and attributes are listed in `host/docs/telemetry.md`.

use std::time::Duration;

use durhai::observe::{AttemptEnded, AttemptOutcome, ObservedError, RunEnded, TraceContext};
use durhai::{Millis, Status as RunStatus};

use crate::proto::Message;

/// Of a message, in bytes.
const MOST: usize = 4 * 1024;
/// It is known where the parent is …
const PARENT_KNOWN: u32 = 0x100;
/// … and it is not here.
const PARENT_REMOTE: u32 = 0x200;

// Of `SpanKind` and `StatusCode`.
const INTERNAL: i64 = 1;
const SERVER: i64 = 2;
const CLIENT: i64 = 3;
const STATUS_ERROR: i64 = 2;

/// A `Span`: its fields by their numbers, as in `opentelemetry/proto/trace/v1/trace.proto`.
pub(crate) fn of_attempt(attempt: &AttemptEnded) -> Message {
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
    // What goes to another service by itself.
    let kind = if attempt.step.starts_with("http.") { CLIENT } else { INTERNAL };
    let span = named(&attempt.context)
        .bytes(4, attempt.parent.bytes())
        .text(5, &attempt.step)
        .number(6, kind)
        .fixed64(7, began)
        .fixed64(8, end)
        .fixed32(16, u32::from(attempt.context.flags) | PARENT_KNOWN);
    failed(span, attempt.error.as_ref(), end, &mut attributes).messages(9, attributes)
}

/// The same of a run.
pub(crate) fn of_run(run: &RunEnded) -> Message {
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
    if let (Some(reason), RunStatus::Cancelled) = (&run.error, run.status) {
        attributes.push(text("durhai.reason", &reason.message));
    }
    // Another process asked for it.
    let remote = run.starter.is_some() && run.parent.is_none();
    let parent = match (&run.starter, remote) {
        (None, _) => 0,
        (Some(_), false) => PARENT_KNOWN,
        (Some(_), true) => PARENT_KNOWN | PARENT_REMOTE,
    };
    let mut span = named(&run.context);
    if let Some(starter) = &run.starter {
        span = span.bytes(4, starter.span.bytes());
    }
    span = span
        .text(5, &run.workflow)
        .number(6, if remote { SERVER } else { INTERNAL })
        .fixed64(7, nanos(start))
        .fixed64(8, end)
        .fixed32(16, u32::from(run.context.flags) | parent);
    failed(span, error, end, &mut attributes).messages(9, attributes)
}

/// An attribute with a text.
pub(crate) fn text(key: &str, value: &str) -> Message {
    attribute(key, Message::default().bytes_of_choice(1, cut(value).as_bytes()))
}

fn number(key: &str, value: i64) -> Message {
    attribute(key, Message::default().number_of_choice(3, value))
}

/// `KeyValue` with an `AnyValue`.
fn attribute(key: &str, value: Message) -> Message {
    Message::default().text(1, key).message(2, value)
}

fn named(context: &TraceContext) -> Message {
    Message::default().bytes(1, context.trace.bytes()).bytes(2, context.span.bytes())
}

/// An error as the conventions want it: a status and an event with the exception, and `error.type` among the attributes.
fn failed(span: Message, error: Option<&ObservedError>, at: u64, attributes: &mut Vec<Message>) -> Message {
    let Some(ObservedError { kind, message }) = error else { return span };
    let kind = kind.to_string();
    attributes.push(text("error.type", &kind));
    let exception = [text("exception.type", &kind), text("exception.message", message)];
    let event = Message::default().fixed64(1, at).text(2, "exception").messages(3, exception);
    let status = Message::default().text(2, &cut(message)).number(3, STATUS_ERROR);
    span.message(11, event).message(15, status)
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
