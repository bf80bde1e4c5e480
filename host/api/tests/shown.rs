//! Samples of everything that is shown, whole: what the types have is what is described, neither more nor less. A field
//! that is added to a type does not compile here until it has a value, and does not pass until it is described.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::common::contract::Contract;
use crate::common::plain;
use durhai::archive::{Damage, Diagnosis, Imported};
use durhai::event::LogLine;
use durhai::logs::{Fork, NextCall, ReplayOptions, ReplayView, Script};
use durhai::trace::{Pass, Snapshot, SourceLine, StackFrame, Stop, TraceEvent, Traced, Variable};
use durhai::versions::{
    Behind, CompatReport, CompatVerdict, LiveVersion, MigrateReport, Migration, Misfit, Report, SourceView, VersionView,
};
use durhai::view::{
    HolderView, HostView, LogEntry, OutputEntry, PlaceView, Purged, ScheduleView, Stats, StreamView, Suspension,
};
use durhai::{Event, EventBody, Failure, RunId, RunView, Status, StepId, StepInfo, Value, Version, WorkflowView};
use durhai_api::{Migrating, PROBLEMS, Problem, Purging, Started};
use serde::Serialize;
use serde_json::json;

fn run() -> RunId {
    RunId::new("order-42").expect("an id")
}

fn step() -> StepId {
    StepId::parse("4.1.2").expect("a step id")
}

fn version() -> Version {
    Version::of([("a", "b")])
}

/// What a type without a public constructor is read from.
fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a sample")
}

fn failure() -> Failure {
    Failure {
        kind: durhai::FailureKind::StepFailed,
        message: "no".into(),
        step: Some("charge".into()),
        step_id: Some(step()),
        attempts: 3,
        data: json!({ "code": 7 }),
        cause: Some(Box::new(Failure::new(durhai::FailureKind::Timeout, "late"))),
        place: read(json!({
            "file": "order.rhai", "line": 3, "column": 1, "source": "f()",
            "stack": [{ "function": "f", "file": "order.rhai", "line": 9, "column": 2 }],
        })),
    }
}

fn divergence() -> Value {
    let side = json!({ "what": "sleep", "input": 5, "site": "3:1", "source": "sleep(5)" });
    json!({ "message": "other", "step_id": "4", "seq": 7, "recorded": side, "asked": side })
}

fn misfit(verdict: CompatVerdict) -> Misfit {
    Misfit { run: run(), version: version(), place: "order.rhai:18".into(), verdict }
}

fn verdicts() -> Vec<CompatVerdict> {
    let all = vec![
        CompatVerdict::Compatible,
        CompatVerdict::Diverges { divergence: read(divergence()) },
        CompatVerdict::Fails { error: Box::new(failure()) },
        CompatVerdict::Unreadable { reason: "torn".into() },
    ];
    for verdict in &all {
        match verdict {
            CompatVerdict::Compatible
            | CompatVerdict::Diverges { divergence: _ }
            | CompatVerdict::Fails { error: _ }
            | CompatVerdict::Unreadable { reason: _ } => {}
        }
    }
    all
}

fn gate() -> CompatReport {
    CompatReport {
        workflow: "order".into(),
        from: Some(version()),
        to: version(),
        policy: "pin".into(),
        at: 1,
        live: 4,
        compatible: 1,
        diverging: 1,
        failing: 1,
        unreadable: 1,
        first: Some(misfit(CompatVerdict::Compatible)),
        runs: verdicts().into_iter().map(misfit).collect(),
        moved: 0,
        served: true,
        micros: 9,
    }
}

fn waits() -> Vec<Value> {
    vec![
        json!({ "kind": "child", "step_id": "4", "name": "pack", "run_id": "order-42:4", "until": 9, "site": "18:5", "schema": {} }),
    ]
}

fn snapshot() -> Snapshot {
    Snapshot {
        n: 3,
        task: "4.1".into(),
        depth: 1,
        file: "order".into(),
        line: 3,
        column: 1,
        source: "f()".into(),
        around: vec![SourceLine { line: 3, text: "f()".into() }],
        variables: vec![Variable { name: "x".into(), value: "1".into(), constant: true }],
        stack: vec![StackFrame { function: "f".into(), file: "order".into(), line: 3 }],
        value: Some("1".into()),
        value_error: Some("no".into()),
        waiting_for: waits(),
    }
}

fn place() -> PlaceView {
    PlaceView { gate: "order".into(), limit: 1, ahead: 2, waiting: 3, inside: 1, holders: vec![run()] }
}

fn view() -> RunView {
    RunView {
        id: run(),
        workflow: "order".into(),
        version: version(),
        status: Status::Parked,
        input: json!(1),
        output: json!([2]),
        error: Some(failure()),
        state: json!({ "a": 1 }),
        status_text: Some("packing".into()),
        tags: [("a".into(), "b".into())].into(),
        parent: Some(run()),
        created_at: 1,
        started_at: Some(2),
        ended_at: Some(3),
        waiting_for: waits(),
        holder: Some(HolderView { id: 3, label: "durhai".into(), here: true }),
        place: Some(place()),
        begins_at: Some(9),
        reason: Some("diverged".into()),
        origin: read(json!({ "run": "order-41", "seq": 7, "file": "a.ndjson", "times": { "stood_at": 5 } })),
        forks: vec![run()],
        retry_of: Some(run()),
        retried_as: Some(run()),
        events: 9,
        attempt: 2,
        priority: -1,
        timeout: Some(1),
        previous: Some(run()),
        next: Some(run()),
    }
}

/// Holds samples of one type against its schema, which must not have anything that no sample has.
fn hold<T: Serialize>(contract: &Contract, name: &str, samples: &[T]) {
    let schema = &contract.document["components"]["schemas"][name];
    let validator = contract.schema(name);
    let mut seen = BTreeSet::new();
    for sample in samples {
        let value = serde_json::to_value(sample).expect("JSON");
        let errors: Vec<_> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
        seen.extend(value.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
    }
    let mut described = BTreeSet::new();
    properties(contract, schema, &mut described);
    assert_eq!(described.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "no {name} has them");
}

/// Names of all properties that an object of this schema may have.
fn properties(contract: &Contract, schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        properties(contract, contract.document.pointer(&reference[1..]).expect("it resolves"), found);
    }
    found.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    for part in ["allOf", "oneOf"] {
        schema[part].as_array().into_iter().flatten().for_each(|part| properties(contract, part, found));
    }
}

#[tokio::test]
async fn runs_and_what_they_have() {
    let contract = Contract::of(&plain().await, None).await;
    hold(&contract, "Run", &[view()]);
    hold(&contract, "GatePlace", &[place()]);
    hold(&contract, "Failure", &[failure()]);
    let line = LogLine {
        at: 1,
        level: "info".into(),
        message: "m".into(),
        fields: json!({ "a": 1 }),
        step_id: Some(step()),
        attempt: Some(1),
    };
    hold(&contract, "LogLine", &[LogEntry { index: 0, line }]);
    hold(&contract, "OutputEntry", &[OutputEntry { index: 0, at: 1, value: json!(null) }]);
    hold(&contract, "Stream", &[StreamView { name: "default".into(), entries: 2 }]);
    let asked = Suspension {
        step_id: step(),
        label: Some("l".into()),
        payload: json!(1),
        schema: json!({}),
        since: 1,
        until: Some(2),
    };
    hold(&contract, "Suspension", &[asked]);
    hold(&contract, "Purged", &[Purged { runs: 1, texts: 2 }]);
    let imported =
        Imported { run: run(), runs: vec![run()], parked: vec![run()], events: 3, notes: vec!["cut".into()] };
    hold(&contract, "Imported", &[imported]);
    let failed = |kind, status, title: &str| Problem {
        kind,
        title: title.into(),
        status,
        detail: "d".into(),
        error: Some(Box::new(failure())),
    };
    let problems: Vec<_> = PROBLEMS.iter().map(|(kind, status, title)| failed(*kind, *status, title)).collect();
    hold(&contract, "Problem", &problems);
    for status in Status::ALL {
        assert!(contract.schema("Status").is_valid(&json!(status)), "{status}");
    }
}

#[tokio::test]
async fn events_of_every_type() {
    let contract = Contract::of(&plain().await, None).await;
    let failure = json!(failure());
    let id = version();
    let bodies = [
        json!({ "type": "run_created", "run_id": "r", "workflow": "w", "version": id, "input": null, "tags": { "a": "b" },
            "parent": "p", "parent_step": "1", "depth": 1, "timeout": 5, "priority": 1, "attempt": 2, "seed": "s",
            "keys_of": "k", "origin": { "run": "o", "seq": 3, "times": "anew" },
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "chain": { "first": "f", "previous": "p", "number": 2, "signal_ids": ["x"], "payload_ids": [["t", "y"]] } }),
        json!({ "type": "run_started" }),
        json!({ "type": "run_started", "anew": true }),
        json!({ "type": "run_started", "paused": 9 }),
        json!({ "type": "step_started", "name": "n", "input": 1, "attempt": 1, "label": "l" }),
        json!({ "type": "step_retrying", "attempt": 1, "error": failure, "retry_at": 9 }),
        json!({ "type": "step_completed", "output": null }),
        json!({ "type": "step_failed", "error": failure }),
        json!({ "type": "timer_started", "wake_at": 9 }),
        json!({ "type": "timer_fired" }),
        json!({ "type": "signal_received", "name": "n", "payload": 1, "signal_id": "s" }),
        json!({ "type": "hook_opened", "token": "t", "url": "u", "kept": true }),
        json!({ "type": "hook_conflict", "token": "t", "run_id": "r" }),
        json!({ "type": "hook_received", "payload": 1, "payload_id": "p", "token": "t" }),
        json!({ "type": "hook_closed" }),
        json!({ "type": "suspended", "payload": 1, "label": "l", "schema": {}, "wake_at": 9 }),
        json!({ "type": "resumed", "data": 1 }),
        json!({ "type": "child_started", "run_id": "r", "name": "n", "input": 1, "label": "l", "detached": true }),
        json!({ "type": "child_completed", "output": 1 }),
        json!({ "type": "child_failed", "error": failure }),
        json!({ "type": "cancel_requested", "reason": "r", "timed_out": true }),
        json!({ "type": "run_migrated", "from": id, "to": id }),
        json!({ "type": "run_completed", "output": 1 }),
        json!({ "type": "run_failed", "error": failure }),
        json!({ "type": "run_cancelled", "reason": "r" }),
        json!({ "type": "run_continued", "next": "r" }),
    ];
    let mut samples = Vec::new();
    for mut body in bodies {
        let head = json!({ "seq": 1, "at": 2, "step_id": "4", "site": "3:1" });
        body.as_object_mut().expect("a map").extend(head.as_object().expect("a map").clone());
        let event: Event = read(body.clone());
        assert_eq!(json!(event), body, "every field is one that is read");
        whole(&event.body);
        samples.push(event);
    }
    hold(&contract, "Event", &samples);
    let kinds: BTreeSet<_> = samples.iter().map(|event| event.body.name()).collect();
    let described = contract.document["components"]["schemas"]["Event"]["oneOf"].as_array().expect("types").len();
    assert_eq!(kinds.len(), described);
}

/// Every field of every event; whoever adds one has to add it to the samples and to what is described.
fn whole(body: &EventBody) {
    match body {
        EventBody::RunCreated(_)
        | EventBody::RunStarted { again: _ }
        | EventBody::StepStarted { name: _, input: Some(_), attempt: _, label: Some(_) }
        | EventBody::StepRetrying { attempt: _, error: _, retry_at: _ }
        | EventBody::StepCompleted { output: _ }
        | EventBody::StepFailed { error: _ }
        | EventBody::TimerStarted { wake_at: _ }
        | EventBody::TimerFired
        | EventBody::SignalReceived { name: _, payload: _, id: Some(_) }
        | EventBody::HookOpened { token: _, url: _, kept: true }
        | EventBody::HookConflict { token: _, run_id: _ }
        | EventBody::HookReceived { payload: _, id: Some(_), token: Some(_) }
        | EventBody::HookClosed
        | EventBody::Suspended { payload: _, label: Some(_), schema: _, wake_at: Some(_) }
        | EventBody::Resumed { data: _ }
        | EventBody::ChildStarted { run_id: _, name: _, input: _, label: Some(_), detached: true }
        | EventBody::ChildCompleted { output: _ }
        | EventBody::ChildFailed { error: _ }
        | EventBody::CancelRequested { reason: _, timeout: true }
        | EventBody::RunMigrated { from: _, to: _ }
        | EventBody::RunCompleted { output: _ }
        | EventBody::RunFailed { error: _ }
        | EventBody::RunCancelled { reason: _ }
        | EventBody::RunContinued { next: _ } => {}
        EventBody::StepStarted { .. }
        | EventBody::HookOpened { .. }
        | EventBody::SignalReceived { .. }
        | EventBody::HookReceived { .. }
        | EventBody::Suspended { .. }
        | EventBody::ChildStarted { .. }
        | EventBody::CancelRequested { .. } => panic!("the sample of {} lacks a field", body.name()),
    }
}

#[tokio::test]
// Over 80 lines: what one host shows, all of it in turn.
async fn workflows_and_the_host() {
    let contract = Contract::of(&plain().await, None).await;
    let workflow = WorkflowView {
        name: "order".into(),
        version: Some(version()),
        description: "d".into(),
        error: Some("e".into()),
        header: json!({ "retain": "1d" }),
        live: vec![LiveVersion { version: version(), runs: 1, serving: true }],
        warnings: vec!["w".into()],
        behind: Some(Behind { version: version(), serving: version(), saved_at: 1 }),
    };
    hold(&contract, "Workflow", &[workflow]);
    let known = VersionView { version: version(), first_seen: Some(1), serving: true, live: 1, runs: 2, bytes: 3 };
    hold(&contract, "VersionInfo", &[known]);
    let source = SourceView { version: version(), workflow: "w".into(), files: [("w.rhai".into(), "1".into())].into() };
    hold(&contract, "Source", &[source]);
    let host = HostView { id: 3, label: "l".into(), since: 1, alive: false, lease: 10_000, runs: 2, here: true };
    hold(&contract, "HostInfo", &[host]);
    hold(&contract, "CompatReport", &[gate()]);
    hold(&contract, "Misfit", &verdicts().into_iter().map(misfit).collect::<Vec<_>>());
    let moved = |verdict| Migration {
        run: run(),
        from: version(),
        to: version(),
        dry_run: true,
        moved: false,
        place: "order.rhai:18".into(),
        verdict,
    };
    hold(&contract, "Migration", &verdicts().into_iter().map(moved).collect::<Vec<_>>());
    let all = MigrateReport {
        workflow: "w".into(),
        to: version(),
        dry_run: true,
        live: 1,
        compatible: 1,
        moved: 1,
        already: 1,
        diverging: 1,
        failing: 1,
        unreadable: 1,
        elsewhere: 1,
        first: Some(misfit(CompatVerdict::Compatible)),
        runs: vec![misfit(CompatVerdict::Compatible)],
        micros: 1,
    };
    hold(&contract, "MigrateReport", &[all]);
    let reports = [
        Report::Loaded { workflow: "w".into(), version: version() },
        Report::Gated(Box::new(gate())),
        Report::Broken { workflow: "w".into(), error: "e".into() },
        Report::Removed { workflow: "w".into() },
        Report::Doubtful { workflow: "w".into(), version: version(), findings: vec!["f".into()] },
        Report::FolderGone { folder: "f".into(), error: "e".into() },
        Report::FolderBack { folder: "f".into() },
    ];
    for report in &reports {
        match report {
            Report::Loaded { .. } | Report::Gated(_) | Report::Broken { .. } | Report::Removed { .. } => {}
            Report::Doubtful { .. } | Report::FolderGone { .. } | Report::FolderBack { .. } => {}
        }
    }
    hold(&contract, "Report", &reports);
    hold(&contract, "Step", &[StepInfo { name: "n".into(), kind: "rust".into(), description: "d".into() }]);
    let schedule = ScheduleView {
        workflow: "w".into(),
        cron: "* * * * *".into(),
        timezone: "UTC".into(),
        overlap: "skip".into(),
        missed: "once".into(),
        paused: false,
        next: Some(1),
        upcoming: vec![1, 2, 3, 4, 5],
        last: Some(0),
        last_run: Some(run()),
        queued: 0,
    };
    hold(&contract, "Schedule", &[schedule]);
    let stats = Stats { flushes: 1, writes: 1, event_bytes: 1, live: 1, evicted: 1, rebuilt: 1, attempts: 1 };
    hold(&contract, "Stats", &[stats]);
    let damage = Damage { run: Some(run()), what: "w".into(), todo: "t".into(), mendable: true };
    hold(&contract, "Damage", std::slice::from_ref(&damage));
    hold(&contract, "Diagnosis", &[Diagnosis { runs: 1, events: 2, findings: vec![damage] }]);
}

#[tokio::test]
async fn replays_and_traces() {
    let contract = Contract::of(&plain().await, None).await;
    let next =
        NextCall { step_id: Some(step()), what: "w".into(), input: json!(1), site: "1:1".into(), source: "s".into() };
    let replay = ReplayView {
        status: Status::Failed,
        output: json!(1),
        error: Some(failure()),
        events: 3,
        divergence: Some(read(divergence())),
        micros: 1,
        used: 2,
        waiting_for: waits(),
        next: vec![next],
        stopped: Some(snapshot()),
        statements: Some(5),
    };
    hold(&contract, "Replay", std::slice::from_ref(&replay));
    hold(&contract, "Snapshot", &[snapshot()]);
    let text = || Arc::<str>::from("t");
    let seen = [
        Traced::Line { file: text(), line: 1, column: 1, source: text() },
        Traced::Changed { name: "n".into(), old: Some("1".into()), new: "2".into() },
        Traced::Entered { function: "f".into() },
        Traced::Returned { function: "f".into(), value: "v".into() },
        Traced::Threw { function: "f".into(), error: "e".into() },
        Traced::Called {
            step_id: Some(step()),
            call: "c".into(),
            input: Some("i".into()),
            site: "1:1".into(),
            new: true,
        },
        Traced::Answered { step_id: Some(step()), value: "v".into() },
        Traced::Failed { step_id: Some(step()), error: "e".into() },
    ];
    let events: Vec<_> = seen
        .into_iter()
        .map(|what| {
            match &what {
                Traced::Line { .. }
                | Traced::Changed { .. }
                | Traced::Entered { .. }
                | Traced::Returned { .. }
                | Traced::Threw { .. }
                | Traced::Called { .. }
                | Traced::Answered { .. }
                | Traced::Failed { .. } => {}
            }
            TraceEvent { n: 1, task: text(), depth: 0, loops: vec![Pass { line: 1, column: 1, pass: 1 }], what }
        })
        .collect();
    hold(&contract, "TraceEvent", &events);
    let end = json!({ "type": "end", "replay": replay });
    let error = json!({ "type": "error", "detail": "d" });
    let lines: Vec<_> = events.iter().map(|event| json!(event)).chain([end, error]).collect();
    hold(&contract, "TraceLine", &lines);
}

#[tokio::test]
async fn what_is_sent() {
    let contract = Contract::of(&plain().await, None).await;
    let script = Script { source: "1".into(), modules: [("lib/m".into(), "2".into())].into(), ..Script::default() };
    let options = |stop| ReplayOptions {
        script: Some(script.clone()),
        set: [(step(), json!(1))].into(),
        stop: Some(stop),
        evaluate: Some("x".into()),
        value_bytes: Some(9),
    };
    let stops = [
        Stop::Statement { n: u64::MAX },
        Stop::Place { file: Some("lib/m".into()), line: 3, after: 0 },
        Stop::Depth { task: "4.1".into(), depth: 1, after: 2 },
        Stop::Step { step_id: step() },
        Stop::AnyStep { after: 1 },
    ];
    for stop in &stops {
        match stop {
            Stop::Statement { n: _ }
            | Stop::Place { file: _, line: _, after: _ }
            | Stop::Depth { task: _, depth: _, after: _ }
            | Stop::Step { step_id: _ }
            | Stop::AnyStep { after: _ } => {}
        }
    }
    hold(&contract, "Stop", &stops);
    hold(&contract, "ReplayOptions", &stops.map(options));
    let fork = Fork {
        at: Some(step()),
        after: Some(step()),
        script: Some(script),
        set: [(step(), json!(1))].into(),
        id: Some("f".into()),
    };
    hold(&contract, "Fork", &[fork]);
    let started = Started {
        workflow: "order".into(),
        input: json!(1),
        id: Some("order-42".into()),
        tags: [("a".into(), "b".into())].into(),
        delay: Some(json!("1h 30m")),
        at: Some(1),
        timeout: Some(json!(2.5)),
        priority: -1,
    };
    hold(&contract, "Started", &[started]);
    let purging =
        Purging { ended_before: Some(1), status: vec![Status::Failed], workflow: Some("order".into()), all: true };
    hold(&contract, "Purging", &[purging]);
    hold(&contract, "Migrating", &[Migrating { to: Some("serving".into()), dry_run: true }]);
}
