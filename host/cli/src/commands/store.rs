//! `durhai store` and `durhai hosts`: stores as a whole, and who is on a database.

use std::path::Path;
use std::sync::mpsc::sync_channel;

use durhai::postgres::{DatabaseView, PgWorld, layout_statements};
use durhai::world::Record;
use durhai::{SledWorld, World, WorldError};
use serde_json::json;

use crate::args::{Globals, Hosts, Store, StoreAction};
use crate::client::open_world;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;
use crate::sizes;
use crate::store::StoreAddress;
use crate::times;

/// Records on their way from one store to the other.
const AHEAD: usize = 1_000;

/// What a process knows of a database without a host of its own.
const NEEDS: &str = "this needs a database that hosts share: --store postgres://USER@HOST:PORT/DATABASE";

pub async fn store(globals: &Globals, args: Store, out: &Out) -> Outcome {
    match args.action {
        StoreAction::Status => status(globals, out).await,
        StoreAction::Migrate { print } => migrate(globals, print, out),
        StoreAction::Copy { from, to } => copy(&from, &to, out).await,
    }
}

/// The hosts on a database.
pub fn hosts(globals: &Globals, args: &Hosts, out: &Out) -> Outcome {
    let url = globals.database().ok_or_else(|| Fail::usage(NEEDS))?;
    let hosts = tokio::task::block_in_place(|| PgWorld::open(url)?.hosts(args.all))?;
    if out.json {
        out.document(&json!({ "hosts": hosts }));
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = (hosts.iter())
        .map(|host| {
            let state = if host.alive { "alive" } else { "ended" };
            let lease = format!("{} s", host.lease / 1_000);
            vec![
                host.id.to_string(),
                state.into(),
                times::rfc3339(host.since),
                host.runs.to_string(),
                lease,
                host.label.clone(),
            ]
        })
        .collect();
    out.table(&["host", "state", "since", "runs", "lease", "what it is"], &rows);
    Ok(Exit::Done)
}

async fn status(globals: &Globals, out: &Out) -> Outcome {
    if let Some(url) = globals.database() {
        let view = tokio::task::block_in_place(|| PgWorld::open(url)?.database())?;
        match out.json {
            true => out.document(&view),
            false => lines(&view).iter().for_each(|line| out.line(line)),
        }
        return Ok(Exit::Done);
    }
    let world = open_world(globals).await?;
    let (size, runs) = tokio::task::block_in_place(|| Ok::<_, WorldError>((world.size()?, runs(&*world)?)))?;
    let store = globals.shown_store();
    match out.json {
        true => out.document(&json!({ "store": store, "bytes": size.stored, "runs": runs })),
        false => {
            let bytes = size.stored.map_or_else(|| "?".into(), sizes::show);
            out.line(format!("{store}: {runs} runs, {bytes}"));
        }
    }
    Ok(Exit::Done)
}

fn lines(view: &DatabaseView) -> Vec<String> {
    let DatabaseView {
        address, schema, server, layout, bytes, hosts, live, held, connections, max_connections, ..
    } = view;
    vec![
        format!("{address}, schema {schema}, PostgreSQL {server}"),
        format!("layout {layout}, {}", sizes::show(*bytes)),
        format!("{hosts} hosts; {live} runs that have not ended, of which a host holds {held}"),
        format!("{connections} of {max_connections} connections are in use"),
    ]
}

fn migrate(globals: &Globals, print: bool, out: &Out) -> Outcome {
    let Some(url) = globals.database() else {
        return Err(Fail::usage(NEEDS).hint("A store on this machine is brought up to date when it is opened."));
    };
    if print {
        out.line(layout_statements(url)?.trim_end());
        return Ok(Exit::Done);
    }
    let view = tokio::task::block_in_place(|| PgWorld::open(url)?.database())?;
    match out.json {
        true => out.document(&view),
        false => out.line(format!("{}, schema {}, has layout {}", view.address, view.schema, view.layout)),
    }
    Ok(Exit::Done)
}

/// Everything as it is at one moment. The other store is looked through then.
async fn copy(from: &StoreAddress, to: &StoreAddress, out: &Out) -> Outcome {
    let (source, target) = (opened(from, true)?, opened(to, false)?);
    let made = match to {
        StoreAddress::Sled(path) => Some(path.clone()),
        _ => None,
    };
    let done = tokio::task::spawn_blocking(move || {
        let copied = copied(&*source, &*target);
        let checked = copied.and_then(|records| Ok((records, checked(&*source, &*target)?)));
        drop(target);
        checked
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
    note(format!("Hosts find them with --store {to}; no host should go on with {from}."));
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

fn copied(source: &dyn World, target: &dyn World) -> Result<u64, Fail> {
    let (tx, rx) = sync_channel::<Result<Record, WorldError>>(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let gone = || WorldError::Unavailable("the other store takes no more".into());
            let done = source.copy(&mut |record| match record {
                Record::Unreadable { what, .. } => Err(WorldError::Corrupt(format!(
                    "the store is damaged: {what} cannot be read; `durhai doctor` lists the damage"
                ))),
                record => tx.send(Ok(record)).map_err(|_| gone()),
            });
            if let Err(error) = done {
                // Nobody listens if the other store failed first, and says so.
                let _ = tx.send(Err(error));
            }
        });
        let mut records = 0;
        target.restore(&mut || match rx.recv() {
            Ok(record) => record.map(|record| {
                records += 1;
                Some(record)
            }),
            Err(_) => Ok(None),
        })?;
        Ok(records)
    })
}

/// That the copy is sound and has as many runs of each kind. How many there are.
fn checked(source: &dyn World, target: &dyn World) -> Result<u64, Fail> {
    let mut damage = Vec::new();
    target.verify(&mut |line| damage.push(line))?;
    if let Some(first) = damage.first() {
        return Err(Fail::unreachable(format!("the copy has {} faults, the first: {first}", damage.len())));
    }
    let (before, after) = (runs(source)?, runs(target)?);
    if before != after {
        return Err(Fail::unreachable(format!(
            "the copy has {after} runs, and there are {before}: a host goes on writing to the store; end it, then copy again"
        )));
    }
    Ok(after)
}

fn runs(world: &dyn World) -> Result<u64, WorldError> {
    Ok(world.run_counts()?.iter().map(|count| count.runs).sum())
}
