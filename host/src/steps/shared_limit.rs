//! A limit that all hosts of a world share: how many of its places this host has, and when it asks for more or gives some back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use durhai_world::{Places, WorldError};
use tokio::time::Instant;

/// Asks the world for places of a limit: its name, how many there are, how many could be used here. It may wait for the world. `None`: the host is gone.
pub(crate) type AskPlaces = dyn Fn(&str, u32, u32) -> Option<Result<Places, WorldError>> + Send + Sync;

/// The way to the world, once the host has one.
pub(crate) type ToWorld = Arc<OnceLock<Box<AskPlaces>>>;

/// Places that are given back to others who wait were used for this long before, so that short attempts are not made one by one in turns.
const TURN: Duration = Duration::from_millis(500);

/// Places that are not used are kept for the next attempt for so long.
const SPARE: Duration = Duration::from_millis(200);

/// Between two questions: while attempts wait here, and while none does.
const AGAIN: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(500);

/// What this host has of it.
#[derive(Debug)]
pub(crate) struct Share {
    places: Places,
    /// Since when it has any without a break.
    since: Instant,
    /// Since when some of them are not used.
    spare_since: Option<Instant>,
    /// What was said of it last, so that an error which lasts is said once.
    said: Option<String>,
}

impl Share {
    pub fn new(now: Instant) -> Self {
        Share { places: Places { held: 0, share: 0 }, since: now, spare_since: None, said: None }
    }

    /// How many attempts may run here. Fewer than there are places where others wait and this host had its turn.
    pub fn most(&self, now: Instant) -> u32 {
        if self.gives_back(now) { self.places.share } else { self.places.held }
    }

    /// How many places to ask for, with so many attempts that run and that wait.
    pub fn wanted(&mut self, running: u32, waiting: u32, most: u32, now: Instant) -> u32 {
        let used = running.saturating_add(waiting).min(most);
        if self.gives_back(now) {
            return running.max(self.places.share);
        }
        if used >= self.places.held {
            self.spare_since = None;
            return used;
        }
        let since = *self.spare_since.get_or_insert(now);
        let others_wait = self.places.share < self.places.held;
        if others_wait || now.duration_since(since) >= SPARE { used } else { self.places.held }
    }

    /// Whether the world must hear of a change before it would be asked by itself: more attempts than places, or places to be given back.
    pub fn must_ask(&self, running: u32, waiting: u32, now: Instant) -> bool {
        let needs = waiting > 0 && running >= self.places.held;
        let others_wait = self.places.share < self.places.held;
        let spare = others_wait && running.saturating_add(waiting) < self.places.held;
        needs || spare || self.gives_back(now) && running <= self.places.share
    }

    /// It has no more than this from now on.
    pub fn gives_up(&mut self, wanted: u32) {
        self.places.held = self.places.held.min(wanted);
        self.places.share = self.places.share.min(self.places.held);
    }

    /// A world that is away is heard of elsewhere; anything else is for an operator.
    pub fn failed(&mut self, name: &str, error: &WorldError) {
        let why = error.to_string();
        if !matches!(error, WorldError::Unavailable(_)) && self.said.as_ref() != Some(&why) {
            tracing::warn!("attempts of {name} wait, because its places cannot be had: {why}");
            self.said = Some(why);
        }
    }

    pub fn got(&mut self, places: Places, now: Instant) {
        self.said = None;
        if self.places.held == 0 || places.held == 0 {
            self.since = now;
        }
        self.places = places;
    }

    /// When to ask again.
    pub fn again(&self, running: u32, waiting: u32, now: Instant) -> Instant {
        let spare = running.saturating_add(waiting) < self.places.held;
        now + match (waiting > 0 && running >= self.places.held, spare) {
            (true, _) => AGAIN,
            (_, true) => SPARE,
            _ => LOOK,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.places.held == 0
    }

    fn gives_back(&self, now: Instant) -> bool {
        self.places.share < self.places.held && now.duration_since(self.since) >= TURN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(held: u32, share: u32, since: Instant) -> Share {
        Share { places: Places { held, share }, since, spare_since: None, said: None }
    }

    #[test]
    fn what_is_asked_for() {
        let now = Instant::now();
        let long_ago = now - Duration::from_secs(9);
        // Held, share, since; running, waiting, of; how many are wanted, and how many may run meanwhile.
        for (held, part, since, running, waiting, most, wanted, may_run) in [
            (0, 0, now, 0, 3, 2, 2, 0),
            (2, 2, long_ago, 2, 0, 2, 2, 2),
            (2, 2, long_ago, 2, 9, 4, 4, 2),
            // Not used: kept for a moment, unless others wait.
            (2, 2, long_ago, 1, 0, 2, 2, 2),
            (2, 1, now, 1, 0, 2, 1, 2),
            // Others wait: it comes down to its part when it had its turn.
            (4, 2, now, 4, 9, 4, 4, 4),
            (4, 2, long_ago, 4, 9, 4, 4, 2),
            (4, 2, long_ago, 3, 9, 4, 3, 2),
            (4, 2, long_ago, 1, 9, 4, 2, 2),
            (1, 0, long_ago, 0, 9, 1, 0, 0),
        ] {
            let mut found = share(held, part, since);
            let case = (held, part, running, waiting);
            assert_eq!(found.wanted(running, waiting, most, now), wanted, "{case:?}");
            assert_eq!(found.most(now), may_run, "{case:?}");
        }
        let mut spare = share(2, 2, long_ago);
        assert_eq!(spare.wanted(0, 0, 2, now), 2);
        assert_eq!(spare.wanted(0, 0, 2, now + SPARE), 0);
    }
}
