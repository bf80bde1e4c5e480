//! core: events as bytes, and a log that is handed over again.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use durhai_bench::logs;
use durhai_core::replay::{Limits, Verdict};
use durhai_core::{Event, EventBody, Replay, wire};

pub fn bench(criterion: &mut Criterion) {
    encoding(criterion);
    replaying(criterion);
}

/// Elements are events: those of one turn (a step's result and the start of the next), as a commit holds them, and many
/// in one piece.
fn encoding(criterion: &mut Criterion) {
    let events = logs::of(500);
    let turn = &events[3..5];
    assert!(matches!(
        turn,
        [Event { body: EventBody::StepCompleted { .. }, .. }, Event { body: EventBody::StepStarted { .. }, .. }]
    ));
    let mut group = criterion.benchmark_group("wire");
    for (name, events) in [("turn", turn), ("1000 events", &events[2..1002])] {
        let bytes = wire::encode(events);
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function(format!("encode/{name}"), |b| b.iter(|| wire::encode(black_box(events))));
        group.bench_function(format!("decode/{name}"), |b| {
            let mut into = Vec::new();
            b.iter(|| {
                into.clear();
                wire::decode(black_box(&bytes), &mut into).expect("what was encoded");
            });
        });
    }
    group.finish();
}

/// Elements are events.
fn replaying(criterion: &mut Criterion) {
    const STEPS: usize = 10_000;
    let events = logs::of(STEPS);
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("10000 steps, no script", |b| {
        let again = |events| {
            let mut replay = Replay::new(events, Limits::default()).expect("a log");
            logs::drive(&mut replay, STEPS);
            assert!(matches!(replay.verdict(), Some(Verdict::Ended(_))), "{:?}", replay.verdict());
            replay
        };
        b.iter_batched(|| events.clone(), again, BatchSize::PerIteration);
    });
    group.finish();
}
