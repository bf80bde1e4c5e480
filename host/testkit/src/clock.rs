//! Time that moves when a test says so.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use durhai::Millis;
use durhai::clock::{Clock, Nap};
use parking_lot::{Mutex, MutexGuard};

use crate::pulse::Pulse;

/// Where a [`SimClock`] begins: 2023-11-14T22:13:20Z.
pub const START: Millis = 1_700_000_000_000;

/// A clock that stands still until it is moved. Several hosts may share one.
///
/// Time limits of steps are measured with the machine's clock, unless they [nap](SimClock::with_naps) on this one.
#[derive(Clone, Default)]
pub struct SimClock(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Called at every jump.
    jumps: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Beats when a nap is over. `None`: naps are on the machine's clock.
    naps: Option<Pulse>,
}

struct State {
    now: Millis,
    /// By number.
    sleepers: BTreeMap<u64, Sleep>,
    last: u64,
}

struct Sleep {
    until: Millis,
    wait: Millis,
    waker: Option<Waker>,
}

thread_local! {
    /// The nap that was begun last on this thread.
    static LATEST: Cell<Option<u64>> = const { Cell::new(None) };
}

impl Default for Shared {
    fn default() -> Self {
        Shared::new(START, None)
    }
}

impl Shared {
    fn new(now: Millis, naps: Option<Pulse>) -> Self {
        let state = State { now, sleepers: BTreeMap::new(), last: 0 };
        Shared { state: Mutex::new(state), jumps: Mutex::default(), naps }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl SimClock {
    pub fn new() -> Self {
        Self::default()
    }

    /// One on which time limits of steps are measured, too. The pulse beats when one of them is over.
    pub fn with_naps(now: Millis, pulse: Pulse) -> Self {
        SimClock(Arc::new(Shared::new(now, Some(pulse))))
    }

    /// Moves it on by so many milliseconds, and tells the hosts.
    pub fn advance(&self, ms: Millis) {
        self.set(self.now().saturating_add(ms));
    }

    /// Sets it, backwards too, and tells the hosts.
    pub fn set(&self, now: Millis) {
        let wakers: Vec<_> = {
            let mut state = self.0.state();
            state.now = now;
            let due = state.sleepers.values_mut().filter(|sleep| sleep.until <= now);
            due.filter_map(|sleep| sleep.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
        for jump in &*self.0.jumps.lock() {
            jump();
        }
    }

    /// The next moment at which a nap is over; one that has passed means that its attempt has woken and is not done yet.
    pub fn next_nap(&self) -> Option<Millis> {
        self.0.state().sleepers.values().map(|sleep| sleep.until).min()
    }

    /// The nap that measures the attempt which begins now on this thread: a host begins it just before, if the attempt has
    /// a time limit.
    pub fn latest_nap() -> Option<u64> {
        LATEST.take()
    }

    /// A nap counts from that moment on, if that is earlier: an attempt that only a crash interrupted is the same one, and
    /// has no more time than before. `false`: that was all of its time.
    pub fn count_nap_from(&self, nap: u64, begin: Millis) -> bool {
        let woken = {
            let mut state = self.0.state();
            let now = state.now;
            let Some(sleep) = state.sleepers.get_mut(&nap) else { return false };
            sleep.until = sleep.until.min(begin.saturating_add(sleep.wait));
            if sleep.until > now {
                return true;
            }
            sleep.waker.take()
        };
        woken.into_iter().for_each(Waker::wake);
        false
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        self.0.state().now
    }

    /// For ever, near enough: a host that waits is told of every jump.
    fn time_until(&self, until: Millis) -> Duration {
        if until <= self.now() { Duration::ZERO } else { Duration::from_secs(3_600) }
    }

    fn sleep(&self, wait: Duration) -> Nap {
        if self.0.naps.is_none() {
            return Box::pin(tokio::time::sleep(wait));
        }
        let mut state = self.0.state();
        state.last += 1;
        let (number, wait) = (state.last, wait.as_millis() as Millis);
        let until = state.now.saturating_add(wait);
        state.sleepers.insert(number, Sleep { until, wait, waker: None });
        LATEST.set(Some(number));
        Box::pin(Sleeper { clock: self.clone(), number })
    }

    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.0.jumps.lock().push(wake);
    }
}

/// A nap on a [`SimClock`].
struct Sleeper {
    clock: SimClock,
    number: u64,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.0.state();
        let now = state.now;
        match state.sleepers.get_mut(&self.number) {
            Some(sleep) if sleep.until > now => {
                sleep.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.0.state().sleepers.remove(&self.number);
        if let Some(pulse) = &self.clock.0.naps {
            pulse.beat();
        }
    }
}
