//! Reading a run's log. What is damaged is [`WorldError::Corrupt`]; every other error says that the world does not answer,
//! and nothing about the log.

use durhai_core::{Event, RunId, wire};
use durhai_world::{World, WorldError};

/// Bytes asked for at a time.
const PAGE: usize = 4 << 20;

/// The whole log, and how many bytes it has.
pub(crate) fn read(world: &dyn World, run: &RunId) -> Result<(Vec<Event>, u64), WorldError> {
    let mut events = Vec::new();
    let mut bytes = 0;
    loop {
        let before = events.len();
        let chunks = world.log(run, before as u64 + 1, PAGE)?;
        if chunks.is_empty() {
            return Ok((events, bytes));
        }
        for chunk in chunks {
            bytes += chunk.bytes.len() as u64;
            wire::decode(&chunk.bytes, &mut events).map_err(|error| damaged(chunk.first, &error))?;
        }
        if events.len() == before {
            return Ok((events, bytes));
        }
    }
}

/// Events from `from` on, at most `limit`.
pub(crate) fn page(world: &dyn World, run: &RunId, from: u64, limit: usize) -> Result<Vec<Event>, WorldError> {
    let mut events: Vec<Event> = Vec::new();
    let mut next = from.max(1);
    while events.len() < limit {
        let chunks = world.log(run, next, 256 << 10)?;
        let before = events.len();
        for chunk in chunks {
            let mut some = Vec::new();
            wire::decode(&chunk.bytes, &mut some).map_err(|error| damaged(chunk.first, &error))?;
            events.extend(some.into_iter().filter(|event| event.seq >= next));
        }
        match events.last() {
            Some(last) if events.len() > before => next = last.seq + 1,
            _ => break,
        }
    }
    events.truncate(limit);
    Ok(events)
}

fn damaged(first: u64, error: &wire::WireError) -> WorldError {
    WorldError::Corrupt(format!("damaged log: the events from {first} on: {error}"))
}
