//! `durhai replay`: a run's log run again, writing nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durhai::logs::{Divergence, ReplayOptions, ReplayView, Script};
use durhai::trace::{Snapshot, Stop, TraceText};
use durhai::{StepId, Value};
use serde_json::json;

use crate::args::{Globals, Replay};
use crate::client::Client;
use crate::debugger;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::input;
use crate::output::{Out, note, short};

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
    let (client, run) = Client::of_run_with(&globals.data, &args.run, &functions).await?;
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
    // Nobody reads any more.
    let Some(view) = traced else { return Ok(Exit::Done) };
    if out.json {
        out.row(&json!({ "type": "end", "replay": view }));
        return Ok(exit(&view));
    }
    text.finish().iter().for_each(|line| out.line(line.trim_end()));
    out.line("");
    Ok(print(&view, out))
}

/// What came of a replay.
pub fn print(view: &ReplayView, out: &Out) -> Exit {
    if out.json {
        out.document(view);
        return exit(view);
    }
    if let Some(snapshot) = &view.stopped {
        print_snapshot(snapshot, out);
        return Exit::Done;
    }
    let used = match view.used == view.events {
        true => format!("{} events", view.events),
        false => format!("the first {} of {} events", view.used, view.events),
    };
    let took = view.micros as f64 / 1000.0;
    if let Some(divergence) = &view.divergence {
        out.line(format!("does not fit   {used}, {took:.1} ms"));
        out.line("");
        print_divergence(divergence, out);
        return exit(view);
    }
    out.line(format!("{:<14} {used}, {took:.1} ms", out.status(view.status)));
    if !view.output.is_null() {
        out.line(format!("output         {}", view.output));
    }
    let asked = |wait: &&Value| {
        let id = wait.get("step_id").and_then(Value::as_str);
        id.is_some_and(|id| view.next.iter().any(|call| call.step_id.as_ref().is_some_and(|next| next.as_str() == id)))
    };
    for wait in view.waiting_for.iter().filter(|wait| !asked(wait)) {
        out.line(format!("waits for      {}", waiting(wait)));
    }
    for call in &view.next {
        let id = call.step_id.as_ref().map_or(String::new(), |id| format!("{id} "));
        let input = if call.input.is_null() { String::new() } else { format!(" with {}", short(&call.input, 300)) };
        out.line(format!("would do next  {id}{}{input}", call.what));
        out.line(format!("               at {}: {}", call.site, call.source));
    }
    if let Some(error) = &view.error {
        out.line("");
        error.to_string().lines().for_each(|line| out.line(line));
    }
    exit(view)
}

fn exit(view: &ReplayView) -> Exit {
    if view.divergence.is_some() { Exit::Failed } else { Exit::Done }
}

/// Recorded and asked, one below the other, each with its line.
fn print_divergence(divergence: &Divergence, out: &Out) {
    let step = divergence.step_id.as_ref().map_or(String::new(), |id| format!(" at step {id}"));
    out.line(format!("{}{step} (event {})", divergence.message, divergence.seq));
    for (name, side) in [("recorded", &divergence.recorded), ("asked now", &divergence.asked)] {
        match side {
            None => out.line(format!("  {name:<10} nothing")),
            Some(side) => {
                let input =
                    if side.input.is_null() { String::new() } else { format!(" with {}", short(&side.input, 300)) };
                out.line(format!("  {name:<10} {}{input}", side.what));
                if !side.site.is_empty() {
                    out.line(format!("  {:<10} at {}: {}", "", side.site, side.source));
                }
            }
        }
    }
}

fn waiting(wait: &Value) -> String {
    let part = |key: &str| wait.get(key).and_then(Value::as_str).unwrap_or_default();
    let words = [part("kind"), part("name"), part("step_id")].into_iter().filter(|word| !word.is_empty());
    format!("{} at {}", words.collect::<Vec<_>>().join(" "), part("site"))
}

/// Where a replay stopped: the place, the text around it, the variables.
pub fn print_snapshot(snapshot: &Snapshot, out: &Out) {
    print_place(snapshot, out);
    if let Some(value) = &snapshot.value {
        return out.line(value);
    }
    if let Some(error) = &snapshot.value_error {
        return note(format!("error: {error}"));
    }
    out.line("");
    print_around(snapshot, out);
    out.line("");
    print_variables(snapshot, out);
}

pub fn print_place(snapshot: &Snapshot, out: &Out) {
    let task = if snapshot.task.is_empty() { String::new() } else { format!(" in task {}", snapshot.task) };
    let function = match snapshot.stack.first().map(|frame| frame.function.as_str()) {
        Some(function) if !function.is_empty() && snapshot.depth > 0 => format!(" in {function}"),
        _ => String::new(),
    };
    out.line(format!("stopped before {}:{}{function}{task}", snapshot.file, snapshot.line));
}

pub fn print_around(snapshot: &Snapshot, out: &Out) {
    for line in &snapshot.around {
        let mark = if line.line == snapshot.line { '>' } else { ' ' };
        out.line(format!("{mark}{:>4} | {}", line.line, line.text).trim_end());
    }
}

pub fn print_variables(snapshot: &Snapshot, out: &Out) {
    let width = snapshot.variables.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0);
    for variable in &snapshot.variables {
        out.line(format!("{:width$} = {}", variable.name, variable.value));
    }
}
