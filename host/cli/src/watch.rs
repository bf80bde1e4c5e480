//! Waiting for the end of a run, and showing what it does meanwhile.

use std::time::{Duration, Instant};

use durhai::{RunView, Status};
use durhai_api::{Item, Want};

use crate::client::{Client, Following};
use crate::exit::{Exit, Fail};
use crate::interrupt::Interrupt;
use crate::output::{Out, note};
use crate::progress::Progress;

/// How often a live line is drawn.
const TICK: Duration = Duration::from_millis(100);
/// After so long without news it is asked what the run waits for.
const IDLE: Duration = Duration::from_millis(700);

/// Why the watch is over.
pub enum Ending {
    /// It has ended, or is parked.
    Settled(Box<RunView>),
    Interrupted,
}

/// Follows one run until it has ended, is parked, or somebody interrupts.
async fn watch(
    client: &Client,
    id: &str,
    mut following: Following,
    progress: &mut Progress<'_>,
    interrupt: &mut Interrupt,
) -> Result<Ending, Fail> {
    let mut tick = tokio::time::interval(TICK);
    let mut news = Instant::now();
    loop {
        tokio::select! {
            item = following.next() => match item? {
                Some(Item::Ended(view) | Item::Parked(view)) => return Ok(Ending::Settled(view)),
                Some(item) => {
                    progress.item(id, &item);
                    news = Instant::now();
                }
                None => return Err(Fail::unreachable("the host stopped before the run ended")),
            },
            fail = client.failed() => return Err(fail),
            () = interrupt.wait() => return Ok(Ending::Interrupted),
            _ = tick.tick() => {
                if news.elapsed() > IDLE && progress.is_curious() {
                    progress.idle(&client.get(id).await?);
                }
                progress.tick();
            }
        }
    }
}

/// The same, and then the run it goes on as, to the end of the chain.
pub async fn watch_chain(
    client: &Client,
    id: &str,
    want: Want,
    progress: &mut Progress<'_>,
    interrupt: &mut Interrupt,
) -> Result<Ending, Fail> {
    let mut id = id.to_string();
    let mut want = want;
    loop {
        let following = client.follow(&id, want.clone()).await?;
        let ending = watch(client, &id, following, progress, interrupt).await?;
        let next = match &ending {
            Ending::Settled(view) if view.status == Status::Continued => view.next.clone(),
            _ => None,
        };
        let Some(next) = next else { return Ok(ending) };
        progress.next_run();
        id = next.to_string();
        want = Want { events: Some(1), lines: want.lines.map(|_| 0), output: None };
    }
}

/// Prints what a run that is settled came to: its output on standard output, anything else on standard error.
pub fn conclude(view: &RunView, out: &Out) -> Exit {
    if out.json {
        out.row(view);
    }
    let id = &view.id;
    match view.status {
        Status::Completed if !out.json => out.document(&view.output),
        Status::Failed => {
            match &view.error {
                Some(error) => note(format!("run {id} failed: {error}")),
                None => note(format!("run {id} failed")),
            }
            note(format!("`durhai events {id}` shows what it did; `durhai retry {id}` starts it anew from there."));
        }
        Status::Cancelled => {
            let why = view.error.as_ref().map(|error| error.message.as_str()).or(view.reason.as_deref());
            match why.filter(|why| !why.is_empty()) {
                Some(why) => note(format!("run {id} was cancelled: {why}")),
                None => note(format!("run {id} was cancelled")),
            }
        }
        Status::Parked => parked(view),
        _ => {}
    }
    Exit::of(view.status)
}

/// Why a run is parked, and what can be done.
pub fn parked(view: &RunView) {
    let id = &view.id;
    note(format!("run {id} is parked: {}", view.reason.as_deref().unwrap_or("no reason is known")));
    note(format!(
        "Its log is untouched. Put right what stopped it, then `durhai unpark {id}` lets it try again; \
         `durhai terminate {id}` gives it up."
    ));
}
