//! A world that says it is behind a network, and whose answers can be held back.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_world::{Forward, World, WorldError};
use parking_lot::{Condvar, Mutex};

use crate::pulse::{PATIENCE, Pulse};

/// One host's connection to a world that is far away. It notes every call that a worker of the host makes itself: there must be
/// none, as all runs of the worker would wait for the answer.
pub struct FarWorld {
    world: Arc<dyn World>,
    state: Mutex<State>,
    changed: Condvar,
    pulse: Pulse,
    strict: bool,
}

#[derive(Default)]
struct State {
    on_workers: Vec<&'static str>,
    /// Calls of which the next one is held back.
    to_hold: Vec<&'static str>,
    /// Those that are held back, each with whether it may go on, by number.
    held: BTreeMap<u64, (&'static str, bool)>,
    last: u64,
    calls: BTreeMap<&'static str, u64>,
}

impl FarWorld {
    pub fn new(world: Arc<dyn World>) -> Self {
        FarWorld { world, state: Mutex::default(), changed: Condvar::new(), pulse: Pulse::default(), strict: false }
    }

    /// A call that a worker makes ends it.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Holds the answer to the next call of this method back.
    pub fn hold(&self, call: &'static str) {
        self.state.lock().to_hold.push(call);
    }

    /// Until a call of this method waits for the test.
    pub async fn holds(&self, call: &'static str) {
        let waits = || self.state.lock().held.values().any(|(held, goes)| *held == call && !goes).then_some(());
        self.pulse.until(waits, || format!("a call of {call} that is held back")).await;
    }

    /// Lets all go on that is held back.
    pub fn release(&self) {
        self.state.lock().held.values_mut().for_each(|(_, goes)| *goes = true);
        self.changed.notify_all();
    }

    /// Calls that workers made themselves.
    pub fn on_workers(&self) -> Vec<&'static str> {
        self.state.lock().on_workers.clone()
    }

    /// Calls of this method so far.
    pub fn calls(&self, call: &str) -> u64 {
        self.state.lock().calls.get(call).copied().unwrap_or(0)
    }

    fn pass(&self, call: &'static str) {
        let mut state = self.state.lock();
        *state.calls.entry(call).or_default() += 1;
        if std::thread::current().name().is_some_and(|name| name.starts_with("durhai-work-")) {
            state.on_workers.push(call);
            assert!(!self.strict, "a worker asks a world that is far away: {call}");
        }
        let Some(at) = state.to_hold.iter().position(|hold| *hold == call) else { return };
        state.to_hold.remove(at);
        state.last += 1;
        let number = state.last;
        state.held.insert(number, (call, false));
        self.pulse.beat();
        // A test that failed lets nothing go on, and its runtime waits for this thread.
        let held = |state: &mut State| state.held.get(&number).is_some_and(|(_, goes)| !goes);
        self.changed.wait_while_for(&mut state, held, 2 * PATIENCE);
        state.held.remove(&number);
    }
}

impl Forward for FarWorld {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.world)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn read<T>(&self, call: &'static str, read: impl Fn(&dyn World) -> Result<T, WorldError>) -> Result<T, WorldError> {
        self.pass(call);
        read(&*self.world)
    }

    fn once<T>(
        &self,
        call: &'static str,
        once: impl FnOnce(&dyn World) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        self.pass(call);
        once(&*self.world)
    }
}
