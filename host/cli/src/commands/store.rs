//! `durhai store` and `durhai hosts`: stores as a whole, and who is on a database.

use durhai::postgres::{DatabaseView, PgWorld, layout_statements};
use durhai::view::HostView;
use durhai::world::{HostId, HostSeen};
use durhai::{World, WorldError};
use serde_json::json;

use crate::args::{Globals, Hosts, Store, StoreAction};
use crate::client::{Client, open_world};
use crate::commands::copy::copy;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;
use crate::sizes;
use crate::times;

/// What a process knows of a database without a host of its own.
const NEEDS: &str = "this needs a database that hosts share: --store postgres://USER@HOST:PORT/DATABASE";

pub async fn store(globals: &Globals, args: Store, out: &Out) -> Outcome {
    match args.action {
        StoreAction::Status => status(globals, out).await,
        StoreAction::Migrate { print } => migrate(globals, print, out),
        StoreAction::Copy(copied) => copy(copied, out).await,
    }
}

/// The hosts on a database, which needs none of them to answer; or the one that serves this data folder.
pub async fn hosts(globals: &Globals, args: &Hosts, out: &Out) -> Outcome {
    let hosts = match (globals.database(), Client::served(globals).await?) {
        (Some(url), _) => {
            tokio::task::block_in_place(|| PgWorld::open(url)?.hosts(args.all))?.into_iter().map(seen).collect()
        }
        (None, Some(remote)) => remote.hosts(args.all).await?,
        (None, None) => return Err(Fail::usage(NEEDS).hint("Or name the --data folder of a host that serves.")),
    };
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

/// By a command, which is none of them.
fn seen(host: HostSeen) -> HostView {
    let HostSeen { host: HostId { number: id, label, .. }, since, alive, lease, runs } = host;
    HostView { id, label, since, alive, lease, runs, here: false }
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

pub fn runs(world: &dyn World) -> Result<u64, WorldError> {
    Ok(world.run_counts()?.iter().map(|count| count.runs).sum())
}
