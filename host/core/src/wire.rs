//! How events are written down: format 1.
//!
//! Events that belong to one commit are stored together: one byte with the format's number, then each event as one
//! line of JSON, flat, with the fields of every kind of event beside `seq`, `at`, `type` and `step_id`. The same JSON
//! is what every view shows. Readers ignore fields they do not know. See `host/docs/event-log.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Chain, Created, Event, EventBody, Origin, Parent, Site, Takeover};
use crate::{Failure, Millis, RunId, StepId, TraceContext, Value, Version};

/// The number in the first byte.
pub const FORMAT: u8 = 1;

/// Why stored bytes are no events.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the events are empty")]
    Empty,
    #[error("the events are written in format {0}; this version of durhai reads format {FORMAT}: use a newer one")]
    Format(u8),
    #[error("event {line} of this commit cannot be read: {source}")]
    Json { line: usize, source: serde_json::Error },
}

/// Writes events for storage.
pub fn encode(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(events.len() * 160 + 1);
    bytes.push(FORMAT);
    for event in events {
        write(event, &mut bytes);
        bytes.push(b'\n');
    }
    bytes
}

/// Reads what [`encode`] wrote, onto the end of `into`.
pub fn decode(bytes: &[u8], into: &mut Vec<Event>) -> Result<(), WireError> {
    match bytes.split_first() {
        None => Err(WireError::Empty),
        Some((&FORMAT, text)) => {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            for (line, json) in lines.enumerate() {
                into.push(read(json).map_err(|source| WireError::Json { line: line + 1, source })?);
            }
            Ok(())
        }
        Some((&other, _)) => Err(WireError::Format(other)),
    }
}

/// One event as JSON text.
pub fn write(event: &Event, bytes: &mut Vec<u8>) {
    // A vector takes every byte and every `Value` has string keys, so nothing can fail here.
    serde_json::to_writer(bytes, &Line::from(event)).expect("an event is always JSON");
}

/// One event from JSON text.
pub fn read(json: &[u8]) -> Result<Event, serde_json::Error> {
    serde_json::from_slice::<Line<'_>>(json).and_then(Line::into_event)
}

impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer)?.into_event().map_err(serde::de::Error::custom)
    }
}

/// Every field any event has, side by side: flat structs are several times faster to read than tagged enums.
#[derive(Default, Serialize, Deserialize)]
struct Line<'a> {
    seq: u64,
    at: Millis,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    step_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    site: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    label: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    input: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    output: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    payload: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    data: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, Failure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wake_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    signal_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    url: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    payload_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    schema: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "is_false")]
    detached: bool,
    /// At `hook_opened`.
    #[serde(default, skip_serializing_if = "is_false")]
    kept: bool,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    workflow: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_step: Option<StepId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    /// At a further `run_started`.
    #[serde(default, skip_serializing_if = "is_false")]
    anew: bool,
    /// Milliseconds, instead of `anew`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Millis>,
    /// Milliseconds at `run_created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Millis>,
    /// At `cancel_requested`.
    #[serde(default, skip_serializing_if = "is_false")]
    timed_out: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Chain>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    seed: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys_of: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    /// Whatever stands there must not make a log unreadable: what is no context is as good as none.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    traceparent: Option<Cow<'a, str>>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// `null` is a value that a step may return, not an absent field.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'static, Value>>, D::Error> {
    Value::deserialize(deserializer).map(|value| Some(Cow::Owned(value)))
}

fn lent<T: ToOwned + ?Sized>(value: &T) -> Option<Cow<'_, T>> {
    Some(Cow::Borrowed(value))
}

impl<'a> From<&'a Event> for Line<'a> {
    fn from(event: &'a Event) -> Self {
        let mut line = Line {
            seq: event.seq,
            at: event.at,
            kind: Cow::Borrowed(event.body.name()),
            step_id: event.step_id.as_ref().map(|id| Cow::Borrowed(id.as_str())),
            site: event.site.as_ref().map(|site| Cow::Owned(site.to_string())),
            ..Line::default()
        };
        match &event.body {
            EventBody::RunCreated(created) => line.set_created(created),
            EventBody::StepStarted { name, input, attempt, label } => {
                line.name = lent(name);
                line.input = input.as_deref().map(Cow::Borrowed);
                line.attempt = Some(*attempt);
                line.label = label.as_deref().map(Cow::Borrowed);
            }
            EventBody::StepRetrying { attempt, error, retry_at } => {
                line.attempt = Some(*attempt);
                line.error = lent(error);
                line.retry_at = Some(*retry_at);
            }
            EventBody::StepCompleted { output }
            | EventBody::ChildCompleted { output }
            | EventBody::RunCompleted { output } => {
                line.output = lent(output);
            }
            EventBody::StepFailed { error } | EventBody::ChildFailed { error } | EventBody::RunFailed { error } => {
                line.error = lent(error);
            }
            EventBody::TimerStarted { wake_at } => line.wake_at = Some(*wake_at),
            EventBody::SignalReceived { name, payload, id } => {
                line.name = lent(name);
                line.payload = lent(payload);
                line.signal_id = id.as_deref().map(Cow::Borrowed);
            }
            body @ (EventBody::HookOpened { .. } | EventBody::HookConflict { .. } | EventBody::HookReceived { .. }) => {
                line.set_hook(body)
            }
            EventBody::Suspended { payload, label, schema, wake_at } => {
                line.payload = lent(payload);
                line.label = label.as_deref().map(Cow::Borrowed);
                line.schema = Some(Cow::Borrowed(schema)).filter(|schema| !schema.is_null());
                line.wake_at = *wake_at;
            }
            EventBody::Resumed { data } => line.data = lent(data),
            EventBody::ChildStarted { run_id, name, input, label, detached } => {
                line.run_id = Some(run_id.clone());
                line.name = lent(name);
                line.input = Some(Cow::Borrowed(input));
                line.label = label.as_deref().map(Cow::Borrowed);
                line.detached = *detached;
            }
            EventBody::CancelRequested { reason, timeout } => {
                line.reason = lent(reason);
                line.timed_out = *timeout;
            }
            EventBody::RunCancelled { reason } => line.reason = lent(reason),
            EventBody::RunMigrated { from, to } => {
                line.from = Some(from.clone());
                line.to = Some(to.clone());
            }
            EventBody::RunContinued { next } => line.next = Some(next.clone()),
            EventBody::RunStarted { again } => match again {
                Some(Takeover::Anew) => line.anew = true,
                Some(Takeover::Paused(ms)) => line.paused = Some(*ms),
                None => {}
            },
            EventBody::TimerFired | EventBody::HookClosed => {}
        }
        line
    }
}

impl<'a> Line<'a> {
    /// What is decided when a run is created.
    fn set_created(&mut self, created: &'a Created) {
        self.run_id = Some(created.run.clone());
        self.workflow = lent(&created.workflow);
        self.version = Some(created.version.clone());
        self.input = lent(&created.input);
        self.tags = (!created.tags.is_empty()).then(|| created.tags.clone());
        self.parent = created.parent.as_ref().map(|parent| parent.run.clone());
        self.parent_step = created.parent.as_ref().map(|parent| parent.step_id.clone());
        self.depth = Some(created.depth).filter(|depth| *depth > 0);
        self.timeout = created.timeout;
        self.priority = Some(created.priority).filter(|priority| *priority != 0);
        self.attempt = Some(created.attempt).filter(|attempt| *attempt > 1);
        self.chain = created.chain.clone();
        self.seed = created.seed.as_deref().map(Cow::Borrowed);
        self.keys_of = created.idempotency_run.clone();
        self.origin = created.origin.clone();
        self.traceparent = created.traceparent.map(|context| Cow::Owned(context.to_string()));
    }

    /// What is recorded of a hook.
    fn set_hook(&mut self, body: &'a EventBody) {
        match body {
            EventBody::HookOpened { token, url, kept } => {
                self.token = lent(token);
                self.url = lent(url);
                self.kept = *kept;
            }
            EventBody::HookConflict { token, run_id } => {
                self.token = lent(token);
                self.run_id = Some(run_id.clone());
            }
            EventBody::HookReceived { payload, id, token } => {
                self.payload = lent(payload);
                self.payload_id = id.as_deref().map(Cow::Borrowed);
                self.token = token.as_deref().map(Cow::Borrowed);
            }
            _ => {}
        }
    }
}

impl Line<'_> {
    fn into_event(mut self) -> Result<Event, serde_json::Error> {
        let (seq, at, step_id) = (self.seq, self.at, self.step_id.take());
        let site = self.site.as_deref().and_then(Site::parse);
        let body = if is_of_run(&self.kind) { self.into_run_body()? } else { self.into_call_body()? };
        let step_id = step_id.map(|text| {
            StepId::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no step id")))
        });
        Ok(Event { seq, at, step_id: step_id.transpose()?, site, body })
    }

    /// What belongs to a durable call.
    fn into_call_body(self) -> Result<EventBody, serde_json::Error> {
        let kind = self.kind.as_ref();
        Ok(match kind {
            "step_started" => EventBody::StepStarted {
                name: want(self.name, kind, "name")?.as_ref().into(),
                input: self.input.map(shared),
                attempt: want(self.attempt, kind, "attempt")?,
                label: self.label.map(Cow::into_owned),
            },
            "step_retrying" => EventBody::StepRetrying {
                attempt: want(self.attempt, kind, "attempt")?,
                error: owned(want(self.error, kind, "error")?),
                retry_at: want(self.retry_at, kind, "retry_at")?,
            },
            "step_completed" => EventBody::StepCompleted { output: shared(want(self.output, kind, "output")?) },
            "step_failed" => EventBody::StepFailed { error: owned(want(self.error, kind, "error")?) },
            "timer_started" => EventBody::TimerStarted { wake_at: want(self.wake_at, kind, "wake_at")? },
            "timer_fired" => EventBody::TimerFired,
            "signal_received" => EventBody::SignalReceived {
                name: want(self.name, kind, "name")?.as_ref().into(),
                payload: shared(want(self.payload, kind, "payload")?),
                id: self.signal_id.map(Cow::into_owned),
            },
            "hook_opened" => EventBody::HookOpened {
                token: want(self.token, kind, "token")?.into_owned(),
                url: self.url.map(Cow::into_owned).unwrap_or_default(),
                kept: self.kept,
            },
            "hook_conflict" => EventBody::HookConflict {
                token: want(self.token, kind, "token")?.into_owned(),
                run_id: want(self.run_id, kind, "run_id")?,
            },
            "hook_received" => EventBody::HookReceived {
                payload: shared(want(self.payload, kind, "payload")?),
                id: self.payload_id.map(Cow::into_owned),
                token: self.token.map(Cow::into_owned),
            },
            "hook_closed" => EventBody::HookClosed,
            "suspended" => EventBody::Suspended {
                payload: shared(want(self.payload, kind, "payload")?),
                label: self.label.map(Cow::into_owned),
                schema: self.schema.map(owned).unwrap_or_default(),
                wake_at: self.wake_at,
            },
            "resumed" => EventBody::Resumed { data: shared(want(self.data, kind, "data")?) },
            "child_started" => EventBody::ChildStarted {
                run_id: want(self.run_id, kind, "run_id")?,
                name: want(self.name, kind, "name")?.as_ref().into(),
                input: self.input.map(shared).unwrap_or_default(),
                label: self.label.map(Cow::into_owned),
                detached: self.detached,
            },
            "child_completed" => EventBody::ChildCompleted { output: shared(want(self.output, kind, "output")?) },
            "child_failed" => EventBody::ChildFailed { error: owned(want(self.error, kind, "error")?) },
            other => return Err(unknown(other)),
        })
    }
    /// What belongs to the run as a whole.
    fn into_run_body(self) -> Result<EventBody, serde_json::Error> {
        let kind = self.kind.as_ref();
        Ok(match kind {
            "run_created" => EventBody::RunCreated(Box::new(Created {
                run: want(self.run_id, kind, "run_id")?,
                workflow: want(self.workflow, kind, "workflow")?.into_owned(),
                version: want(self.version, kind, "version")?,
                input: self.input.map(owned).unwrap_or_default(),
                tags: self.tags.unwrap_or_default(),
                parent: match (self.parent, self.parent_step) {
                    (Some(run), Some(step_id)) => Some(Parent { run, step_id }),
                    _ => None,
                },
                depth: self.depth.unwrap_or(0),
                timeout: self.timeout,
                priority: self.priority.unwrap_or(0),
                attempt: self.attempt.unwrap_or(1),
                chain: self.chain,
                seed: self.seed.map(Cow::into_owned),
                idempotency_run: self.keys_of,
                origin: self.origin,
                traceparent: self.traceparent.and_then(|text| TraceContext::parse(&text).ok()),
            })),
            "run_started" => EventBody::RunStarted {
                again: match self.paused {
                    Some(ms) => Some(Takeover::Paused(ms)),
                    None => self.anew.then_some(Takeover::Anew),
                },
            },
            "cancel_requested" => EventBody::CancelRequested {
                reason: self.reason.map(Cow::into_owned).unwrap_or_default(),
                timeout: self.timed_out,
            },
            "run_migrated" => {
                EventBody::RunMigrated { from: want(self.from, kind, "from")?, to: want(self.to, kind, "to")? }
            }
            "run_completed" => EventBody::RunCompleted { output: shared(want(self.output, kind, "output")?) },
            "run_failed" => EventBody::RunFailed { error: owned(want(self.error, kind, "error")?) },
            "run_cancelled" => EventBody::RunCancelled { reason: self.reason.map(Cow::into_owned).unwrap_or_default() },
            "run_continued" => EventBody::RunContinued { next: want(self.next, kind, "next")? },
            other => return Err(unknown(other)),
        })
    }
}

/// Whether events of this kind belong to the run as a whole.
fn is_of_run(kind: &str) -> bool {
    kind.starts_with("run_") || kind == "cancel_requested"
}

fn unknown(kind: &str) -> serde_json::Error {
    serde::de::Error::custom(format!("{kind:?} is no type of event"))
}

fn want<T>(field: Option<T>, kind: &str, name: &str) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde::de::Error::custom(format!("a {kind} event has no field `{name}`")))
}

fn owned<T: ToOwned>(value: Cow<'_, T>) -> T::Owned {
    value.into_owned()
}

fn shared(value: Cow<'_, Value>) -> Arc<Value> {
    Arc::new(value.into_owned())
}
