//! Literal arguments of durable calls, looked at by the very functions that read them when the script runs.

use rhai::Dynamic;

use super::code::Code;
use super::report::Report;
use super::tree::{Call, Entry, Node, NodeKind};
use crate::bindings::args;
use crate::errors::suggest::near;
use crate::errors::thrown::{Thrown, map_to_failure};
use crate::schema::Schema;
use crate::values::convert::Budget;

/// An option, and what it must be.
type Option_ = (&'static str, Must);

#[derive(Debug, Clone, Copy)]
enum Must {
    Duration,
    /// Longer than nothing.
    Positive,
    Bool,
    /// From 1.
    Count,
    /// A string that is not empty.
    Name,
    /// An array of those.
    Names,
    Text,
    Schema,
    Retry,
    Tags,
    Priority,
    Anything,
}

/// Where the options of a call are, and which there are.
fn table(call: &Call) -> Option<(usize, &'static [Option_])> {
    // `hook.wait(options)` and `wait(hook, options)`.
    let method = call.receiver.is_some();
    Some(match call.name.as_str() {
        "use_step" => (2, STEP),
        "run_workflow" => (2, RUN),
        "start_workflow" => (2, START),
        "wait_for" => (1, &[("timeout", Must::Duration), ("schema", Must::Schema)]),
        "hook" => (0, &[("token", Must::Text), ("schema", Must::Schema), ("metadata", Must::Anything)]),
        "wait" if method => (0, &[("timeout", Must::Duration)]),
        "wait" => (1, &[("timeout", Must::Duration)]),
        "suspend" => (1, &[("schema", Must::Schema), ("label", Must::Name), ("timeout", Must::Duration)]),
        "parallel" => (1, &[("settle", Must::Bool), ("concurrency", Must::Count)]),
        "foreach" => (2, &[("settle", Must::Bool), ("concurrency", Must::Count)]),
        _ => return None,
    })
}

const STEP: &[Option_] = &[
    ("retry", Must::Retry),
    ("timeout", Must::Positive),
    ("deadline", Must::Positive),
    ("once", Must::Bool),
    ("label", Must::Name),
];
const RUN: &[Option_] = &[
    ("id", Must::Text),
    ("tags", Must::Tags),
    ("timeout", Must::Positive),
    ("priority", Must::Priority),
    ("label", Must::Name),
];
const START: &[Option_] = &[
    ("id", Must::Text),
    ("tags", Must::Tags),
    ("timeout", Must::Positive),
    ("priority", Must::Priority),
    ("label", Must::Name),
    ("delay", Must::Duration),
];
const RETRY: &[Option_] = &[
    ("max_attempts", Must::Count),
    ("initial", Must::Duration),
    ("factor", Must::Anything),
    ("max", Must::Duration),
    ("jitter", Must::Anything),
    ("unless", Must::Names),
];

/// Looks at the options of a call, as far as they are written out.
pub fn check(call: &Call, report: &mut Report<'_>) {
    let Some((at, known)) = table(call) else { return };
    let Some(options) = call.args.get(at) else { return };
    match &options.kind {
        NodeKind::Map(entries) => each(&call.name, &format!("{}: option `", call.name), entries, known, report),
        NodeKind::Unit => {}
        _ => {
            if let Some(value) = options.literal() {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                wrong(args::options(&call.name, &value, &names), options, report);
            }
        }
    }
}

/// `call` names who has the options, `what` is how a message about one of them begins.
fn each(call: &str, what: &str, entries: &[Entry], known: &[Option_], report: &mut Report<'_>) {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    for entry in entries {
        let Some((_, must)) = known.iter().find(|(name, _)| *name == entry.key) else {
            let message = format!("{call} has no option `{}`; there are: {}", entry.key, names.join(", "));
            match near(&entry.key, names.iter().copied()) {
                Some(close) => {
                    report.help(Code::UnknownOption, entry.at, message, format!("did you mean `{close}`?"));
                }
                None => report.add(Code::UnknownOption, entry.at, message),
            }
            continue;
        };
        value(&format!("{what}{}`", entry.key), *must, &entry.value, report);
    }
}

fn value(what: &str, must: Must, node: &Node, report: &mut Report<'_>) {
    if let (Must::Retry, NodeKind::Map(entries)) = (must, &node.kind) {
        return each("use_step: retry", "use_step: option `retry.", entries, RETRY, report);
    }
    let Some(value) = node.literal() else { return };
    match must {
        Must::Anything => {
            if what.ends_with("retry.factor`") {
                wrong(args::number(what, &value, 1.0, f64::INFINITY), node, report);
            } else if what.ends_with("retry.jitter`") {
                wrong(args::number(what, &value, 0.0, 1.0), node, report);
            }
        }
        Must::Duration => wrong(args::millis(what, &value), node, report),
        Must::Positive => wrong(args::positive(what, &value), node, report),
        Must::Bool => wrong(args::boolean(what, &value), node, report),
        Must::Count => wrong(args::count(what, &value), node, report),
        Must::Name => wrong(args::name(what, &value), node, report),
        Must::Names => wrong(args::names(what, &value), node, report),
        Must::Text if value.is_unit() => {}
        Must::Text => wrong(args::text(what, &value), node, report),
        Must::Schema => schema(what, &value, node, report),
        Must::Retry if value.is_bool() => {}
        Must::Retry => {
            let found = crate::values::show::found(&value);
            let message =
                format!("use_step: option `retry` must be false or a map like #{{ max_attempts: 5 }}, found {found}");
            report.add(Code::WrongValue, node.at, message);
        }
        Must::Tags => {
            let tags = args::tags(what, &value);
            let kept = |tags| durhai_core::tags::check(&tags).or_else(|why| args::invalid(format!("{what}: {why}")));
            wrong(tags.and_then(kept), node, report);
        }
        Must::Priority => {
            if !value.as_int().is_ok_and(|int| i32::try_from(int).is_ok()) {
                let (least, most, found) = (i32::MIN, i32::MAX, crate::values::show::found(&value));
                let message = format!("{what} must be a whole number from {least} to {most}, found {found}");
                report.add(Code::WrongValue, node.at, message);
            }
        }
    }
}

fn schema(what: &str, value: &Dynamic, node: &Node, report: &mut Report<'_>) {
    if !value.is_map() && !value.is_bool() {
        let found = crate::values::show::found(value);
        let message = format!("{what} must be a JSON Schema like #{{ type: \"object\" }}, found {found}");
        return report.add(Code::WrongValue, node.at, message);
    }
    let Ok(document) = crate::values::convert::to_value(value, "schema", BUDGET) else { return };
    if let Err(why) = Schema::compile(&document) {
        report.add(Code::WrongValue, node.at, format!("{what} is no JSON Schema: {why}"));
    }
}

/// Plain arguments: names, durations, levels.
pub fn arguments(call: &Call, report: &mut Report<'_>) {
    let argument = |at: usize| call.args.get(at).and_then(|node| Some((node, node.literal()?)));
    let named = |what: &str| format!("{}: the name of the {what}", call.name);
    match call.name.as_str() {
        "sleep" => {
            if let Some((node, value)) = argument(0) {
                wrong(args::millis("sleep: the duration", &value), node, report);
            }
        }
        "with_timeout" => {
            if let Some((node, value)) = argument(0) {
                wrong(args::millis("with_timeout: the duration", &value), node, report);
            }
        }
        "use_step" | "run_workflow" | "start_workflow" | "wait_for" | "poll_signal" => {
            let noun = match call.name.as_str() {
                "use_step" => "step",
                "wait_for" | "poll_signal" => "signal",
                _ => "workflow",
            };
            if let Some((node, value)) = argument(0) {
                wrong(args::name(&named(noun), &value), node, report);
            }
        }
        "log" if call.args.len() > 1 => {
            if let Some((node, value)) = argument(0) {
                match args::text("log: the level", &value) {
                    Ok(level) if !["debug", "info", "warn", "error"].contains(&level.as_str()) => {
                        let message = format!("log: {level:?} is no level; there are: debug, info, warn, error");
                        report.add(Code::WrongValue, node.at, message);
                    }
                    other => wrong(other, node, report),
                }
            }
        }
        "sleep_until" => {
            if let Some((node, value)) = argument(0).filter(|(_, value)| !value.is_int()) {
                let found = crate::values::show::found(&value);
                let message = format!(
                    "sleep_until: the moment must be Unix milliseconds (an integer, like now() gives) or a timestamp, \
                     found {found}"
                );
                report.add(Code::WrongValue, node.at, message);
            }
        }
        _ => {}
    }
}

fn wrong<T>(result: Result<T, Thrown>, node: &Node, report: &mut Report<'_>) {
    if let Err(error) = result
        && let rhai::EvalAltResult::ErrorRuntime(value, _) = &*error
        && let Ok(map) = value.as_map_ref()
        && let Some(failure) = map_to_failure(&map, BUDGET)
    {
        report.add(Code::WrongValue, node.at, failure.message);
    }
}

const BUDGET: Budget = Budget { bytes: 1 << 20, depth: 64 };
