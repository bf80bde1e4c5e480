//! Going through many runs, on all cores, without holding more of them than are being looked at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use durhai_core::{Status, Version};
use durhai_engine::Bundle;
use durhai_world::{Page, Query, Row, WorldError};
use parking_lot::Mutex;

use super::fit::{CompatCheck, Fit};
use super::report::{CompatVerdict, Tally};
use crate::shared::Shared;
use crate::versions::moves::{Aim, MoveInFlight, MoveOutcome};

/// Rows of one page, and those on their way to the threads. A row has some hundred bytes; a world looks for its best index
/// anew for each page.
const PAGE: usize = 4_000;
const AHEAD: usize = 32;

/// Moves under way on one thread: they share flushes.
const MOVES: usize = 64;

/// A thread more is not worth its sandbox for fewer runs.
const FEW: usize = 24;

/// How often the one who waits looks around.
const LOOK: Duration = Duration::from_millis(5);

const LIVE: [Status; 5] = [Status::Pending, Status::Running, Status::Waiting, Status::Suspended, Status::Parked];

/// Goes through all runs that the query gives. `stopped` is asked now and then by this thread; `None` if it said yes.
pub(crate) fn walk(
    host: &Arc<Shared>,
    (version, bundle): (&Version, &Bundle),
    mut query: Query,
    aim: Aim,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<Tally>, WorldError> {
    query.limit = PAGE;
    if query.status.is_empty() {
        query.status = LIVE.to_vec();
    }
    let first = host.store.world.list(&query)?;
    if first.rows.is_empty() {
        return Ok(Some(Tally::default()));
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let threads = if first.next.is_none() && first.rows.len() < FEW { 1 } else { cores };
    let (rows, queue) = mpsc::sync_channel::<Row>(AHEAD);
    let walk = Walk {
        host,
        version,
        bundle,
        aim,
        queue: Mutex::new(queue),
        stop: AtomicBool::new(false),
        tally: Mutex::default(),
        failed: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let threads = walk.start(scope, threads)?;
        walk.feed(&rows, first, query, stopped)?;
        drop(rows);
        while threads.iter().any(|thread| !thread.is_finished()) {
            if !walk.stop.load(Ordering::Relaxed) && stopped() {
                walk.stop.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(if threads.len() == 1 { LOOK / 10 } else { LOOK / 5 });
        }
        Ok(())
    })?;
    if let Some(error) = walk.failed.into_inner() {
        return Err(error);
    }
    if walk.stop.into_inner() || host.life.is_stopping() {
        return Ok(None);
    }
    Ok(Some(walk.tally.into_inner()))
}

/// What the threads of a walk share.
struct Walk<'a> {
    host: &'a Arc<Shared>,
    version: &'a Version,
    bundle: &'a Bundle,
    aim: Aim,
    queue: Mutex<mpsc::Receiver<Row>>,
    stop: AtomicBool,
    tally: Mutex<Tally>,
    failed: Mutex<Option<WorldError>>,
}

impl Walk<'_> {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.host.life.is_stopping()
    }

    /// So many threads, or fewer where the machine has no room for them.
    fn start<'scope, 'a: 'scope>(
        &'a self,
        scope: &'scope Scope<'scope, '_>,
        wanted: usize,
    ) -> Result<Vec<ScopedJoinHandle<'scope, ()>>, WorldError> {
        let mut threads = Vec::new();
        let mut failures = 0;
        while threads.len() < wanted {
            let name = format!("durhai-compat-{}", threads.len());
            match std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, || self.work()) {
                Ok(thread) => threads.push(thread),
                // Fewer will do. Without any, the machine may have room for one in a moment.
                Err(_) if !threads.is_empty() => break,
                Err(_) if failures < 20 && !self.host.life.is_stopping() => {
                    failures += 1;
                    std::thread::sleep(LOOK);
                }
                Err(error) => return Err(WorldError::Unavailable(format!("cannot start the thread {name}: {error}"))),
            }
        }
        Ok(threads)
    }

    /// The body of a thread: takes runs from the queue until there are no more.
    fn work(&self) {
        let stopping = || self.is_stopping();
        let check = CompatCheck::new(self.host, self.version.clone(), self.bundle);
        let mut hand = Hand { check, aim: self.aim, tally: &self.tally, under_way: VecDeque::new() };
        loop {
            let row = self.queue.lock().recv();
            let Ok(row) = row else { break };
            if stopping() {
                continue;
            }
            if let Err(error) = hand.take(&row, &stopping) {
                self.failed.lock().get_or_insert(error);
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        while !hand.under_way.is_empty() {
            if let Err(error) = hand.finish_one(&stopping) {
                self.failed.lock().get_or_insert(error);
            }
        }
    }

    /// Gives the threads every run, page by page, as fast as they take them.
    fn feed(
        &self,
        rows: &mpsc::SyncSender<Row>,
        mut page: Page,
        mut query: Query,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<(), WorldError> {
        loop {
            for row in page.rows {
                let mut row = row;
                loop {
                    if self.is_stopping() {
                        return Ok(());
                    }
                    match rows.try_send(row) {
                        Ok(()) => break,
                        Err(mpsc::TrySendError::Full(again)) => row = again,
                        Err(mpsc::TrySendError::Disconnected(_)) => return Ok(()),
                    }
                    if stopped() {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            query.cursor = Some(next);
            page = self.host.store.world.list(&query)?;
        }
    }
}

/// One thread of the walk.
struct Hand<'a> {
    check: CompatCheck<'a>,
    aim: Aim,
    tally: &'a Mutex<Tally>,
    under_way: VecDeque<(Row, MoveInFlight)>,
}

impl Hand<'_> {
    fn take(&mut self, row: &Row, stop: &dyn Fn() -> bool) -> Result<(), WorldError> {
        match self.aim {
            Aim::Look => {
                let verdict = match self.check.run(row, stop) {
                    Ok(Fit::Fits(_)) => CompatVerdict::Compatible,
                    Ok(Fit::Not(verdict)) => verdict,
                    Ok(Fit::Ended | Fit::Stopped) => return Ok(()),
                    // That it cannot be read now is no reason to look at no other run.
                    Err(error) => CompatVerdict::Unreadable { reason: error.to_string() },
                };
                self.lock().add(&row.workflow, &row.run, &row.version, verdict);
            }
            Aim::Move { unpark, .. } => {
                let begun = self.check.begin_move(row, unpark, stop)?;
                self.under_way.push_back((row.clone(), begun));
                if self.under_way.len() >= MOVES {
                    self.finish_one(stop)?;
                }
            }
        }
        Ok(())
    }

    fn finish_one(&mut self, stop: &dyn Fn() -> bool) -> Result<(), WorldError> {
        let Some((row, begun)) = self.under_way.pop_front() else { return Ok(()) };
        let Aim::Move { unpark, elsewhere } = self.aim else { return Ok(()) };
        let outcome = self.check.finish_move(&row, begun, (unpark, elsewhere), stop)?;
        let mut tally = self.lock();
        match outcome {
            MoveOutcome::Moved => {
                tally.add(&row.workflow, &row.run, &row.version, CompatVerdict::Compatible);
                tally.moved += 1;
            }
            MoveOutcome::Already => {
                tally.add(&row.workflow, &row.run, &row.version, CompatVerdict::Compatible);
                tally.already += 1;
            }
            MoveOutcome::Not(verdict) => tally.add(&row.workflow, &row.run, &row.version, verdict),
            MoveOutcome::Elsewhere => {
                tally.live += 1;
                tally.elsewhere += 1;
            }
            MoveOutcome::Ended | MoveOutcome::Stopped => {}
        }
        Ok(())
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Tally> {
        self.tally.lock()
    }
}
