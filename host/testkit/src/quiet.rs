//! Whether anything goes on in a world, read from what is durable in it.
//!
//! An attempt that is under way counts as something that goes on. Whoever ends attempts by hand has to tell those that wait
//! for it from the others, which a world does not say: `host/trial/src/test_run/observe.rs` reads the logs and the doubles too.

use durhai_core::{Event, Millis, RunId, Status, wire};
use durhai_world::{Query, Row, World};

/// What [`quiet`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// A step is under way, a message is unread, a timer is due: something will be written by itself.
    Busy,
    /// Nothing happens before that moment (or ever), unless the test does something.
    Until(Option<Millis>),
}

/// Looks at every run. What a run waits for is in its row, written together with the turn that led to it: 0 while
/// attempts of steps are under way, the next timer otherwise. So between two writes this tells the truth, whatever the
/// host does at the moment; rows that a write changed meanwhile count as something that goes on.
pub fn quiet(world: &dyn World, now: Millis) -> Quiet {
    let rows = all_rows(world);
    let mut next = None;
    for row in rows.iter().filter(|row| !row.status.is_terminal() && row.status != Status::Parked) {
        let messages = world.inbox(&row.run, 0, 1_000).expect("it answers");
        let urgent = messages.iter().any(|message| message.urgent);
        let begun = row.status != Status::Pending;
        match row.wake_at {
            _ if urgent => return Quiet::Busy,
            _ if world.waits(&row.run).expect("it answers") => {}
            _ if begun && !messages.is_empty() => return Quiet::Busy,
            Some(at) if at <= now => return Quiet::Busy,
            at => next = next.into_iter().chain(at).min(),
        }
    }
    if rows == all_rows(world) { Quiet::Until(next) } else { Quiet::Busy }
}

fn all_rows(world: &dyn World) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut query = Query { limit: 1_000, ..Query::default() };
    loop {
        let page = world.list(&query).expect("the world behind the faults answers");
        rows.extend(page.rows);
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => return rows,
        }
    }
}

/// The log of a run, as it is stored.
pub fn events(world: &dyn World, run: &RunId) -> Vec<Event> {
    let mut events = Vec::new();
    for chunk in world.log(run, 1, usize::MAX).expect("it answers") {
        wire::decode(&chunk.bytes, &mut events).expect("a log can be read");
    }
    events
}
