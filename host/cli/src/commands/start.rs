//! `durhai start`: a run in the host that serves, or one that waits for the next host.

use std::sync::Arc;

use durhai::versions::Serves;
use durhai::{RunView, World};
use durhai_api::Want;

use super::run::{self, Job};
use crate::args::{Allow, Globals, Observing, Start};
use crate::client::{Client, Local, Opened, Remote, Starting, open_or_served_for};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder::{self, Target};
use crate::hosting::{self, Prepared};
use crate::input;
use crate::interrupt::Interrupt;
use crate::note::note;
use crate::output::Out;
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
    if let Some(remote) = Client::served(globals).await? {
        return there(globals, remote, starting, args.wait, &args.allow, out).await;
    }
    let target = folder::target(&args.name, globals.scripts.as_deref())?;
    let starting = Starting { workflow: target.name.clone(), ..starting };
    let prepared = hosting::prepare(globals, &target.root, &args.allow, &[])?;
    // A host may have begun meanwhile.
    let world = match open_or_served_for(globals, &prepared.store).await? {
        Opened::Served(remote) => return there(globals, remote, starting, args.wait, &args.allow, out).await,
        Opened::Store(world) => world,
    };
    if !args.wait {
        return leave(globals, &target, starting, &args.allow, (prepared, world), out).await;
    }
    let again = run::again(globals, "run", &args.name, &args.allow);
    let any_input = args.input.input.is_none();
    let observing = Observing::default();
    let job = Job { target, starting, any_input, memory: None, allow: args.allow, quiet: false, observing, again };
    run::here(globals, job, (prepared, world), out).await
}

/// In the host that serves.
async fn there(globals: &Globals, remote: Remote, starting: Starting, wait: bool, allow: &Allow, out: &Out) -> Outcome {
    ignored(allow, "the host that serves runs it, with what it was granted itself");
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
            left(&view, globals);
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

/// In the store, for the host that opens it next.
async fn leave(
    globals: &Globals,
    target: &Target,
    starting: Starting,
    allow: &Allow,
    (prepared, world): (Prepared, Arc<dyn World>),
    out: &Out,
) -> Outcome {
    ignored(allow, "the host that serves next runs it, with what it is granted itself");
    // The run gets the text that was named, and no host serves it because somebody left a run with it.
    let builder = prepared.builder.serves(Serves::HereOnly);
    let host = builder.shared_world(world).adopt(false).watch(false).start().await?;
    let client = Client::Local(Local { host });
    let outcome = async {
        run::loads(&client, target).await?;
        client.start(Starting { elsewhere: true, ..starting }).await
    }
    .await;
    client.close().await;
    let view = outcome?;
    print(&view, out);
    left(&view, globals);
    Ok(Exit::Done)
}

/// What was granted here does not reach the host that runs it.
fn ignored(allow: &Allow, why: &str) {
    let words = allow.words();
    if !words.is_empty() {
        let words = words.join(" ");
        note(format!("warning: {words} has no effect: {why}. Give it to `durhai serve`, or grant it in durhai.toml."));
    }
}

fn print(view: &RunView, out: &Out) {
    if out.json { out.document(view) } else { out.line(view.id.as_str()) }
}

fn left(view: &RunView, globals: &Globals) {
    // On a database any host takes it up.
    if !view.status.is_terminal() && globals.database().is_none() {
        note("No host serves this folder: the run begins when one does (`durhai serve`).");
    }
}
