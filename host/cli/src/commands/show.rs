//! `durhai show`: all there is to know about a run.

use durhai::{RunView, Status, Value};

use crate::args::{Globals, OneRun};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::lines;
use crate::output::Out;
use crate::times;

pub async fn show(globals: &Globals, args: OneRun, out: &Out) -> Outcome {
    let client = Client::connect(&globals.data).await?;
    let local = client.is_local();
    let view = client.get(&args.run).await;
    client.close().await;
    let view = view?;
    if out.json {
        out.document(&view);
    } else {
        print(&view, local, out);
    }
    Ok(Exit::Done)
}

fn print(view: &RunView, local: bool, out: &Out) {
    let field = |name: &str, text: &str| {
        let mut lines = text.lines();
        out.line(format!("{name:<10}  {}", lines.next().unwrap_or_default()).trim_end());
        lines.for_each(|line| out.line(format!("{:<10}  {line}", "")));
    };
    let value = |name: &str, value: &Value| {
        if !value.is_null() {
            field(name, &if out.terminal { format!("{value:#}") } else { value.to_string() });
        }
    };
    field("run", view.id.as_str());
    field("workflow", &format!("{} ({})", view.workflow, view.version.short()));
    field("status", &out.status(view.status));
    if let Some(text) = &view.status_text {
        field("says", text);
    }
    for (key, text) in &view.tags {
        field("tag", &format!("{key}={text}"));
    }
    if let Some(parent) = &view.parent {
        field("parent", parent.as_str());
    }
    let moments = [("created", Some(view.created_at)), ("started", view.started_at), ("ended", view.ended_at)];
    for (name, at) in moments.into_iter().filter_map(|(name, at)| Some((name, at?))) {
        field(name, &format!("{} ({})", times::rfc3339(at), times::from_now(at)));
    }
    field("events", &view.events.to_string());
    value("input", &view.input);
    value("state", &view.state);
    value("output", &view.output);
    if let Some(error) = &view.error {
        field("error", &error.to_string());
        value("data", &error.data);
    }
    if let Some(reason) = &view.reason {
        field("reason", reason);
    }
    for (index, wait) in view.waiting_for.iter().enumerate() {
        field(if index == 0 { "waits for" } else { "" }, &lines::waiting(wait));
    }
    if let Some(next) = next(view, local) {
        field("next", &next);
    }
}

/// What the reader can do about it.
fn next(view: &RunView, local: bool) -> Option<String> {
    let id = &view.id;
    let signal = view.waiting_for.iter().find_map(lines::signal);
    match view.status {
        Status::Parked => Some(format!("durhai unpark {id}, once the reason is gone; or durhai terminate {id}")),
        Status::Failed => Some(format!("durhai retry {id}")),
        status if status.is_terminal() => None,
        _ if local => Some(format!("no host runs it now: durhai serve, or durhai run {} --id {id}", view.workflow)),
        _ => signal.map(|name| format!("durhai signal {id} {name} 'JSON'")),
    }
}
