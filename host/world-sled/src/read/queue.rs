//! How a run stands in the queue of its concurrency limit.

use durhai_core::RunId;
use durhai_world::{Admission, Queue, WorldError};

use crate::disk::Disk;
use crate::entries::row_of;
use crate::state::State;
use crate::state::semaphore::rank;

/// What [`World::queue`](durhai_world::World::queue) gives.
pub fn queue(state: &mut State, disk: &Disk, id: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
    let found = state.run(disk, id)?.filter(|run| !run.row.status.is_terminal());
    let found = found.and_then(|run| Some((run.key, run.admission, run.row.concurrency.clone()?)));
    state.let_go(id);
    let Some((key, admission, its)) = found else { return Ok(None) };
    let semaphore = state.semaphore(disk, &its.key)?;
    let (limit, waiting, admitted) = (semaphore.limit, semaphore.waiting.len() as u64, semaphore.admitted);
    let ahead = match admission {
        Admission::Waiting => semaphore.waiting.range(..(rank(&its), key)).count() as u64,
        Admission::NotArrived | Admission::Admitted => 0,
    };
    if waiting == 0 {
        state.semaphores.remove(&its.key);
    }
    let mut holders = Vec::new();
    for key in state.admitted.read(disk)?.get(&its.key).into_iter().flatten().take(most) {
        holders.extend(row_of(disk, *key)?.map(|row| row.run));
    }
    Ok(Some(Queue { key: its.key, limit, admission, ahead, waiting, admitted, holders }))
}
