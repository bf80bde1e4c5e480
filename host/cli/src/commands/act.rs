//! Commands that do something to runs.

use std::path::Path;

use durhai::{RunView, Status};
use serde_json::json;

use crate::args::{Delete, End, Globals, OneRun, Resume, Signal};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::input;
use crate::note::note;
use crate::output::Out;
use crate::text::quoted;

/// The two ways to end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Cancel,
    Terminate,
}

pub async fn signal(globals: &Globals, args: Signal, out: &Out) -> Outcome {
    let payload = input::json(args.payload.as_deref(), "the payload")?;
    let client = Client::connect(globals).await?;
    let done = client.signal(&args.run, &args.name, &payload, args.id.as_deref()).await;
    told(client, &args.run, done, &format!("signal {} sent", args.name), out).await
}

pub async fn resume(globals: &Globals, args: Resume, out: &Out) -> Outcome {
    let data = input::json(args.answer.as_deref(), "the answer")?;
    let client = Client::connect(globals).await?;
    let done = client.resume(&args.run, args.label.as_deref(), &data).await;
    told(client, &args.run, done, "answered", out).await
}

pub async fn end(globals: &Globals, args: End, how: How, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    match how {
        How::Cancel => {
            let done = client.cancel(&args.run, &args.reason).await;
            told(client, &args.run, done, "asked to stop", out).await
        }
        How::Terminate => {
            let done = client.terminate(&args.run, &args.reason).await;
            told(client, &args.run, done, "terminated", out).await
        }
    }
}

pub async fn unpark(globals: &Globals, args: OneRun, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let done = client.unpark(&args.run).await;
    told(client, &args.run, done, "may try again", out).await
}

pub async fn retry(globals: &Globals, args: OneRun, out: &Out) -> Outcome {
    // It runs the text that was mended; where that is, is known of a folder of scripts only.
    let scripts = folder::scripts(globals.scripts.as_deref())?;
    let scripts = Some(scripts.as_path()).filter(|scripts| *scripts != Path::new("."));
    let client = Client::connect_in(globals, &[], scripts).await?;
    let local = client.is_local();
    let view = client.retry(&args.run).await;
    client.close().await;
    let view = view?;
    if out.json {
        out.document(&view)
    } else {
        out.line(view.id.to_string())
    }
    if view.status.is_terminal() {
        let (run, next, status) = (&args.run, &view.id, view.status);
        let more =
            if status == Status::Failed { format!(": durhai retry {}", quoted(next.as_str())) } else { String::new() };
        note(format!("run {run} is tried again by run {next}, which is {status}{more}"));
    } else if local {
        unserved(&view);
    }
    Ok(Exit::Done)
}

/// Removes what it can; the exit code is that of the first one it cannot.
pub async fn delete(globals: &Globals, args: Delete, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let mut exit = Exit::Done;
    let mut deleted = Vec::new();
    for run in args.runs {
        match client.delete(&run).await {
            Ok(()) => deleted.push(run),
            Err(fail) => {
                note(format!("error: {}", fail.message));
                exit = if exit == Exit::Done { fail.exit } else { exit };
            }
        }
    }
    client.close().await;
    if out.json {
        out.document(&json!({ "deleted": deleted }));
    } else {
        deleted.iter().for_each(|run| out.line(format!("{run}: deleted")));
    }
    Ok(exit)
}

/// Says what was done, and which command makes a host act on it if none serves now.
async fn told(client: Client, run: &str, done: Result<(), Fail>, what: &str, out: &Out) -> Outcome {
    let local = client.is_local();
    let view = match &done {
        Ok(()) if local || out.json => client.get(run).await.ok(),
        _ => None,
    };
    client.close().await;
    done?;
    match view.as_ref().filter(|_| out.json) {
        Some(view) => out.document(view),
        None => out.line(format!("{run}: {what}")),
    }
    if let Some(view) = view.filter(|_| local) {
        unserved(&view);
    }
    Ok(Exit::Done)
}

fn unserved(view: &RunView) {
    if !view.status.is_terminal() && view.status != Status::Parked {
        note(format!(
            "It is recorded; the run sees it when a host runs: `durhai serve`, or `durhai run {} --id {}`.",
            view.workflow, view.id
        ));
    }
}
