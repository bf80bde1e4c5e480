//! Waiting for the end of a run, and showing what it does meanwhile.

use std::time::{Duration, Instant};

use durhai::{RunView, Status};
use durhai_api::{Item, Want};

use crate::client::{Client, Following};
use crate::exit::{Exit, Fail};
use crate::interrupt::Interrupt;
use crate::note::note;
use crate::output::Out;
use crate::progress::Progress;
use crate::text::quoted;

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

/// Follows one run until it has ended, is parked, or the user interrupts.
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

/// Prints the result of a run that is settled: its output on standard output, anything else on standard error.
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
            if let Some(hint) = view.error.as_ref().and_then(|error| grant_hint(&error.message)) {
                note(hint);
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

/// How that is allowed which a step was refused, if that is why it failed.
fn grant_hint(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("grant it with --allow-")?;
    let (kind, value) = rest.lines().next()?.split_once('=')?;
    // More may be needed than one flag; the message says so.
    let value = value.split_once(" and with ").map_or(value, |(value, _)| value);
    Some(format!(
        "To allow it: --allow-{kind}={} on the command line of its host, or under [permissions] in durhai.toml: {kind} = [{}]",
        quoted(value),
        durhai::Value::from(value),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_can_be_allowed() {
        for (message, hint) in [
            ("writing /a b is not allowed: grant it with --allow-write=/a b", Some("--allow-write='/a b'")),
            ("writing /a b is not allowed: grant it with --allow-write=/a b", Some("write = [\"/a b\"]")),
            ("no: grant it with --allow-net=x:1 and with its address", Some("--allow-net=x:1 on")),
            ("no: grant it with --allow-exec=ls\n  at x.rhai:1:1", Some("exec = [\"ls\"]")),
            ("no luck", None),
        ] {
            let found = grant_hint(message);
            assert_eq!(found.is_some(), hint.is_some(), "{message}");
            assert!(found.unwrap_or_default().contains(hint.unwrap_or_default()), "{message}");
        }
    }
}
