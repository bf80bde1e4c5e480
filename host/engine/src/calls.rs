//! The durable calls by name, for messages, for `durhai check` and `durhai docs`, and for editors.

use serde::Serialize;

/// A call that a workflow script can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CallDoc {
    pub name: &'static str,
    /// How it is written: `use_step(name, input)`; a method with what it belongs to in front.
    pub forms: &'static [&'static str],
    /// What it gives, in which units, within which limits, and what it throws. Markdown; the first sentence says what it
    /// does.
    pub text: &'static str,
}

const fn call(name: &'static str, forms: &'static [&'static str], text: &'static str) -> CallDoc {
    CallDoc { name, forms, text }
}

/// All of them. Where a duration is asked for, it is a number of seconds or text like `"1h 30m"`, at most 1000 years.
pub const CALLS: &[CallDoc] = &[
    call(
        "use_step",
        &["use_step(name)", "use_step(name, input)", "use_step(name, input, options)"],
        "Runs a step and gives its output; after a crash the recorded output. Options: `retry: #{ max_attempts: 4, \
         initial: \"1s\", factor: 2, max: \"60s\", jitter: 0.1, unless: [] }` or `retry: false`, where `unless` lists errors that no \
         further attempt mends: kinds (`timeout`), codes in their data (`card_declined`, `418`), words of their message; `timeout` of each attempt, `deadline` of \
         all attempts and waits together; `once: true` never repeats an attempt that a crash cut off; `label` is shown \
         instead of the name. Input and output are at most 2 MiB as JSON. Throws `step_failed` (with what the step said \
         under `data`), `timeout`, `interrupted` (with `once`), `unknown_step`, `invalid_input`, `not_storable`, `limit`, \
         `cancelled`.",
    ),
    call(
        "sleep",
        &["sleep(duration)"],
        "Waits, durably: the recorded time to wake up counts, whatever restarts lie between. Seconds, or text like \"3 \
         days\"; `sleep(0)` returns at once. Throws `cancelled`, and `invalid_input` for what is no duration.",
    ),
    call(
        "sleep_until",
        &["sleep_until(unix_milliseconds)"],
        "Waits until a moment: Unix milliseconds, or a `timestamp()`. One that has passed returns at once. Throws \
         `cancelled`.",
    ),
    call(
        "now",
        &["now()"],
        "The time in Unix milliseconds on the run's clock. It moves with what happens to the run, not while the script \
         computes, and a replay sees the same. `std/time` calculates with it.",
    ),
    call(
        "timestamp",
        &["timestamp()"],
        "The time on the run's clock as a timestamp: `.elapsed` is seconds since then, two can be subtracted and compared, \
         seconds added.",
    ),
    call(
        "rand",
        &["rand()", "rand(range)", "rand(start, end)"],
        "A random whole number from the run's seed: any, one in a range (`1..7` is 1 to 6), one from `start` to `end`, both \
         included. A replay draws the same. An empty range throws `invalid_input`.",
    ),
    call(
        "rand_float",
        &["rand_float()", "rand_float(start, end)"],
        "A random float from the run's seed: from 0.0 up to, not including, 1.0, or in a range.",
    ),
    call(
        "rand_bool",
        &["rand_bool()", "rand_bool(probability)"],
        "`true` or `false` from the run's seed, `true` with this probability, 0.0 to 1.0, or evenly.",
    ),
    call(
        "rand_alpha_numeric",
        &["rand_alpha_numeric(length)"],
        "A random text of ASCII letters and digits, 1 to 1 000 000 of them. It comes from the run's id: it is no secret.",
    ),
    call("shuffle", &["array.shuffle()"], "Puts the elements into a random order, in place, from the run's seed."),
    call(
        "sample",
        &["array.sample()", "array.sample(amount)"],
        "A random element, `()` of an empty array; or an array of so many, none twice, all if there are fewer.",
    ),
    call(
        "uuid",
        &["uuid()"],
        "A UUID of version 4 from the run's seed. It comes from the run's id: unique, but no secret.",
    ),
    call(
        "wait_for",
        &["wait_for(signal)", "wait_for(signal, #{ timeout, schema })"],
        "Waits for the next signal of that name and gives its payload, `()` after the timeout. Signals are kept in order, \
         also those that came before anybody waited. With a schema its defaults are filled in, and a payload that does not \
         fit throws `invalid_input` with the payload under `data`. Throws `cancelled`.",
    ),
    call(
        "poll_signal",
        &["poll_signal(signal)"],
        "The payload of the next signal of that name that is there already, or `()`. Does not wait.",
    ),
    call(
        "hook",
        &["hook()", "hook(#{ token, schema, metadata })"],
        "Opens an address that the outside can send to: `.token`, `.url`, `.wait()`, `.close()`. Without `token` (1 to 128 \
         letters, digits and `-_.:~`) one that cannot be guessed is made. `schema` is for the body of requests. Throws \
         `hook_conflict` if another open hook has the token. Closed at the end of the run.",
    ),
    call(
        "wait",
        &["hook.wait()", "hook.wait(#{ timeout })"],
        "The next request to a hook: `#{ method, headers, query, body }`; `()` after the timeout, or when the hook is closed \
         and all is read. Throws `cancelled`.",
    ),
    call("close", &["hook.close()"], "Closes a hook: its token is free again. What came before can still be read."),
    call(
        "suspend",
        &["suspend(payload)", "suspend(payload, #{ schema, label, timeout })"],
        "Shows the payload to a person and waits for the answer; `()` after the timeout. Answers that do not fit the schema \
         are refused without waking the run; its defaults are filled in. The label tells several questions apart. Throws \
         `cancelled`.",
    ),
    call(
        "run_workflow",
        &[
            "run_workflow(name)",
            "run_workflow(name, input)",
            "run_workflow(name, input, #{ id, tags, timeout, priority, label })",
        ],
        "Runs another workflow and gives its output. It is cancelled with the caller. At most 16 runs start each other in a \
         row. Throws `child_failed` with its error as `cause`, `invalid_input` for an `id` that belongs to something else, \
         `cancelled`.",
    ),
    call(
        "start_workflow",
        &[
            "start_workflow(name)",
            "start_workflow(name, input)",
            "start_workflow(name, input, #{ id, tags, timeout, priority, label, delay })",
        ],
        "Starts another workflow and gives the id of its run, which goes its own way. With `delay` it begins later. The id \
         is made from the caller's, so a replay never starts a second one. Throws as `run_workflow` does.",
    ),
    call(
        "continue_as_new",
        &["continue_as_new()", "continue_as_new(input)"],
        "Ends this run and starts its successor with an empty log: what a loop for ever needs, because a log holds at most \
         50 000 events and 50 MiB. Signals nobody took go along. Does not return. Throws `invalid_input` if the input does \
         not fit the workflow's header.",
    ),
    call(
        "set_state",
        &["set_state(key, value)"],
        "Shows a value to the outside under a key, at once, without waking the run; it stays after its end.",
    ),
    call("get_state", &["get_state(key)"], "The value that `set_state` put there, or `()`."),
    call(
        "set_status",
        &["set_status(value)"],
        "One line that says how far the run is, shown in lists; `()` removes it.",
    ),
    call(
        "emit",
        &["emit(value)", "emit(stream, value)"],
        "Appends a value to the run's output stream, or to one with a name, once, whatever is replayed. Readers follow it \
         live, from any index.",
    ),
    call(
        "parallel",
        &["parallel(closures)", "parallel(closures, #{ settle, concurrency })"],
        "Runs each closure of an array or a map as a task of its own and gives the results in the same shape. The first \
         failure cancels the others and is thrown; with `settle: true` each result is `#{ ok: value }` or `#{ error: error \
         }`. `concurrency` limits how many run at a time. At most 10 000 tasks are open in a run.",
    ),
    call(
        "foreach",
        &["foreach(items, |item| …)", "foreach(items, |item, index| …, #{ settle, concurrency })"],
        "Calls the closure with each item, as tasks, and gives the results in the order of the items. One at a time, unless \
         `concurrency` says more. The first failure cancels the others and is thrown; with `settle: true` all are waited for, and \
         each result is `#{ ok: value }` or `#{ error: error }`.",
    ),
    call(
        "race",
        &["race(closures)"],
        "Runs the closures of an array or a map and gives the first that is done: `#{ winner, value }`, the winner being an \
         index or a key; the others are cancelled. If the first to end failed, its error is thrown.",
    ),
    call(
        "task",
        &["task(|| …)"],
        "Begins a task without waiting for it and gives a handle: `.join()`, `.is_done()`, `.cancel()`. Tasks that are open \
         when the script ends are cancelled. One that failed and was never joined fails the run.",
    ),
    call("join", &["task.join()"], "Waits for a task and gives its value, or throws what it threw."),
    call("is_done", &["task.is_done()"], "Whether a task has ended. Does not wait."),
    call("cancel", &["task.cancel()"], "Cancels a task: `cancelled` is thrown at the durable call it waits in."),
    call(
        "with_timeout",
        &["with_timeout(duration, || …)"],
        "Gives the closure's value, or throws `timeout` when it takes longer, and cancels what it had open.",
    ),
    call("print", &["print(value)"], "Writes a line of level info to the run's log, once: silent during replay."),
    call(
        "debug",
        &["debug(value)"],
        "Writes a line of level debug to the run's log, with the value as a script writes it.",
    ),
    call(
        "log",
        &["log(level, message)", "log(level, message, fields)"],
        "Writes a line to the run's log, once. Levels: `debug`, `info`, `warn`, `error`. Fields are a map. A line holds at \
         most 16 KiB. Another level throws `invalid_input`.",
    ),
    call(
        "run_id",
        &["run_id()"],
        "The id of this run. A run that `durhai retry` made sees the id of the run that failed, as it is in what was recorded.",
    ),
    call("workflow_name", &["workflow_name()"], "The name of this workflow: `billing/invoice`."),
    call("attempt", &["attempt()"], "Which attempt at this run this is, from 1; `durhai retry` starts another one."),
    call("step_id", &["step_id()"], "The id of the last durable call of this task: `4`, `4.2.1`."),
];
