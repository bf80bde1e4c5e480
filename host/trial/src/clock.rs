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

/// Where every test begins: 2025-01-01T00:00:00Z, a Wednesday.
pub const START: Millis = 1_735_689_600_000;

/// A clock that stands still until it is set. All hosts of a test share it.
#[derive(Clone)]
pub struct TrialClock {
    shared: Arc<Shared>,
    pulse: Pulse,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct State {
    now: Millis,
    /// Those who sleep, by number.
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

impl TrialClock {
    pub fn new(pulse: Pulse) -> Self {
        let state = State { now: START, ..State::default() };
        TrialClock { shared: Arc::new(Shared { state: Mutex::new(state), wake: Mutex::default() }), pulse }
    }

    /// Sets it, and tells everybody.
    pub fn set(&self, now: Millis) {
        let wakers: Vec<_> = {
            let mut state = self.shared.state();
            state.now = now.max(state.now);
            let now = state.now;
            let due = state.sleepers.values_mut().filter(|sleep| sleep.until <= now);
            due.filter_map(|sleep| sleep.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
        for wake in &*self.shared.wake.lock() {
            wake();
        }
    }

    /// The next moment at which somebody wakes; one that has passed means that somebody has woken and is not done yet.
    pub fn next(&self) -> Option<Millis> {
        self.shared.state().sleepers.values().map(|sleep| sleep.until).min()
    }

    /// The nap that measures the attempt which begins now on this thread: a host begins it just before, if the attempt has
    /// a time limit.
    pub fn latest_nap() -> Option<u64> {
        LATEST.take()
    }

    /// A nap counts from that moment on, if that is earlier: an attempt that only a crash interrupted is the same one, and
    /// has no more time than before. `false`: that was all of its time.
    pub fn count_from(&self, nap: u64, begin: Millis) -> bool {
        let woken = {
            let mut state = self.shared.state();
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Clock for TrialClock {
    fn now(&self) -> Millis {
        self.shared.state().now
    }

    /// For ever, near enough: whoever waits is told of every jump.
    fn patience(&self, until: Millis) -> Duration {
        if until <= self.now() { Duration::ZERO } else { Duration::from_secs(3_600) }
    }

    fn sleep(&self, wait: Duration) -> Nap {
        let mut state = self.shared.state();
        state.last += 1;
        let (number, wait) = (state.last, wait.as_millis() as Millis);
        let until = state.now.saturating_add(wait);
        state.sleepers.insert(number, Sleep { until, wait, waker: None });
        LATEST.set(Some(number));
        Box::pin(Sleeper { clock: self.clone(), number })
    }

    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.shared.wake.lock().push(wake);
    }
}

struct Sleeper {
    clock: TrialClock,
    number: u64,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.shared.state();
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
        self.clock.shared.state().sleepers.remove(&self.number);
        self.clock.pulse.beat();
    }
}
