//! `durhai step`: a step by hand, outside of any run.

use std::time::Duration;

use durhai::Host;
use serde_json::json;
use tracing::level_filters::LevelFilter;

use crate::args::{Globals, Step};
use crate::exit::{self, Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::input;
use crate::interrupt::Interrupt;
use crate::logging;
use crate::output::Out;

/// How long an attempt may go on after it was interrupted.
const GRACE: Duration = Duration::from_secs(10);

pub async fn step(globals: &Globals, args: Step, out: &Out) -> Outcome {
    // What the step logs is an event of its host, there being no run.
    logging::print(LevelFilter::INFO);
    let mut interrupt = Interrupt::listen();
    let root = folder::scripts(globals.scripts.as_deref())?;
    let input = input::json(args.input.as_deref(), "the input")?;
    // Steps need no store; it may be in use.
    let builder = hosting::builder(globals, &root, &args.allow)?;
    let host = builder.watch(false).workers(1).start().await?;
    let outcome = match args.name {
        None => list(&host, out),
        Some(name) => {
            let call = host.call_step(&name, input);
            tokio::pin!(call);
            tokio::select! {
                result = &mut call => match result {
                    Ok(output) => {
                        out.document(&output);
                        Ok(Exit::Done)
                    }
                    Err(failure) => Err(Fail::new(exit::of_step(failure.kind), &failure)),
                },
                () = interrupt.wait() => {
                    // The attempt is told, and gets the time to end what it has begun.
                    let _ = tokio::join!(tokio::time::timeout(GRACE, call), host.shutdown());
                    Ok(Exit::Interrupted)
                }
            }
        }
    };
    host.shutdown().await;
    outcome
}

fn list(host: &Host, out: &Out) -> Outcome {
    let steps = host.step_list();
    if out.json {
        out.document(&json!({ "steps": steps }));
    } else {
        let rows: Vec<_> = steps.into_iter().map(|step| vec![step.name, step.kind, step.description]).collect();
        out.table(&["STEP", "KIND", "DESCRIPTION"], &rows);
    }
    Ok(Exit::Done)
}
