//! `durhai output`: what a run has emitted.

use durhai::view::{OutputEntry, StreamView};
use durhai::{DEFAULT_STREAM, Status};
use durhai_api::{Item, Want};
use serde_json::json;

use crate::args::{Globals, Output};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;

/// Read at a time.
const PAGE: usize = 1_000;

pub async fn output(globals: &Globals, args: Output, out: &Out) -> Outcome {
    let (client, run) = Client::of_run(globals, &args.run).await?;
    let args = Output { run, ..args };
    let outcome = match args.streams {
        true => streams(&client, &args.run, out).await,
        false => values(&client, &args, out).await,
    };
    client.close().await;
    outcome
}

async fn streams(client: &Client, run: &str, out: &Out) -> Outcome {
    let found = client.streams(run).await?;
    if out.json {
        out.document(&json!({ "streams": found }));
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = found.iter().map(|stream| vec![stream.name.clone(), stream.entries.to_string()]).collect();
    out.table(&["STREAM", "VALUES"], &rows);
    if rows.is_empty() {
        note(format!("run {run} has emitted nothing"));
    }
    Ok(Exit::Done)
}

async fn values(client: &Client, args: &Output, out: &Out) -> Outcome {
    let stream = args.stream.as_deref().unwrap_or(DEFAULT_STREAM);
    let mut printed = 0;
    if args.follow && !client.is_local() {
        let want = Want { output: Some((stream.into(), args.from)), ..Want::default() };
        let mut following = client.follow(&args.run, want).await?;
        while let Some(item) = following.next().await? {
            match item {
                Item::Emitted(entry) => {
                    print(&entry, out);
                    printed += 1;
                }
                Item::Parked(view) => note(format!("run {} is parked; `durhai show {}` says why", view.id, view.id)),
                Item::Event(_) | Item::Line(_) | Item::Ended(_) => {}
            }
            if out.closed() {
                return Ok(Exit::Done);
            }
        }
    } else {
        if args.follow {
            note("No host serves this folder: these are all there are for now.");
        }
        let mut from = args.from;
        loop {
            let page = client.emitted(&args.run, stream, from, PAGE).await?;
            page.iter().for_each(|entry| print(entry, out));
            printed += page.len();
            from += page.len() as u64;
            if page.len() < PAGE || out.closed() {
                break;
            }
        }
    }
    if printed == 0 {
        nothing(client, args, stream, out).await?;
    }
    Ok(Exit::Done)
}

/// Says why nothing was printed; a run that never emits has its output.
async fn nothing(client: &Client, args: &Output, stream: &str, out: &Out) -> Result<(), Fail> {
    let run = &args.run;
    let found = client.streams(run).await?;
    if found.iter().any(|found| found.name == stream) {
        // All of it is before the index that was asked for.
        return Ok(());
    }
    if !found.is_empty() || args.stream.is_some() {
        let names: Vec<_> = found.iter().map(|StreamView { name, entries }| format!("{name} ({entries})")).collect();
        let others = if names.is_empty() { "none".into() } else { names.join(", ") };
        note(format!("run {run} has emitted nothing to the stream {stream:?}; the streams it has: {others}"));
        return Ok(());
    }
    let view = client.get(run).await?;
    match view.status {
        Status::Completed => {
            note(format!("run {run} has emitted nothing; this is its output:"));
            match out.json {
                true => out.document(&json!({ "output": view.output })),
                false => out.document(&view.output),
            }
        }
        status => note(format!("run {run} is {status} and has emitted nothing")),
    }
    Ok(())
}

fn print(entry: &OutputEntry, out: &Out) {
    if out.json { out.row(entry) } else { out.row(&entry.value) }
}
