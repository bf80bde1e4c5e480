//! The journal: where what is written becomes durable. What is in it is in memory too (see `overlay.rs`), goes into sled later,
//! and then its file is used again.
//!
//! The blocks of a file are written with zeros before they are used. So a record changes nothing of the file but its data, and
//! one wait for the disk makes it durable: a file that grows has the file system's own journal to wait for, too.

pub mod read;
mod record;
pub mod unsettled;

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::Change;
use crate::sync::sync_folder;
use read::{Part, Place, name};
use record::Head;

/// Zeros that are written ahead at a time.
const AHEAD: u64 = 1 << 20;

/// And the first time, for a host that writes little.
const FIRST: u64 = 64 << 10;

/// The journal of an open store.
pub struct Journal {
    folder: PathBuf,
    store: u64,
    /// The file that is written to; none before the journal is begun and after its end.
    open: Option<Open>,
    /// Of that file, or the one before.
    number: u64,
    /// The sequence of the next record.
    next: u64,
    /// Changes that the next record has.
    pending: Vec<u8>,
    /// Files whose content is in sled, the oldest first.
    free: Vec<PathBuf>,
    /// A file that is longer is not used again.
    keep: u64,
}

struct Open {
    file: Arc<File>,
    path: PathBuf,
    head: Head,
    /// Where the next byte goes.
    at: u64,
    /// Up to here its blocks are there.
    there: u64,
}

/// A record that is to be written.
pub struct Piece {
    file: Arc<File>,
    at: u64,
    bytes: Vec<u8>,
}

impl Piece {
    /// Writes it and waits until it is durable.
    pub fn write(&self) -> io::Result<()> {
        write_at(&self.file, &self.bytes, self.at)?;
        self.file.sync_data()
    }
}

impl Journal {
    /// That of a store, which goes on behind this record. `free`: files whose content is in sled, the oldest first.
    pub fn new(folder: PathBuf, store: u64, last: Place, free: Vec<PathBuf>, keep: u64) -> Self {
        let Place { number, sequence } = last;
        Journal { folder, store, open: None, number, next: sequence + 1, pending: Vec::new(), free, keep }
    }

    /// The store got its number after the journal was read.
    pub fn of_store(&mut self, store: u64) {
        self.store = store;
    }

    /// Begins the next file. It and its head are there when this returns, also after a power cut.
    pub fn begin(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let path = self.folder.join(name(number));
        if !self.free.is_empty() {
            std::fs::rename(self.free.remove(0), &path)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let there = file.metadata()?.len();
        // With a new head it must not be found under its old name.
        sync_folder(&self.folder)?;
        let head = Head { store: self.store, number, first: self.next, salt: random() as u32 };
        let mut open = Open { file: Arc::new(file), path, head, at: record::HEAD as u64, there };
        open.make_room()?;
        write_at(&open.file, &head.bytes(), 0)?;
        open.file.sync_data()?;
        self.number = number;
        self.open = Some(open);
        Ok(())
    }

    /// Whether there is a file to write to.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Puts a batch into the next record.
    pub fn add(&mut self, changes: &[Change]) {
        record::add(changes, &mut self.pending);
    }

    /// Bytes that the next record has so far.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of records in the file that is written to.
    pub fn written(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.at - record::HEAD as u64)
    }

    /// The next record, whose place is ready for it. One at a time: it must be durable before there is another one.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        if self.pending.len() > record::MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "4 GiB were to be written at once"));
        }
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("its journal has no file"));
        };
        let mut bytes = Vec::with_capacity(record::FRONT + self.pending.len());
        bytes.extend_from_slice(&record::front(&open.head, self.next, &self.pending));
        bytes.append(&mut self.pending);
        if self.pending.capacity() > AHEAD as usize {
            self.pending = Vec::new();
        }
        let at = open.at;
        open.at += bytes.len() as u64;
        open.make_room()?;
        self.next += 1;
        Ok(Some(Piece { file: open.file.clone(), at, bytes }))
    }

    /// The next record goes into another file, with `last` there is none. The one that ends with this; none if nothing was written to
    /// it. All that is pending must be written.
    pub fn rotate(&mut self, last: bool) -> io::Result<Option<Ended>> {
        let written = self.open.take_if(|open| open.at > record::HEAD as u64);
        let Some(Open { path, .. }) = written else { return Ok(None) };
        let ended = Ended { last: Place { number: self.number, sequence: self.next - 1 }, path };
        if !last {
            self.begin()?;
        }
        Ok(Some(ended))
    }

    /// The content of these files is in sled. The newest one is kept to be used again: it is never older than what sled has, should
    /// it be read once more. The oldest goes first, so that no gap is left among them.
    pub fn give_back(&mut self, files: Vec<PathBuf>) -> io::Result<()> {
        self.free.extend(files);
        while self.free.len() > 1 {
            remove(&self.free.remove(0))?;
        }
        let long = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.len() > self.keep);
        match self.free.pop_if(|path| long(path)) {
            Some(path) => remove(&path),
            None => Ok(()),
        }
    }

    /// Removes all files. Their content must be in sled.
    pub fn remove(&mut self) -> io::Result<()> {
        let open = self.open.take().map(|open| open.path);
        self.free.drain(..).chain(open).try_for_each(|path| remove(&path))
    }
}

/// A file that nothing is added to any more.
pub struct Ended {
    pub last: Place,
    pub path: PathBuf,
}

/// Makes durable what was read from these files. A host that was killed may have written the last record of one without having
/// waited for the disk; after a write that the disk refused, the system may hold it in memory only and take it for written.
pub fn make_durable(files: &[Part]) -> io::Result<()> {
    for Part { path, tail } in files {
        let bytes = std::fs::read(path)?;
        let Some(last) = bytes.get(tail.start as usize..tail.end as usize) else { continue };
        let file = OpenOptions::new().write(true).open(path)?;
        write_at(&file, last, tail.start)?;
        file.sync_data()?;
    }
    Ok(())
}

/// A number that nobody can guess who writes values.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl Open {
    fn make_room(&mut self) -> io::Result<()> {
        let zeros = [0; FIRST as usize];
        if self.at <= self.there {
            return Ok(());
        }
        let step = if self.there == 0 { FIRST } else { AHEAD };
        let wanted = self.at.next_multiple_of(step);
        while self.there < wanted {
            write_at(&self.file, &zeros, self.there)?;
            self.there += FIRST;
        }
        Ok(())
    }
}

/// Removes a file that may be gone already.
fn remove(path: &PathBuf) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Elsewhere the place is that of the handle, and one thread writes at a time.
#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
