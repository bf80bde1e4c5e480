//! `durhai import`: a run from a file, or a whole store from a backup.

use std::fs::File;
use std::io::{self, Read};

use durhai::archive::{BackupSummary, ImportOptions};

use crate::args;
use crate::client::{Client, open_or_served, open_world};
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;

pub async fn import(globals: &args::Globals, args: args::Import, out: &Out) -> Outcome {
    let input: Box<dyn Read + Send> = match args.file.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(&args.file).map_err(|error| {
            let message = format!("{} cannot be read: {error}", args.file.display());
            if error.kind() == io::ErrorKind::NotFound { Fail::not_found(message) } else { Fail::usage(message) }
        })?),
    };
    let file = if args.file.as_os_str() == "-" { "standard input".into() } else { args.file.display().to_string() };
    if args.backup {
        return restore(globals, input, &file, out).await;
    }
    if Client::served(globals).await?.is_none() {
        // A store is made where there is none: an import may be the first thing in it.
        drop(open_or_served(globals).await?);
    }
    let client = Client::connect(globals).await?;
    let (local, options) =
        (client.is_local(), ImportOptions { id: args.id, as_is: args.as_is, go: args.go, file: file.clone() });
    let done = client.import(input, options).await;
    client.close().await;
    let imported = done.map_err(|fail| Fail { message: format!("{file}: {}", fail.message), ..fail })?;
    if out.json {
        out.document(&imported);
        return Ok(Exit::Done);
    }
    out.line(imported.run.to_string());
    imported.notes.iter().for_each(note);
    match imported.parked.as_slice() {
        [] if args.go && local => note("It goes on when a host runs: `durhai serve`."),
        [] => {}
        [one] => note(format!("It had not ended, and is parked: `durhai unpark {one}` lets it go on.")),
        all => {
            let names: Vec<_> = all.iter().map(ToString::to_string).collect();
            note(format!(
                "{} runs had not ended, and are parked; `durhai unpark RUN` lets one go on: {}",
                all.len(),
                names.join(", ")
            ));
        }
    }
    Ok(Exit::Done)
}

async fn restore(globals: &args::Globals, input: Box<dyn Read + Send>, file: &str, out: &Out) -> Outcome {
    if Client::served(globals).await?.is_some() {
        return Err(Fail::usage(format!(
            "a host serves {}: a backup is restored into an empty folder",
            globals.data.display()
        ))
        .hint("--data names another folder."));
    }
    let store = globals.store_path();
    // All or nothing, in a database.
    let fresh = globals.database().is_none() && !store.exists();
    let world = open_world(globals).await?;
    let done: Result<BackupSummary, _> = tokio::task::block_in_place(|| {
        let done = durhai::archive::restore(&*world, input);
        drop(world);
        done
    });
    let summary = match done {
        Ok(summary) => summary,
        Err(error) => {
            let fail = Fail::from(error);
            if fresh {
                // Half a backup is of no use, and there was nothing before it.
                let _ = std::fs::remove_dir_all(&store);
            }
            return Err(Fail { message: format!("{file}: {}", fail.message), ..fail });
        }
    };
    match out.json {
        true => out.document(&summary),
        false => out.line(format!("{} runs restored into {}", summary.runs, globals.shown_store())),
    }
    Ok(Exit::Done)
}
