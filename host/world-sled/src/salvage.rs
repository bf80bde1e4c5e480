//! A store whose files are damaged: what can be seen without opening it, and what of it can be saved.
//!
//! sled opens a damaged file or refuses it, as it comes; where it opens it, it may clear what comes after the damage. So
//! nothing here lets sled near a file before it was looked at, and what is saved is read from the file itself.

mod blocks;
pub mod files;
mod log;
mod page;
mod small;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durhai_core::{RunId, Status};
use durhai_world::{Row, WorldError};

use crate::batch::Batch;
use crate::disk::lock::lock;
use crate::disk::{Mark, journal_files, unsettled};
use crate::entries::row_value;
use crate::{Options, keys, open};
use files::{cannot, described};
use log::Log;
pub use log::end_at_tear;
use tree::{Tree, Trust};

/// What was saved of a damaged store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Entries that could be read.
    pub entries: u64,
    /// Where the files are damaged, a sentence each.
    pub damage: Vec<String>,
    /// Runs that were parked: the last that was written of them may be lost.
    pub parked: Vec<RunId>,
    /// Runs of which there is not enough left to know what they were.
    pub lost: Vec<RunId>,
    /// What else is missing: runs that nothing names, and other things of the store; a sentence each.
    pub missing: Vec<String>,
}

/// Entries written at a time.
const STEP: usize = 1000;

/// Why a run is parked that was saved.
const DOUBTFUL: &str = "it was saved from a damaged store, and what was written of it last may be lost: look at its events, \
                        then `durhai unpark` lets it go on from there, which makes again what is missing";

/// Puts everything that can be read in the files of a store into a new one in another folder, which is made. Nothing is
/// changed in the damaged one. Indexes and counters are as they were found: a copy of the new store puts them right.
///
/// # Errors
///
/// [`WorldError::Locked`] if a process has it open, [`WorldError::Unavailable`] if one of them cannot be read or written.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, WorldError> {
    let inner = from.join("sled");
    let _lock = lock(from)?;
    let read = || -> std::io::Result<(Log, Tree)> {
        let mut log = log::read(&inner.join("db"), files::stable_of(&inner, small::summed_up(&inner)?))?;
        let tears = std::mem::take(&mut log.tears);
        log.gaps.extend(tears);
        let mut tree = tree::build(&inner, &log)?;
        blocks::unpack(&mut tree);
        // That of the journal makes everything doubtful by itself.
        let journal = journal_files::read(&journal_files::files(&from.join("journal"))?, None, &mut |_, _| {});
        let journal = !journal.damage.is_empty() || !journal.unreadable.is_empty();
        let explained = !log.gaps.is_empty() || !tree.damage.is_empty() || journal;
        if (explained && !tree.outdated) || log.gaps.iter().any(|gap| gap.number.is_none()) {
            return Ok((log, tree));
        }
        // What is there does not say all that is wrong: something is not there any more, of any time.
        let end = inner.join("db").metadata()?.len();
        log.gaps.push(log::Gap { at: end, end, number: None, righted: false });
        let mut tree = tree::build(&inner, &log)?;
        blocks::unpack(&mut tree);
        Ok((log, tree))
    };
    let (log, mut tree) = read().map_err(|error| cannot("read", from, &error))?;
    let mut salvaged = Salvaged { damage: described(&log), ..Salvaged::default() };
    salvaged.damage.append(&mut tree.damage);
    add_journal(from, &mut tree, &mut salvaged).map_err(|error| cannot("read", from, &error))?;
    park_doubtful(&mut tree, &mut salvaged);
    count_missing(&tree, &mut salvaged);
    let disk = open::open(to, &Options::default())?;
    let mut batch = Batch::default();
    for (count, (key, value)) in tree.entries.iter().enumerate() {
        if key.first() != Some(&keys::OWN) && key.first() != Some(&keys::HELD) {
            batch.insert(key.as_slice(), value.as_slice());
            salvaged.entries += 1;
        }
        if count % STEP == STEP - 1 {
            disk.apply(std::mem::take(&mut batch))?;
        }
    }
    disk.apply(batch)?;
    disk.sync()?;
    Ok(salvaged)
}

/// What the journal has is newer than what is in the tree.
fn add_journal(from: &Path, tree: &mut Tree, salvaged: &mut Salvaged) -> std::io::Result<()> {
    // An older mark may say that there is no journal.
    let sound = tree.trust(Mark::KEY, Mark::KEY) == Trust::Sound;
    let mark = tree.entries.get(Mark::KEY).filter(|_| sound).and_then(|value| Mark::of_value(value));
    let entries = &mut tree.entries;
    let mut found = unsettled(&from.join("journal"), mark, &mut |key, value| match value {
        Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
        None => drop(entries.remove(key)),
    })?;
    if !found.damage.is_empty() || !found.unreadable.is_empty() {
        tree.doubt_all();
    }
    salvaged.damage.append(&mut found.damage);
    salvaged.damage.append(&mut found.unreadable);
    Ok(())
}

/// Runs that have not ended and of which the last may be lost wait for an operator. Of one that has ended the log says so,
/// or it is parked when the two are compared.
fn park_doubtful(tree: &mut Tree, salvaged: &mut Salvaged) {
    let mut changed = Vec::new();
    for (key, value) in tree.entries.range(vec![keys::ROW]..vec![keys::ROW + 1]) {
        let (Some(number), Ok(row)) = (keys::last_number(key), serde_json::from_slice::<Row>(value)) else { continue };
        if row.status.is_terminal() || row.status == Status::Parked {
            continue;
        }
        let whole = |tag| tree.trust(&keys::two(tag, number, 0), &keys::two(tag, number, u64::MAX));
        let one = |tag| tree.trust(&keys::one(tag, number), &keys::one(tag, number));
        let trust = [whole(keys::LOG), whole(keys::MESSAGE), one(keys::TAKEN)].into_iter().min();
        if trust != Some(Trust::Sound) {
            salvaged.parked.push(row.run.clone());
            let note = serde_json::json!({ "reason": DOUBTFUL });
            let row = Row { status: Status::Parked, wake_at: None, note, ..row };
            changed.push((key.clone(), row_value(&row)));
        }
    }
    tree.entries.extend(changed);
}

fn count_missing(tree: &Tree, salvaged: &mut Salvaged) {
    let of = |tag: u8| tree.entries.range(vec![tag]..vec![tag + 1]);
    let begins = |number: u64| tree.entries.contains_key(&keys::two(keys::LOG, number, 1)[..]);
    let rows: BTreeSet<u64> = of(keys::ROW).filter_map(|(key, _)| keys::last_number(key)).collect();
    for (key, value) in of(keys::ID) {
        let Some(number) = keys::last_number(value) else { continue };
        if !rows.contains(&number)
            && !begins(number)
            && let Ok(text) = std::str::from_utf8(&key[1..])
            && let Ok(run) = RunId::new(text)
        {
            salvaged.lost.push(run);
        }
    }
    let named: BTreeSet<u64> = of(keys::ID).filter_map(|(_, value)| keys::last_number(value)).collect();
    let begun = of(keys::LOG).filter_map(|(key, _)| keys::first_number(key)).filter(|number| begins(*number));
    let known: BTreeSet<u64> = rows.iter().copied().chain(begun).collect();
    let counted: BTreeMap<&[u8], u64> =
        of(keys::COUNT).filter_map(|(key, value)| Some((&key[..], keys::last_number(value)?))).collect();
    let counted: u64 = counted.values().sum();
    let found = known.len() as u64 + salvaged.lost.len() as u64;
    if counted > found {
        salvaged.missing.push(format!(
            "the store counted {counted} runs, {found} can be named: of the others nothing is left but the number"
        ));
    }
    let doubtful = |tag: u8| tree.trust(&[tag], &[tag, u8::MAX, u8::MAX, u8::MAX, u8::MAX]) != Trust::Sound;
    if doubtful(keys::ROW) && doubtful(keys::ID) {
        let newest = rows.last().and_then(|number| tree.entries.get(&keys::one(keys::ROW, *number)[..]));
        let newest = newest.and_then(|value| serde_json::from_slice::<Row>(value).ok());
        salvaged.missing.push(match newest {
            Some(row) => format!(
                "runs may be lost of which not even a name is left: the newest that is there is run {}, created at {} ms",
                row.run, row.created_at
            ),
            None => "not one row of a run is left".into(),
        });
    }
    for (from, to) in tree.holes() {
        let tag = from.first().copied().unwrap_or(0);
        let to_tag = to.first().copied().unwrap_or(u8::MAX);
        if (tag..=to_tag).contains(&keys::ROW) {
            let first = if tag == keys::ROW { keys::first_number(&pad(&from)).unwrap_or(0) } else { 0 };
            let last = if to_tag == keys::ROW { keys::first_number(&pad(&to)).unwrap_or(u64::MAX) } else { u64::MAX };
            let highest = known.iter().chain(&named).max().copied().unwrap_or(0);
            let unknown =
                (first..last.min(highest + 1)).filter(|number| !known.contains(number) && !named.contains(number));
            let count = unknown.filter(|number| *number > 0).count();
            if count > 0 {
                salvaged.missing.push(format!(
                    "the rows of runs number {first} to {} are lost; of {count} of these numbers nothing else is left, \
                     which deleted runs had, too",
                    last.min(highest)
                ));
            }
        }
        for (kind, what) in [
            (keys::META, "schedules and pointers of the host"),
            (keys::PROGRAM, "texts of versions"),
            (keys::HOOK, "open hooks"),
            (keys::LIMIT, "concurrency limits"),
            (keys::MESSAGE, "messages that waited"),
            (keys::STREAM, "entries of streams and log lines"),
            (keys::VALUE, "states"),
        ] {
            if (tag..=to_tag).contains(&kind) && !(to_tag == kind && to.len() == 1) {
                salvaged.missing.push(format!("some of the {what} may be lost"));
            }
        }
    }
    salvaged.missing.sort();
    salvaged.missing.dedup();
}

/// A key that was cut short where two pages part.
fn pad(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    key.resize(key.len().max(9), 0);
    key
}
