//! Single entries of a run, as they are stored.

use durhai_core::RunId;
use durhai_world::{Admission, Row, WorldError};

use crate::disk::Disk;
use crate::keys;

/// How an admission is stored: `None` where nothing is.
pub fn admission_value(admission: Admission) -> Option<&'static [u8]> {
    match admission {
        Admission::NotArrived => None,
        Admission::Waiting => Some(b"w"),
        Admission::Admitted => Some(b"i"),
    }
}

/// Undoes [`admission_value`].
pub fn admission_of(value: Option<&[u8]>) -> Admission {
    match value {
        Some(b"i") => Admission::Admitted,
        Some(b"w") => Admission::Waiting,
        _ => Admission::NotArrived,
    }
}

/// The key of a run.
pub fn key_of(disk: &Disk, id: &RunId) -> Result<Option<u64>, WorldError> {
    let Some(value) = disk.get(keys::named(keys::ID, id.as_str()))? else { return Ok(None) };
    let key = keys::last_number(&value).ok_or_else(|| disk.corrupt(format!("run {id} has no key")))?;
    Ok(Some(key))
}

/// The row of the run with this key.
pub fn row_of(disk: &Disk, key: u64) -> Result<Option<Row>, WorldError> {
    let Some(value) = disk.get(keys::one(keys::ROW, key))? else { return Ok(None) };
    match serde_json::from_slice(&value) {
        Ok(row) => Ok(Some(row)),
        Err(error) => Err(disk.corrupt(format!("the row of run number {key} cannot be read: {error}"))),
    }
}

/// The index of the last message that a run took.
pub fn taken(disk: &Disk, key: u64) -> Result<u64, WorldError> {
    let taken = disk.get(keys::one(keys::TAKEN, key))?;
    Ok(taken.and_then(|value| keys::last_number(&value)).unwrap_or(0))
}

/// The index of the last urgent message that waits for a run.
pub fn urgent(disk: &Disk, key: u64) -> Result<Option<u64>, WorldError> {
    Ok(disk.get(keys::one(keys::URGENT, key))?.and_then(|value| keys::last_number(&value)))
}

/// The sequence number of the last event in a log.
pub fn last_seq(disk: &Disk, key: u64) -> Result<u64, WorldError> {
    let Some((name, value)) = disk.last(keys::one(keys::LOG, key))? else { return Ok(0) };
    match (keys::last_number(&name), keys::split_counted(&value)) {
        (Some(first), Some((count, _))) => Ok(first + u64::from(count) - 1),
        _ => Err(disk.corrupt(format!("the last chunk of run number {key} cannot be read"))),
    }
}

/// The value of a row.
pub fn row_value(row: &Row) -> Vec<u8> {
    serde_json::to_vec(row).expect("the keys of a row's maps are texts")
}
