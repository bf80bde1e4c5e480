//! `durhai list`

use durhai::{Listing, Query, RunView};

use crate::args::{Globals, List};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::{Out, note};
use crate::times;

pub async fn list(globals: &Globals, args: List, out: &Out) -> Outcome {
    let client = Client::connect(&globals.data).await?;
    let outcome = print(&client, args, out).await;
    client.close().await;
    outcome
}

async fn print(client: &Client, args: List, out: &Out) -> Outcome {
    let mut query = Query {
        status: args.status,
        workflow: args.workflow,
        tags: args.tags.tags.into_iter().collect(),
        since: args.since,
        until: args.until,
        cursor: args.cursor,
        limit: usize::from(args.limit),
        ..Query::default()
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
    out.table(&["RUN", "WORKFLOW", "STATUS", "CREATED", "TOOK"], &rows);
    if rows.is_empty() {
        note("no runs");
    }
    if let Some(next) = &found.next {
        note(format!("There are more: --cursor {} shows the next ones, --all every one.", crate::output::quoted(next)));
    }
    Ok(())
}

fn row(run: &RunView) -> Vec<String> {
    let took = match (run.started_at, run.ended_at) {
        (Some(start), Some(end)) => times::span(end.saturating_sub(start)),
        _ => String::new(),
    };
    vec![run.id.to_string(), run.workflow.clone(), run.status.to_string(), times::rfc3339(run.created_at), took]
}
