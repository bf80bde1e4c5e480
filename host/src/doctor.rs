//! Looking for damage.

use durhai_core::legal::LogCheck;
use durhai_world::{Query, World, WorldError};

use crate::log;

/// Reads every run and every log; one line for each thing that cannot be.
pub(crate) fn examine(world: &dyn World) -> Result<Vec<String>, WorldError> {
    let mut found = Vec::new();
    world.verify(&mut |line| found.push(line))?;
    let mut query = Query { limit: 1_000, ..Query::default() };
    loop {
        let page = world.list(&query)?;
        for row in &page.rows {
            let events = match log::read(world, &row.run) {
                Ok((events, _)) => events,
                Err(why) => {
                    found.push(format!("run {}: {why}", row.run));
                    continue;
                }
            };
            let mut check = LogCheck::default();
            if let Err(bad) = events.iter().try_for_each(|event| check.next(event)) {
                found.push(format!("run {}: {bad}", row.run));
            } else if check.has_ended() != row.status.is_terminal() {
                found.push(format!("run {}: its row says {}, its log does not", row.run, row.status));
            }
            if world.program(&row.version)?.is_none() && !row.status.is_terminal() {
                found.push(format!("run {}: the text of its version {} is missing", row.run, row.version.short()));
            }
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(found),
        }
    }
}
