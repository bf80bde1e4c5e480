//! What this process uses of the machine, and a folder of the disk.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far: user and system, all threads, also those that have ended.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Bytes of memory that this process has now.
pub fn resident() -> anyhow::Result<f64> {
    // The count in `status` lags behind, by up to some hundred pages.
    const FROM: &str = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(FROM)?;
    let line = text.lines().find(|line| line.starts_with("Rss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse::<f64>().ok());
    kilobytes.map(|kb| kb * 1024.0).ok_or_else(|| anyhow::anyhow!("{FROM} has no line `Rss: … kB`"))
}

/// What files take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disk {
    /// Bytes of the blocks they have, as `du` counts.
    pub blocks: f64,
    /// Bytes they are long.
    pub length: f64,
}

/// All files of a folder.
pub fn disk(folder: &Path) -> io::Result<Disk> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Disk::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let inside = match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path())?,
            Ok(meta) => Disk { blocks: meta.blocks() as f64 * 512.0, length: meta.len() as f64 },
            // A file that was removed meanwhile takes nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Disk::default(),
            Err(error) => return Err(error),
        };
        found.blocks += inside.blocks;
        found.length += inside.length;
    }
    Ok(found)
}

/// A store's files: those that grow with its runs, and those of its journal, which are used again and again.
pub fn store(folder: &Path) -> io::Result<(Disk, Disk)> {
    let all = disk(folder)?;
    let journal = match disk(&folder.join("journal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Disk::default(),
        found => found?,
    };
    let kept = Disk { blocks: all.blocks - journal.blocks, length: all.length - journal.length };
    Ok((kept, journal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_measured_with_all_in_them() {
        let folder = tempfile::tempdir().expect("a folder");
        for dir in ["sled", "journal"] {
            std::fs::create_dir(folder.path().join(dir)).expect("a folder");
        }
        for (file, length) in [("lock", 5), ("sled/db", 10_000), ("journal/1", 20_000)] {
            std::fs::write(folder.path().join(file), vec![7; length]).expect("a file");
        }
        // A hole is long and takes nothing.
        std::fs::File::create(folder.path().join("sled/hole")).and_then(|file| file.set_len(1 << 20)).expect("a file");
        let (kept, journal) = store(folder.path()).expect("readable");
        assert_eq!((kept.length, journal.length), (1_058_581.0, 20_000.0));
        assert!((10_000.0..1e6).contains(&kept.blocks), "{kept:?}");
    }

    #[test]
    fn work_takes_processor_time_and_memory() {
        let (began, before) = (cpu(), resident().expect("Linux tells"));
        let mut held: Vec<Vec<u64>> = Vec::new();
        while cpu() - began < Duration::from_millis(20) || held.len() < 64 {
            held.push((0..1 << 15).collect());
        }
        let grown = resident().expect("Linux tells") - before;
        assert!(grown > 8e6, "{} blocks of 256 KiB, {grown} bytes more", held.len());
    }
}
