//! Reading a run's log.

use durhai_core::{Event, RunId, wire};
use durhai_world::World;

/// Bytes asked for at a time.
const PAGE: usize = 4 << 20;

/// The whole log, and how many bytes it has. The error is a sentence: the world does not answer, or what it has is
/// damaged.
pub(crate) fn read(world: &dyn World, run: &RunId) -> Result<(Vec<Event>, u64), String> {
    let mut events = Vec::new();
    let mut bytes = 0;
    loop {
        let before = events.len();
        let chunks = world.log(run, before as u64 + 1, PAGE).map_err(|error| error.to_string())?;
        if chunks.is_empty() {
            return Ok((events, bytes));
        }
        for chunk in chunks {
            bytes += chunk.bytes.len() as u64;
            wire::decode(&chunk.bytes, &mut events)
                .map_err(|error| format!("damaged log: the events from {} on: {error}", chunk.first))?;
        }
        if events.len() == before {
            return Ok((events, bytes));
        }
    }
}

/// Events from `from` on, at most `limit`.
pub(crate) fn page(world: &dyn World, run: &RunId, from: u64, limit: usize) -> Result<Vec<Event>, String> {
    let mut events: Vec<Event> = Vec::new();
    let mut next = from.max(1);
    while events.len() < limit {
        let chunks = world.log(run, next, 256 << 10).map_err(|error| error.to_string())?;
        let before = events.len();
        for chunk in chunks {
            let mut some = Vec::new();
            wire::decode(&chunk.bytes, &mut some).map_err(|error| format!("damaged log: {error}"))?;
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
