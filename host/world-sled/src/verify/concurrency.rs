//! Concurrency limits: counts the runs under them again.

use std::collections::BTreeMap;

use durhai_world::{Admission, Row, WorldError};

use super::{name, row};
use crate::disk::Disk;
use crate::entries::admission_of;
use crate::keys::{self, hex};
use crate::state::semaphore::{Semaphore, rank};

pub fn verify(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut semaphores = count(disk, report)?;
    for entry in disk.prefix([keys::LIMIT]) {
        let (at, value) = entry?;
        let limit = String::from_utf8_lossy(&at[1..]).into_owned();
        let counted = semaphores.remove(&limit).unwrap_or_default();
        let Some(stored) = Semaphore::of_value(&value) else {
            report(format!("the concurrency limit {limit:?} cannot be read"));
            continue;
        };
        if (stored.admitted, stored.members) != (counted.admitted, counted.members) {
            report(format!(
                "the concurrency limit {limit:?} counts {} runs and {} of them admitted, there are {} and {}",
                stored.members, stored.admitted, counted.members, counted.admitted
            ));
        }
        if !counted.waiting.is_empty() && counted.admitted < u64::from(stored.limit) {
            report(format!("runs wait under the concurrency limit {limit:?} although there is room"));
        }
    }
    for limit in semaphores.keys() {
        report(format!("the concurrency limit {limit:?} is gone, and there are runs that belong to it"));
    }
    queues(disk, report)?;
    admissions(disk, report)
}

/// What the rows say, and that each run which waits is found.
fn count(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<BTreeMap<String, Semaphore>, WorldError> {
    let mut semaphores = BTreeMap::<String, Semaphore>::new();
    for entry in disk.prefix([keys::ROW]) {
        let (at, value) = entry?;
        let (Some(key), Ok(row)) = (keys::last_number(&at), serde_json::from_slice::<Row>(&value)) else { continue };
        let Some(its) = row.concurrency.filter(|_| !row.status.is_terminal()) else { continue };
        let admission = admission_of(disk.get(keys::one(keys::ADMISSION, key))?.as_deref());
        let queued = disk.has(keys::waiting(&its.key, rank(&its), key))?;
        if queued != (admission == Admission::Waiting) {
            let is = if queued { "stands in" } else { "is missing in" };
            report(format!("run {} {is} the queue of the concurrency limit {:?}", row.run, its.key));
        }
        let semaphore = semaphores.entry(its.key.clone()).or_default();
        semaphore.members += 1;
        match admission {
            Admission::Admitted => semaphore.admitted += 1,
            Admission::Waiting => drop(semaphore.waiting.insert((rank(&its), key))),
            Admission::NotArrived => {}
        }
    }
    Ok(semaphores)
}

fn queues(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::QUEUE]) {
        let at = entry?.0;
        let key = keys::split_waiting(&at).map_or(0, |(_, key)| key);
        let its = row(disk, key)?.filter(|row| !row.status.is_terminal()).and_then(|row| row.concurrency);
        if its.is_none_or(|its| keys::waiting(&its.key, rank(&its), key)[..] != at[..]) {
            report(format!("a queue lists a run that does not belong there: {}", hex(&at)));
        }
    }
    Ok(())
}

fn admissions(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::ADMISSION]) {
        let (at, value) = entry?;
        let Some(key) = keys::last_number(&at).filter(|_| at.len() == 9 && matches!(&*value, b"w" | b"i")) else {
            report(format!("how far a run is with its concurrency limit cannot be read: {}", hex(&at)));
            continue;
        };
        if row(disk, key)?.is_none_or(|row| row.concurrency.is_none() || row.status.is_terminal()) {
            report(format!("{} counts under a concurrency limit and has none", name(disk, key)?));
        }
    }
    Ok(())
}
