//! `durhai migrate RUN|NAME`: live runs go on with another version.

use durhai::versions::{CompatVerdict, Migration};

use crate::args::{Globals, Migrate};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;

/// Exit 1 if something does not fit.
pub async fn migrate(globals: &Globals, args: Migrate, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let outcome = run_or_workflow(&client, &args, out).await;
    let local = client.is_local();
    client.close().await;
    let exit = outcome?;
    if local && !args.dry_run {
        note("No host serves this store; the runs go on when one does: `durhai serve`.");
    }
    Ok(exit)
}

async fn run_or_workflow(client: &Client, args: &Migrate, out: &Out) -> Outcome {
    let to = args.to.as_deref();
    match client.migrate_run(&args.target, to, args.dry_run).await {
        Err(fail) if fail.exit == Exit::NotFound => {}
        Err(fail) => return Err(fail),
        Ok(moved) => {
            if out.json {
                out.document(&moved);
            } else {
                say(&moved, out);
            }
            return Ok(if moved.verdict == CompatVerdict::Compatible { Exit::Done } else { Exit::Failed });
        }
    }
    if client.get(&args.target).await.is_ok() {
        // The run is there, so it is the version that is not.
        return client.migrate_run(&args.target, to, args.dry_run).await.map(|_| Exit::Done);
    }
    let report = match client.migrate_all(&args.target, to, args.dry_run).await {
        Err(fail) if fail.exit == Exit::NotFound && to.is_none() => {
            return Err(Fail::not_found(format!("{} is neither a run nor a workflow of this store", args.target)));
        }
        report => report?,
    };
    if out.json {
        out.document(&report);
    } else {
        out.line(report.to_string());
    }
    Ok(if report.compatible == report.live - report.elsewhere { Exit::Done } else { Exit::Failed })
}

fn say(moved: &Migration, out: &Out) {
    let Migration { run, from, to, .. } = moved;
    let (from, to) = (from.short(), to.short());
    match &moved.verdict {
        CompatVerdict::Compatible if moved.moved => out.line(format!("{run}: moved from {from} to {to}")),
        CompatVerdict::Compatible if moved.dry_run => out.line(format!("{run}: can move from {from} to {to}")),
        CompatVerdict::Compatible => out.line(format!("{run}: has {to} already")),
        verdict => {
            let place = if moved.place.is_empty() { String::new() } else { format!(" at {}", moved.place) };
            out.line(format!("{run}: stays with {from}, {to} does not fit{place}\n{verdict}"));
        }
    }
}
