//! `continue_as_new`: the run that goes on in the place of this one, with an empty log.

use super::hook::Hooks;
use super::inbox::Inbox;
use crate::event::{Chain, Created};
use crate::replay::turn::{Command, Continue};
use crate::{Failure, FailureKind, RunId, Value};

/// Ids of signals, and of payloads, that a successor is told of, so that none is delivered twice.
const SEEN_IDS: usize = 1_000;

/// What is thrown where the call is not made by the body.
pub fn refusal() -> Failure {
    let message = "continue_as_new ends the whole run: call it in the body of the workflow, not inside a task";
    Failure::new(FailureKind::InvalidInput, message)
}

/// The name of the successor.
pub fn id(run: &Created) -> RunId {
    let (first, number) = place_in_chain(run);
    first.successor(number)
}

/// Begins the successor, with what no task of this run has received.
pub fn command(run: &Created, input: Value, inbox: &Inbox, hooks: &Hooks) -> Command {
    let (first, number) = place_in_chain(run);
    let chain = Chain {
        first: first.clone(),
        previous: run.run.clone(),
        number,
        signal_ids: inbox.last_signal_ids(SEEN_IDS),
        payload_ids: inbox.last_payload_ids(SEEN_IDS),
    };
    let (signals, payloads) = (inbox.unread_signals(), inbox.unread(|key| hooks.reopens(key)));
    Command::Continue(Box::new(Continue { next: first.successor(number), chain, input, signals, payloads }))
}

/// The run that the chain began with, and the number of the successor in it.
fn place_in_chain(run: &Created) -> (&RunId, u64) {
    match &run.chain {
        Some(chain) => (&chain.first, chain.number + 1),
        None => (&run.run, 2),
    }
}
