//! `durhai store copy`: what is in one store into another, all of it or a part.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use durhai::postgres::PgWorld;
use durhai::world::Record;
use durhai::{Query, RunId, SledWorld, World, WorldError};
use serde_json::json;

use crate::args::Copy;
use crate::commands::store::runs;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;
use crate::store::StoreAddress;

/// Records on their way from one store to the other.
const AHEAD: usize = 1_000;

/// The runs that are copied, by the numbers that records have.
type Part = BTreeSet<u64>;

/// As it is at one moment. The other store is looked through then.
pub async fn copy(args: Copy, out: &Out) -> Outcome {
    let Copy { from, to, filter } = args;
    let (from, to, query) = (&from, &to, filter.query());
    let query = (query != Query::default()).then_some(query);
    let (source, target) = (opened(from, true)?, opened(to, false)?);
    let made = match to {
        StoreAddress::Sled(path) => Some(path.clone()),
        _ => None,
    };
    let asked = query.clone();
    let done = tokio::task::spawn_blocking(move || {
        let part = asked.as_ref().map(|query| part(&*source, query)).transpose()?;
        let records = copied(&*source, &*target, part.as_ref())?;
        let runs = checked(&*source, &*target, part.as_ref())?;
        if let (Some(query), Some(before)) = (&asked, &part)
            && self::part(&*source, query)? != *before
        {
            return Err(Fail::unreachable(
                "other runs match than before: a host goes on writing to the store; end it, then copy again",
            ));
        }
        drop(target);
        Ok((records, runs))
    });
    let (records, runs) = match done.await.map_err(Fail::unreachable)? {
        Ok(done) => done,
        Err(fail) => {
            if let Some(path) = made {
                // A part of a copy is of no use, and there was nothing before it.
                let _ = std::fs::remove_dir_all(&path);
            }
            return Err(fail);
        }
    };
    match out.json {
        true => out.document(&json!({ "runs": runs, "records": records })),
        false => out.line(format!("{runs} runs copied from {from} to {to}, and looked through there")),
    }
    match query {
        None => note(format!("Hosts find them with --store {to}; no host should go on with {from}.")),
        Some(_) => {
            note(format!("They are in {from} as well: of those that have not ended, no host should go on with both."))
        }
    }
    Ok(Exit::Done)
}

fn opened(store: &StoreAddress, is_source: bool) -> Result<Box<dyn World>, Fail> {
    match store {
        StoreAddress::Memory => {
            Err(Fail::usage("memory: is gone with its process: expected sled:PATH or postgres://…"))
        }
        StoreAddress::Unknown(_) => Err(store.known().expect_err("it is none that there is")),
        StoreAddress::Sled(path) if is_source && !path.exists() => {
            Err(Fail::not_found(format!("there is no store at {}", path.display())))
        }
        StoreAddress::Sled(path) if !is_source && !is_empty(path) => {
            Err(Fail::usage(format!("{} is not empty: everything is copied into a new store", path.display())))
        }
        StoreAddress::Sled(path) => Ok(Box::new(tokio::task::block_in_place(|| SledWorld::open(path))?)),
        StoreAddress::Postgres(url) => Ok(Box::new(tokio::task::block_in_place(|| PgWorld::open(url))?)),
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// The runs that match, those whose ends they wait for, and those that continue them.
fn part(source: &dyn World, query: &Query) -> Result<Part, Fail> {
    let (mut numbers, mut parents, mut next) = (Part::new(), HashSet::<RunId>::new(), HashSet::<String>::new());
    source.copy(&mut |record| {
        // A parent comes before its children, and a run before that which continues it: they were created in this order.
        if let Record::Run { number, value: Some(row) } = record
            && (query.matches(&row)
                || row.parent.as_ref().is_some_and(|parent| parents.contains(parent))
                || next.contains(row.run.as_str()))
        {
            numbers.insert(number);
            next.extend(row.note.get("next").and_then(|id| id.as_str()).map(str::to_owned));
            parents.insert(row.run.clone());
        }
        Ok(())
    })?;
    if numbers.is_empty() {
        return Err(Fail::not_found("no run matches: nothing was copied"));
    }
    Ok(numbers)
}

fn copied(source: &dyn World, target: &dyn World, part: Option<&Part>) -> Result<u64, Fail> {
    let (tx, rx) = sync_channel::<Result<Record, WorldError>>(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let gone = || WorldError::Unavailable("the other store takes no more".into());
            let done = source.copy(&mut |record| match record {
                Record::Unreadable { what, .. } => Err(WorldError::Corrupt(format!(
                    "the store is damaged: {what} cannot be read; `durhai doctor` lists the damage"
                ))),
                record => match record.number().zip(part) {
                    Some((number, part)) if !part.contains(&number) => Ok(()),
                    _ => tx.send(Ok(record)).map_err(|_| gone()),
                },
            });
            if let Err(error) = done {
                // Nobody listens if the other store failed first, and says so.
                let _ = tx.send(Err(error));
            }
        });
        let mut records = 0;
        let restored = target.restore(&mut || match rx.recv() {
            Ok(record) => record.map(|record| {
                records += 1;
                Some(record)
            }),
            Err(_) => Ok(None),
        });
        // The reader would wait for ever until somebody takes its records.
        drop(rx);
        restored?;
        Ok(records)
    })
}

/// That the copy is sound and has as many runs of each kind. How many there are.
fn checked(source: &dyn World, target: &dyn World, part: Option<&Part>) -> Result<u64, Fail> {
    let mut damage = Vec::new();
    target.verify(&mut |line| damage.push(line))?;
    if let Some(first) = damage.first() {
        return Err(Fail::unreachable(format!("the copy has {} faults, the first: {first}", damage.len())));
    }
    let before = part.map_or_else(|| runs(source), |part| Ok(part.len() as u64))?;
    let after = runs(target)?;
    if before != after {
        return Err(Fail::unreachable(format!(
            "the copy has {after} runs, and there are {before}: a host goes on writing to the store; end it, then copy again"
        )));
    }
    Ok(after)
}
