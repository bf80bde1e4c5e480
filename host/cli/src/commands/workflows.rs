//! `durhai workflows`: those that can be started, and what is wrong with the others.

use durhai::{Host, Value, WorkflowView};
use serde_json::json;

use crate::args::{Globals, Workflows};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::note::note;
use crate::output::Out;

pub async fn workflows(globals: &Globals, args: Workflows, out: &Out) -> Outcome {
    let dir = args.dir.or_else(|| globals.scripts.clone());
    let found = match (&dir, Client::served(globals).await?) {
        (None, Some(remote)) => Client::Remote(remote).workflows().await?,
        _ => in_folder(dir.as_deref()).await?,
    };
    if out.json {
        out.document(&json!({ "workflows": found }));
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    out.table(&["WORKFLOW", "VERSION", "LIVE RUNS", "SCHEDULE", "DESCRIPTION"], &rows);
    if rows.is_empty() {
        note("no workflows here; `durhai new hello` writes one");
    }
    for (workflow, error) in found.iter().filter_map(|workflow| Some((workflow, workflow.error.as_ref()?))) {
        note(format!("\n{} does not load:\n{error}", workflow.name));
    }
    for (workflow, behind) in found.iter().filter_map(|workflow| Some((workflow, workflow.behind.as_ref()?))) {
        note(format!("\n{}: {behind}", workflow.name));
    }
    Ok(Exit::Done)
}

/// Without the store: a folder can be looked at while a host has it open.
async fn in_folder(dir: Option<&std::path::Path>) -> Result<Vec<WorkflowView>, Fail> {
    let root = folder::scripts(dir)?;
    let host = Host::builder().workflows(root).watch(false).workers(1).start().await?;
    let found = host.workflows();
    host.shutdown().await;
    Ok(found)
}

fn row(workflow: &WorkflowView) -> Vec<String> {
    let version = match (&workflow.version, &workflow.error) {
        (Some(version), _) => version.short().to_string(),
        (None, _) => "-".into(),
    };
    let text = if workflow.error.is_some() { "does not load".into() } else { sentence(&workflow.description) };
    vec![workflow.name.clone(), version, live(workflow), schedule(&workflow.header["schedule"]), text]
}

/// The first sentence, which may go over several lines.
fn sentence(description: &str) -> String {
    let first = description.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => line,
    }
}

/// How many have the version that serves, and how many each older one.
fn live(workflow: &WorkflowView) -> String {
    let of = |live: &durhai::versions::LiveVersion| match live.serving {
        true => live.runs.to_string(),
        false => format!("{} on {}", live.runs, live.version.short()),
    };
    let all: Vec<_> = workflow.live.iter().map(of).collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

/// A cron text, or a map with one.
fn schedule(value: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    match value.get("timezone").and_then(Value::as_str) {
        Some(zone) => format!("{} {zone}", text(&value["cron"])),
        None if value.is_object() => text(&value["cron"]),
        None => text(value),
    }
}
