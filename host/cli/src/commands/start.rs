//! `durhai start`: a run in the host that serves, or one that waits for the next host.

use durhai::RunView;
use durhai_api::Want;

use super::run::{self, Job};
use crate::args::{Allow, Globals, Observing, Start};
use crate::client::{Client, Local, Remote, Starting, open_world, store_path};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder::{self, Target};
use crate::hosting;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::{Out, note};
use crate::progress::Progress;
use crate::watch::{Ending, conclude, watch_chain};

pub async fn start(globals: &Globals, args: Start, out: &Out) -> Outcome {
    let starting = Starting {
        workflow: args.name.clone(),
        input: input::json(args.input.input.as_deref(), "--input")?,
        id: args.id,
        tags: args.tags.tags.into_iter().collect(),
        delay: args.delay,
        timeout: args.timeout,
        priority: args.priority,
        elsewhere: false,
    };
    if let Some(remote) = Client::served(&globals.data).await? {
        return there(remote, starting, args.wait, out).await;
    }
    let target = folder::target(&args.name, globals.scripts.as_deref())?;
    let starting = Starting { workflow: target.name.clone(), ..starting };
    if !args.wait {
        return leave(globals, &target, starting, &args.allow, out).await;
    }
    let again = run::again(globals, "run", &args.name, &args.allow);
    let any_input = args.input.input.is_none();
    let observing = Observing::default();
    let job = Job { target, starting, any_input, allow: args.allow, quiet: false, observing, again };
    run::here(globals, job, out).await
}

/// In the host that serves.
async fn there(remote: Remote, starting: Starting, wait: bool, out: &Out) -> Outcome {
    let passing = remote.is_passing();
    if passing && wait {
        return Err(Fail::unreachable("a `durhai run` has the store, and runs nothing else")
            .hint("Start it without --wait, or wait for the end of that one."));
    }
    let client = Client::Remote(remote);
    let view = client.start(starting).await?;
    let id = view.id.to_string();
    if !wait {
        print(&view, out);
        if passing {
            left(&view);
        }
        return Ok(Exit::Done);
    }
    let mut interrupt = Interrupt::listen();
    let mut progress = Progress::new(out, false);
    let want = Want { events: Some(1), lines: progress.wants_lines().then_some(0), output: None };
    let ending = watch_chain(&client, &id, want, &mut progress, &mut interrupt).await;
    progress.clear();
    match ending? {
        Ending::Settled(view) => {
            progress.summary(&view);
            Ok(conclude(&view, out))
        }
        Ending::Interrupted => {
            note(format!("The run goes on in its host: `durhai show {id}`, `durhai cancel {id}`."));
            Ok(Exit::Interrupted)
        }
    }
}

/// In the store, for whoever hosts it next.
async fn leave(globals: &Globals, target: &Target, starting: Starting, allow: &Allow, out: &Out) -> Outcome {
    let builder = hosting::builder(globals, &target.root, allow)?;
    let world = open_world(&globals.data, &store_path(&globals.data)).await?;
    let host = builder.world(world).adopt(false).watch(false).start().await?;
    let client = Client::Local(Local { host });
    let outcome = async {
        run::loads(&client, target).await?;
        client.start(Starting { elsewhere: true, ..starting }).await
    }
    .await;
    client.close().await;
    let view = outcome?;
    print(&view, out);
    left(&view);
    Ok(Exit::Done)
}

fn print(view: &RunView, out: &Out) {
    if out.json { out.document(view) } else { out.line(view.id.as_str()) }
}

fn left(view: &RunView) {
    if !view.status.is_terminal() {
        note("No host serves this folder: the run begins when one does (`durhai serve`).");
    }
}
