//! A store made from a copy.

use std::collections::HashMap;

use durhai_world::{Admission, Record, WorldError};

use crate::batch::Batch;
use crate::cursor::Cursor;
use crate::disk::Disk;
use crate::entries::{admission_value, row_of, row_value};
use crate::format::RESTORING;
use crate::keys::{self, OF_RUNS};
use crate::state::counts::RunCounts;
use crate::state::created_ranges::CreatedRanges;
use crate::state::run::Run;
use crate::state::semaphore::{Semaphore, rank};

/// Entries that are written at a time, and their bytes.
const STEP: usize = 2_000;
const STEP_BYTES: usize = 4 << 20;

/// The store must be empty.
pub fn restore(disk: &Disk, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
    let foreign = disk.prefix([]).find(|entry| entry.as_ref().is_ok_and(|(key, _)| key[0] != keys::OWN));
    if foreign.is_some() {
        return Err(WorldError::Invalid(format!(
            "the store in {} is not empty: a copy is restored into an empty one",
            disk.folder().display()
        )));
    }
    let mark = keys::named(keys::OWN, RESTORING);
    let mut batch = Batch::default();
    batch.insert(mark.clone(), &[]);
    disk.apply(batch)?;
    disk.sync()?;
    let mut batch = Batch::default();
    let (mut count, mut bytes) = (0, 0);
    while let Some(record) = next()? {
        count += 1;
        bytes += place(record, &mut batch);
        if count >= STEP || bytes >= STEP_BYTES {
            disk.apply(std::mem::take(&mut batch))?;
            (count, bytes) = (0, 0);
        }
    }
    disk.apply(batch)?;
    complete(disk)?;
    disk.sync()?;
    let mut batch = Batch::default();
    batch.remove(mark);
    disk.apply(batch)?;
    disk.sync()
}

/// Puts a record where it belongs, and says how large it is.
fn place(record: Record, batch: &mut Batch) -> usize {
    let (key, value) = match record {
        Record::Meta { key, value } => (keys::named(keys::META, &key), value),
        Record::Program { version, value } => (keys::named(keys::PROGRAM, version.as_str()), value),
        Record::Limit { key, value } => {
            let semaphore = value.map(|limit| Semaphore { limit, ..Semaphore::default() }.value());
            (keys::named(keys::LIMIT, &key), semaphore)
        }
        Record::Run { number, value } => (keys::one(keys::ROW, number).to_vec(), value.map(|row| row_value(&row))),
        Record::Tries { number, value } => {
            (keys::one(keys::TRIES, number).to_vec(), (value > 0).then(|| value.to_be_bytes().to_vec()))
        }
        Record::Admission { number, value } => {
            (keys::one(keys::ADMISSION, number).to_vec(), admission_value(value).map(<[u8]>::to_vec))
        }
        Record::Taken { number, value } => {
            (keys::one(keys::TAKEN, number).to_vec(), (value > 0).then(|| value.to_be_bytes().to_vec()))
        }
        Record::Log { number, first, count, value } => {
            let value = value.map(|bytes| [&count.to_be_bytes(), bytes.as_slice()].concat());
            (keys::two(keys::LOG, number, first).to_vec(), value)
        }
        Record::Message { number, index, at, urgent, value } => {
            let value = value.map(|bytes| keys::message(at, urgent, &bytes).to_vec());
            (keys::two(keys::MESSAGE, number, index).to_vec(), value)
        }
        Record::Entry { number, stream, index, value } => (keys::under(&keys::stream(number, &stream), index), value),
        Record::Value { number, name, value } => (keys::of_run(keys::VALUE, number, &name), value),
        Record::Hook { token, number, value } => {
            (keys::named(keys::HOOK, &token), value.map(|info| keys::dated(number, &info).to_vec()))
        }
        Record::Unreadable { .. } => return 0,
    };
    let size = key.len() + value.as_ref().map_or(0, Vec::len);
    batch.set(key, value);
    size
}

/// Makes what is found by other things than its name, and removes what belongs to no run.
fn complete(disk: &Disk) -> Result<(), WorldError> {
    let mut semaphores: HashMap<String, Semaphore> = HashMap::new();
    let (mut counts, mut created) = (RunCounts::default(), CreatedRanges::default());
    let mut hooks = Steps::new(disk);
    let mut cursor = Cursor::new(keys::HOOK);
    while let Some((key, value)) = cursor.next(disk)? {
        let token = String::from_utf8_lossy(&key[1..]).into_owned();
        let number = keys::split_dated(&value).map_or(0, |(number, _)| number);
        match row_of(disk, number)?.filter(|row| !row.status.is_terminal()) {
            Some(_) => hooks.batch.insert(keys::of_run(keys::OPEN, number, &token), &[]),
            None => hooks.batch.remove(key),
        }
        hooks.step()?;
    }
    hooks.end()?;
    mark_urgent(disk)?;
    let mut steps = Steps::new(disk);
    for tag in OF_RUNS {
        let mut cursor = Cursor::new(tag);
        let mut known = (0, true);
        while let Some((key, _)) = cursor.next(disk)? {
            let number = keys::first_number(&key).unwrap_or(0);
            if tag != keys::ROW {
                if known.0 != number {
                    known = (number, disk.has(keys::one(keys::ROW, number))?);
                }
                if !known.1 {
                    steps.batch.remove(key);
                    steps.step()?;
                }
                continue;
            }
            let Some(run) = Run::of_key(disk, number)? else { continue };
            counts.add(&run.row);
            created.add(number, run.row.created_at);
            steps.batch.insert(keys::named(keys::ID, run.row.run.as_str()), &number.to_be_bytes());
            for index in keys::of_row(&run.row, number) {
                steps.batch.insert(index, &[]);
            }
            if !run.row.status.is_terminal() {
                run.queue(&mut steps.batch);
                if let Some(of) = &run.row.concurrency {
                    let semaphore = semaphores
                        .entry(of.key.clone())
                        .or_insert_with(|| Semaphore { limit: of.limit, ..Semaphore::default() });
                    semaphore.members += 1;
                    semaphore.admitted += u64::from(run.admission == Admission::Admitted);
                    if run.admission == Admission::Waiting {
                        steps.batch.insert(keys::waiting(&of.key, rank(of), number), &[]);
                    }
                }
            }
            steps.step()?;
        }
    }
    let mut cursor = Cursor::new(keys::LIMIT);
    while let Some((key, value)) = cursor.next(disk)? {
        let limit = Semaphore::of_value(&value).map(|semaphore| semaphore.limit);
        match (std::str::from_utf8(&key[1..]).ok().and_then(|name| semaphores.get_mut(name)), limit) {
            (Some(semaphore), Some(limit)) => semaphore.limit = limit,
            _ => steps.batch.remove(key),
        }
        steps.step()?;
    }
    for (name, semaphore) in semaphores {
        steps.batch.insert(keys::named(keys::LIMIT, &name), semaphore.value());
        steps.step()?;
    }
    counts.flush(&mut steps.batch);
    created.flush(&mut steps.batch);
    steps.end()
}

/// Makes what says of a run that it has urgent messages; the last one counts.
fn mark_urgent(disk: &Disk) -> Result<(), WorldError> {
    let mut marks = Steps::new(disk);
    let mut cursor = Cursor::new(keys::MESSAGE);
    while let Some((key, value)) = cursor.next(disk)? {
        let (Some(number), Some(index)) = (keys::first_number(&key), keys::last_number(&key)) else { continue };
        if keys::split_message(&value).is_some_and(|(_, urgent, _)| urgent) && disk.has(keys::one(keys::ROW, number))? {
            marks.batch.insert(&keys::one(keys::URGENT, number), &index.to_be_bytes());
            marks.step()?;
        }
    }
    marks.end()
}

/// A batch that is applied whenever it has grown.
struct Steps<'a> {
    disk: &'a Disk,
    batch: Batch,
    count: usize,
}

impl<'a> Steps<'a> {
    fn new(disk: &'a Disk) -> Self {
        Steps { disk, batch: Batch::default(), count: 0 }
    }

    fn step(&mut self) -> Result<(), WorldError> {
        self.count += 1;
        if self.count >= STEP {
            self.count = 0;
            self.disk.apply(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn end(self) -> Result<(), WorldError> {
        self.disk.apply(self.batch)
    }
}
