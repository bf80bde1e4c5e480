//! What goes into a world and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::{Millis, RunId, Status, Version};
use serde::{Deserialize, Serialize};

use crate::Admission;

/// A host, as the worlds know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Unique among the hosts of one world, and new at every start of a host.
    pub name: Arc<str>,
    /// How long a claim holds after the last [`renew`](crate::World::renew). A world that only one process can open may
    /// ignore it: there, the end of the process ends the claims.
    pub lease: Millis,
}

/// Of a limit that holders share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// How many the holder has from now on.
    pub held: u32,
    /// How many it should come down to, because others wait: as many as it has where nobody does, none where there are more holders than places.
    pub share: u32,
}

/// What a holder hears when it [says that it lives](crate::World::renew).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// `false`: the other holders have declared it dead. It holds nothing any more, its claims are refused, and so are its commits.
    pub alive: bool,
    /// What time it is for this world, where that is another clock than the caller's.
    pub now: Option<Millis>,
}

/// A host, as those that share a world with it see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeen {
    /// Which one it is.
    pub host: HostId,
    /// Since when it is there, by the world's clock.
    pub since: Millis,
    /// `false`: it ended, or the others declared it dead.
    pub alive: bool,
    pub lease: Millis,
    /// Runs that it holds.
    pub runs: u64,
}

/// Which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostId {
    /// For people; unique in the world.
    pub number: u64,
    /// [`Holder::name`].
    pub name: Arc<str>,
    /// What it says of itself.
    pub label: String,
}

/// What the connection has been through by which a world that is far away is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Batches whose answers have not come.
    pub in_flight: u64,
    /// Batches that were answered.
    pub batches: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
    /// How often it was asked what had become of a batch whose answer did not come.
    pub resumes: u64,
}

/// The right to write to a run, until a host claims it with a higher fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub run: RunId,
    /// Grows with every claim of this run; a commit under an older fence is refused.
    pub fence: u64,
    /// How many claims in a row ended with the holder's death, this one's predecessors, without a commit that
    /// said `progress`.
    pub tries: u32,
    /// The row as it was when claimed.
    pub row: Row,
    /// The sequence number of the last event in the log.
    pub last_seq: u64,
    /// `false`: the run waits for others of its [`Concurrency`], or has not begun and is not due yet; its script must not begin.
    /// [`claim_run`](crate::World::claim_run) gives such a claim out to those who want to end a run or look at it, and
    /// [`claim`](crate::World::claim) for a run with an [urgent](InboxMessage::urgent) message. A run whose turn comes while it
    /// is held like that is due when it is given back. A claim at creation is always for a run that may begin.
    pub admitted: bool,
}

/// Runs of one key take turns: at most `limit` of them are *admitted*, which a run stays to its end, parked or asleep as it
/// may be. The others wait, and are neither due nor counted by
/// [`next_wake`](crate::World::next_wake), whatever is in their inbox, unless one of it is [urgent](InboxMessage::urgent): then
/// they are due, to be dealt with where they stand. The world keeps which runs are admitted, not the row.
///
/// A run arrives when it is created (if its `wake_at` is not after its `created_at`, or a claim is asked for),
/// else when it is claimed and due by more than an urgent message. A run that arrives and finds
/// room is admitted at once. When there is more room, because a run ended or the limit grew, those that wait are admitted at
/// once, that with the highest priority first, then that which
/// was created first; from then on they are due as their rows say. A run that ends with a commit which creates runs of the
/// same key hands its place to the first of them that arrives, before any other run is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    pub key: String,
    /// At least 1; 0 counts as 1. What counts for all is the limit that was handed over last, by a create or by
    /// [`set_limit`](crate::World::set_limit). One that shrinks takes no place away.
    pub limit: u32,
    #[serde(default)]
    pub priority: i32,
}

/// How a run stands in the queue of its [`Concurrency`], at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// [`Concurrency::key`].
    pub key: String,
    /// What counts for all: the last one that was handed over.
    pub limit: u32,
    pub admission: Admission,
    /// How many are admitted before it; 0 for one that does not wait.
    pub ahead: u64,
    /// How many wait, it among them.
    pub waiting: u64,
    /// How many are admitted.
    pub admitted: u64,
    /// Some of these, in the order they were created.
    pub holders: Vec<RunId>,
}

/// What a world indexes about a run. Input, output and error are in the log, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub run: RunId,
    pub workflow: String,
    pub version: Version,
    pub status: Status,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    pub created_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// When the run wants to be claimed if no host holds it: 0 at once, `None` only for a message in its inbox. While it is
    /// `pending` this is when it begins: a message brings it forward only if it is [urgent](InboxMessage::urgent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Millis>,
    /// What the host wants to find again without reading the log (why the run is parked, what it waits for). At most a
    /// few hundred bytes; JSON, so that people can read it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub note: serde_json::Value,
    /// From when on the run, once it is terminal, is among the [`expired`](crate::World::expired).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Millis>,
    /// Set when the run is created. Later rows of the run cannot change it: what they say of it is ignored.
    /// Stored as `gate`.
    #[serde(default, rename = "gate", skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// Consecutive events of one run, encoded; what one commit brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence number of the first event in it.
    pub first: u64,
    /// How many events it holds; at least 1 (a chunk of none is not stored).
    pub count: u32,
    pub bytes: Vec<u8>,
}

/// A message that waits for its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxMessage {
    /// Grows by one with each message of a run, from 1.
    pub index: u64,
    /// When it was sent, on the sender's clock; less than 2^63.
    pub at: Millis,
    /// The message concerns a run that has not begun, too: it ends it, say. A run that has begun is due with any message.
    /// One that has not (its status is `pending` and it has a `wake_at`, or it [waits](Admission::Waiting) for others of its [`Concurrency`]) stays where it is and
    /// finds its messages when it begins; with an urgent one it is due at once, and is claimed without arriving at its
    /// limit or its moment by that ([`Claim::admitted`] says so). The host that claims it must deal with the message, or the run
    /// stays due.
    pub urgent: bool,
    pub bytes: Vec<u8>,
}

/// A message on its way into the inbox of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    pub run: RunId,
    pub at: Millis,
    /// See [`InboxMessage::urgent`]. The world cannot know: it does not read messages.
    pub urgent: bool,
    pub bytes: Vec<u8>,
}

/// One thing to be written.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new run with the first events of its log (from sequence 1).
    Create(Box<Create>),
    /// A turn of a run that is held.
    Commit(Box<Commit>),
    /// A message into a run's inbox. Refused for a terminal or unknown run.
    Send(NewMessage),
    /// Gives a claim back: the run can be claimed again once it is due. The row keeps the `wake_at` of the last commit.
    Release { run: RunId, fence: u64 },
    /// Removes a terminal run: row, log, streams, values. Refused while it is not terminal.
    Delete { run: RunId },
}

impl Write {
    /// The runs that it creates, by itself or with a turn.
    pub fn creates(&self) -> &[Create] {
        match self {
            Write::Create(create) => std::slice::from_ref(create),
            Write::Commit(commit) => &commit.create,
            Write::Send(_) | Write::Release { .. } | Write::Delete { .. } => &[],
        }
    }
}

/// A run to be created.
#[derive(Debug, Clone)]
pub struct Create {
    pub row: Row,
    pub events: Chunk,
    /// Claimed at once for this host, or left for the host that claims it when due, as with a host that is dead.
    pub claim: Option<Holder>,
    /// Hooks that are open from the beginning, with what is kept of each as in [`HookChange::Open`]: those of a log that was
    /// taken over. If another run has one of the tokens, open or reserved, nothing is created. A run that has ended opens none.
    pub hooks: Vec<(Arc<str>, Vec<u8>)>,
    /// Messages that are in its inbox from the beginning, in order, none of them urgent: what another run did not come to.
    pub messages: Vec<Vec<u8>>,
}

/// All that one turn changes, together or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    pub run: RunId,
    /// From the claim.
    pub fence: u64,
    /// New events; `first` must be one more than the last sequence number in the log. `None`: the log stays as it is.
    pub events: Option<Chunk>,
    /// The row, where it changed. A terminal status ends the claim, clears the inbox and `wake_at`, closes the run's
    /// hooks and makes room under its concurrency limit; it takes effect after `create` and before `forward` and `send`.
    pub row: Option<Row>,
    /// Messages up to and including this index are dealt with.
    pub inbox_taken: Option<u64>,
    /// Entries for the run's streams, appended in order.
    pub append: Vec<(Arc<str>, Vec<u8>)>,
    /// Named values of the run: put, or removed where there is `None`.
    pub values: Vec<(Arc<str>, Option<Vec<u8>>)>,
    /// In order.
    pub hooks: Vec<HookChange>,
    /// Runs that begin with this commit, in order. One whose id is taken, be it by one before it in this list, is left
    /// out; see [`Written::Committed`]. One whose log does not begin at 1 has the whole commit refused.
    pub create: Vec<Create>,
    /// Messages, put into the inboxes of other runs (or of this one) in order, after `create`: a run that is created with
    /// this commit gets its own. One to a run that is unknown or terminal is dropped.
    pub send: Vec<NewMessage>,
    /// With a terminal row: the messages that were not taken go to this run's inbox, in order and as they were sent, before
    /// those of `send`; unless it is unknown or terminal, then they are dropped. Ignored without a terminal row.
    pub forward: Option<RunId>,
    /// With a terminal row and without `forward`: the messages that were not taken become entries of this stream of the run,
    /// in order, as what it leaves to those who come after it. Ignored without a terminal row.
    pub leave: Option<Arc<str>>,
    /// Named values of the host, as [`put_meta`](crate::World::put_meta) writes them; `None` removes.
    pub meta: Vec<(String, Option<Vec<u8>>)>,
    /// The run got further than before: its `tries` start again at 0.
    pub progress: bool,
}

impl Commit {
    /// One that changes nothing yet.
    pub fn new(run: RunId, fence: u64) -> Self {
        Commit {
            run,
            fence,
            events: None,
            row: None,
            inbox_taken: None,
            append: Vec::new(),
            values: Vec::new(),
            hooks: Vec::new(),
            create: Vec::new(),
            send: Vec::new(),
            forward: None,
            leave: None,
            meta: Vec::new(),
            progress: false,
        }
    }
}

/// What happens to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookChange {
    /// It belongs to the run from now on, which must have [reserved](crate::World::reserve) it or have it already; that
    /// uses the reservation up. A token that another run has, open or reserved, stays what it is: a host that reserves
    /// never comes to that.
    Open { token: Arc<str>, info: Vec<u8> },
    /// The run's hook is closed. Without one, its reservation ends; a reservation beside an open hook is for the next
    /// `Open` and stays. No error if the run has neither.
    Close { token: Arc<str> },
}

/// An open hook: whom its token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub run: RunId,
    /// As it was given with [`HookChange::Open`].
    pub info: Vec<u8>,
}

/// What an accepted write came to.
#[expect(clippy::large_enum_variant, reason = "one for each write, and soon taken apart")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The claim of a created run, where one was asked for.
    Created(Option<Claim>),
    /// What became of each run in [`Commit::create`].
    Committed(Vec<Creation>),
    /// The index of the message.
    Sent(u64),
    Released,
    Deleted,
}

/// What became of a run that was to be created with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// Created, and claimed as was asked for.
    Claimed(Box<Claim>),
    /// Created; the host that claims it later runs it: no claim was asked for, or its concurrency limit is reached.
    Waits,
    /// There is a run of that name, which was left as it is, or another one has the token of one of its hooks.
    Exists,
}

/// Why one write was refused. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is a run of that name. Its row, for the caller to compare.
    #[error("there is a run {} already", .0.run)]
    Exists(Box<Row>),
    /// The hook that the run was to be created with is open or reserved for another run.
    #[error("the token {token:?} belongs to a hook of run {run}, and one run at a time can have it")]
    Token { token: Arc<str>, run: RunId },
    /// Another host claimed the run since, or the claim was given back.
    #[error("the claim on run {0} is no longer held")]
    Fenced(RunId),
    /// The log does not end where the commit begins.
    #[error("the log of run {run} ends at event {found}, the commit begins at {expected}")]
    Sequence { run: RunId, expected: u64, found: u64 },
    #[error("run {0} has ended ({1})")]
    Terminal(RunId, Status),
    #[error("run {0} has not ended ({1})")]
    NotTerminal(RunId, Status),
    #[error("there is no run {0}")]
    Unknown(RunId),
    /// The world cannot store what is in it, at no time: a name that is too long for an index, a number beyond a column. What it
    /// said. After a commit that was refused so all that was written under its claim behind it is [fenced](Refused::Fenced), until a commit of
    /// nothing but a row says what becomes of the run.
    #[error("what run {run} was to have written cannot be stored: {why}")]
    Invalid { run: RunId, why: String },
}

/// The world itself failed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Another process has it open.
    #[error("{0}")]
    Locked(String),
    /// It cannot be read or written: a full disk, a lost connection. What was durable stays so.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored cannot be what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The caller asked for what cannot be: a cursor this world never gave out.
    #[error("{0}")]
    Invalid(String),
}

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Any of these; empty: all.
    pub status: Vec<Status>,
    pub workflow: Option<String>,
    /// All of these.
    pub tags: BTreeMap<String, String>,
    pub parent: Option<RunId>,
    pub version: Option<Version>,
    /// Created at or after.
    pub since: Option<Millis>,
    /// Created before.
    pub until: Option<Millis>,
    /// Ended before.
    pub ended_before: Option<Millis>,
    /// Where the page before this one ended.
    pub cursor: Option<String>,
    /// At most so many rows; 0 means 100.
    pub limit: usize,
}

impl Query {
    /// Whether a row is among what is asked for, wherever the page begins and ends.
    pub fn matches(&self, row: &Row) -> bool {
        (self.status.is_empty() || self.status.contains(&row.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == row.workflow)
            && self.tags.iter().all(|(key, value)| row.tags.get(key) == Some(value))
            && self.parent.as_ref().is_none_or(|parent| row.parent.as_ref() == Some(parent))
            && self.version.as_ref().is_none_or(|version| *version == row.version)
            && self.since.is_none_or(|since| row.created_at >= since)
            && self.until.is_none_or(|until| row.created_at < until)
            && self.ended_before.is_none_or(|before| row.ended_at.is_some_and(|ended| ended < before))
    }

    /// How many rows a page holds at most.
    pub fn page_size(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit }
    }
}

/// How many runs are alike in this, see [`World::run_counts`](crate::World::run_counts).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    pub workflow: String,
    pub version: Version,
    pub status: Status,
    /// At least 1.
    pub runs: u64,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub status: Status,
    /// The sequence number of the last event in its log.
    pub last_seq: u64,
    /// Its streams by name, each with the number of its entries.
    pub streams: Vec<(String, u64)>,
}

/// Some rows, newest first, and where to go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// There may be more: pass it as [`Query::cursor`].
    pub next: Option<String>,
}

/// Something others may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A message was put into the inbox of this run.
    Message(RunId),
    /// A run that no host holds may be due: it was created, released or written to.
    Due,
}

/// Who wants to hear of it. Must return quickly, and wait for no run: the thread that writes may be the one that drives it.
pub type Watcher = Arc<dyn Fn(Notice) + Send + Sync>;

/// Bytes a world occupies; nothing where it cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorldSize {
    /// Where it keeps things.
    pub stored: Option<u64>,
    /// In the memory of this process, about: what is durable and has not come to its last place yet.
    pub unsettled: Option<u64>,
}
