//! Looks for damage: everything is read, and everything that belongs together must be there.

mod concurrency;

use std::collections::BTreeMap;
use std::fmt::Display;

use durhai_core::RunId;
use durhai_world::{Row, WorldError};

use crate::disk::Disk;
use crate::entries::taken;
use crate::keys::{self, hex};
use crate::state::counts::RunCounts;
use crate::state::created_ranges;
use crate::state::run::Run;

pub fn verify(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut unreadable = false;
    disk.verify_blocks(&mut |what| {
        unreadable = true;
        report(what);
    })?;
    if unreadable {
        // The entries cannot be walked through.
        return Ok(());
    }
    for tag in 0..=u8::MAX {
        match tag {
            keys::ROW => rows(disk, report)?,
            keys::ID => ids(disk, report)?,
            keys::LOG => logs(disk, report)?,
            keys::MESSAGE => {
                counted(disk, keys::MESSAGE, "message", report)?;
                urgent(disk, report)?;
            }
            keys::STREAM => counted(disk, keys::STREAM, "stream entry", report)?,
            keys::DUE => dues(disk, report)?,
            keys::HELD | keys::TAKEN | keys::TRIES => owned(disk, tag, keys::last_number, report)?,
            keys::VALUE => owned(disk, tag, keys::first_number, report)?,
            keys::HOOK => hooks(disk, report)?,
            keys::OPEN => opens(disk, report)?,
            keys::LIMIT => concurrency::verify(disk, report)?,
            // With the concurrency limits, the rows and the messages.
            keys::ADMISSION | keys::QUEUE | keys::COUNT | keys::CREATED | keys::URGENT => {}
            keys::STATUS | keys::WORKFLOW | keys::TAG | keys::PARENT | keys::VERSION | keys::EXPIRY => {
                indexes(disk, tag, report)?;
            }
            keys::OWN | keys::META | keys::PROGRAM | keys::GARBAGE => {
                disk.prefix([tag]).try_for_each(|entry| entry.map(drop))?;
            }
            _ => {
                if let Some((key, _)) = disk.prefix([tag]).next().transpose()? {
                    report(format!("an entry of no known kind: {}", hex(&key)));
                }
            }
        }
    }
    Ok(())
}

/// A row, if it is there and can be read. `rows` reports those that cannot.
fn row(disk: &Disk, key: u64) -> Result<Option<Row>, WorldError> {
    Ok(disk.get(keys::one(keys::ROW, key))?.and_then(|value| serde_json::from_slice(&value).ok()))
}

fn name(disk: &Disk, key: u64) -> Result<String, WorldError> {
    Ok(row(disk, key)?.map_or_else(|| format!("run number {key}"), |row| format!("run {}", row.run)))
}

fn rows(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut counts = RunCounts::default();
    let mut created = Vec::new();
    for entry in disk.prefix([keys::ROW]) {
        let (at, value) = entry?;
        let Some(key) = keys::last_number(&at).filter(|_| at.len() == 9) else {
            report(format!("the key of a row is {}", hex(&at)));
            continue;
        };
        let row: Row = match serde_json::from_slice(&value) {
            Ok(row) => row,
            Err(error) => {
                report(format!("the row of run number {key} cannot be read: {error}"));
                continue;
            }
        };
        counts.add(&row);
        created.push((key, row.created_at));
        let id = &row.run;
        let found = disk.get(keys::named(keys::ID, id.as_str()))?.and_then(|value| keys::last_number(&value));
        if found != Some(key) {
            report(format!("run {id} is not found by its name"));
        }
        for index in keys::of_row(&row, key) {
            if !disk.has(&index)? {
                report(format!("run {id} is missing in the index {:?}", char::from(index[0])));
            }
        }
        let held = disk.has(keys::one(keys::HELD, key))?;
        if row.status.is_terminal() {
            if held || disk.prefix(keys::one(keys::MESSAGE, key)).next().is_some() {
                report(format!("run {id} has ended ({}) and is claimed or has messages", row.status));
            }
        } else if let Some(due) = Run::of_key(disk, key)?.and_then(|run| run.due()).filter(|_| !held)
            && !disk.has(keys::two(keys::DUE, due, key))?
        {
            report(format!("run {id} is due at {due} and would not be found then"));
        }
    }
    counts.compare(disk, report)?;
    created_ranges::verify(disk, created.into_iter(), report)
}

fn ids(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::ID]) {
        let (at, value) = entry?;
        let id = String::from_utf8_lossy(&at[1..]).into_owned();
        match keys::last_number(&value).map(|key| row(disk, key)).transpose()?.flatten() {
            Some(row) if row.run.as_str() == id => {}
            _ => report(format!("the name {id} leads to no run")),
        }
        if let Err(error) = RunId::new(&id) {
            report(error.to_string());
        }
    }
    Ok(())
}

fn logs(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut run = None;
    let mut next = 1;
    for entry in disk.prefix([keys::LOG]) {
        let (at, value) = entry?;
        let (Some(key), Some(first), 17) = (keys::first_number(&at), keys::last_number(&at), at.len()) else {
            report(format!("the key of a chunk is {}", hex(&at)));
            continue;
        };
        if run != Some(key) {
            (run, next) = (Some(key), 1);
            orphan(disk, key, "a log", report)?;
        }
        if first != next {
            report(format!("the log of {}: event {next} is missing, it goes on at {first}", name(disk, key)?));
        }
        match keys::split_counted(&value) {
            Some((count @ 1.., _)) => next = first + u64::from(count),
            _ => {
                report(format!("the log of {}: the chunk at {first} cannot be read", name(disk, key)?));
                next = first + 1;
            }
        }
    }
    Ok(())
}

/// Entries that are numbered without gaps behind the same prefix.
fn counted(disk: &Disk, tag: u8, what: &str, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut last: Option<(Vec<u8>, u64)> = None;
    for entry in disk.prefix([tag]) {
        let at = entry?.0;
        let (Some(key), Some(index)) = (keys::first_number(&at), keys::last_number(&at)) else {
            report(format!("the key of a {what} is {}", hex(&at)));
            continue;
        };
        let prefix = &at[..at.len() - 8];
        match &last {
            Some((before, number)) if before == prefix => {
                if index != number + 1 {
                    report(format!("{}: the {what} {} is missing", name(disk, key)?, number + 1));
                }
            }
            _ => {
                orphan(disk, key, what, report)?;
                let first = match tag {
                    keys::MESSAGE => taken(disk, key)? + 1,
                    _ => 0,
                };
                if index != first {
                    report(format!("{}: the {what} {first} is missing", name(disk, key)?));
                }
            }
        }
        last = Some((prefix.to_vec(), index));
    }
    Ok(())
}

/// That each run with urgent messages is known as one.
fn urgent(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut last = BTreeMap::new();
    for entry in disk.prefix([keys::MESSAGE]) {
        let (at, value) = entry?;
        let (Some(key), Some(index)) = (keys::first_number(&at), keys::last_number(&at)) else { continue };
        match keys::split_message(&value) {
            Some((_, true, _)) => drop(last.insert(key, index)),
            Some(_) => {}
            None => report(format!("{}: the message {index} cannot be read", name(disk, key)?)),
        }
    }
    for entry in disk.prefix([keys::URGENT]) {
        let (at, value) = entry?;
        let Some(key) = keys::last_number(&at).filter(|_| at.len() == 9) else {
            report(format!("the key of a mark is {}", hex(&at)));
            continue;
        };
        let (found, stored) = (last.remove(&key), keys::last_number(&value));
        if found != stored || found.is_none() {
            let named = name(disk, key)?;
            report(format!("{named} is said to have the urgent message {stored:?}, the last one it has is {found:?}"));
        }
    }
    for (key, index) in last {
        report(format!("{} has the urgent message {index} and would not be found by it", name(disk, key)?));
    }
    Ok(())
}

fn dues(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::DUE]) {
        let at = entry?.0;
        let (Some(due), Some(key)) = (keys::first_number(&at), keys::last_number(&at)) else {
            report(format!("the key of a due run is {}", hex(&at)));
            continue;
        };
        if row(disk, key)?.is_none() {
            report(format!("run number {key} is due at {due}, and there is no such run"));
            continue;
        }
        let run = Run::of_key(disk, key)?;
        if run.is_none_or(|run| run.due() != Some(due)) || disk.has(keys::one(keys::HELD, key))? {
            report(format!("{} would be claimed at {due}, which it does not want", name(disk, key)?));
        }
    }
    Ok(())
}

/// Entries that need nothing but their run.
fn owned(
    disk: &Disk,
    tag: u8,
    run: fn(&[u8]) -> Option<u64>,
    report: &mut dyn FnMut(String),
) -> Result<(), WorldError> {
    for entry in disk.prefix([tag]) {
        let at = entry?.0;
        match run(&at) {
            Some(key) => orphan(disk, key, if tag == keys::VALUE { "a value" } else { "a mark" }, report)?,
            None => report(format!("the key of a mark or a value is {}", hex(&at))),
        }
    }
    Ok(())
}

fn hooks(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::HOOK]) {
        let (at, value) = entry?;
        let token = String::from_utf8_lossy(&at[1..]);
        let Some((key, _)) = keys::split_dated(&value) else {
            report(format!("the hook {token:?} cannot be read"));
            continue;
        };
        let alive = row(disk, key)?.is_some_and(|row| !row.status.is_terminal());
        if !alive || !disk.has(keys::of_run(keys::OPEN, key, &token))? {
            report(format!("the hook {token:?} is open for {}, which does not have it", name(disk, key)?));
        }
    }
    Ok(())
}

fn opens(disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([keys::OPEN]) {
        let at = entry?.0;
        let (Some(key), Some(token)) = (keys::first_number(&at), keys::name_of_run(&at)) else {
            report(format!("the key of a run's hook is {}", hex(&at)));
            continue;
        };
        let hook = disk.get(keys::named(keys::HOOK, token))?;
        if hook.and_then(|value| Some(keys::split_dated(&value)?.0)) != Some(key) {
            report(format!("{} lost its hook {token:?}", name(disk, key)?));
        }
    }
    Ok(())
}

fn indexes(disk: &Disk, tag: u8, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    for entry in disk.prefix([tag]) {
        let at = entry?.0;
        let row = keys::last_number(&at).map(|key| Ok((key, row(disk, key)?))).transpose()?;
        let listed =
            row.is_some_and(|(key, row)| row.is_some_and(|row| keys::of_row(&row, key).contains(&at.to_vec())));
        if !listed {
            report(format!("the index {:?} lists a run that does not belong there: {}", char::from(tag), hex(&at)));
        }
    }
    Ok(())
}

/// What belongs to a run that is neither there nor being deleted.
fn orphan(disk: &Disk, key: u64, what: impl Display, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    if !disk.has(keys::one(keys::ROW, key))? && !disk.has(keys::one(keys::GARBAGE, key))? {
        report(format!("{what} of run number {key}, and there is no such run"));
    }
    Ok(())
}
