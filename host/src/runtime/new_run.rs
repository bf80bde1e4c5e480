//! Runs that are about to be created: by a caller, by another run, by a schedule.

use durhai_core::event::{Created, Parent};
use durhai_core::replay::{Continue, StartChild, version_at};
use durhai_core::{Event, EventBody, Failure, FailureKind, Millis, Status, Value, tags, wire};
use durhai_engine::{Header, schema};
use durhai_world::{Chunk, Concurrency, Create, Row};
use sha2::{Digest, Sha256};

use crate::runtime::lease::Epoch;
use crate::shared::Shared;
use crate::versions::serving::{Missing, Serving};

/// A run with all that is decided about it.
pub(crate) struct NewRun {
    pub create: Create,
    /// The first events of its log.
    pub events: Vec<Event>,
    /// Under which name of this host it is claimed, if it is.
    pub epoch: Epoch,
}

/// When and where it begins.
#[derive(Clone, Copy)]
pub(crate) struct StartAt {
    /// Not before this moment; `None`: now.
    pub later: Option<Millis>,
    /// This host runs it.
    pub here: bool,
}

impl StartAt {
    pub const HERE: StartAt = StartAt { later: None, here: true };
}

impl NewRun {
    pub fn created(&self) -> Option<&Created> {
        match self.events.first().map(|event| &event.body) {
            Some(EventBody::RunCreated(created)) => Some(created),
            _ => None,
        }
    }
}

/// The key of a limit, which worlds have in their indexes: what an input holds in that place may be of any length.
fn limit_key(workflow: &str, value: &str) -> String {
    const LONG: usize = 512;
    if value.len() <= LONG {
        return format!("{workflow}={value}");
    }
    let digest = Sha256::digest(value);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{workflow}=sha256:{hex}")
}

/// A run from the first events of its log, which begin with `run_created`.
pub(crate) fn new_run(host: &Shared, events: Vec<Event>, header: &Header, begin: StartAt) -> NewRun {
    let Some(Event { at, body: EventBody::RunCreated(created), .. }) = events.first() else {
        unreachable!("whoever makes a log begins it with run_created");
    };
    let concurrency = header.concurrency.as_ref().map(|concurrency| {
        let key = match concurrency.key {
            None => created.workflow.clone(),
            Some(_) => limit_key(&created.workflow, &concurrency.value(&created.input)),
        };
        Concurrency { key, limit: concurrency.limit, priority: created.priority }
    });
    let alone = events.len() == 1;
    let here = begin.here && begin.later.is_none();
    // What is claimed begins at once; saying so here saves the rewriting of the row a moment later.
    let running = here && alone && concurrency.is_none();
    let row = Row {
        run: created.run.clone(),
        workflow: created.workflow.clone(),
        version: version_at(&events, u64::MAX).unwrap_or(&created.version).clone(),
        status: if running { Status::Running } else { Status::Pending },
        tags: created.tags.clone(),
        parent: created.parent.as_ref().map(|parent| parent.run.clone()),
        created_at: (*at).max(if alone { 0 } else { host.store.clock.now() }),
        started_at: running.then_some(*at),
        ended_at: None,
        wake_at: Some(begin.later.unwrap_or(0)),
        note: Value::Null,
        purge_at: None,
        concurrency,
    };
    let chunk = Chunk { first: 1, count: events.len() as u32, bytes: wire::encode(&events) };
    let (holder, epoch) = host.store.lease.identity();
    let claim = here.then_some(holder);
    NewRun { create: Create { row, events: chunk, claim, hooks: Vec::new(), messages: Vec::new() }, events, epoch }
}

/// The run that another one asked for. The failure is what its script gets.
pub(crate) fn child(host: &Shared, parent: &Created, start: &StartChild) -> Result<NewRun, Failure> {
    let failed = |kind, message: String| Failure::new(kind, message).of_step(&start.workflow, &start.step_id, 0);
    let depth = parent.depth + 1;
    let most = host.config.limits.run_levels;
    if depth >= most {
        let message = format!("this would be level {} of runs that start each other, the limit is {most}", depth + 1);
        return Err(failed(FailureKind::Limit, message));
    }
    // Here, and not where the call is made: a log that was written before there were limits goes on being replayed.
    tags::check(&start.options.tags).map_err(|why| failed(FailureKind::InvalidInput, why))?;
    let Serving { version, header } = match host.versions.serving(&start.workflow) {
        Ok(serving) => serving,
        Err(Missing::Unknown(text) | Missing::Broken(text)) => return Err(failed(FailureKind::ChildFailed, text)),
    };
    let input = check_input(&header, &start.workflow, (*start.input).clone())
        .map_err(|message| failed(FailureKind::InvalidInput, message))?;
    let options = &start.options;
    let created = Created {
        tags: options.tags.clone(),
        parent: (!start.detached).then(|| Parent { run: parent.run.clone(), step_id: start.step_id.clone() }),
        depth,
        timeout: options.timeout.or(header.timeout),
        priority: options.priority,
        traceparent: Some(host.observe.observers.span_of(&parent.run, parent.traceparent.as_ref())),
        ..Created::new(start.run_id.clone(), &*start.workflow, version, input)
    };
    let later = options.delay.map(|delay| host.store.clock.now().saturating_add(delay));
    Ok(new_run(host, vec![first_event(host, created)], &header, StartAt { later, here: !host.life.is_stopping() }))
}

/// Whether a run that was started with this input was started as is asked for now; its own has the defaults of the schema.
pub(crate) fn is_input(host: &Shared, input: &Value, start: &StartChild) -> bool {
    let filled = || {
        let serving = host.versions.serving(&start.workflow).ok()?;
        check_input(&serving.header, &start.workflow, (*start.input).clone()).ok()
    };
    *input == *start.input || filled().is_some_and(|filled| filled == *input)
}

/// The run that goes on for another one. It gets the version that serves, unless the workflow is gone or the input
/// does not fit there: then the text of the run before it.
pub(crate) fn successor(host: &Shared, before: &Created, header: &Header, next: Continue) -> NewRun {
    let own = |input| (before.version.clone(), None, input);
    let (version, newer, input) = match host.versions.serving(&before.workflow) {
        Ok(serving) => match check_input(&serving.header, &before.workflow, next.input.clone()) {
            Ok(input) => (serving.version, Some(serving.header), input),
            Err(_) => own(next.input),
        },
        Err(_) => own(next.input),
    };
    let created = Created {
        tags: before.tags.clone(),
        parent: before.parent.clone(),
        depth: before.depth,
        timeout: before.timeout,
        priority: before.priority,
        chain: Some(next.chain),
        // One who started the first may see all of the chain.
        traceparent: before.traceparent,
        ..Created::new(next.next, before.workflow.clone(), version, input)
    };
    let mut events = vec![first_event(host, created)];
    let at = events[0].at;
    let signals = next.signals.into_iter().map(|(name, payload)| EventBody::SignalReceived { name, payload, id: None });
    let payloads = next.payloads.into_iter().map(|(token, payload)| {
        let token = Some(token.to_string());
        EventBody::HookReceived { payload, id: None, token }
    });
    for (seq, body) in (2..).zip(signals.chain(payloads)) {
        events.push(Event { seq, at, step_id: None, site: None, body });
    }
    let begin = StartAt { here: !host.life.is_stopping(), ..StartAt::HERE };
    new_run(host, events, newer.as_deref().unwrap_or(header), begin)
}

pub(crate) fn first_event(host: &Shared, created: Created) -> Event {
    let body = EventBody::RunCreated(Box::new(created));
    Event { seq: 1, at: host.store.clock.now(), step_id: None, site: None, body }
}

/// The input with the defaults of its schema; the error names every path that does not fit.
pub(crate) fn check_input(header: &Header, workflow: &str, input: Value) -> Result<Value, String> {
    match &header.input {
        None => Ok(input),
        Some(schema) => schema.accept(input).map_err(|problems| {
            format!("the input does not fit the workflow {workflow:?}: {}", schema::list(&problems))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::limit_key;

    #[test]
    fn a_limit_of_a_long_value_has_a_short_key_of_its_own() {
        assert_eq!(limit_key("w", "a"), "w=a");
        let long = "x".repeat(5_000);
        let (one, other) = (limit_key("w", &long), limit_key("w", &format!("{long}y")));
        assert!(one.len() < 100 && one != other && one == limit_key("w", &long), "{one}");
    }
}
