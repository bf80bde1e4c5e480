//! Whether anything goes on, read from what is durable in the world of the test.
//!
//! A host reacts to four things: results of attempts, messages, time, and what is due when it comes up. Each of them shows until
//! the reaction is durable: an attempt that is open in the log and does not wait for its mock, a message in an inbox, a moment that has
//! passed, a run that is due and that no host holds. So where none is seen, nothing goes on.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow::{self, Break, Continue};

use durhai::clock::Clock;
use durhai::world::{Row, World};
use durhai::{Millis, RunId, Status, Value};

use super::{Next, Stuck, TestRun, broken, step_key};
use crate::ledger::{Call, Open};

/// What was seen.
pub enum Observation {
    Busy,
    Down,
    Next(Next),
}

/// The attempts that the runs wait for, and the moment when one of them goes on by itself.
type Waiting = (Vec<Call>, Option<Millis>);

impl TestRun {
    pub(super) fn observe(&mut self) -> Result<Observation, Stuck> {
        if self.connection.is_down() {
            return Ok(Observation::Down);
        }
        let (changes, now) = (self.connection.changes(), self.clock.now());
        // Before the attempts are looked at: one whose time is over leaves its nap last.
        let nap = self.clock.next_nap();
        let due = self.world.next_wake().map_err(broken)?;
        if due.into_iter().chain(nap).any(|at| at <= now) {
            return Ok(Observation::Busy);
        }
        let rows = self.rows()?;
        self.read(&rows)?;
        let (waiting, of_runs) = match self.observe_runs(&rows, now)? {
            Continue(found) => found,
            Break(found) => return Ok(found),
        };
        let of_schedules = match self.observe_schedules(&rows, now)? {
            Continue(next) => next,
            Break(found) => return Ok(found),
        };
        let mut next = of_runs.into_iter().chain(self.clock.next_nap()).chain(of_schedules).min();
        if next.is_some_and(|at| at <= now) {
            return Ok(Observation::Busy);
        }
        let mut ready = Vec::new();
        for call in waiting {
            match self.done_at(&call) {
                Some(at) if at > now => next = next.into_iter().chain([at]).min(),
                _ => ready.push(call),
            }
        }
        // What was seen must be of one moment.
        if self.connection.is_down() {
            return Ok(Observation::Down);
        }
        if self.connection.changes() != changes {
            self.pulse.beat();
            return Ok(Observation::Busy);
        }
        let seed = self.setting.seed;
        let first = ready.into_iter().min_by_key(|call| self.turn(seed, call));
        Ok(Observation::Next(match first {
            Some(call) => Next::Asks(Box::new(call)),
            None => Next::Rests(next),
        }))
    }

    /// The attempts that ask, and when the first of the runs goes on by itself.
    fn observe_runs(&self, rows: &[Row], now: Millis) -> Result<ControlFlow<Observation, Waiting>, Stuck> {
        let mut next: Option<Millis> = None;
        let mut sooner = |at: Option<Millis>| next = next.into_iter().chain(at).min();
        let mut waiting = Vec::new();
        for row in rows.iter().filter(|row| !rests(row.status)) {
            if row.started_at.is_none() {
                // It begins later, or waits for its turn.
                let later = row.wake_at.filter(|at| *at > now);
                if later.is_none() && !self.world.waits(&row.run).map_err(broken)? {
                    return Ok(Break(Observation::Busy));
                }
                sooner(later);
                continue;
            }
            if !self.world.inbox(&row.run, 0, 1).map_err(broken)?.is_empty() {
                return Ok(Break(Observation::Busy));
            }
            let Some(ledger) = self.ledgers.get(&row.run) else { return Ok(Break(Observation::Busy)) };
            let mut wake_at = row.wake_at;
            if !ledger.open.is_empty() {
                for open in ledger.open.values() {
                    let call = &ledger.calls[open.call];
                    if !self.asks(call, open) {
                        return Ok(Break(Observation::Busy));
                    }
                    waiting.push(call.clone());
                }
                // Its row does not say when it goes on.
                let events = ledger.last();
                let id = row.run.clone();
                let host = self.host.clone();
                let outlook = self.setting.tokio.block_on(async move { host.get(id.as_str()).await?.outlook().await });
                match outlook {
                    Ok(Some(outlook)) if outlook.events == events => wake_at = outlook.wake_at,
                    _ => return Ok(Break(Observation::Busy)),
                }
            }
            if wake_at.is_some_and(|at| at <= now) {
                return Ok(Break(Observation::Busy));
            }
            sooner(wake_at);
        }
        Ok(Continue((waiting, next)))
    }

    /// When the next schedule is due.
    fn observe_schedules(
        &mut self,
        rows: &[Row],
        now: Millis,
    ) -> Result<ControlFlow<Observation, Option<Millis>>, Stuck> {
        let mut next = None;
        if self.schedules.is_empty() {
            return Ok(Continue(next));
        }
        let schedules = match self.setting.tokio.block_on(self.host.schedules()) {
            Ok(schedules) => schedules,
            Err(_) if self.connection.is_down() => return Ok(Break(Observation::Down)),
            Err(error) => return Err(Stuck::Fatal(error.to_string())),
        };
        for schedule in schedules {
            let Some(due) = self.schedules.get_mut(&schedule.workflow) else { continue };
            // What it is due for now must have been dealt with before the next time counts.
            let handled = handled(&*self.world, &schedule.workflow)?;
            if due.is_some_and(|due| due <= now && handled.is_none_or(|handled| handled < due)) {
                return Ok(Break(Observation::Busy));
            }
            if schedule.queued > 0 && schedule.last_run.as_ref().is_none_or(|run| has_ended(rows, run)) {
                return Ok(Break(Observation::Busy));
            }
            *due = schedule.next;
            next = next.into_iter().chain(schedule.next).min();
        }
        Ok(Continue(next))
    }

    /// Whether this attempt waits to be told how it ends, and the host still wants its result.
    fn asks(&self, call: &Call, open: &Open) -> bool {
        let Some(attempt) = self.doubles.attempt(&call.run, &call.step_id) else { return false };
        if attempt.nap.is_some_and(|nap| !self.clock.count_nap_from(nap, call.at)) {
            return false;
        }
        attempt.number == open.number && !attempt.cancelled
    }

    /// When the mock of a step has an answer, if it takes its time.
    fn done_at(&self, call: &Call) -> Option<Millis> {
        self.delays.get(&*call.name).map(|delay| call.at.saturating_add(*delay))
    }

    /// Which of several attempts ends first: without a seed, that of the run that was created first, in the order of its
    /// script.
    fn turn(&self, seed: u64, call: &Call) -> (u64, usize, Vec<u32>) {
        let place = self.order.iter().position(|run| *run == call.run).unwrap_or(usize::MAX);
        let chance = match seed {
            0 => 0,
            seed => {
                let mut hasher = DefaultHasher::new();
                (seed, call.run.as_str(), call.step_id.as_str(), call.attempt).hash(&mut hasher);
                hasher.finish()
            }
        };
        (chance, place, step_key(&call.step_id))
    }
}

/// Up to which of its times a host has dealt with a schedule, as it notes it in its world.
pub fn handled(world: &dyn World, workflow: &str) -> Result<Option<Millis>, Stuck> {
    let noted = world.meta(&format!("schedule/{workflow}")).map_err(broken)?;
    let noted: Option<Value> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(noted.and_then(|state| state.get("from").and_then(Value::as_u64)))
}

fn has_ended(rows: &[Row], run: &RunId) -> bool {
    rows.iter().any(|row| row.run == *run && row.status.is_terminal())
}

fn rests(status: Status) -> bool {
    status.is_terminal() || status == Status::Parked
}
