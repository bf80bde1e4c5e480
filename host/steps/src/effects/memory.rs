//! How much memory the process takes, so that a step that piles it up is stopped before the system stops the whole host.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Looks now and then. What is measured is the process, so of several steps the one that is busy meets the limit first.
#[derive(Debug)]
pub struct Guard {
    limit: u64,
    began: Instant,
    /// Milliseconds since it began.
    looked: AtomicU64,
}

/// Between two looks, in milliseconds. Filling memory takes longer than that, looking takes two microseconds.
const PAUSE: u64 = 10;

impl Guard {
    pub fn new(limit: u64) -> Self {
        Guard { limit, began: Instant::now(), looked: AtomicU64::new(0) }
    }

    /// Whether it was found that the process takes more than the limit. Nothing is found where the system does not say.
    pub fn exceeded(&self) -> bool {
        let now = self.began.elapsed().as_millis() as u64;
        if now < self.looked.load(Ordering::Relaxed) + PAUSE {
            return false;
        }
        self.looked.store(now, Ordering::Relaxed);
        resident().is_some_and(|bytes| bytes > self.limit)
    }
}

/// Three quarters of what the machine has, or of what the process may take (control groups).
pub fn default_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let granted = group.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
        granted.chain(installed()).min().map_or(u64::MAX, |most| most / 4 * 3)
    })
}

fn installed() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}
