//! `durhai show`: all there is to know about a run.

use std::collections::BTreeMap;

use durhai::view::{PlaceView, Suspension};
use durhai::{Event, EventBody, Query, RunId, RunView, Status, StepId, Value};
use serde::Serialize;

use crate::args::{Globals, OneRun};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::lines;
use crate::output::Out;
use crate::text::quoted;
use crate::times;

/// Read at a time.
const PAGE: usize = 1_000;
/// Children that are named; the others are counted.
const NAMED: usize = 20;

/// A run and what belongs to it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    run: RunView,
    /// The open questions.
    suspensions: Vec<Suspension>,
    /// The open hooks.
    hooks: Vec<Hook>,
    children: Children,
}

#[derive(Serialize)]
struct Hook {
    step_id: StepId,
    token: String,
    url: String,
}

#[derive(Serialize)]
struct Children {
    count: usize,
    /// There are more than were counted.
    more: bool,
    /// The newest of them.
    ids: Vec<RunId>,
}

pub async fn show(globals: &Globals, args: OneRun, out: &Out) -> Outcome {
    let (client, run) = Client::of_run(globals, &args.run).await?;
    let local = client.is_local();
    let shown = look(&client, &run).await;
    client.close().await;
    let shown = shown?;
    if out.json {
        out.document(&shown);
    } else {
        print(&shown, local, out);
    }
    Ok(Exit::Done)
}

async fn look(client: &Client, id: &str) -> Result<Shown, Fail> {
    let run = client.get(id).await?;
    let query = Query { parent: Some(run.id.clone()), limit: PAGE, ..Query::default() };
    let found = client.list(query).await?;
    let ids = found.runs.iter().take(NAMED).map(|child| child.id.clone()).collect();
    let children = Children { count: found.runs.len(), more: found.next.is_some(), ids };
    let (suspensions, hooks) = match run.status.is_terminal() {
        true => (Vec::new(), Vec::new()),
        false => (client.suspensions(id).await?, open_hooks(client, id).await?),
    };
    Ok(Shown { run, suspensions, hooks, children })
}

/// The log knows them: a hook may be open while no task waits at it.
async fn open_hooks(client: &Client, id: &str) -> Result<Vec<Hook>, Fail> {
    let mut open = BTreeMap::new();
    let mut from = 1;
    loop {
        let page = client.events(id, from, PAGE).await?;
        from += page.len() as u64;
        let last = page.len() < PAGE;
        for Event { step_id, body, .. } in page {
            match (step_id, body) {
                (Some(id), EventBody::HookOpened { token, url, .. }) => {
                    drop(open.insert(id.clone(), Hook { step_id: id, token, url }))
                }
                (Some(id), EventBody::HookClosed) => drop(open.remove(&id)),
                _ => {}
            }
        }
        if last {
            return Ok(open.into_values().collect());
        }
    }
}

/// Lines of a name and a text, aligned.
struct Fields<'a>(&'a Out);

impl Fields<'_> {
    fn text(&self, name: &str, text: &str) {
        let mut lines = text.lines();
        self.0.line(format!("{name:<10}  {}", lines.next().unwrap_or_default()).trim_end());
        lines.for_each(|line| self.0.line(format!("{:<10}  {line}", "")));
    }

    fn value(&self, name: &str, value: &Value) {
        if !value.is_null() {
            self.text(name, &self.json(value));
        }
    }

    fn moment(&self, name: &str, at: u64) {
        self.text(name, &format!("{} ({})", times::rfc3339(at), times::from_now(at)));
    }

    fn json(&self, value: &Value) -> String {
        if self.0.terminal { format!("{value:#}") } else { value.to_string() }
    }
}

fn print(shown: &Shown, local: bool, out: &Out) {
    let (view, fields) = (&shown.run, Fields(out));
    print_identity(view, out);
    for (name, at) in [("created", Some(view.created_at)), ("started", view.started_at), ("ended", view.ended_at)] {
        if let Some(at) = at {
            fields.moment(name, at);
        }
    }
    if let Some(holder) = &view.holder {
        fields.text("host", &format!("{}, {}", holder.id, holder.label));
    }
    fields.text("events", &view.events.to_string());
    if let Some(text) = children(&shown.children, view.id.as_str()) {
        fields.text("children", &text);
    }
    fields.value("input", &view.input);
    if view.state.as_object().is_none_or(|state| !state.is_empty()) {
        fields.value("state", &view.state);
    }
    fields.value("output", &view.output);
    if let Some(error) = &view.error {
        fields.text("error", &error.to_string());
        fields.value("data", &error.data);
    }
    if let Some(reason) = &view.reason {
        fields.text("reason", reason);
    }
    print_waits(shown, &fields);
    if let Some(next) = next(view, local) {
        fields.text("next", &next);
    }
}

/// Which run it is, where it comes from, and what it was started with.
fn print_identity(view: &RunView, out: &Out) {
    let fields = Fields(out);
    fields.text("run", view.id.as_str());
    fields.text("workflow", &format!("{} ({})", view.workflow, view.version.short()));
    fields.text("status", &out.status(view.status));
    if let Some(said) = &view.status_text {
        fields.text("says", said);
    }
    for (key, text) in &view.tags {
        fields.text("tag", &format!("{key}={text}"));
    }
    let related = [("parent", &view.parent), ("continues", &view.previous), ("goes on as", &view.next)];
    for (name, run) in related.into_iter().filter_map(|(name, run)| Some((name, run.as_ref()?))) {
        fields.text(name, run.as_str());
    }
    if let Some(before) = &view.retry_of {
        fields.text("tries again", before.as_str());
    }
    if let Some(next) = &view.retried_as {
        fields.text("tried again", &format!("as {next}"));
    }
    if let Some(origin) = &view.origin {
        let file = origin.file.as_ref().map_or(String::new(), |file| format!(", imported from {file}"));
        fields.text("took over", &format!("events 1 to {} of run {}{file}", origin.seq, origin.run));
    }
    for fork in &view.forks {
        fields.text("forked to", fork.as_str());
    }
    if view.attempt > 1 {
        fields.text("attempt", &view.attempt.to_string());
    }
    if view.priority != 0 {
        fields.text("priority", &view.priority.to_string());
    }
    if let Some(timeout) = view.timeout {
        fields.text("timeout", &times::span(timeout));
    }
}

/// What it waits for, the questions that are open with the commands that answer them, its hooks.
fn print_waits(shown: &Shown, fields: &Fields<'_>) {
    let view = &shown.run;
    if let Some(place) = &view.place {
        fields.text("waits for", &waits_for_place(place));
    } else if let Some(at) = view.begins_at {
        fields.moment("begins", at);
    }
    for (index, wait) in view.waiting_for.iter().enumerate() {
        fields.text(if index == 0 { "waits for" } else { "" }, &lines::waiting(wait));
    }
    for asked in &shown.suspensions {
        let label = asked.label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
        let until = asked.until.map(|at| format!(", until {}", times::rfc3339(at))).unwrap_or_default();
        let since = times::from_now(asked.since);
        let payload = fields.json(&asked.payload);
        fields.text("asks", &format!("{payload}\nasked{label} ({}) {since}{until}", asked.step_id));
        fields.value("wants", &asked.schema);
        fields.text("answer", &answer(view.id.as_str(), asked, shown.suspensions.len() > 1));
    }
    for hook in &shown.hooks {
        fields.text("hook", &format!("{} ({})", hook.url, hook.step_id));
    }
}

/// A place of its workflow's `concurrency`.
fn waits_for_place(place: &PlaceView) -> String {
    let PlaceView { gate, limit, ahead, inside, holders, .. } = place;
    let before = match ahead {
        0 => "it is the next".to_owned(),
        1 => "1 run is before it".to_owned(),
        many => format!("{many} runs are before it"),
    };
    let named: Vec<_> = holders.iter().map(|id| id.as_str()).collect();
    let more = inside.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("a place of {gate:?} (concurrency {limit}); {before}\ninside: {}{more}", named.join(" "))
}

fn children(children: &Children, run: &str) -> Option<String> {
    let Children { count, more, ids } = children;
    if *count == 0 {
        return None;
    }
    let ids: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
    let count = if *more { format!("more than {count}") } else { count.to_string() };
    let rest = match *more || ids.len() < children.count {
        true => format!("\n… `durhai list --parent {} --all` lists them", quoted(run)),
        false => String::new(),
    };
    Some(format!("{count}: {}{rest}", ids.join(" ")))
}

fn answer(run: &str, asked: &Suspension, several: bool) -> String {
    let step_id = several.then_some(asked.step_id.as_str());
    lines::resume(&quoted(run), asked.label.as_deref(), step_id)
}

/// What the reader can do about it.
fn next(view: &RunView, local: bool) -> Option<String> {
    let id = quoted(view.id.as_str());
    match view.status {
        Status::Parked => Some(format!("durhai unpark {id}, once the reason is gone; or durhai terminate {id}")),
        Status::Failed => Some(match &view.retried_as {
            Some(next) => format!("durhai show {}: that is how it was tried again", quoted(next.as_str())),
            None => format!("durhai retry {id}"),
        }),
        status if status.is_terminal() => None,
        _ if local => Some(format!("no host runs it now: durhai serve, or durhai run {} --id {id}", view.workflow)),
        _ => {
            let signals = view.waiting_for.iter().filter(|wait| wait["kind"] == "signal");
            signals.filter_map(|wait| lines::answer(view.id.as_str(), wait, false)).next()
        }
    }
}
