//! Copies of the store while others write.
//!
//! sled has no snapshots. So a copy walks through the tree, entry by entry, while a [recorder](crate::disk::recorder) keeps
//! what is written meanwhile; that follows at the end. Each entry was read after the recording began, so a reader that puts
//! the entries where they belong and then does again what was recorded has the store as it was when the recording ended: at
//! one moment between two batches. Writers wait for no more than the taking over of a list.

use durhai_core::Version;
use durhai_world::{Record, Row, WorldError};
use sled::IVec;

use crate::batch::Change;
use crate::cursor::Cursor;
use crate::disk::Disk;
use crate::disk::recorder::Recording;
use crate::entries::admission_of;
use crate::keys::{self, OF_RUNS};
use crate::state::semaphore::Semaphore;

/// Bytes written meanwhile that are given out at a time.
const AT_ONCE: usize = 1 << 20;

/// Changes that are few enough to be the last ones.
const FEW: usize = 2_000;

/// How often what was written meanwhile is given out before the end is the end.
const ROUNDS: usize = 32;

/// What [`World::copy`](durhai_world::World::copy) does.
pub fn copy(disk: &Disk, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
    let recording = disk.record()?;
    for tag in [keys::META, keys::PROGRAM, keys::LIMIT] {
        all([Cursor::new(tag)], disk, &recording, take)?;
    }
    all(OF_RUNS.map(Cursor::new), disk, &recording, take)?;
    all([Cursor::new(keys::HOOK)], disk, &recording, take)?;
    for _ in 0..ROUNDS {
        if give_recorded(&recording, take)? < FEW {
            break;
        }
    }
    recording.end()?.into_iter().try_for_each(|change| give(change, take))
}

/// What several cursors have: all with one number, then all with the next.
fn all<const N: usize>(
    mut cursors: [Cursor; N],
    disk: &Disk,
    recording: &Recording<'_>,
    take: &mut dyn FnMut(Record) -> Result<(), WorldError>,
) -> Result<(), WorldError> {
    let number_of = |entry: &(IVec, IVec)| if N == 1 { 0 } else { keys::first_number(&entry.0).unwrap_or(0) };
    loop {
        let mut number = None;
        for cursor in &mut cursors {
            let its = cursor.peek(disk)?.map(number_of);
            number = number.into_iter().chain(its).min();
        }
        let Some(number) = number else { return Ok(()) };
        for at in 0..N {
            while cursors[at].peek(disk)?.map(number_of) == Some(number) {
                let Some((key, value)) = cursors[at].next(disk)? else { break };
                give((key, Some(value)), take)?;
                if recording.waiting() > AT_ONCE {
                    // What was read ahead is older than what is given out now.
                    cursors.iter_mut().for_each(Cursor::forget);
                    give_recorded(recording, take)?;
                }
            }
        }
    }
}

fn give_recorded(
    recording: &Recording<'_>,
    take: &mut dyn FnMut(Record) -> Result<(), WorldError>,
) -> Result<usize, WorldError> {
    let changes = recording.take()?;
    let count = changes.len();
    changes.into_iter().try_for_each(|change| give(change, take))?;
    Ok(count)
}

fn give((key, value): Change, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
    match record(&key, value.as_deref()) {
        Ok(None) => Ok(()),
        Ok(Some(record)) => take(record),
        Err(what) => take(Record::Unreadable {
            number: keys::first_number(&key).filter(|_| OF_RUNS.contains(&key[0])),
            what: what.into(),
            key: Some(key.to_vec()),
            value: value.map(|value| value.to_vec()),
        }),
    }
}

/// What an entry says. `Ok(None)`: nothing that could not be made anew from the others.
fn record(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, &'static str> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| "its name is no text");
    let number = || match key.len() {
        9.. => keys::first_number(key).ok_or("its key is too short"),
        _ => Err("its key is too short"),
    };
    let last = || match key.len() {
        17.. => keys::last_number(key).ok_or("its key is too short"),
        _ => Err("its key is too short"),
    };
    let bytes = value.map(<[u8]>::to_vec);
    Ok(Some(match key.first() {
        Some(&keys::META) => Record::Meta { key: text(&key[1..])?, value: bytes },
        Some(&keys::PROGRAM) => Record::Program { version: Version::from_digest(&text(&key[1..])?), value: bytes },
        Some(&keys::LIMIT) => {
            let limit =
                |value| Semaphore::of_value(value).map(|semaphore| semaphore.limit).ok_or("a concurrency limit");
            Record::Limit { key: text(&key[1..])?, value: value.map(limit).transpose()? }
        }
        Some(&keys::ROW) => {
            let row = |value| serde_json::from_slice::<Row>(value).map(Box::new).map_err(|_| "the row of a run");
            Record::Run { number: number()?, value: value.map(row).transpose()? }
        }
        Some(&keys::TRIES) => {
            let tries = |value: &[u8]| value.first_chunk().map(|tries| u32::from_be_bytes(*tries)).ok_or("a mark");
            Record::Tries { number: number()?, value: value.map(tries).transpose()?.unwrap_or(0) }
        }
        Some(&keys::ADMISSION) => Record::Admission { number: number()?, value: admission_of(value) },
        Some(&keys::TAKEN) => {
            let taken = |value: &[u8]| keys::last_number(value).ok_or("a mark");
            Record::Taken { number: number()?, value: value.map(taken).transpose()?.unwrap_or(0) }
        }
        Some(&keys::LOG) => {
            let (number, first) = (number()?, last()?);
            match value.map(|value| keys::split_counted(value).ok_or("a chunk of a log")).transpose()? {
                Some((count, bytes)) => Record::Log { number, first, count, value: Some(bytes.to_vec()) },
                None => Record::Log { number, first, count: 0, value: None },
            }
        }
        Some(&keys::MESSAGE) => {
            let (number, index) = (number()?, last()?);
            match value.map(|value| keys::split_message(value).ok_or("a message")).transpose()? {
                Some((at, urgent, bytes)) => Record::Message { number, index, at, urgent, value: Some(bytes.to_vec()) },
                None => Record::Message { number, index, at: 0, urgent: false, value: None },
            }
        }
        Some(&keys::STREAM) => {
            let stream = keys::name_at(key, 9).ok_or("the name of a stream")?.to_owned();
            Record::Entry { number: number()?, stream, index: last()?, value: bytes }
        }
        Some(&keys::VALUE) => Record::Value { number: number()?, name: text(&key[9..])?, value: bytes },
        Some(&keys::HOOK) => {
            let token = text(&key[1..])?;
            match value.map(|value| keys::split_dated(value).ok_or("a hook")).transpose()? {
                Some((number, info)) => Record::Hook { token, number, value: Some(info.to_vec()) },
                None => Record::Hook { token, number: 0, value: None },
            }
        }
        _ => return Ok(None),
    }))
}
