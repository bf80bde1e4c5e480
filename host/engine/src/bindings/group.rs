//! Calls that open tasks: `parallel`, `foreach`, `race`, `task`, `with_timeout`. Each branch is a closure that runs in a
//! fiber of its own; what it returns stays here until its group is collected.

use std::rc::Rc;

use durhai_core::replay::{Answer, Call, GroupKey, GroupKind, Outcome};
use durhai_core::{Failure, FailureKind};
use rhai::{Array, Dynamic, Engine, FnPtr, Map, NativeCallContext};

use super::args::{self, invalid};
use crate::errors::thrown::{Thrown, failure_to_map};
use crate::meter;
use crate::run::ask::ask;
use crate::run::branches::{Group, Work};
use crate::run::current::{self, State, throw_with_place};
use crate::values::convert;
use crate::values::handles::TaskHandle;
use crate::values::show::found;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("parallel", |ctx: NativeCallContext<'_>, work: Dynamic| parallel(&ctx, &work, &Dynamic::UNIT))
        .register_fn("parallel", |ctx: NativeCallContext<'_>, work: Dynamic, options: Dynamic| {
            parallel(&ctx, &work, &options)
        })
        .register_fn("foreach", |ctx: NativeCallContext<'_>, items: Dynamic, closure: Dynamic| {
            foreach(&ctx, &items, &closure, &Dynamic::UNIT)
        })
        .register_fn("foreach", |ctx: NativeCallContext<'_>, items: Dynamic, closure: Dynamic, options: Dynamic| {
            foreach(&ctx, &items, &closure, &options)
        })
        .register_fn("race", |ctx: NativeCallContext<'_>, work: Dynamic| race(&ctx, &work))
        .register_fn("with_timeout", |ctx: NativeCallContext<'_>, length: Dynamic, closure: Dynamic| {
            with_timeout(&ctx, &length, &closure)
        })
        .register_fn("task", |ctx: NativeCallContext<'_>, closure: Dynamic| task(&ctx, &closure))
        .register_type_with_name::<TaskHandle>("task")
        // By value: a method that borrowed the variable would hold it while it waits, and no other task could cancel it.
        .register_fn("join", |ctx: NativeCallContext<'_>, handle: TaskHandle| join(&ctx, handle))
        .register_fn("is_done", |ctx: NativeCallContext<'_>, handle: &mut TaskHandle| {
            current::run(&ctx, |state| state.replay.is_done(handle.0))
        })
        .register_fn("cancel", |ctx: NativeCallContext<'_>, handle: &mut TaskHandle| {
            current::run(&ctx, |state| state.replay.cancel_group(handle.0))
        });
}

fn parallel(ctx: &NativeCallContext<'_>, work: &Dynamic, options: &Dynamic) -> Result<Dynamic, Thrown> {
    let (keys, closures) = closures("parallel", work)?;
    let (kind, concurrency) = group_options("parallel", options, closures.len())?;
    let (mut group, outcome) = open(ctx, kind, Work::Closures(closures), concurrency)?;
    let values = values(&mut group, kind, outcome)?;
    Ok(match keys {
        None => values.into(),
        Some(keys) => keys.into_iter().map(Into::into).zip(values).collect::<Map>().into(),
    })
}

fn foreach(
    ctx: &NativeCallContext<'_>,
    items: &Dynamic,
    closure: &Dynamic,
    options: &Dynamic,
) -> Result<Dynamic, Thrown> {
    let Ok(items) = items.as_array_ref().map(|items| items.clone()) else {
        return invalid(format!("foreach: the items must be an array, found {}", found(items)));
    };
    let closure = args::closure("foreach: the second argument", closure)?;
    let (kind, concurrency) = group_options("foreach", options, 1)?;
    let takes = |count: usize| {
        let parameters = closure.curry().len() + count;
        ctx.iter_namespaces().any(|module| module.get_script_fn(closure.fn_name(), parameters).is_some())
    };
    let indexed = !takes(1) && takes(2);
    let (mut group, outcome) = open(ctx, kind, Work::Items { closure, items, indexed }, concurrency)?;
    values(&mut group, kind, outcome).map(Into::into)
}

/// `settle` and `concurrency`, which is `usual` where nothing is said.
fn group_options(call: &str, options: &Dynamic, usual: usize) -> Result<(GroupKind, usize), Thrown> {
    let (mut kind, mut concurrency) = (GroupKind::All, usual);
    if options.is_unit() {
        return Ok((kind, concurrency));
    }
    for (key, value) in args::options(call, options, &["settle", "concurrency"])? {
        match key.as_str() {
            "settle" if args::boolean(&format!("{call}: option `settle`"), &value)? => kind = GroupKind::Settle,
            "settle" => {}
            _ => concurrency = args::count(&format!("{call}: option `concurrency`"), &value)? as usize,
        }
    }
    Ok((kind, concurrency))
}

fn race(ctx: &NativeCallContext<'_>, work: &Dynamic) -> Result<Dynamic, Thrown> {
    let (keys, closures) = closures("race", work)?;
    if closures.is_empty() {
        return invalid("race: there must be at least one closure".into());
    }
    let concurrency = closures.len();
    let (mut group, outcome) = open(ctx, GroupKind::Race, Work::Closures(closures), concurrency)?;
    let winner = match outcome {
        Outcome::Won(index) | Outcome::Failed(index) => index,
        Outcome::All => 0,
    };
    let value = group.result(winner).map_err(throw_with_place)?;
    let name = match keys.and_then(|keys| keys.into_iter().nth(winner)) {
        Some(key) => key.into(),
        None => Dynamic::from(winner as i64),
    };
    Ok(Map::from([("winner".into(), name), ("value".into(), value)]).into())
}

fn with_timeout(ctx: &NativeCallContext<'_>, length: &Dynamic, closure: &Dynamic) -> Result<Dynamic, Thrown> {
    let length = args::millis("with_timeout: the duration", length)?;
    let closure = args::closure("with_timeout: the second argument", closure)?;
    let (mut group, _) = open(ctx, GroupKind::Timeout(length), Work::Closures(vec![closure]), 1)?;
    group.result(0).map_err(throw_with_place)
}

fn task(ctx: &NativeCallContext<'_>, closure: &Dynamic) -> Result<TaskHandle, Thrown> {
    let work = Work::Closures(vec![args::closure("task: the argument", closure)?]);
    let call = Call::Open { kind: GroupKind::Spawn, size: 1, concurrency: 1 };
    let mut opened = None;
    ask(
        ctx,
        || Ok(call),
        |state, key| {
            keep(ctx, state, key, work, 1);
            opened = Some(key);
        },
    )?;
    Ok(TaskHandle(opened.expect("a task that is answered was opened")))
}

fn join(ctx: &NativeCallContext<'_>, handle: TaskHandle) -> Result<Dynamic, Thrown> {
    ask(ctx, || Ok(Call::Join(handle.0)), |_, _| ())?;
    // It may be joined again, so the result stays.
    let result = current::run(ctx, |state| {
        state.groups.get(&handle.0).and_then(|group| group.results.first().cloned()).flatten()
    })?;
    result
        .unwrap_or_else(|| Err(Failure::cancelled("the task was cancelled before it began")))
        .map_err(throw_with_place)
}

/// Opens a group and waits until it is decided.
fn open(
    ctx: &NativeCallContext<'_>,
    kind: GroupKind,
    work: Work,
    concurrency: usize,
) -> Result<(Group, Outcome), Thrown> {
    let size = match &work {
        Work::Closures(closures) => closures.len(),
        Work::Items { items, .. } => items.len(),
    };
    let mut opened = None;
    let answer = ask(
        ctx,
        || Ok(Call::Open { kind, size, concurrency }),
        |state, key| {
            keep(ctx, state, key, work, size);
            opened = Some(key);
        },
    );
    let group = opened.and_then(|key| current::with(|state| state.groups.remove(&key)).flatten());
    match (answer?, group) {
        (Answer::Decided(_, outcome), Some(group)) => Ok((group, outcome)),
        (answer, _) => unreachable!("a group was answered with {answer:?}"),
    }
}

#[allow(deprecated)]
fn keep(ctx: &NativeCallContext<'_>, state: &mut State, key: GroupKey, work: Work, size: usize) {
    let results = (0..size).map(|_| None).collect();
    state.groups.insert(key, Group { work, results, context: Rc::new(ctx.store_data()) });
}

/// What a call gives: of each branch how it ended, or the values of all.
fn values(group: &mut Group, kind: GroupKind, outcome: Outcome) -> Result<Array, Thrown> {
    match kind {
        GroupKind::Settle => Ok((0..group.size()).map(|index| settled(group.result(index))).collect()),
        _ => all(group, outcome),
    }
}

/// The values of all branches, or the error of the one that failed.
fn all(group: &mut Group, outcome: Outcome) -> Result<Array, Thrown> {
    match outcome {
        Outcome::Failed(index) | Outcome::Won(index) => {
            Err(throw_with_place(group.result(index).err().unwrap_or_else(|| {
                Failure::new(FailureKind::Script, format!("branch {index} failed and left no error"))
            })))
        }
        Outcome::All => (0..group.size()).map(|index| group.result(index).map_err(throw_with_place)).collect(),
    }
}

fn settled(result: Result<Dynamic, Failure>) -> Dynamic {
    let (key, value) = match result.map_err(meter::owned) {
        Ok(value) => ("ok", value),
        Err(failure) if failure.kind == FailureKind::Thrown => ("error", convert::to_dynamic(&failure.data)),
        Err(failure) => ("error", failure_to_map(&failure).into()),
    };
    Map::from([(key.into(), value)]).into()
}

/// The closures of an array, or of a map with its keys.
fn closures(call: &str, work: &Dynamic) -> Result<(Option<Vec<String>>, Vec<FnPtr>), Thrown> {
    if let Ok(items) = work.as_array_ref() {
        let closures = items.iter().enumerate().map(|(at, item)| args::closure(&format!("{call}: element {at}"), item));
        return Ok((None, closures.collect::<Result<_, _>>()?));
    }
    let Ok(map) = work.as_map_ref() else {
        let found = found(work);
        return invalid(format!(
            "{call}: the first argument must be an array or a map of closures, like [|| use_step(…), || …], found {found}"
        ));
    };
    let keys = map.keys().map(ToString::to_string).collect();
    let closures = map.iter().map(|(key, item)| args::closure(&format!("{call}: element `{key}`"), item));
    Ok((Some(keys), closures.collect::<Result<_, _>>()?))
}
