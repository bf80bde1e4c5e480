//! `durhai purge`: removes runs that have ended.

use durhai::view::Purge;

use crate::args;
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;
use crate::times;

pub async fn purge(globals: &args::Globals, args: args::Purge, out: &Out) -> Outcome {
    if args.older_than.is_none() && args.status.is_empty() && args.workflow.is_none() && !args.all {
        return Err(Fail::usage("this would remove every run that has ended")
            .hint("Say which: --older-than 30d, --status completed, --workflow NAME; or --all."));
    }
    let ended_before = args.older_than.map(|age| times::now().saturating_sub(age));
    let purge = Purge { ended_before, status: args.status, workflow: args.workflow };
    let client = Client::connect(globals).await?;
    let done = client.purge(purge).await;
    client.close().await;
    let done = done?;
    if out.json {
        out.document(&done);
    } else {
        let count = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        out.line(format!(
            "{} and {} removed",
            count(done.runs, "run", "runs"),
            count(done.texts, "unused version", "unused versions")
        ));
    }
    Ok(Exit::Done)
}
