//! engine: scripts compiled, begun, gone on with and dropped, and a durable call beside a native one.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use durhai_bench::hosts::SEQUENCE;
use durhai_bench::logs::{self, START};
use durhai_core::replay::{Command, Input, Limits};
use durhai_core::{Event, Replay, StepId};
use durhai_engine::{Bundle, Execution, Program, Sandbox, SandboxConfig, Yield, rhai};
use serde_json::json;

const ENDLESS: &str = r#"let x = 0; loop { x = use_step("add", x); }"#;
const NATIVE: &str = r#"let x = 0; for i in 0..input { x = add(x); } x"#;

/// A workflow of the usual kind and length.
const ORDER: &str = r#"
fn total(items) {
    let sum = 0;
    for item in items { sum += item.price * item.count; }
    sum
}
let due = total(input.items);
let paid = use_step("charge", #{ order: input.id, due: due }, #{ retries: 5, timeout: "30s" });
try {
    let done = parallel(#{
        pack: || use_step("pack", input.items),
        mail: || use_step("mail", #{ to: input.customer, text: `order ${input.id} is paid` }),
    });
    let approved = wait_for("approve", "1h");
    if approved == () { throw "nobody approved"; }
    #{ order: input.id, parcel: done.pack, paid: paid }
} catch (error) {
    use_step("refund", paid);
    throw error;
}
"#;

/// Waiting fibers that are there at a time: each takes mappings of the process, which are few.
const FIBERS: BatchSize = BatchSize::NumIterations(64);

pub fn bench(criterion: &mut Criterion) {
    let native = |engine: &mut rhai::Engine| {
        engine.register_fn("add", |x: i64| x + 1);
    };
    let sandbox = Sandbox::new(&SandboxConfig { extend: vec![Arc::new(native)], ..SandboxConfig::default() });
    life(criterion, &sandbox);
    calls(criterion, &sandbox);
}

fn life(criterion: &mut Criterion, sandbox: &Sandbox) {
    let mut group = criterion.benchmark_group("script");
    group.bench_function("gather and compile", |b| b.iter(|| compile(sandbox, black_box(ORDER))));

    let program = compile(sandbox, ENDLESS);
    let begin = || begin(sandbox, &program);
    group.bench_function("begin, up to the first step", |b| b.iter_batched(|| (), |()| begin(), FIBERS));
    group.bench_function("drop while it waits", |b| b.iter_batched(begin, drop, FIBERS));
    group.bench_function("resume, up to the next step", |b| {
        let mut execution = begin();
        let mut waits = asked(&mut execution);
        b.iter(|| {
            let result = Ok(json!(1));
            execution.replay_mut().deliver(START, Input::Attempt { step_id: waits.clone(), attempt: 1, result });
            execution.turn(sandbox, &|| false);
            waits = asked(&mut execution);
        });
    });
    group.finish();
}

/// A thousand calls in one run. Elements are calls.
fn calls(criterion: &mut Criterion, sandbox: &Sandbox) {
    const CALLS: usize = 1_000;
    let mut group = criterion.benchmark_group("1000 calls");
    group.throughput(Throughput::Elements(CALLS as u64));
    let scripts = [("native", NATIVE, vec![logs::created(CALLS)]), ("replayed", SEQUENCE, logs::of(CALLS))];
    for (name, source, log) in scripts {
        let program = compile(sandbox, source);
        let whole = |mut execution: Execution| {
            assert_eq!(execution.turn(sandbox, &|| false), Yield::Stopped, "the run waits");
            execution
        };
        group.bench_function(name, |b| {
            b.iter_batched(|| execution(&program, log.clone()), whole, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn compile(sandbox: &Sandbox, source: &str) -> Rc<Program> {
    let bundle = Bundle::gather("flow", source, &mut |_| None).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
    Rc::new(sandbox.compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0])))
}

/// A run before its first turn. A log that holds more than the creation is replayed.
fn execution(program: &Rc<Program>, log: Vec<Event>) -> Execution {
    let limits = Limits { log_events: u64::MAX, log_bytes: u64::MAX, ..Limits::default() };
    let mut replay = Replay::new(log, limits).expect("a log");
    replay.deliver(START, Input::Start);
    Execution::new(program.clone(), replay)
}

/// A run that waits for its first step.
fn begin(sandbox: &Sandbox, program: &Rc<Program>) -> Execution {
    let mut execution = execution(program, vec![logs::created(0)]);
    assert_eq!(execution.turn(sandbox, &|| false), Yield::Idle);
    execution
}

/// The step that the last turn asked for.
fn asked(execution: &mut Execution) -> StepId {
    match execution.replay_mut().take().commands.pop() {
        Some(Command::RunStep(step)) => step.step_id,
        other => panic!("the turn asked for {other:?} and not for a step"),
    }
}
