//! Texts that change while their runs live: the verdicts of the check of live runs, its policies, and moves.

mod crashes;
mod edits;
mod many;
mod moving;
mod policies;

use std::path::Path;
use std::sync::Arc;

use durhai::versions::{CompatReport, Report};
use durhai::{Event, EventBody, Host, MemoryWorld, RunId, Status, StepContext, StepError, Value, Version, World};
use durhai_core::{legal::LogCheck, wire};
use durhai_testkit::{TestHost, events};
use durhai_world::{Chunk, Create, Row, Write};
use parking_lot::Mutex;

/// What steps were made: `RUN/STEP`, name and attempt.
type Journal = Arc<Mutex<Vec<(String, String, u32)>>>;

/// Hosts with the workflows of this folder as they are when a host starts or is told to look.
fn test_host(folder: &Path) -> TestHost {
    let folder = folder.to_owned();
    TestHost::new().with(move |builder| builder.watch(false).workflows(&folder))
}

/// Every step gives its input, or 7 without one, and writes that it was made.
fn with_journal(folder: &Path) -> (TestHost, Journal) {
    let journal = Journal::default();
    let names =
        ["reserve", "price", "small", "review", "pack", "charge", "bill", "mail", "archive", "audit", "extra", "side"];
    let test = names.into_iter().fold(test_host(folder), |test, name| {
        let journal = journal.clone();
        test.step(name, move |context: StepContext, input: Value| {
            journal.lock().push((context.idempotency_key(), context.name().to_owned(), context.attempt()));
            async move { Ok::<_, StepError>(if input.is_null() { Value::from(7) } else { input }) }
        })
    });
    (test, journal)
}

/// A run whose log is the beginning of another one's.
fn stopped_at(world: &MemoryWorld, log: &[Event], seq: usize, id: &str) -> RunId {
    let run = RunId::new(id).expect("an id");
    let mut events = log[..seq].to_vec();
    let EventBody::RunCreated(created) = &mut events[0].body else { panic!("a log begins with run_created") };
    created.run = run.clone();
    let row = Row {
        run: run.clone(),
        workflow: created.workflow.clone(),
        version: created.version.clone(),
        status: if seq > 1 { Status::Running } else { Status::Pending },
        tags: Default::default(),
        parent: None,
        created_at: events[0].at,
        started_at: (seq > 1).then_some(events[0].at),
        ended_at: None,
        wake_at: Some(0),
        note: Value::Null,
        purge_at: None,
        concurrency: None,
    };
    let chunk = Chunk { first: 1, count: events.len() as u32, bytes: wire::encode(&events) };
    let create =
        Write::Create(Box::new(Create { row, events: chunk, claim: None, hooks: Vec::new(), messages: Vec::new() }));
    world.write(vec![create]).expect("it answers")[0].as_ref().expect("it is new");
    run
}

fn compat_report(reports: &[Report]) -> &CompatReport {
    let found = reports.iter().find_map(|report| if let Report::Gated(report) = report { Some(report) } else { None });
    found.unwrap_or_else(|| panic!("no report of a check in {reports:?}"))
}

fn serving(host: &Host, workflow: &str) -> Version {
    let all = host.workflows();
    let view = all.iter().find(|view| view.name == workflow).expect("it is there");
    view.version.clone().expect("it serves")
}

/// The log is legal, and says which versions the run had.
fn versions_in(world: &MemoryWorld, run: &RunId) -> Vec<Version> {
    let log = events(world, run);
    let mut check = LogCheck::default();
    log.iter().try_for_each(|event| check.next(event)).unwrap_or_else(|bad| panic!("{run}: {bad}"));
    let version = |event: &Event| match &event.body {
        EventBody::RunCreated(created) => Some(created.version.clone()),
        EventBody::RunMigrated { to, .. } => Some(to.clone()),
        _ => None,
    };
    log.iter().filter_map(version).collect()
}
