//! Everything that a host counts and measures, and where.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::replay::AttemptError;
use durhai_core::{FailureKind, Millis, Status};

use super::instruments::{Counter, Gauge, Histogram, Named, QUICK, RUNS, SIZES, STEPS};
use crate::view::Report;

/// One set for each host.
pub(crate) struct Meters {
    pub started_at: Millis,
    pub workflows: Named<Workflow>,
    pub steps: Named<Step>,
    pub attempts_running: Gauge,
    pub waiting_for_limit: Gauge,
    /// From the handing over of a write until it is durable.
    pub commit: Histogram,
    /// One call of the world's `write`.
    pub flush: Histogram,
    pub batch: Histogram,
    /// Writes that wait for the committer.
    pub queue: Gauge,
    pub refused: Counter,
    pub turn: Histogram,
    pub events: Counter,
    pub lines: Counter,
    /// Building a run from its log.
    pub replay: Histogram,
    pub replayed: Counter,
    pub claimed: Counter,
    /// One question for runs that are due.
    pub claim: Histogram,
    pub lost: Counter,
    /// Claimed runs for which there is no room in memory.
    pub backlog: Gauge,
    pub timer_lag: Histogram,
    pub schedule_lag: Histogram,
    pub signals: Counter,
    pub hooks: Counter,
    pub resumes: Counter,
    pub compat: Histogram,
    pub reloads: [Counter; Reload::ALL.len()],
    pub purged: Counter,
}

/// What is counted by workflow.
pub(crate) struct Workflow {
    pub created: Counter,
    /// By [`ENDS`].
    pub ended: [Counter; ENDS.len()],
    pub lasted: [Histogram; ENDS.len()],
    pub parked: Counter,
    /// By [`VERDICTS`].
    pub gated: [Counter; VERDICTS.len()],
    pub scheduled: Counter,
}

/// What is counted by step.
pub(crate) struct Step {
    pub outcomes: [Counter; Outcome::ALL.len()],
    pub took: Histogram,
    pub failed: Counter,
}

/// The statuses with which a run ends.
pub(crate) const ENDS: [Status; 4] = [Status::Completed, Status::Failed, Status::Cancelled, Status::Continued];

/// What the check of a live run against a new version finds.
pub(crate) const VERDICTS: [&str; 5] = ["compatible", "diverges", "fails", "unreadable", "moved"];

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// Failed in a way that another attempt may mend.
    Retry,
    /// Failed in a way that none can.
    Failed,
    Timeout,
    /// The run did not wait for it any more.
    Cancelled,
    /// The host stopped first.
    Lost,
}

impl Outcome {
    pub const ALL: [Outcome; 6] =
        [Outcome::Ok, Outcome::Retry, Outcome::Failed, Outcome::Timeout, Outcome::Cancelled, Outcome::Lost];

    pub fn of<T>(result: &Result<T, AttemptError>) -> Outcome {
        match result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.kind == FailureKind::Timeout => Outcome::Timeout,
            Err(error) if error.fatal => Outcome::Failed,
            Err(_) => Outcome::Retry,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Retry => "retry",
            Outcome::Failed => "failed",
            Outcome::Timeout => "timeout",
            Outcome::Cancelled => "cancelled",
            Outcome::Lost => "lost",
        }
    }
}

/// What became of a text that was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    Loaded,
    Broken,
    /// Live runs that do not fit kept it from serving.
    Refused,
    Removed,
}

impl Reload {
    pub const ALL: [Reload; 4] = [Reload::Loaded, Reload::Broken, Reload::Refused, Reload::Removed];

    pub fn as_str(self) -> &'static str {
        match self {
            Reload::Loaded => "loaded",
            Reload::Broken => "broken",
            Reload::Refused => "refused",
            Reload::Removed => "removed",
        }
    }
}

impl Meters {
    pub fn new(started_at: Millis) -> Self {
        Meters {
            started_at,
            workflows: Named::default(),
            steps: Named::default(),
            attempts_running: Gauge::default(),
            waiting_for_limit: Gauge::default(),
            commit: Histogram::new(&QUICK),
            flush: Histogram::new(&QUICK),
            batch: Histogram::new(&SIZES),
            queue: Gauge::default(),
            refused: Counter::default(),
            turn: Histogram::new(&QUICK),
            events: Counter::default(),
            lines: Counter::default(),
            replay: Histogram::new(&QUICK),
            replayed: Counter::default(),
            claimed: Counter::default(),
            claim: Histogram::new(&QUICK),
            lost: Counter::default(),
            backlog: Gauge::default(),
            timer_lag: Histogram::new(&RUNS),
            schedule_lag: Histogram::new(&RUNS),
            signals: Counter::default(),
            hooks: Counter::default(),
            resumes: Counter::default(),
            compat: Histogram::new(&QUICK),
            reloads: Default::default(),
            purged: Counter::default(),
        }
    }

    pub fn workflow(&self, name: &str) -> Arc<Workflow> {
        self.workflows.of(name, || true)
    }

    /// An attempt is over that was begun; `took` leaves out what it waited for a limit.
    pub fn attempt(&self, step: &Step, outcome: Outcome, took: Duration) {
        step.outcomes[outcome as usize].inc();
        step.took.time(took);
    }

    pub fn run_ended(&self, workflow: &str, status: Status, lasted: Millis) {
        let Some(at) = ENDS.iter().position(|end| *end == status) else { return };
        let workflow = self.workflow(workflow);
        workflow.ended[at].inc();
        workflow.lasted[at].record(lasted);
    }

    /// The live runs that were checked; `counts` as in [`VERDICTS`].
    pub fn gated(&self, workflow: &str, counts: [u64; VERDICTS.len()], took: Duration) {
        let workflow = self.workflow(workflow);
        for (counter, runs) in workflow.gated.iter().zip(counts) {
            counter.add(runs);
        }
        self.compat.time(took);
    }

    /// Runs that went over to another version by themselves.
    pub fn moved(&self, workflow: &str, runs: u64) {
        self.workflow(workflow).gated[VERDICTS.len() - 1].add(runs);
    }

    /// Texts that were saved, or went.
    pub fn reloaded(&self, reports: &[Report]) {
        let mut held_back = None;
        for report in reports {
            let reload = match report {
                Report::Gated(report) => {
                    held_back = Some(report.workflow.as_str()).filter(|_| !report.served);
                    continue;
                }
                Report::Loaded { .. } => Reload::Loaded,
                Report::Broken { workflow, .. } if held_back == Some(workflow) => Reload::Refused,
                Report::Broken { .. } => Reload::Broken,
                Report::Removed { .. } => Reload::Removed,
                Report::Doubtful { .. } | Report::FolderGone { .. } | Report::FolderBack { .. } => continue,
            };
            self.reloads[reload as usize].inc();
        }
    }
}

impl Default for Workflow {
    fn default() -> Self {
        Workflow {
            created: Counter::default(),
            ended: Default::default(),
            lasted: std::array::from_fn(|_| Histogram::new(&RUNS)),
            parked: Counter::default(),
            gated: Default::default(),
            scheduled: Counter::default(),
        }
    }
}

impl Default for Step {
    fn default() -> Self {
        Step { outcomes: Default::default(), took: Histogram::new(&STEPS), failed: Counter::default() }
    }
}
