//! What runs cost on this machine: `cargo run --release -p durhai-engine --example figures`.

use std::rc::Rc;
use std::time::Instant;

use durhai_core::event::Created;
use durhai_core::replay::{Command, Input, Limits};
use durhai_core::{Event, EventBody, Replay, RunId, Value};
use durhai_engine::{Bundle, Execution, Program, Sandbox, SandboxConfig, Yield};

const RUNS: usize = 2_000;

fn main() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    waiting(&sandbox);
    for (what, script) in [
        ("1 000 000 rounds of a loop", "let x = 0; for i in 0..1_000_000 { x += i % 7; }"),
        ("20 000 integers pushed", "let a = []; for i in 0..20_000 { a.push(i); }"),
        ("20 000 maps pushed", "let a = []; for i in 0..20_000 { a.push(#{ id: i, name: \"x\" }); }"),
        ("20 000 map entries set", "let m = #{}; for i in 0..20_000 { m[`k${i}`] = i; }"),
        ("20 000 times len() of 20 000", "let a = []; a.pad(20_000, 1); let i = 0; while i < a.len() { i += 1; }"),
    ] {
        let program = compile(&sandbox, script);
        let mut execution = execution(&program, 0);
        let begun = Instant::now();
        while execution.turn(&sandbox, &|| false) != Yield::Stopped {}
        println!("{what}: {:.1?}", begun.elapsed());
    }
}

/// Runs that wait in a step: what they cost to begin, to go on, to hold and to drop.
fn waiting(sandbox: &Sandbox) {
    let program = compile(sandbox, "let x = 0; for i in 0..input { x = use_step(\"add\", x); } x");
    let mut warm = execution(&program, 0);
    warm.turn(sandbox, &|| false);
    let before = resident();
    let begun = Instant::now();
    let mut runs: Vec<_> = (0..RUNS).map(|run| execution(&program, run)).collect();
    let made = begun.elapsed();
    let mut commands: Vec<_> = runs.iter_mut().map(|run| turn(sandbox, run)).collect();
    let begun = begun.elapsed();
    println!("a run made: {:.1?}, up to its first step: {:.1?}", made / RUNS as u32, begun / RUNS as u32);
    println!("a waiting run: {} bytes resident", (resident() - before) / RUNS);
    let start = Instant::now();
    for _ in 0..10 {
        for (run, command) in runs.iter_mut().zip(&mut commands) {
            let Some(Command::RunStep(step)) = command.take() else { continue };
            let result = Ok(Value::from(1));
            run.replay_mut().deliver(0, Input::Attempt { step_id: step.step_id, attempt: step.attempt, result });
            *command = turn(sandbox, run);
        }
    }
    println!("a step's result taken, up to the next step: {:.2?}", start.elapsed() / (10 * RUNS as u32));
    println!("a waiting run after 10 steps: {} bytes resident", (resident() - before) / RUNS);
    let start = Instant::now();
    drop(runs);
    println!("a waiting run dropped: {:.1?}", start.elapsed() / RUNS as u32);
}

fn turn(sandbox: &Sandbox, run: &mut Execution) -> Option<Command> {
    run.turn(sandbox, &|| false);
    run.replay_mut().take().commands.pop()
}

fn compile(sandbox: &Sandbox, script: &str) -> Rc<Program> {
    let Ok(program) = sandbox.compile(&Bundle::single("figures", script)) else { panic!("{script} does not compile") };
    Rc::new(program)
}

fn execution(program: &Rc<Program>, run: usize) -> Execution {
    let id = RunId::new(format!("run-{run}")).expect("an id");
    let created = Created::new(id, "figures", program.version().clone(), Value::from(1_000));
    let body = EventBody::RunCreated(Box::new(created));
    let history = vec![Event { seq: 1, at: 0, step_id: None, site: None, body }];
    let replay = Replay::new(history, Limits::default()).expect("a log");
    let mut execution = Execution::new(program.clone(), replay);
    execution.replay_mut().deliver(0, Input::Start);
    execution
}

/// Bytes of memory this process has; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
