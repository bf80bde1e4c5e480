//! Single facts about a run, read from its row, its log and its inbox.

use durhai_core::event::Created;
use durhai_core::{Event, EventBody, RunId, wire};
use durhai_world::{Chunk, World, WorldError};

/// Whether a message for the run cannot wait until it begins.
pub(crate) fn is_urgent(world: &dyn World, run: &RunId) -> Result<bool, WorldError> {
    const PAGE: usize = 256;
    let mut after = 0;
    loop {
        let messages = world.inbox(run, after, PAGE)?;
        if messages.iter().any(|message| message.urgent) {
            return Ok(true);
        }
        let Some(last) = messages.last() else { return Ok(false) };
        after = last.index;
    }
}

pub(crate) fn last_event(world: &dyn World, run: &RunId) -> Result<Option<Event>, WorldError> {
    match world.log_tail(run)? {
        Some(tail) => Ok(decode(&tail)?.pop()),
        None => Ok(None),
    }
}

/// What was decided when a run was created.
pub(crate) fn first_event(world: &dyn World, run: &RunId) -> Result<Option<Created>, WorldError> {
    let Some(first) = world.log(run, 1, 1)?.into_iter().next() else { return Ok(None) };
    match decode(&first)?.into_iter().next() {
        Some(Event { body: EventBody::RunCreated(created), .. }) => Ok(Some(*created)),
        _ => Ok(None),
    }
}

pub(crate) fn decode(chunk: &Chunk) -> Result<Vec<Event>, WorldError> {
    let mut events = Vec::new();
    wire::decode(&chunk.bytes, &mut events).map_err(|error| WorldError::Corrupt(error.to_string()))?;
    Ok(events)
}
