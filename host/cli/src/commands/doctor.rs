//! `durhai doctor`: looks at every log and at the store; changes nothing.

use serde_json::json;

use crate::args::Globals;
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::output::Out;

pub async fn doctor(globals: &Globals, out: &Out) -> Outcome {
    let client = Client::connect(&globals.data).await?;
    let findings = client.doctor().await;
    client.close().await;
    let findings = findings?;
    if out.json {
        out.document(&json!({ "findings": findings }));
    } else if findings.is_empty() {
        out.line("every log and the store are as they should be");
    } else {
        findings.iter().for_each(|finding| out.line(finding));
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Failed })
}
