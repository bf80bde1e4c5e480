//! Time, as the host sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai_core::Millis;
use parking_lot::Mutex;

/// Where a host takes the time from. The default is [`SystemClock`]; tests bring one that jumps.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> Millis;

    /// How long a thread may sleep before it looks at the clock again, if it waits for `until`.
    fn time_until(&self, until: Millis) -> Duration {
        Duration::from_millis(until.saturating_sub(self.now()))
    }

    /// Resolves when so much time has passed: what `timeout` and `deadline` of a step are measured with. Default: on the
    /// machine's clock.
    fn sleep(&self, wait: Duration) -> Nap {
        Box::pin(tokio::time::sleep(wait))
    }

    /// Registers a listener that is told when the clock jumps.
    fn on_jump(&self, _wake: Box<dyn Fn() + Send + Sync>) {}
}

/// What [`Clock::sleep`] gives.
pub type Nap = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
    }
}

/// The machine's clock, set by what time it is for a world that several machines share.
#[derive(Default)]
pub(crate) struct WorldClock {
    /// Between the two, in milliseconds.
    offset: AtomicI64,
    heard: Mutex<bool>,
    jumps: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl WorldClock {
    /// The world has said what time it is, in an answer that took so long. When it said so is not known better than that: a
    /// clock that may be right stays, another one is set by no more than it must.
    pub fn hear(&self, world: Millis, took: Duration) {
        let changed = {
            let mut heard = self.heard.lock();
            let half: i64 = (took.as_millis() / 2).max(1).try_into().unwrap_or(i64::MAX / 4);
            let then = SystemClock.now().cast_signed().saturating_sub(half);
            let measured = world.cast_signed().saturating_sub(then);
            let before = self.offset.load(Ordering::Relaxed);
            let offset = match *heard {
                true => before.clamp(measured.saturating_sub(half), measured.saturating_add(half)),
                false => measured,
            };
            *heard = true;
            self.offset.store(offset, Ordering::Relaxed);
            offset != before
        };
        if changed {
            self.jumps.lock().iter().for_each(|jump| jump());
        }
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Millis {
        SystemClock.now().saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.jumps.lock().push(wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn offset(clock: &WorldClock) -> i64 {
        clock.offset.load(Ordering::Relaxed)
    }

    /// The world is so many milliseconds ahead of the machine, and the answer took so long.
    fn hear(clock: &WorldClock, ahead: i64, took: Duration) {
        let said = SystemClock.now().saturating_sub(took.as_millis() as u64 / 2).saturating_add_signed(ahead);
        clock.hear(said, took);
    }

    #[test]
    fn it_is_set_by_the_worlds_time_half_the_way_back_counted() {
        let clock = WorldClock::default();
        hear(&clock, 60_000, SECOND);
        assert!((59_950..=60_050).contains(&offset(&clock)), "{}", offset(&clock));
        let told = clock.now();
        assert!(told >= SystemClock.now() + 59_000, "{told}");
    }

    #[test]
    fn it_goes_no_further_than_it_must() {
        let clock = WorldClock::default();
        hear(&clock, 60_000, Duration::ZERO);
        let first = offset(&clock);
        // It may be right: the answer took long.
        hear(&clock, 59_700, SECOND);
        hear(&clock, 60_300, SECOND);
        assert_eq!(offset(&clock), first);
        // It cannot be right any more.
        hear(&clock, 58_000, SECOND);
        assert!((58_400..=58_600).contains(&offset(&clock)), "{}", offset(&clock));
        hear(&clock, 90_000, SECOND);
        assert!((89_400..=89_600).contains(&offset(&clock)), "{}", offset(&clock));
    }

    #[test]
    fn those_who_sleep_are_told_of_a_jump() {
        let clock = WorldClock::default();
        let jumps = Arc::new(AtomicU64::new(0));
        let counted = jumps.clone();
        clock.on_jump(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        hear(&clock, 60_000, SECOND);
        hear(&clock, 60_000, SECOND);
        assert_eq!(jumps.load(Ordering::Relaxed), 1);
    }
}
