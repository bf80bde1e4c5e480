//! `durhai run`: a workflow from its start, or from where it stopped, to its end in this process.

use std::sync::Arc;
use std::time::Duration;

use durhai::versions::Serves;
use durhai::{Query, RunId, RunView, Status, World};
use durhai_api::Want;
use durhai_steps::Reload;
use tracing::level_filters::LevelFilter;

use crate::args::{Allow, Globals, LogFormat, Memory, Observing, Run};
use crate::client::{Client, Local, Starting, open_world_for};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder::{self, Target};
use crate::hosting::{self, Door, Prepared, Serving};
use crate::input;
use crate::interrupt::Interrupt;
use crate::logging;
use crate::note::note;
use crate::output::Out;
use crate::progress::Progress;
use crate::text::quoted;
use crate::watch::{Ending, conclude, parked, watch_chain};

/// A run in this process, from the arguments of `run` or of `start --wait`.
pub struct Job {
    pub target: Target,
    pub starting: Starting,
    /// No input was given: that of the run which is there counts.
    pub any_input: bool,
    pub memory: Option<Memory>,
    pub allow: Allow,
    pub quiet: bool,
    pub observing: Observing,
    /// What goes on with it, up to the id.
    pub again: String,
}

pub async fn run(globals: &Globals, args: Run, out: &Out) -> Outcome {
    // Without being asked, a run in the foreground says nothing of its host.
    if args.observing.log_level.is_some() || args.observing.log_format == LogFormat::Json {
        logging::begin(&args.observing, LevelFilter::WARN);
    }
    let target = folder::target(&args.target, globals.scripts.as_deref())?;
    let again = again(globals, "run", &args.target, &args.allow);
    let starting = Starting {
        workflow: target.name.clone(),
        input: input::json(args.input.input.as_deref(), "--input")?,
        id: args.id,
        tags: args.tags.tags.into_iter().collect(),
        timeout: args.timeout,
        ..Starting::default()
    };
    let any_input = args.input.input.is_none();
    let (quiet, observing) = (args.quiet, args.observing);
    let job =
        Job { target, starting, any_input, memory: Some(args.memory), allow: args.allow, quiet, observing, again };
    let prepared = hosting::prepare(globals, &job.target.root, &job.allow, &[])?;
    let world = open_world_for(globals, &prepared.store).await?;
    here(globals, job, (prepared, world), out).await
}

/// How long a step waits for a secret that is not set, or for a file that does not compile, before the run is parked: there
/// may be no operator who could mend it.
const PARK_AFTER: Duration = Duration::from_secs(30);

/// Runs it to its end, in this process.
pub async fn here(globals: &Globals, job: Job, (prepared, world): (Prepared, Arc<dyn World>), out: &Out) -> Outcome {
    let mut interrupt = Interrupt::listen();
    let Prepared { builder, following, findings, broken, .. } = prepared;
    findings.iter().chain(&broken).for_each(|finding| note(format!("warning: {finding}")));
    let builder = builder.park_misconfigured_after(PARK_AFTER);
    let door = Door::open().await?;
    let url = door.url();
    let exporter = hosting::exporter(&job.observing)?;
    // The text that was named runs, and no host serves it because somebody tried it.
    let builder = builder.serves(Serves::HereOnly);
    let mut builder = builder.shared_world(world).adopt(false).watch(false).public_url(&url);
    if let Some(memory) = job.memory {
        builder = builder.script_memory(memory.run_memory, memory.script_memory);
    }
    if let Some(exporter) = &exporter {
        builder = builder.observe(exporter.observer());
    }
    let host = builder.start().await?;
    if let Some(exporter) = &exporter {
        exporter.measure(&host);
    }
    let quiet = job.quiet;
    let _following = following.start(&host, move |reload| match reload {
        Reload::Applied { findings, .. } if quiet && findings.is_empty() => {}
        reload => note(reload.to_string()),
    });
    let client = Client::Local(Local { host: host.clone() });
    let mut published = None;
    let outcome = match begin(&client, &job, out).await {
        Ok(Begun::Settled(exit)) => Ok(exit),
        Ok(Begun::Ready { starting, from, lines }) => match Serving::privately(host, &globals.data, door).await {
            Ok(serving) => {
                let progress = Progress::new(out, job.quiet).of(&job.target.name).hooks_at(url);
                let outcome = follow(&client, &job, starting, from, lines, progress, &mut interrupt).await;
                let outcome = outcome.map(|view| view.map_or(Exit::Interrupted, |view| conclude(&view, out)));
                published = Some(serving.stop().await);
                outcome
            }
            Err(fail) => Err(fail),
        },
        Err(fail) => Err(fail),
    };
    client.close().await;
    drop(published);
    if let Some(exporter) = exporter {
        exporter.shutdown().await;
    }
    outcome
}

enum Begun {
    /// There is nothing to run; it was said why.
    Settled(Exit),
    /// To be started, or taken up: the first event and the first line that will be new.
    Ready { starting: Starting, from: u64, lines: u64 },
}

/// Looks at the run of this id, if there is one, or else at the script.
async fn begin(client: &Client, job: &Job, out: &Out) -> Result<Begun, Fail> {
    if let Some(id) = &job.starting.id {
        match client.get(id).await {
            Ok(view) => return take_up(client, job, view, out).await,
            Err(fail) if fail.exit == Exit::NotFound => {}
            Err(fail) => return Err(fail),
        }
    }
    loads(client, &job.target).await?;
    Ok(Begun::Ready { starting: job.starting.clone(), from: 1, lines: 0 })
}

/// The script must be there and compile.
pub async fn loads(client: &Client, target: &Target) -> Result<(), Fail> {
    let workflow = client.workflows().await?.into_iter().find(|workflow| workflow.name == target.name);
    match workflow {
        None => Err(folder::unknown(&target.name, &target.root)),
        Some(workflow) => match workflow.error {
            Some(error) => Err(Fail::usage(format!("{} does not load:\n{error}", target.name))),
            None => Ok(()),
        },
    }
}

async fn take_up(client: &Client, job: &Job, view: RunView, out: &Out) -> Result<Begun, Fail> {
    let id = view.id.as_str();
    if view.workflow != job.target.name {
        return Err(Fail::usage(format!(
            "run {id} is one of {}, not of {}: choose another --id",
            view.workflow, job.target.name
        )));
    }
    if !job.any_input && view.input != job.starting.input {
        // Its workflow's schema may have filled in what is missing here: the host knows.
        let same = client.start(Starting { elsewhere: true, ..job.starting.clone() }).await;
        if same.is_err_and(|fail| fail.exit == Exit::Usage) {
            return Err(Fail::usage(format!("run {id} was started with another input: choose another --id"))
                .hint("Without --input it goes on with the input it was started with."));
        }
    }
    let view = latest(client, view).await?;
    let id = view.id.as_str();
    match view.status {
        status if status.is_terminal() => return Ok(Begun::Settled(conclude(&view, out))),
        // It crashed its host again and again; a user who names it here wants to see it.
        Status::Parked if is_poisoned(&view) || waits_for_operator(&view) => unpark(client, id).await?,
        Status::Parked => {
            if out.json {
                out.row(&view);
            }
            parked(&view);
            return Ok(Begun::Settled(Exit::Failed));
        }
        _ => {}
    }
    let lines = count_lines(client, id).await?;
    let starting = Starting { id: Some(id.into()), input: view.input.clone(), ..job.starting.clone() };
    Ok(Begun::Ready { starting, from: view.events + 1, lines })
}

/// The children a run waits for stopped with it, and it is this process that has to go on with them.
async fn take_up_children(client: &Client, run: &RunId) -> Result<(), Fail> {
    let mut parents = vec![run.clone()];
    while let Some(parent) = parents.pop() {
        let mut query = Query { parent: Some(parent), limit: 1_000, ..Query::default() };
        loop {
            let page = client.list(query.clone()).await?;
            for child in page.runs {
                if child.status.is_terminal() || child.status == Status::Parked {
                    continue;
                }
                parents.push(child.id.clone());
                let id = Some(child.id.to_string());
                // To start a run that is there is to go on with it.
                let starting = Starting { workflow: child.workflow, input: child.input, id, ..Starting::default() };
                client.start(starting).await?;
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The run that this one goes on as, by now.
async fn latest(client: &Client, mut view: RunView) -> Result<RunView, Fail> {
    while view.status == Status::Continued
        && let Some(next) = &view.next
    {
        view = client.get(next.as_str()).await?;
    }
    Ok(view)
}

/// The run as it ended; nothing if it was interrupted.
async fn follow(
    client: &Client,
    job: &Job,
    starting: Starting,
    from: u64,
    lines: u64,
    mut progress: Progress<'_>,
    interrupt: &mut Interrupt,
) -> Result<Option<Box<RunView>>, Fail> {
    let view = client.start(starting.clone()).await?;
    let id = view.id.to_string();
    if from > 1 {
        take_up_children(client, &view.id).await?;
    }
    match from {
        1 => progress.say(&format!("run {id} of {}", view.workflow)),
        _ => progress.say(&format!("run {id} of {} goes on after event {}", view.workflow, from - 1)),
    }
    let want = Want { events: Some(from), lines: progress.wants_lines().then_some(lines), output: None };
    let mut ending = watch_chain(client, &id, want.clone(), &mut progress, interrupt).await;
    // Killed again and again before it got any further, it is now found poisoned; but here a user insists.
    if let Ok(Ending::Settled(view)) = &ending
        && view.status == Status::Parked
        && is_poisoned(view)
        && from > 1
    {
        unpark(client, &id).await?;
        client.start(starting).await?;
        ending = watch_chain(client, &id, want, &mut progress, interrupt).await;
    }
    progress.clear();
    match ending {
        Ok(Ending::Settled(view)) => {
            progress.summary(&view);
            Ok(Some(view))
        }
        Ok(Ending::Interrupted) => {
            note(format!(
                "Stopping; once more ends it at once. Nothing is lost, this goes on:\n  {} --id {id}",
                job.again
            ));
            Ok(None)
        }
        Err(fail) => Err(fail.hint(format!("What was recorded is safe; this goes on:\n  {} --id {id}", job.again))),
    }
}

/// A run that was parked a moment ago may still be held for that moment.
async fn unpark(client: &Client, id: &str) -> Result<(), Fail> {
    for _ in 0..100 {
        match client.unpark(id).await {
            Err(fail) if fail.exit == Exit::Usage && fail.message.contains("held") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
    client.unpark(id).await
}

fn is_poisoned(view: &RunView) -> bool {
    view.reason.as_deref().is_some_and(|reason| reason.contains("poison"))
}

/// It was parked for a secret that was not set, or a step file that did not compile: who names it here has mended that, or is told
/// again.
fn waits_for_operator(view: &RunView) -> bool {
    view.reason.as_deref().is_some_and(|reason| reason.contains("waits for an operator"))
}

/// How many lines the log of a run has, without reading them all.
async fn count_lines(client: &Client, id: &str) -> Result<u64, Fail> {
    let (mut known, mut beyond) = (0, 1);
    while !client.logs(id, beyond - 1, 1).await?.is_empty() {
        (known, beyond) = (beyond, beyond * 2);
    }
    // There are at least `known` lines and fewer than `beyond`.
    while beyond - known > 1 {
        let middle = known + (beyond - known) / 2;
        match client.logs(id, middle - 1, 1).await?.is_empty() {
            true => beyond = middle,
            false => known = middle,
        }
    }
    Ok(known)
}

/// The command that goes on with a run, without its id. The input is not in it: the run knows its own.
pub fn again(globals: &Globals, command: &str, target: &str, allow: &Allow) -> String {
    let mut words = vec!["durhai".to_string()];
    if globals.data.as_os_str() != ".durhai" {
        words.extend(["--data".into(), quoted(&globals.data.display().to_string())]);
    }
    if let Some(store) = &globals.store {
        words.extend(["--store".into(), quoted(&store.to_string())]);
    }
    if let Some(scripts) = &globals.scripts {
        words.extend(["--scripts".into(), quoted(&scripts.display().to_string())]);
    }
    if let Some(config) = &globals.config {
        words.extend(["--config".into(), quoted(&config.display().to_string())]);
    }
    words.extend([command.into(), quoted(target)]);
    words.extend(allow.words());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_goes_on() {
        let globals = Globals { data: "/tmp/my data".into(), json: false, scripts: None, config: None, store: None };
        let allow = Allow {
            allow_read: vec!["".into()],
            allow_write: vec!["out,tmp".into()],
            allow_net: vec!["a.example:443".into(), "::1".into()],
            env_file: Some("prod.env".into()),
            ..Allow::default()
        };
        assert_eq!(
            again(&globals, "run", "a.rhai", &allow),
            "durhai --data '/tmp/my data' run a.rhai --allow-read --allow-write=out,tmp --allow-net=a.example:443 \
             --allow-net=::1 --env-file=prod.env"
        );
    }
}
