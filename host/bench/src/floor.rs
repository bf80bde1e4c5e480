//! What the disk gives without durhai: a file that is appended to.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is appended to measure the floor of a step, in bytes.
pub const APPENDED: usize = 256;

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

    /// The floor of a step.
    pub fn of_a_step(path: &Path) -> io::Result<Self> {
        Self::create(path, vec![7; APPENDED])
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

    /// How long each of so many writes took.
    pub fn writes(&mut self, count: usize) -> io::Result<Vec<Duration>> {
        (0..count).map(|_| self.write()).collect()
    }
}

/// What the throughput of many runs is held against. It follows from the number of steps alone: how well durhai groups what
/// it writes changes its own time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yardstick {
    /// Each made durable.
    pub writes: usize,
    /// Of each write.
    pub bytes: usize,
}

impl Yardstick {
    /// A write of 8 KiB for each 40 steps: about what the events of these steps take.
    pub fn of_steps(steps: usize) -> Self {
        Yardstick { writes: (steps / 40).max(1), bytes: 8 << 10 }
    }

    /// How long all of it takes in a new file.
    pub fn time(self, path: &Path) -> io::Result<Duration> {
        let mut floor = Floor::create(path, vec![7; self.bytes])?;
        (0..self.writes).map(|_| floor.write()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yardstick_follows_from_the_steps() {
        for (steps, writes) in [(0, 1), (39, 1), (80, 2), (5_000, 125)] {
            assert_eq!(Yardstick::of_steps(steps), Yardstick { writes, bytes: 8_192 }, "{steps} steps");
        }
    }
}
