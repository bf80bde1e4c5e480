//! `durhai list`

use durhai::view::Listing;
use durhai::{Query, RunId, RunView, Status};

use crate::args::{Globals, List};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;
use crate::text::{cut, quoted};
use crate::times;

pub async fn list(globals: &Globals, args: List, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let outcome = print(&client, args, out).await;
    client.close().await;
    outcome
}

async fn print(client: &Client, args: List, out: &Out) -> Outcome {
    let mut query = Query {
        parent: args.parent.map(parent).transpose()?,
        cursor: args.cursor,
        limit: usize::from(args.limit),
        ..args.filter.query()
    };
    let mut found = Listing::default();
    loop {
        let page = client.list(query.clone()).await?;
        found.runs.extend(page.runs);
        found.next = page.next;
        match &found.next {
            Some(next) if args.all => query.cursor = Some(next.clone()),
            _ => break,
        }
    }
    show(&found, out)?;
    Ok(Exit::Done)
}

fn show(found: &Listing, out: &Out) -> Result<(), Fail> {
    if out.json {
        out.document(found);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found.runs.iter().map(row).collect();
    out.table(&["RUN", "WORKFLOW", "STATUS", "CREATED", "TOOK", ""], &rows);
    if rows.is_empty() {
        note("no runs");
    }
    if let Some(next) = &found.next {
        note(format!("There are more: --cursor {} shows the next ones, --all every one.", quoted(next)));
    }
    Ok(())
}

fn row(run: &RunView) -> Vec<String> {
    let took = match (run.started_at, run.ended_at) {
        (Some(start), Some(end)) => times::span(end.saturating_sub(start)),
        _ => String::new(),
    };
    vec![
        run.id.to_string(),
        run.workflow.clone(),
        run.status.to_string(),
        times::rfc3339(run.created_at),
        took,
        remark(run),
    ]
}

/// What one wants to know of it at a glance.
fn remark(run: &RunView) -> String {
    let text = match run.status {
        Status::Suspended => {
            let asks = run.waiting_for.iter().filter(|wait| wait["kind"] == "suspend");
            let labels: Vec<_> = asks.map(|wait| wait["name"].as_str().unwrap_or("a person")).collect();
            match labels.is_empty() {
                true => "asks a person".into(),
                false => format!("asks {}", labels.join(", ")),
            }
        }
        Status::Parked => run.reason.clone().unwrap_or_default(),
        Status::Continued => run.next.as_ref().map(|next| format!("goes on as {next}")).unwrap_or_default(),
        _ => String::new(),
    };
    let said = run.status_text.as_deref().filter(|_| text.is_empty()).unwrap_or_default();
    cut(if text.is_empty() { said } else { &text }, 60)
}

fn parent(id: String) -> Result<RunId, Fail> {
    RunId::new(id.clone()).map_err(|error| Fail::usage(format!("--parent {id:?} is no id of a run: {error}")))
}
