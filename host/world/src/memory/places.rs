//! Places of limits that hosts share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::Places;

/// By the name of the limit, then by holder.
#[derive(Default)]
pub struct Limits {
    shares: HashMap<String, BTreeMap<Arc<str>, Share>>,
    asked: u64,
}

struct Share {
    held: u32,
    wanted: u32,
    /// When it began to want one without having any: the first that waits comes first.
    waits: Option<u64>,
}

impl Limits {
    pub fn ask(&mut self, limit: &str, holder: &Arc<str>, most: u32, wanted: u32) -> Places {
        self.asked += 1;
        let now = self.asked;
        let shares = self.shares.entry(limit.to_owned()).or_default();
        let before = shares.remove(holder);
        let (held, waits) = before.map_or((0, None), |before| (before.held, before.waits));
        let taken: u32 = shares.values().map(|other| other.held).sum();
        let claimants = 1 + shares.values().filter(|other| other.wanted > 0).count() as u32;
        let others_wait = shares.values().any(|other| other.wanted > other.held);
        // Those that have none come first, in their order.
        let first =
            shares.values().filter(|other| other.waits.is_some_and(|since| held > 0 || since < waits.unwrap_or(now)));
        let free = most.saturating_sub(taken).saturating_sub(first.count() as u32);
        let fair = most / claimants;
        // One that has its part waits for what is left over, and nobody gives back for that.
        let starves = |other: &Share| other.wanted > other.held && (other.held == 0 || other.held < fair);
        let others_starve = shares.values().any(starves);
        let held = match wanted <= held {
            true => wanted,
            // What it has it keeps; beyond its part it gets nothing while others wait.
            false => wanted.min(free).min(if others_wait { most.div_ceil(claimants) } else { most }).max(held),
        };
        let share = if others_starve { held.min(fair) } else { held };
        if wanted > 0 {
            let waits = (held == 0).then(|| waits.unwrap_or(now));
            shares.insert(holder.clone(), Share { held, wanted, waits });
        }
        Places { held, share }
    }

    /// What such holders have is free.
    pub fn forget(&mut self, of: impl Fn(&Arc<str>) -> bool) {
        for shares in self.shares.values_mut() {
            shares.retain(|holder, _| !of(holder));
        }
        self.shares.retain(|_, shares| !shares.is_empty());
    }
}
