//! `durhai step`: a step by hand, outside of any run.

use serde_json::json;

use crate::args::{Globals, Step};
use crate::exit::{self, Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::input;
use crate::output::Out;
use crate::trace;

pub async fn step(globals: &Globals, args: Step, out: &Out) -> Outcome {
    // What the step logs is an event of its host, there being no run.
    trace::print(tracing::Level::INFO);
    let root = folder::scripts(globals.scripts.as_deref())?;
    let input = input::json(args.input.as_deref(), "the input")?;
    // Steps need no store; it may be in use.
    let host = hosting::builder(globals, &root, &args.allow)?.watch(false).workers(1).start().await?;
    let outcome = match args.name {
        None => {
            let steps = host.step_list();
            if out.json {
                out.document(&json!({ "steps": steps }));
            } else {
                let rows: Vec<_> = steps.into_iter().map(|step| vec![step.name, step.kind, step.description]).collect();
                out.table(&["STEP", "KIND", "DESCRIPTION"], &rows);
            }
            Ok(Exit::Done)
        }
        Some(name) => match host.call_step(&name, input).await {
            Ok(output) => {
                out.document(&output);
                Ok(Exit::Done)
            }
            Err(failure) => Err(Fail::new(exit::of_step(failure.kind), &failure)),
        },
    };
    host.shutdown().await;
    outcome
}
