//! `durhai graph`: a workflow as Mermaid or DOT, by its text alone or coloured by a run.

use durhai::event::Site;
use durhai::{Event, Value};

use crate::args::{Allow, Globals, Graph, GraphFormat};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;
use crate::{folder, hosting};

/// Events that are asked for at a time.
const PAGE: usize = 1_000;

pub async fn graph(globals: &Globals, args: Graph, out: &Out) -> Outcome {
    let drawn = match &args.run {
        Some(run) => of_run(globals, args.name.as_deref(), run).await?,
        None => {
            let Some(name) = &args.name else { return Err(Fail::usage("name a workflow, or a run with --run")) };
            let target = folder::target(name, globals.scripts.as_deref())?;
            hosting::builder(globals, &target.root, &Allow::default())?.graph(&target.name)?
        }
    };
    let text = match args.format {
        GraphFormat::Mermaid => drawn.mermaid(),
        GraphFormat::Dot => drawn.dot(),
    };
    match out.json {
        true => out.document(&serde_json::json!({ "workflow": drawn.name, "graph": text })),
        false => out.line(text.trim_end()),
    }
    Ok(Exit::Done)
}

/// The graph of the text that the run has, which may not be what the folder holds.
async fn of_run(globals: &Globals, name: Option<&str>, run: &str) -> Result<durhai::check::Graph, Fail> {
    let (client, run) = Client::of_run(globals, run).await?;
    let drawn = marked(&client, name, &run).await;
    client.close().await;
    drawn
}

async fn marked(client: &Client, name: Option<&str>, run: &str) -> Result<durhai::check::Graph, Fail> {
    let view = client.get(run).await?;
    if let Some(name) = name.filter(|name| *name != view.workflow) {
        return Err(Fail::usage(format!("the run {run} is one of {}, not of {name}", view.workflow)));
    }
    let source = client.source(&view.workflow, view.version.as_str()).await?;
    let mut drawn = durhai::check::graph(&source.files, &source.workflow)?;
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = client.events(run, events.len() as u64 + 1, PAGE).await?;
        let last = page.len() < PAGE;
        events.extend(page);
        if last {
            break;
        }
    }
    let sites = view.waiting_for.iter().filter_map(|wait| wait.get("site").and_then(Value::as_str));
    let waiting: Vec<Site> = sites.filter_map(Site::parse).collect();
    drawn.mark(&events, &waiting);
    Ok(drawn)
}
