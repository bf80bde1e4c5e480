//! What workers want to know of the world, as values: asked for on the worker's thread where the world is local, and by others
//! where it is not, so that the runs of a worker never wait for a network.

use std::sync::Arc;

use durhai_core::event::Created;
use durhai_core::replay::Input;
use durhai_core::{Event, EventBody, Millis, RunId, Status, StepId};
use durhai_engine::Bundle;
use durhai_world::{InboxMessage, Row, World, WorldError};

use crate::logs::lineage;
use crate::messages::message::{Message, to_parent};
use crate::store::rows;

/// Messages of a run that are in memory at a time, and that the world is asked for at once.
const PAGE: usize = 256;

/// All that a claimed run is begun with.
pub(crate) struct Brought {
    /// Its log, with the bytes it has in the world where it was read there.
    pub history: Vec<Event>,
    pub log_bytes: u64,
    /// The texts of its version.
    pub bundle: Arc<Bundle>,
    pub inbox: InboxRead,
}

/// From where on an inbox is read.
#[derive(Clone, Copy)]
pub(crate) struct InboxPlace {
    /// Messages behind this index can be given to the script. `None`: it has enough of them for this turn.
    pub give: Option<u64>,
    /// Up to here it was looked for one that ends the run at once.
    pub looked_at: u64,
}

impl InboxPlace {
    /// Of a run that is taken up.
    pub const BEGIN: InboxPlace = InboxPlace { give: Some(0), looked_at: 0 };
}

/// What was found in an inbox.
pub(crate) struct InboxRead {
    /// For the script, in order.
    pub given: Vec<InboxMessage>,
    /// There are others behind them.
    pub more: bool,
    /// Why the run is to end at once, if it is.
    pub terminated: Option<String>,
    pub looked_at: u64,
    /// When the reading began: what was sent before that is among it, so a timer that was due by then may fire behind it.
    pub at: Millis,
}

impl InboxRead {
    /// Reads what a script takes in one turn. A message that ends the run at once is found wherever it stands: its sender was
    /// told that it will be obeyed, and the script may compute for long before it comes to it. `now` is the moment before that.
    pub fn of(world: &dyn World, run: &RunId, place: InboxPlace, now: Millis) -> Result<Self, WorldError> {
        let mut read =
            InboxRead { given: Vec::new(), more: false, terminated: None, looked_at: place.looked_at, at: now };
        let mut give = place.give;
        loop {
            let messages = world.inbox(run, give.unwrap_or(read.looked_at), PAGE)?;
            let Some(last) = messages.last().map(|stored| stored.index) else { return Ok(read) };
            // What comes behind it from now on is told of.
            let is_all = messages.len() < PAGE;
            // Whatever an urgent one is for, it is looked at before its turn.
            for stored in messages.iter().filter(|stored| stored.urgent && stored.index > read.looked_at) {
                if let Some(Message::Terminate { reason }) = Message::decode(&stored.bytes) {
                    read.terminated.get_or_insert(reason);
                }
            }
            read.looked_at = read.looked_at.max(last);
            match give.take() {
                Some(_) => read.given = messages,
                None => read.more = true,
            }
            if is_all {
                return Ok(read);
            }
        }
    }
}

/// What a turn cannot end without.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Whose is this token? If nobody's, the run's from now on. `own`: it is the run's already.
    Token { step_id: StepId, token: String, own: bool },
    /// Is there a run of this name? `again`: this run may have started it before.
    Start { step_id: StepId, run: RunId, again: bool },
    /// What did this run become?
    Latest(RunId),
    /// Is there a run of this name?
    Exists(RunId),
}

/// The answer to one of these.
pub(crate) enum Seen {
    /// The token, and the run that has it where another one does.
    Token(String, Option<RunId>),
    /// The run that has the name, with what it was created with.
    Run(Option<Box<(Row, Option<Created>)>>),
    /// What the run that waits is told of the end of its child, where that has ended.
    Child(Option<Box<Input>>),
    Latest(RunId),
    Exists(bool),
}

/// Looks for a run that is held under this fence.
pub(crate) fn look(world: &dyn World, run: &RunId, fence: u64, ask: &Ask) -> Result<Seen, WorldError> {
    Ok(match ask {
        Ask::Token { token, own: true, .. } => Seen::Token(token.clone(), Some(run.clone())),
        Ask::Token { token, own: false, .. } => Seen::Token(token.clone(), world.reserve(token, run, fence)?),
        Ask::Start { step_id, run: named, again } => match world.row(named)? {
            None => Seen::Run(None),
            Some(row) if *again && row.parent.as_ref() == Some(run) => Seen::Child(ended_child(world, named, step_id)?),
            Some(row) => Seen::Run(Some(Box::new((row, rows::first_event(world, named)?)))),
        },
        Ask::Latest(of) => Seen::Latest(lineage::latest(world, of)?),
        Ask::Exists(named) => Seen::Exists(world.row(named)?.is_some()),
    })
}

/// A child that was started before: it may have ended without its message reaching this run, which took over the log
/// of the run the message went to.
fn ended_child(world: &dyn World, run: &RunId, step_id: &StepId) -> Result<Option<Box<Input>>, WorldError> {
    let last = lineage::latest(world, run)?;
    let Some(row) = world.row(&last)? else { return Ok(None) };
    if !row.status.is_terminal() || row.status == Status::Continued {
        return Ok(None);
    }
    let end = rows::last_event(world, &last)?.map(|event| event.body);
    let created = rows::first_event(world, &last)?;
    let told = end.zip(created).and_then(|(end, created)| to_parent(&created, &end, 0));
    let message = told.and_then(|told| Message::decode(&told.bytes));
    Ok(message.map(|message| Box::new(message.into_input())).filter(|input| match &**input {
        Input::Child { step_id: for_call, .. } => for_call == step_id,
        _ => false,
    }))
}

/// Every version that a log names: reports about it show lines of their texts.
pub(crate) fn versions_in(log: &[Event]) -> impl Iterator<Item = &durhai_core::Version> {
    log.iter().filter_map(|event| match &event.body {
        EventBody::RunCreated(created) => Some(&created.version),
        EventBody::RunMigrated { to, .. } => Some(to),
        _ => None,
    })
}
