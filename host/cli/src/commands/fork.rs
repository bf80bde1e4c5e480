//! `durhai fork`: a new run that takes over the beginning of another one's log.

use durhai::{Fork, Status};

use super::replay::{results, script, step};
use crate::args::{ForkArgs, Globals};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::output::{Out, note};

pub async fn fork(globals: &Globals, args: ForkArgs, out: &Out) -> Outcome {
    let fork = Fork {
        at: args.at.as_deref().map(step).transpose()?,
        after: args.after.as_deref().map(step).transpose()?,
        script: args.script.as_deref().map(|file| script(globals, file)).transpose()?,
        set: results(&args.set)?,
        id: args.id,
    };
    let client = Client::connect(&globals.data).await?;
    let forked = client.fork(&args.run, &fork).await;
    let local = client.is_local();
    client.close().await;
    let view = forked?;
    if out.json {
        out.document(&view);
    } else {
        out.line(view.id.as_str());
        let taken = view.origin.as_ref().map_or(0, |origin| origin.seq);
        note(format!("Run {} takes over {taken} events of run {}.", view.id, args.run));
    }
    if local && view.status == Status::Pending {
        note(format!(
            "It begins when a host runs: `durhai serve`, or `durhai run {} --id {}`.",
            view.workflow, view.id
        ));
    }
    Ok(Exit::Done)
}
