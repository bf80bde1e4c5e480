//! Moving live runs to another version.
//!
//! A run moves by one commit: the event `run_migrated` and the row with the new version, under its claim, after its whole
//! log was replayed against the new text. A run that nobody holds is claimed for that, and given back. One that is in
//! memory here moves on its worker (`worker/moving.rs`), where nothing of what it has under way is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_core::{Status, Value, Version, wire};
use durhai_engine::Bundle;
use durhai_world::{Chunk, Claim, Commit, Query, Refused, Row, WorldError, Write};
use tokio::sync::oneshot;

use crate::committer::{Answer, Job, Then};
use crate::error::HostError;
use crate::gate::{Aim, Fit, GateVerdict, MigrateReport, Migration, Trial, walk};
use crate::handle::Run;
use crate::host::Host;
use crate::inner::Inner;
use crate::outputs;
use crate::worker::Msg;

/// How long a run may be on its way from one hand to another before it counts as held by somebody else.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a worker says of a run that it was to move.
#[derive(Debug)]
pub(crate) enum Told {
    /// It moved; the log says so.
    Moved,
    /// It has the version.
    Already,
    Not(GateVerdict),
    /// It is on its way in or out: try again.
    Soon,
    /// It is not here.
    Elsewhere,
}

/// A move under way.
pub(crate) enum Begun {
    Over(Outcome),
    /// Written under a claim of our own: the move, and the giving back.
    Written(Box<Claim>, [oneshot::Receiver<Answer>; 2]),
    /// A worker does it.
    Asked(oneshot::Receiver<Told>),
}

/// What became of a run.
pub(crate) enum Outcome {
    Moved,
    /// It has the version.
    Already,
    Not(GateVerdict),
    /// Another host holds it.
    Elsewhere,
    /// There is nothing to move any more.
    Ended,
    Stopped,
}

impl Trial<'_> {
    /// Begins to move a run; waits for no write. `unpark`: a parked run goes on, whatever it was parked for; otherwise only
    /// if it diverged.
    pub(crate) fn begin_move(&self, row: &Row, unpark: bool, stop: &dyn Fn() -> bool) -> Result<Begun, WorldError> {
        let inner = self.inner;
        let Some(claim) = inner.world.claim_run(&row.run, &inner.holder, inner.clock.now())? else {
            let Some(row) = inner.world.row(&row.run)? else { return Ok(Begun::Over(Outcome::Ended)) };
            if row.status.is_terminal() {
                return Ok(Begun::Over(Outcome::Ended));
            }
            let (reply, answer) = oneshot::channel();
            inner.send(inner.worker_of(&row.run), Msg::Migrate { run: row.run, to: self.version.clone(), reply });
            return Ok(Begun::Asked(answer));
        };
        let over = |outcome| {
            self.give_back(&claim);
            Ok(Begun::Over(outcome))
        };
        let diverged =
            claim.row.note.get("reason").and_then(Value::as_str).is_some_and(|why| why.starts_with("diverged"));
        let goes_on = claim.row.status == Status::Parked && (unpark || diverged);
        if claim.row.version == self.version && !goes_on {
            return over(Outcome::Already);
        }
        let fits = self.run(&claim.row, stop).inspect_err(|_| self.give_back(&claim))?;
        let mut exec = match fits {
            Fit::Fits(exec) => exec,
            Fit::Not(verdict) => return over(Outcome::Not(verdict)),
            Fit::Ended => return over(Outcome::Ended),
            Fit::Stopped => return over(Outcome::Stopped),
        };
        let replay = exec.replay_mut();
        replay.show_state_again();
        let mut turn = replay.take();
        // What the script wants beyond its log is asked for by whoever takes the run up.
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
        commit.values = turn.state.iter().map(outputs::encode_state).collect();
        commit.progress = true;
        commit.events = turn.events.first().map(|first| Chunk {
            first: first.seq,
            count: turn.events.len() as u32,
            bytes: wire::encode(&turn.events),
        });
        let (moved, moved_answer) = oneshot::channel();
        let (back, back_answer) = oneshot::channel();
        inner.write(Job { write: Write::Commit(Box::new(commit)), then: Then::Reply(moved) });
        inner.write(Job { write: release(&claim), then: Then::Reply(back) });
        Ok(Begun::Written(Box::new(claim), [moved_answer, back_answer]))
    }

    /// Waits until it is over, durable where it moved.
    pub(crate) fn finish_move(
        &self,
        row: &Row,
        begun: Begun,
        unpark: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, WorldError> {
        let inner = self.inner;
        let began = Instant::now();
        let (mut begun, mut elsewhere, mut pause) = (begun, 0, Duration::from_millis(1));
        loop {
            let told = match begun {
                Begun::Over(outcome) => return Ok(outcome),
                Begun::Written(claim, [moved, back]) => {
                    let moved = moved.blocking_recv();
                    let _ = back.blocking_recv();
                    inner.adopter.ring();
                    match moved {
                        Ok(Ok(Ok(_))) => {
                            self.tell(&claim);
                            return Ok(Outcome::Moved);
                        }
                        // Somebody claimed it from under us: then look again.
                        Ok(Ok(Err(Refused::Fenced(_) | Refused::Sequence { .. }))) => Told::Soon,
                        Ok(Ok(Err(_))) => return Ok(Outcome::Ended),
                        // The world has failed, or the host has stopped.
                        Ok(Err(_)) | Err(_) => return Ok(Outcome::Stopped),
                    }
                }
                Begun::Asked(answer) => answer.blocking_recv().unwrap_or(Told::Soon),
            };
            match told {
                Told::Moved => return Ok(Outcome::Moved),
                Told::Already => return Ok(Outcome::Already),
                Told::Not(verdict) => return Ok(Outcome::Not(verdict)),
                Told::Elsewhere if elsewhere >= 5 => return Ok(Outcome::Elsewhere),
                Told::Elsewhere => elsewhere += 1,
                Told::Soon => {}
            }
            if stop() {
                return Ok(Outcome::Stopped);
            }
            if began.elapsed() > PATIENCE {
                return Ok(Outcome::Elsewhere);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
            begun = self.begin_move(row, unpark, stop)?;
        }
    }

    fn give_back(&self, claim: &Claim) {
        let (reply, _) = oneshot::channel();
        self.inner.write(Job { write: release(claim), then: Then::Reply(reply) });
        self.inner.adopter.ring();
    }

    /// Whoever follows the run learns of its new event.
    fn tell(&self, claim: &Claim) {
        self.inner.waiters.wake(&claim.run, &None);
    }
}

fn release(claim: &Claim) -> Write {
    Write::Release { run: claim.run.clone(), fence: claim.fence }
}

impl Run {
    /// Lets the run go on with another version: that which serves its workflow, unless another is given. Its whole log is
    /// replayed against it first; if it does not fit, the run stays what it is and the verdict says why. What is under way
    /// goes on: no attempt is lost or made twice. A parked run that fits goes on. `dry_run` says what would come of it.
    ///
    /// [`HostError::Conflict`] if the run has ended, or if another host holds it; [`HostError::NotFound`] for a version that
    /// is not in the store.
    pub async fn migrate(&self, to: Option<Version>, dry_run: bool) -> Result<Migration, HostError> {
        let inner = self.host.inner()?.clone();
        let row = inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let ended = |status: Status| {
            HostError::Conflict(format!("run {} is {status}: only a run that has not ended can be moved", self.id))
        };
        if row.status.is_terminal() {
            return Err(ended(row.status));
        }
        if to.is_none() {
            self.host.look_first(&row.workflow).await?;
        }
        let (to, bundle) = target(&inner, &row.workflow, to).await?;
        let (from, version, run) = (row.version.clone(), to.clone(), self.id.clone());
        let work = move || -> Result<Outcome, WorldError> {
            let stop = || inner.is_stopping();
            let trial = Trial::new(&inner, version, &bundle);
            if dry_run {
                return Ok(match trial.run(&row, &stop)? {
                    Fit::Fits(_) => Outcome::Already,
                    Fit::Not(verdict) => Outcome::Not(verdict),
                    Fit::Ended => Outcome::Ended,
                    Fit::Stopped => Outcome::Stopped,
                });
            }
            let begun = trial.begin_move(&row, true, &stop)?;
            trial.finish_move(&row, begun, true, &stop)
        };
        let outcome = self.host.inner()?.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)??;
        let workflow = self.host.inner()?.row(&self.id).await?.map(|row| row.workflow).unwrap_or_default();
        let done = |moved, verdict: GateVerdict| Migration {
            run,
            from,
            to,
            dry_run,
            moved,
            place: verdict.place(&workflow),
            verdict,
        };
        match outcome {
            Outcome::Moved => Ok(done(true, GateVerdict::Compatible)),
            Outcome::Already => Ok(done(false, GateVerdict::Compatible)),
            Outcome::Not(verdict) => Ok(done(false, verdict)),
            Outcome::Elsewhere => {
                Err(HostError::Conflict(format!("run {} is held by another host: move it there", self.id)))
            }
            Outcome::Ended => Err(ended(self.status().await?)),
            Outcome::Stopped => match self.host.inner()?.failure() {
                Some(error) => Err(HostError::world(&error)),
                None => Err(HostError::Closed),
            },
        }
    }
}

impl Host {
    /// The same as [`Run::migrate`] for all live runs that the query gives; it must name a workflow.
    pub async fn migrate(&self, query: Query, to: Option<Version>, dry_run: bool) -> Result<MigrateReport, HostError> {
        let inner = self.inner()?.clone();
        let Some(workflow) = query.workflow.clone() else {
            return Err(HostError::Invalid("say which workflow's runs are to be moved".into()));
        };
        if let Some(status) = query.status.iter().find(|status| status.is_terminal()) {
            return Err(HostError::Conflict(format!("runs that are {status} cannot be moved: they have ended")));
        }
        if to.is_none() {
            self.look_first(&workflow).await?;
        }
        let (to, bundle) = target(&inner, &workflow, to).await?;
        let version = to.clone();
        let began = Instant::now();
        let aim = if dry_run { Aim::Look } else { Aim::Move { unpark: true } };
        let work = move || walk(&inner, (&version, &bundle), query, aim, &mut || false);
        let tally = self.inner()?.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)??;
        let tally = tally.ok_or(HostError::Closed)?;
        Ok(MigrateReport {
            workflow,
            to,
            dry_run,
            live: tally.live,
            compatible: tally.compatible,
            moved: tally.moved,
            already: tally.already,
            diverging: tally.diverging,
            failing: tally.failing,
            unreadable: tally.unreadable,
            elsewhere: tally.elsewhere,
            first: tally.first,
            runs: tally.runs,
            micros: began.elapsed().as_micros() as u64,
        })
    }
}

/// The version to move to, with its texts.
async fn target(inner: &Arc<Inner>, workflow: &str, to: Option<Version>) -> Result<(Version, Arc<Bundle>), HostError> {
    let to = match to {
        Some(to) => to,
        None => match inner.catalog.serving(workflow) {
            Ok(serving) => serving.version,
            Err(_) => {
                // Nobody serves it here: what served last.
                let key = crate::catalog::pointer(workflow);
                let pointed = inner.blocking(move |world| world.meta(&key)).await?;
                let pointed = pointed.map(|bytes| Version::from_digest(&String::from_utf8_lossy(&bytes)));
                pointed.ok_or_else(|| {
                    HostError::NotFound(format!("no version of the workflow {workflow:?} has served in this store"))
                })?
            }
        },
    };
    let (version, within) = (to.clone(), inner.clone());
    let bundle = inner.blocking(move |world| Ok(within.catalog.bundle(world, &version))).await?;
    bundle.map(|bundle| (to, bundle)).map_err(|error| error.into_host(HostError::NotFound))
}
