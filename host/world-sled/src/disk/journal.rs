//! The journal: where what is written becomes durable. What is in it is in memory too (see `overlay.rs`), goes into sled later,
//! and then its file is used again.
//!
//! The blocks of a file are written with zeros before they are used. So a record changes nothing of the file but its data, and
//! one wait for the disk makes it durable: a file that grows has the file system's own journal to wait for, too.

pub mod read;
mod record;
pub mod unsettled;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::Change;
use crate::disk::sync_folder;
use read::name;

/// Zeros that are written ahead at a time.
const AHEAD: u64 = 1 << 20;

/// And the first time, for a host that writes little.
const FIRST: u64 = 64 << 10;

/// The journal of an open store.
pub struct Journal {
    folder: PathBuf,
    /// The file that is written to; none before the journal is begun and after its end.
    open: Option<Open>,
    /// Of that file, or the one before.
    number: u64,
    /// The sequence of the next record.
    next: u64,
    /// Changes that the next record has.
    pending: Vec<u8>,
    /// Files whose content is in sled.
    free: Vec<PathBuf>,
}

struct Open {
    file: Arc<File>,
    path: PathBuf,
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
    /// One that goes on behind a file of this number, with a record of that sequence.
    pub fn new(folder: PathBuf, number: u64, next: u64, free: Vec<PathBuf>) -> Self {
        Journal { folder, open: None, number, next, pending: Vec::new(), free }
    }

    /// Begins the next file. It is there when this returns, also after a power cut.
    pub fn begin(&mut self) -> io::Result<()> {
        let path = self.folder.join(name(self.number + 1));
        match self.free.pop() {
            Some(used) => std::fs::rename(used, &path)?,
            None => std::fs::create_dir_all(&self.folder)?,
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let there = file.metadata()?.len();
        sync_folder(&self.folder)?;
        self.number += 1;
        self.open = Some(Open { file: Arc::new(file), path, at: 0, there });
        Ok(())
    }

    /// Puts a batch into the next record.
    pub fn add(&mut self, changes: &[Change]) {
        record::add(changes, &mut self.pending);
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
        let mut bytes = Vec::with_capacity(record::HEAD + record::FRONT + self.pending.len());
        if open.at == 0 {
            bytes.extend_from_slice(&record::head(self.number, self.next));
        }
        bytes.extend_from_slice(&record::front(self.number, self.next, &self.pending));
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

    /// The next record goes into another file. The one that ends with this; none if nothing was written to it. All that is
    /// pending must be written.
    pub fn rotate(&mut self) -> io::Result<Option<Ended>> {
        let written = self.open.take_if(|open| open.at > 0);
        let Some(Open { path, .. }) = written else { return Ok(None) };
        let ended = Ended { number: self.number, last: self.next - 1, path };
        self.begin()?;
        Ok(Some(ended))
    }

    /// The content of these files is in sled: one is kept to be used again.
    pub fn give_back(&mut self, files: Vec<PathBuf>) -> io::Result<()> {
        // The last one is not older than what sled has, should it be read once more.
        for path in files.into_iter().rev() {
            match self.free.is_empty() {
                true => self.free.push(path),
                false => std::fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    /// Removes all files. Their content must be in sled.
    pub fn remove(&mut self) -> io::Result<()> {
        let open = self.open.take().map(|open| open.path);
        self.free.drain(..).chain(open).try_for_each(std::fs::remove_file)
    }
}

/// A file that nothing is added to any more.
pub struct Ended {
    pub number: u64,
    pub last: u64,
    pub path: PathBuf,
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
