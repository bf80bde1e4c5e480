//! Gates: counts them again.

use std::collections::BTreeMap;

use durhai_world::{Place, Row, WorldError};

use super::{name, row};
use crate::disk::Disk;
use crate::gate::{Gate, rank};
use crate::keys::{self, hex};
use crate::state::place_of;

pub fn verify(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut gates = count(disk, report)?;
    for entry in disk.prefix([keys::GATE]) {
        let (at, value) = entry?;
        let gate = String::from_utf8_lossy(&at[1..]).into_owned();
        let counted = gates.remove(&gate).unwrap_or_default();
        let Some(stored) = Gate::of_value(&value) else {
            report(format!("the gate {gate:?} cannot be read"));
            continue;
        };
        if (stored.inside, stored.members) != (counted.inside, counted.members) {
            report(format!(
                "the gate {gate:?} counts {} runs and {} of them inside, there are {} and {}",
                stored.members, stored.inside, counted.members, counted.inside
            ));
        }
        if !counted.waiting.is_empty() && counted.inside < u64::from(stored.limit) {
            report(format!("runs wait at the gate {gate:?} although there is room"));
        }
    }
    for gate in gates.keys() {
        report(format!("the gate {gate:?} is gone, and there are runs that belong to it"));
    }
    queues(disk, report)?;
    places(disk, report)
}

/// What the rows say, and that each run which waits is found.
fn count(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<BTreeMap<String, Gate>, WorldError> {
    let mut gates = BTreeMap::<String, Gate>::new();
    for entry in disk.prefix([keys::ROW]) {
        let (at, value) = entry?;
        let (Some(key), Ok(row)) = (keys::last_number(&at), serde_json::from_slice::<Row>(&value)) else { continue };
        let Some(its) = row.gate.filter(|_| !row.status.is_terminal()) else { continue };
        let place = place_of(disk.get(keys::one(keys::PLACE, key))?.as_deref());
        let queued = disk.has(keys::waiting(&its.key, rank(&its), key))?;
        if queued != (place == Place::Waiting) {
            let is = if queued { "stands in" } else { "is missing in" };
            report(format!("run {} {is} the queue of the gate {:?}", row.run, its.key));
        }
        let gate = gates.entry(its.key.clone()).or_default();
        gate.members += 1;
        match place {
            Place::Inside => gate.inside += 1,
            Place::Waiting => drop(gate.waiting.insert((rank(&its), key))),
            Place::Away => {}
        }
    }
    Ok(gates)
}

fn queues(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::QUEUE]) {
        let at = entry?.0;
        let key = keys::split_waiting(&at).map_or(0, |(_, key)| key);
        let its = row(disk, key)?.filter(|row| !row.status.is_terminal()).and_then(|row| row.gate);
        if its.is_none_or(|its| keys::waiting(&its.key, rank(&its), key)[..] != at[..]) {
            report(format!("a queue lists a run that does not belong there: {}", hex(&at)));
        }
    }
    Ok(())
}

fn places(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::PLACE]) {
        let (at, value) = entry?;
        let Some(key) = keys::last_number(&at).filter(|_| at.len() == 9 && matches!(&*value, b"w" | b"i")) else {
            report(format!("the place of a run at its gate cannot be read: {}", hex(&at)));
            continue;
        };
        if row(disk, key)?.is_none_or(|row| row.gate.is_none() || row.status.is_terminal()) {
            report(format!("{} is at a gate and has none", name(disk, key)?));
        }
    }
    Ok(())
}
