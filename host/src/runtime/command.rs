//! What workers are told, and what they answer.

use std::sync::Arc;

use durhai_core::replay::{AttemptError, LogLine};
use durhai_core::{Event, RunId, StepId, Value, Version};
use durhai_engine::Bundle;
use durhai_world::WorldError;
use tokio::sync::oneshot;

use crate::error::Unready;
use crate::runtime::asked::{Ask, Brought, InboxRead, Seen};
use crate::runtime::lease::OwnClaim;
use crate::runtime::run_shared::RunShared;
use crate::versions::compat::report::CompatVerdict;
use crate::view::Outlook;

/// What a worker is told.
pub(crate) enum WorkerCommand {
    /// A run this host has claimed. `history` is its log, where the sender has it at hand.
    Adopt {
        claim: Box<OwnClaim>,
        history: Option<Vec<Event>>,
    },
    /// What such a run is begun with, or why that could not be read.
    Brought {
        claim: Box<OwnClaim>,
        /// Its log was read, and not at hand.
        rebuilt: bool,
        read: Result<Box<Brought>, Unready>,
    },
    /// What is in the run's inbox.
    Inbox {
        run: Arc<RunShared>,
        read: Result<InboxRead, WorldError>,
    },
    /// What the turn of the run cannot end without.
    Seen {
        run: Arc<RunShared>,
        seen: Result<Vec<(Ask, Seen)>, WorldError>,
    },
    /// The log of a run that is to move to another version, with its size, and the texts of that version.
    LogRead {
        run: Arc<RunShared>,
        read: Result<(Vec<Event>, u64, Arc<Bundle>), Unready>,
    },
    Attempt {
        run: Arc<RunShared>,
        step_id: StepId,
        attempt: u32,
        result: Result<Value, AttemptError>,
    },
    /// An attempt ended because it was told to: there is no result.
    AttemptLost {
        run: Arc<RunShared>,
        step_id: StepId,
    },
    /// There is something in the run's inbox.
    Message(RunId),
    Line {
        run: Arc<RunShared>,
        line: LogLine,
    },
    Heartbeat {
        run: Arc<RunShared>,
        step_id: StepId,
        detail: Value,
    },
    Park {
        run: Arc<RunShared>,
        reason: String,
    },
    /// A run that was to begin with a turn of this one was there already.
    ChildExists {
        run: Arc<RunShared>,
        child: RunId,
    },
    /// A commit of the run was refused: another claim holds it.
    Lost {
        run: Arc<RunShared>,
        why: String,
    },
    /// The host was declared dead: nothing that it claimed under the names before can be committed any more.
    Reset,
    /// The claim was given back.
    Released {
        run: RunId,
    },
    /// What do its tasks wait for?
    Describe {
        run: RunId,
        reply: oneshot::Sender<Vec<Value>>,
    },
    /// How far is it, and when does it go on by itself?
    Outlook {
        run: RunId,
        reply: oneshot::Sender<Outlook>,
    },
    /// Which of these are in memory?
    WhoIsHere {
        runs: Vec<RunId>,
        reply: oneshot::Sender<Vec<RunId>>,
    },
    /// Runs that have messages which nobody told of, as was found by a look at all inboxes.
    Unread {
        runs: Vec<RunId>,
    },
    /// Let the run go on with that version, if its log fits.
    Migrate {
        run: RunId,
        to: Version,
        reply: oneshot::Sender<MoveReply>,
    },
    /// A part of the run's turn is durable, or the world can be asked again: its script may go on.
    Stored {
        run: Arc<RunShared>,
    },
    /// All that the run has committed until it was frozen is durable.
    AllDurable {
        run: Arc<RunShared>,
    },
    /// The clock jumped: look at the timers.
    Tick,
    /// Give everything back.
    Drain,
}

/// What a worker says of a run that it was to move.
#[derive(Debug)]
pub(crate) enum MoveReply {
    /// It moved; the log says so.
    Moved,
    /// It has the version.
    Already,
    Not(CompatVerdict),
    /// It is on its way in or out: try again.
    Soon,
    /// It is not here.
    Elsewhere,
}
