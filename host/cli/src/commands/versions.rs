//! `durhai versions NAME`: the texts a workflow has had, and which runs have them.

use serde_json::json;

use crate::args::{Globals, Versions};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::output::Out;
use crate::times;

pub async fn versions(globals: &Globals, args: Versions, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let found = client.versions(&args.name).await;
    let report = client.compat_report(&args.name).await;
    client.close().await;
    let (found, report) = (found?, report?);
    if out.json {
        out.document(&json!({ "versions": found, "gate": report }));
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|version| {
            vec![
                version.version.short().into(),
                version.first_seen.map_or_else(|| "-".into(), times::rfc3339),
                if version.serving { "serving".into() } else { "-".into() },
                version.live.to_string(),
                version.runs.to_string(),
                if version.bytes == 0 { "not stored".into() } else { version.bytes.to_string() },
            ]
        })
        .collect();
    out.table(&["VERSION", "FIRST SEEN", "", "LIVE", "RUNS", "BYTES"], &rows);
    if let Some(report) = report.filter(|_| out.terminal) {
        out.line(format!("\nThe last time live runs stood before a new version ({}):\n{report}", report.to.short()));
    }
    Ok(Exit::Done)
}
