//! What the disk gives without durhai.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The median time of appending 256 bytes and making them durable.
pub fn append(path: &Path) -> anyhow::Result<Duration> {
    let mut file = File::create(path)?;
    let mut times = Vec::new();
    for i in 0..400_u32 {
        let began = Instant::now();
        file.write_all(&[i as u8; 256])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(super::median(times))
}

/// The time for `bytes` in `writes` equal writes, each made durable.
pub fn groups(path: &Path, bytes: u64, writes: u64) -> anyhow::Result<Duration> {
    let piece = vec![7_u8; (bytes / writes.max(1)) as usize];
    let mut file = File::create(path)?;
    let began = Instant::now();
    for _ in 0..writes {
        file.write_all(&piece)?;
        file.sync_data()?;
    }
    Ok(began.elapsed())
}
