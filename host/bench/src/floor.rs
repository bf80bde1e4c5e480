//! What the disk gives without durhai: a file that is appended to.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::median;

/// A file that gets the same bytes again and again, each time durable. It is begun anew before it gets large.
pub struct Floor {
    file: File,
    bytes: Vec<u8>,
}

/// In bytes.
const LARGE: u64 = 64 << 20;

impl Floor {
    pub fn create(path: &Path, bytes: Vec<u8>) -> io::Result<Self> {
        Ok(Floor { file: File::create(path)?, bytes })
    }

    /// How long one write took.
    pub fn write(&mut self) -> io::Result<Duration> {
        if self.file.stream_position()? > LARGE {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.sync_all()?;
        }
        let began = Instant::now();
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()?;
        Ok(began.elapsed())
    }
}

/// The median time of appending 256 bytes and making them durable.
pub fn append(path: &Path) -> io::Result<Duration> {
    let mut floor = Floor::create(path, vec![7; 256])?;
    (0..400).map(|_| floor.write()).collect::<io::Result<Vec<_>>>().map(median)
}

/// The time for `bytes` in `writes` equal writes, each made durable.
pub fn groups(path: &Path, bytes: u64, writes: u64) -> io::Result<Duration> {
    let mut floor = Floor::create(path, vec![7; (bytes / writes.max(1)) as usize])?;
    (0..writes).map(|_| floor.write()).sum()
}
