//! `durhai doctor`: looks at every log, at the store and at the settings; changes nothing.

use serde_json::json;

use crate::args::{Allow, Globals};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::folder;
use crate::hosting;
use crate::output::Out;

pub async fn doctor(globals: &Globals, out: &Out) -> Outcome {
    let client = Client::connect(&globals.data).await?;
    let findings = client.doctor().await;
    client.close().await;
    let mut findings = findings?;
    let root = folder::scripts(globals.scripts.as_deref())?;
    findings.extend(hosting::source(globals, &root, &Allow::default(), &[])?.findings());
    if out.json {
        out.document(&json!({ "findings": findings }));
    } else if findings.is_empty() {
        out.line("every log, the store and the settings are as they should be");
    } else {
        findings.iter().for_each(|finding| out.line(finding));
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Failed })
}
