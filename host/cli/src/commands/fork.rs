//! `durhai fork`: a new run that takes over the beginning of another one's log.

use std::fs::File;
use std::path::Path;

use durhai::Status;
use durhai::archive::ImportOptions;
use durhai::check::AssumedFunction;
use durhai::logs::Fork;

use super::replay::{results, script, step};
use crate::args::{ForkArgs, Globals};
use crate::client::{Client, Local, exported, open_or_served};
use crate::exit::{Exit, Fail, Outcome};
use crate::hosting;
use crate::note::note;
use crate::output::Out;

pub async fn fork(globals: &Globals, args: ForkArgs, out: &Out) -> Outcome {
    let fork = Fork {
        at: args.at.as_deref().map(step).transpose()?,
        after: args.after.as_deref().map(step).transpose()?,
        script: args.script.as_deref().map(|file| script(globals, file)).transpose()?,
        set: results(&args.set)?,
        id: args.id,
    };
    let functions = hosting::functions_here(globals, &args.functions)?;
    let (client, run) = match exported(&args.run) {
        Some(file) => brought_in(globals, file, &functions).await?,
        None => (Client::connect_with(globals, &functions).await?, args.run.clone()),
    };
    let forked = client.fork(&run, &fork).await;
    let local = client.is_local();
    client.close().await;
    let view = forked?;
    if out.json {
        out.document(&view);
    } else {
        out.line(view.id.as_str());
        let taken = view.origin.as_ref().map_or(0, |origin| origin.seq);
        note(format!("Run {} takes over {taken} events of run {run}.", view.id));
    }
    if local && view.status == Status::Pending {
        note(format!(
            "It begins when a host runs: `durhai serve`, or `durhai run {} --id {}`.",
            view.workflow, view.id
        ));
    }
    Ok(Exit::Done)
}

/// The run of a file, in the store: a fork needs one to live in, and goes on there. Under the name it had; if that is there
/// already, it is the one that is meant.
async fn brought_in(globals: &Globals, path: &Path, functions: &[AssumedFunction]) -> Result<(Client, String), Fail> {
    let (looked, run) = Local::of_file(path, functions).await?;
    looked.host.shutdown().await;
    if Client::served(globals).await?.is_none() {
        // It may be the first thing in the store.
        drop(open_or_served(globals).await?);
    }
    let client = Client::connect_with(globals, functions).await?;
    match client.get(&run).await {
        Ok(_) => note(format!("Run {run} of {} is in the store already: that one is forked.", path.display())),
        Err(fail) if fail.exit == Exit::NotFound => {
            let named = |error: &dyn std::fmt::Display| Fail::usage(format!("{}: {error}", path.display()));
            let file = File::open(path).map_err(|error| named(&error))?;
            let options = ImportOptions { as_is: true, file: path.display().to_string(), ..ImportOptions::default() };
            let imported = client.import(Box::new(file), options).await;
            if let Err(fail) = imported {
                client.close().await;
                return Err(named(&fail.message));
            }
            note(format!("Run {run} was brought in from {}.", path.display()));
        }
        Err(fail) => {
            client.close().await;
            return Err(fail);
        }
    }
    Ok((client, run))
}
