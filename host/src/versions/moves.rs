//! One live run moves to another version: begun under a claim or on its worker, and waited for.

use std::time::{Duration, Instant};

use durhai_core::{Status, Value, wire};
use durhai_world::{Chunk, Claim, Commit, Refused, Row, WorldError, Write};
use tokio::sync::oneshot;

use crate::messages::message::Message;
use crate::runtime::command::{MoveReply, WorkerCommand};
use crate::runtime::job::{Then, WriteAnswer};
use crate::store::streams;
use crate::versions::compat::fit::{CompatCheck, Fit};
use crate::versions::compat::report::CompatVerdict;

/// What is done with each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Say whether it fits.
    Look,
    /// Move it if it fits. `unpark`: also those that are parked for another reason than a divergence go on.
    Move { unpark: bool, elsewhere: Elsewhere },
}

/// What is done with a run that another host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// Nothing: its host is asked by the one that brought the version.
    Leave,
    /// Its host is asked, if the run fits, and moves it soon.
    Ask,
    /// The same, and that is waited for.
    Await,
}

/// How long a run may be on its way from one thread to another before it counts as held by another host.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long another host has to move a run that it was asked to, and how often it is looked whether it did.
const OTHERS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// A move under way.
pub(crate) enum MoveInFlight {
    Over(MoveOutcome),
    /// Written under a claim of our own: the move, and the giving back.
    Written(Box<Claim>, [oneshot::Receiver<WriteAnswer>; 2]),
    /// A worker does it.
    Asked(oneshot::Receiver<MoveReply>),
}

/// What became of a run.
pub(crate) enum MoveOutcome {
    Moved,
    /// It has the version.
    Already,
    Not(CompatVerdict),
    /// Another host holds it.
    Elsewhere,
    /// There is nothing to move any more.
    Ended,
    Stopped,
}

impl CompatCheck<'_> {
    /// Begins to move a run; waits for no write. `unpark`: a parked run goes on, whatever it was parked for; otherwise only
    /// if it diverged.
    pub(crate) fn begin_move(
        &self,
        row: &Row,
        unpark: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<MoveInFlight, WorldError> {
        let host = self.host;
        let Some(claim) = host.store.world.claim_run(&row.run, &host.store.lease.holder(), host.store.clock.now())?
        else {
            let Some(row) = host.store.world.row(&row.run)? else { return Ok(MoveInFlight::Over(MoveOutcome::Ended)) };
            if row.status.is_terminal() {
                return Ok(MoveInFlight::Over(MoveOutcome::Ended));
            }
            let (reply, answer) = oneshot::channel();
            host.runtime.workers.send(
                host.runtime.workers.of(&row.run),
                WorkerCommand::Migrate { run: row.run, to: self.version.clone(), reply },
            );
            return Ok(MoveInFlight::Asked(answer));
        };
        let over = |outcome| {
            self.give_back(&claim);
            Ok(MoveInFlight::Over(outcome))
        };
        let diverged =
            claim.row.note.get("reason").and_then(Value::as_str).is_some_and(|why| why.starts_with("diverged"));
        let goes_on = claim.row.status == Status::Parked && (unpark || diverged);
        if claim.row.version == self.version && !goes_on {
            return over(MoveOutcome::Already);
        }
        let fits = self.run(&claim.row, stop).inspect_err(|_| self.give_back(&claim))?;
        let mut exec = match fits {
            Fit::Fits(exec) => exec,
            Fit::Not(verdict) => return over(MoveOutcome::Not(verdict)),
            Fit::Ended => return over(MoveOutcome::Ended),
            Fit::Stopped => return over(MoveOutcome::Stopped),
        };
        let replay = exec.replay_mut();
        replay.show_state_again();
        let mut turn = replay.take();
        // What the script wants beyond its log is asked for by the host that takes the run up.
        let wants = turn.events.len() > 1 || !turn.commands.is_empty();
        turn.events.truncate(usize::from(claim.row.version != self.version));
        let mut row = Row { version: self.version.clone(), ..claim.row.clone() };
        if goes_on {
            row.status = if row.started_at.is_some() { Status::Running } else { Status::Pending };
            row.note = Value::Null;
        }
        if goes_on || (wants && row.status != Status::Parked && row.started_at.is_some()) {
            row.wake_at = Some(0);
        }
        let mut commit = Commit::new(row.run.clone(), claim.fence);
        commit.row = Some(row);
        commit.values = turn.state.iter().map(streams::encode_state).collect();
        commit.progress = true;
        commit.events = turn.events.first().map(|first| Chunk {
            first: first.seq,
            count: turn.events.len() as u32,
            bytes: wire::encode(&turn.events),
        });
        let (moved, moved_answer) = oneshot::channel();
        let (back, back_answer) = oneshot::channel();
        host.store.write(Write::Commit(Box::new(commit)), Then::Reply(moved));
        host.store.write(release(&claim), Then::Reply(back));
        Ok(MoveInFlight::Written(Box::new(claim), [moved_answer, back_answer]))
    }

    /// Waits until it is over, durable where it moved.
    pub(crate) fn finish_move(
        &self,
        row: &Row,
        begun: MoveInFlight,
        (unpark, others): (bool, Elsewhere),
        stop: &dyn Fn() -> bool,
    ) -> Result<MoveOutcome, WorldError> {
        let host = self.host;
        let began = Instant::now();
        let (mut begun, mut elsewhere, mut pause) = (begun, 0, Duration::from_millis(1));
        loop {
            let told = match begun {
                MoveInFlight::Over(outcome) => return Ok(outcome),
                MoveInFlight::Written(claim, [moved, back]) => {
                    let moved = moved.blocking_recv();
                    let _ = back.blocking_recv();
                    host.runtime.claimer.wake();
                    match moved {
                        Ok(Ok(Ok(_))) => {
                            self.tell(&claim);
                            return Ok(MoveOutcome::Moved);
                        }
                        // Another claim took it meanwhile: then look again.
                        Ok(Ok(Err(Refused::Fenced(_) | Refused::Sequence { .. }))) => MoveReply::Soon,
                        Ok(Ok(Err(_))) => return Ok(MoveOutcome::Ended),
                        // The world has failed, or the host has stopped.
                        Ok(Err(_)) | Err(_) => return Ok(MoveOutcome::Stopped),
                    }
                }
                MoveInFlight::Asked(answer) => answer.blocking_recv().unwrap_or(MoveReply::Soon),
            };
            match told {
                MoveReply::Moved => return Ok(MoveOutcome::Moved),
                MoveReply::Already => return Ok(MoveOutcome::Already),
                MoveReply::Not(verdict) => return Ok(MoveOutcome::Not(verdict)),
                MoveReply::Elsewhere if elsewhere >= 5 => return self.ask_others(row, others, stop),
                MoveReply::Elsewhere => elsewhere += 1,
                MoveReply::Soon => {}
            }
            if stop() {
                return Ok(MoveOutcome::Stopped);
            }
            if began.elapsed() > PATIENCE {
                return self.ask_others(row, others, stop);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
            begun = self.begin_move(row, unpark, stop)?;
        }
    }

    /// Another host holds the run: it is asked to move it, by a message to the run.
    fn ask_others(&self, row: &Row, others: Elsewhere, stop: &dyn Fn() -> bool) -> Result<MoveOutcome, WorldError> {
        if others == Elsewhere::Leave {
            return Ok(MoveOutcome::Elsewhere);
        }
        let host = self.host;
        let Some(row) = host.store.world.row(&row.run)? else { return Ok(MoveOutcome::Ended) };
        if row.version == self.version {
            return Ok(MoveOutcome::Already);
        }
        // What does not fit now will not fit there.
        match self.run(&row, stop)? {
            Fit::Fits(_) => {}
            Fit::Not(verdict) => return Ok(MoveOutcome::Not(verdict)),
            Fit::Ended => return Ok(MoveOutcome::Ended),
            Fit::Stopped => return Ok(MoveOutcome::Stopped),
        }
        let message = Message::Migrate { to: self.version.clone() };
        let (reply, answer) = oneshot::channel();
        host.store.write(Write::Send(message.to(&row.run, host.store.clock.now())), Then::Reply(reply));
        match answer.blocking_recv() {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(_))) => return Ok(MoveOutcome::Ended),
            Ok(Err(_)) | Err(_) => return Ok(MoveOutcome::Stopped),
        }
        let asked = Instant::now();
        while others == Elsewhere::Await && asked.elapsed() < OTHERS {
            match host.store.world.row(&row.run)? {
                Some(row) if row.version == self.version => return Ok(MoveOutcome::Moved),
                Some(row) if !row.status.is_terminal() => {}
                _ => return Ok(MoveOutcome::Ended),
            }
            if stop() {
                return Ok(MoveOutcome::Stopped);
            }
            std::thread::sleep(LOOK);
        }
        Ok(MoveOutcome::Elsewhere)
    }

    fn give_back(&self, claim: &Claim) {
        let (reply, _) = oneshot::channel();
        self.host.store.write(release(claim), Then::Reply(reply));
        self.host.runtime.claimer.wake();
    }

    /// Callers that follow the run learn of its new event.
    fn tell(&self, claim: &Claim) {
        self.host.runtime.waiters.wake(&claim.run, &None);
    }
}

fn release(claim: &Claim) -> Write {
    Write::Release { run: claim.run.clone(), fence: claim.fence }
}
