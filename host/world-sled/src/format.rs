//! The format of a store: what this version reads, and what it makes of older ones.

use std::path::Path;

use durhai_world::{Row, WorldError};

use crate::batch::Batch;
use crate::cursor::Cursor;
use crate::disk::{Disk, IN_BLOCKS, Mark, random};
use crate::fault;
use crate::keys;
use crate::state::recount;
use crate::state::run::Run;

/// What this version writes and reads. 1: runs were not found by their version; 2: they were not counted, nor found by
/// their time, and by their status whatever their workflow; 3: no message was urgent, and any made a run due that had not
/// begun; 4: there was no journal; 5: entries did not stand in blocks.
const FORMAT: u64 = 6;

/// The name of the entry that says it.
const NAME: &str = "format";

/// Says that a copy is being put into this store.
pub const RESTORING: &str = "restoring";

/// How many runs are brought up to date at once.
const STEP: usize = 1000;

/// A store of a newer version is not looked into any further.
pub fn refuse_newer(db: &sled::Db, folder: &Path) -> Result<(), WorldError> {
    let found = fault::read(db, &keys::named(keys::OWN, NAME), folder)?;
    match found.and_then(|value| std::str::from_utf8(&value).ok()?.parse::<u64>().ok()) {
        Some(format) if format > FORMAT => Err(WorldError::Unavailable(format!(
            "the store in {} has format {format}, this version of durhai reads up to {FORMAT}: use the newer version",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// Makes sure that the store can be read: an empty one gets the format, an older one is brought up to it.
pub fn check(disk: &Disk) -> Result<(), WorldError> {
    if disk.has(keys::named(keys::OWN, RESTORING))? {
        return Err(WorldError::Unavailable(format!(
            "a backup was being restored into the store in {}, and that was cut off: remove the folder, then restore again",
            disk.folder().display()
        )));
    }
    let Some(found) = disk.get(keys::named(keys::OWN, NAME))? else {
        if !disk.is_empty()? {
            return Err(disk.corrupt("it says nothing of its format"));
        }
        disk.take_over(Batch::default())?;
        return declare(disk);
    };
    let number = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    let format = match number(&found) {
        // One that is being brought up to it says in which format it was. One that has it says nothing.
        Some(FORMAT) => match disk.get(IN_BLOCKS)? {
            Some(was) => number(&was).unwrap_or(FORMAT),
            None => return Err(disk.corrupt("it does not say how its entries stand")),
        },
        Some(format @ 1..FORMAT) => format,
        _ => return Err(disk.corrupt(format!("its format is {:?}", String::from_utf8_lossy(&found)))),
    };
    if format == FORMAT {
        // It was there before the format was.
        return match disk.has(Mark::KEY)? {
            true => Ok(()),
            false => Err(disk.corrupt("it does not say how much of its journal it has")),
        };
    }
    // The operator should see it without asking: there is no way back.
    tracing::warn!(
        "the store in {} has format {format}: it is brought up to format {FORMAT}, and older versions of durhai refuse it then",
        disk.folder().display()
    );
    disk.take_over(taken_over_from(format))?;
    if format < 2 {
        list_versions(disk)?;
    }
    if format < 3 {
        list_statuses(disk)?;
        count(disk)?;
    }
    if format < 4 {
        list_dues(disk)?;
    }
    declare(disk)
}

/// What is written before an older store loses its old entries.
fn taken_over_from(format: u64) -> Batch {
    let mut batch = Batch::default();
    batch.insert(keys::named(keys::OWN, NAME), FORMAT.to_string().as_bytes());
    batch.insert(IN_BLOCKS, format.to_string().as_bytes());
    batch
}

fn declare(disk: &Disk) -> Result<(), WorldError> {
    // What was changed for it must be there first.
    disk.sync()?;
    let mut batch = Batch::default();
    batch.insert(keys::named(keys::OWN, NAME), FORMAT.to_string().as_bytes());
    batch.insert(IN_BLOCKS, &[]);
    if !disk.has(Mark::KEY)? {
        batch.insert(Mark::KEY, &Mark::new(random()).value());
    }
    disk.apply(batch)?;
    disk.sync()
}

/// Doing it again changes nothing: it may be cut short.
fn list_versions(disk: &Disk) -> Result<(), WorldError> {
    for_rows(disk, |key, row, batch| batch.insert(keys::under(&keys::by_version(&row.version), key), &[]))
}

/// The same.
fn list_statuses(disk: &Disk) -> Result<(), WorldError> {
    for_rows(disk, |key, row, batch| {
        batch.remove(&[&[keys::STATUS, keys::status(row.status)], &key.to_be_bytes()[..]].concat()[..]);
        batch.insert(keys::under(&keys::by_status(row.status, &row.workflow), key), &[]);
    })
}

/// The same: runs that have not begun are due when they begin, whatever waits for them. The messages of an older format are
/// not urgent: what they ask for happens when the run begins.
fn list_dues(disk: &Disk) -> Result<(), WorldError> {
    let mut messages = Cursor::new(keys::MESSAGE);
    let (mut last, mut batch, mut count) = (None, Batch::default(), 0);
    while let Some((at, _)) = messages.next(disk)? {
        let Some(key) = keys::first_number(&at).filter(|key| last != Some(*key)) else { continue };
        last = Some(key);
        let row = disk.get(keys::one(keys::ROW, key))?;
        let readable = row.is_some_and(|row| serde_json::from_slice::<Row>(&row).is_ok());
        // Those that were held are listed when they are given back.
        if !readable || disk.has(keys::one(keys::HELD, key))? {
            continue;
        }
        let Some(run) = Run::of_key(disk, key)? else { continue };
        batch.remove(&keys::two(keys::DUE, 0, key));
        run.queue(&mut batch);
        count += 1;
        if count % STEP == 0 {
            disk.apply(std::mem::take(&mut batch))?;
            disk.sync()?;
        }
    }
    disk.apply(batch)
}

/// A row that cannot be read is for `verify` to report.
fn for_rows(disk: &Disk, mut change: impl FnMut(u64, &Row, &mut Batch)) -> Result<(), WorldError> {
    let mut rows = disk.prefix([keys::ROW]).peekable();
    while rows.peek().is_some() {
        let mut batch = Batch::default();
        for entry in rows.by_ref().take(STEP) {
            let (at, value) = entry?;
            if let (Some(key), Ok(row)) = (keys::last_number(&at), serde_json::from_slice::<Row>(&value)) {
                change(key, &row, &mut batch);
            }
        }
        disk.apply(batch)?;
        disk.sync()?;
    }
    Ok(())
}

/// The same.
fn count(disk: &Disk) -> Result<(), WorldError> {
    let (mut counts, mut created) = recount(disk)?;
    let mut batch = Batch::default();
    counts.flush(&mut batch);
    created.flush(&mut batch);
    disk.apply(batch)
}
