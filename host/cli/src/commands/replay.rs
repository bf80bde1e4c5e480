//! `durhai replay`: a run's log run again, writing nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durhai::logs::{ReplayOptions, Script};
use durhai::trace::{Stop, TraceText};
use durhai::{StepId, Value};
use serde_json::json;

use crate::args::{Globals, Replay};
use crate::client::Client;
use crate::debugger;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::input;
use crate::output::Out;
use crate::replayed::{exit, print};

pub async fn replay(globals: &Globals, args: Replay, out: &Out) -> Outcome {
    let options = ReplayOptions {
        script: args.script.as_deref().map(|file| script(globals, file)).transpose()?,
        set: results(&args.set)?,
        stop: stop(&args)?,
        evaluate: args.print.clone(),
        value_bytes: None,
    };
    if args.print.is_some() && options.stop.is_none() {
        return Err(Fail::usage(
            "--print shows an expression where the replay stops: give --at STEP or --break LINE too",
        ));
    }
    let functions = hosting::functions_here(globals, &args.functions)?;
    let (client, run) = Client::of_run_with(globals, &args.run, &functions).await?;
    let outcome = match (args.interactive, args.trace) {
        (true, _) => debugger::debug(&client, &run, options, out).await,
        (false, true) => trace(&client, &run, options, args.all, out).await,
        (false, false) => match client.replay(&run, &options).await {
            Ok(view) => Ok(print(&view, out)),
            Err(fail) => Err(fail),
        },
    };
    client.close().await;
    outcome
}

/// A script with what it imports: from the scripts folder if the file is in it, else from its own folder.
pub fn script(globals: &Globals, file: &Path) -> Result<Script, Fail> {
    let own = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scripts = folder::scripts(globals.scripts.as_deref()).ok();
    let inside = |folder: &PathBuf| match (folder.canonicalize(), file.canonicalize()) {
        (Ok(folder), Ok(file)) => file.starts_with(folder),
        _ => false,
    };
    let root = scripts.filter(inside).unwrap_or_else(|| own.to_owned());
    Ok(Script::read(file, &root)?)
}

/// `STEP=JSON`, any number of them.
pub fn results(set: &[String]) -> Result<BTreeMap<StepId, Value>, Fail> {
    let mut results = BTreeMap::new();
    for text in set {
        let Some((id, value)) = text.split_once('=') else {
            return Err(Fail::usage(format!("--set {text}: write it as STEP=JSON, like 3='{{\"ok\":true}}'")));
        };
        let value = input::json(Some(value), &format!("--set {id}"))?;
        results.insert(step(id)?, value);
    }
    Ok(results)
}

pub fn step(text: &str) -> Result<StepId, Fail> {
    StepId::parse(text.trim()).ok_or_else(|| {
        Fail::usage(format!("{text:?} is no step id; `durhai events RUN` shows those of a run, like 4 or 4.1.2"))
    })
}

fn stop(args: &Replay) -> Result<Option<Stop>, Fail> {
    match (&args.at, &args.stop_at) {
        (Some(id), _) => Ok(Some(Stop::Step { step_id: step(id)? })),
        (None, Some(place)) => Stop::place(place).map(Some).ok_or_else(|| {
            Fail::usage(format!("--break {place}: give a line, or a module and a line like lib/money:12"))
        }),
        (None, None) => Ok(None),
    }
}

async fn trace(client: &Client, run: &str, options: ReplayOptions, all: bool, out: &Out) -> Outcome {
    let mut text = TraceText::new(all);
    let traced = client
        .trace(run, &options, &mut |event| {
            match out.json {
                true => out.row(&event),
                false => text.push(&event).iter().for_each(|line| out.line(line.trim_end())),
            }
            !out.closed()
        })
        .await?;
    // The reader of the output went away.
    let Some(view) = traced else { return Ok(Exit::Done) };
    if out.json {
        out.row(&json!({ "type": "end", "replay": view }));
        return Ok(exit(&view));
    }
    text.finish().iter().for_each(|line| out.line(line.trim_end()));
    out.line("");
    Ok(print(&view, out))
}
