//! Going through many runs, on all cores, without holding more of them than are being looked at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use durhai_core::{Status, Version};
use durhai_engine::Bundle;
use durhai_world::{Query, Row, WorldError};
use parking_lot::Mutex;

use super::fit::{CompatCheck, Fit};
use super::report::Tally;
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
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let (rows, queue) = mpsc::sync_channel::<Row>(AHEAD);
    let queue = Mutex::new(queue);
    let failed: Mutex<Option<WorldError>> = Mutex::default();
    std::thread::scope(|scope| {
        let mut hands = Vec::new();
        let mut failures = 0;
        while hands.len() < threads {
            let number = hands.len();
            let (stop, tally, queue, failed) = (&stop, &tally, &queue, &failed);
            let body = move || {
                let stopping = || stop.load(Ordering::Relaxed) || host.life.is_stopping();
                let check = CompatCheck::new(host, version.clone(), bundle);
                let mut hand = Hand { check, aim, tally, under_way: VecDeque::new() };
                loop {
                    let row = queue.lock().recv();
                    let Ok(row) = row else { break };
                    if stopping() {
                        continue;
                    }
                    if let Err(error) = hand.take(&row, &stopping) {
                        failed.lock().get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                while !hand.under_way.is_empty() {
                    if let Err(error) = hand.finish_one(&stopping) {
                        failed.lock().get_or_insert(error);
                    }
                }
            };
            match std::thread::Builder::new().name(format!("durhai-compat-{number}")).spawn_scoped(scope, body) {
                Ok(hand) => hands.push(hand),
                // Fewer will do. Without any, the machine may have room for one in a moment.
                Err(_) if !hands.is_empty() => break,
                Err(_) if failures < 20 && !host.life.is_stopping() => {
                    failures += 1;
                    std::thread::sleep(LOOK);
                }
                Err(error) => {
                    return Err(WorldError::Unavailable(format!("cannot start the thread durhai-compat-0: {error}")));
                }
            }
        }
        let mut page = first;
        'pages: loop {
            for row in page.rows {
                let mut row = row;
                loop {
                    if stop.load(Ordering::Relaxed) || host.life.is_stopping() {
                        break 'pages;
                    }
                    match rows.try_send(row) {
                        Ok(()) => break,
                        Err(mpsc::TrySendError::Full(again)) => row = again,
                        Err(mpsc::TrySendError::Disconnected(_)) => break 'pages,
                    }
                    if stopped() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
            page = host.store.world.list(&query)?;
        }
        drop(rows);
        while hands.iter().any(|hand| !hand.is_finished()) {
            if !stop.load(Ordering::Relaxed) && stopped() {
                stop.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(if hands.len() == 1 { LOOK / 10 } else { LOOK / 5 });
        }
        Ok(())
    })?;
    if let Some(error) = failed.into_inner() {
        return Err(error);
    }
    if stop.into_inner() || host.life.is_stopping() {
        return Ok(None);
    }
    Ok(Some(tally.into_inner()))
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
                    Ok(Fit::Fits(_)) => super::report::CompatVerdict::Compatible,
                    Ok(Fit::Not(verdict)) => verdict,
                    Ok(Fit::Ended | Fit::Stopped) => return Ok(()),
                    // That it cannot be read now is no reason to look at nobody else.
                    Err(error) => super::report::CompatVerdict::Unreadable { reason: error.to_string() },
                };
                self.lock().add(&row.workflow, &row.run, &row.version, verdict);
            }
            Aim::Move { unpark } => {
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
        let Aim::Move { unpark } = self.aim else { return Ok(()) };
        let outcome = self.check.finish_move(&row, begun, unpark, stop)?;
        let mut tally = self.lock();
        match outcome {
            MoveOutcome::Moved => {
                tally.add(&row.workflow, &row.run, &row.version, super::report::CompatVerdict::Compatible);
                tally.moved += 1;
            }
            MoveOutcome::Already => {
                tally.add(&row.workflow, &row.run, &row.version, super::report::CompatVerdict::Compatible);
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
