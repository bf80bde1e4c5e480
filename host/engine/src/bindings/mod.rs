//! The durable calls, as scripts see them. Each file registers one family.

mod args;
mod child;
mod error;
pub(crate) mod group;
mod hook;
mod log;
mod person;
mod random;
pub(crate) mod saga;
mod signal;
mod state;
mod step;
mod time;

pub use self::error::{failure_to_error, failure_to_map, map_to_failure, throw};
pub use self::group::TaskHandle;
pub use self::hook::HookHandle;
pub use self::saga::SagaHandle;
pub use self::time::Timestamp;

use rhai::Engine;

/// What scripts can call, for messages and for `durhai check`: name and the forms it can be called in.
pub const CALLS: &[(&str, &[&str])] = &[
    ("use_step", &["use_step(name)", "use_step(name, input)", "use_step(name, input, options)"]),
    ("sleep", &["sleep(duration)"]),
    ("sleep_until", &["sleep_until(unix_milliseconds)"]),
    ("now", &["now()"]),
    ("timestamp", &["timestamp()"]),
    ("rand", &["rand()", "rand(range)", "rand(start, end)"]),
    ("rand_float", &["rand_float()", "rand_float(start, end)"]),
    ("rand_bool", &["rand_bool()", "rand_bool(probability)"]),
    ("rand_alpha_numeric", &["rand_alpha_numeric(length)"]),
    ("shuffle", &["array.shuffle()"]),
    ("sample", &["array.sample()", "array.sample(amount)"]),
    ("uuid", &["uuid()"]),
    ("wait_for", &["wait_for(signal)", "wait_for(signal, #{ timeout, schema })"]),
    ("poll_signal", &["poll_signal(signal)"]),
    ("hook", &["hook()", "hook(#{ token, schema, metadata })"]),
    ("wait", &["hook.wait()", "hook.wait(#{ timeout })"]),
    ("close", &["hook.close()"]),
    ("suspend", &["suspend(payload)", "suspend(payload, #{ schema, label, timeout })"]),
    (
        "run_workflow",
        &[
            "run_workflow(name)",
            "run_workflow(name, input)",
            "run_workflow(name, input, #{ id, tags, timeout, priority, label })",
        ],
    ),
    (
        "start_workflow",
        &[
            "start_workflow(name)",
            "start_workflow(name, input)",
            "start_workflow(name, input, #{ id, tags, timeout, priority, label, delay })",
        ],
    ),
    ("continue_as_new", &["continue_as_new()", "continue_as_new(input)"]),
    ("set_state", &["set_state(key, value)"]),
    ("get_state", &["get_state(key)"]),
    ("set_status", &["set_status(value)"]),
    ("emit", &["emit(value)", "emit(stream, value)"]),
    ("parallel", &["parallel(closures)", "parallel(closures, #{ settle, concurrency })"]),
    ("foreach", &["foreach(items, |item| …)", "foreach(items, |item, index| …, #{ concurrency })"]),
    ("race", &["race(closures)"]),
    ("task", &["task(|| …)"]),
    ("join", &["task.join()"]),
    ("is_done", &["task.is_done()"]),
    ("cancel", &["task.cancel()"]),
    ("with_timeout", &["with_timeout(duration, || …)"]),
    ("print", &["print(value)"]),
    ("debug", &["debug(value)"]),
    ("log", &["log(level, message)", "log(level, message, fields)"]),
    ("run_id", &["run_id()"]),
    ("workflow_name", &["workflow_name()"]),
    ("attempt", &["attempt()"]),
    ("step_id", &["step_id()"]),
];

/// Registers everything in [`CALLS`].
pub fn register(engine: &mut Engine) {
    step::register(engine);
    time::register(engine);
    random::register(engine);
    signal::register(engine);
    hook::register(engine);
    person::register(engine);
    child::register(engine);
    state::register(engine);
    group::register(engine);
    saga::register(engine);
    log::register(engine);
}
