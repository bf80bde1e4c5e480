//! [`Replay`] for the host: external inputs come in, turns go out, and views are told where the run stands.

use std::sync::Arc;

use super::Replay;
use super::outputs::StoredOutputs;
use super::tasks::TaskState;
use super::turn::{Command, Input, Turn, Verdict, WaitingFor};
use crate::event::{Created, OpenTimes, Takeover};
use crate::{EventBody, Failure, Millis, RunId, Status, StepId, Value, Version};

impl Replay {
    // ---- inputs

    /// Queues an input that came `at` this time; [`next`](Replay::next) hands it over once the history is through and
    /// every task waits.
    pub fn deliver(&mut self, at: Millis, input: Input) {
        self.queue.push(at, input, None);
    }

    /// Queues what a message of the run's inbox says. It counts as dealt with when it is applied, not before: a run that
    /// ends first leaves it, and what is behind it, to the run that the rest of the inbox is for.
    pub fn deliver_message(&mut self, at: Millis, input: Input, index: u64) {
        self.queue.push(at, input, Some(index));
    }

    /// The last message that was applied since this was asked last. All before it were too.
    pub fn take_applied(&mut self) -> Option<u64> {
        self.queue.take_applied()
    }

    /// Messages of senders that were delivered and not applied: signals, payloads, answers. The end of a child may have been
    /// learned in another way.
    pub fn waiting_messages(&self) -> usize {
        self.queue.waiting_messages()
    }

    /// Queues the answers to commands of this turn in front of everything else: the script must have them before the turn
    /// is over.
    pub fn answer(&mut self, answers: Vec<Input>) {
        for input in answers.into_iter().rev() {
            self.queue.push_front(self.cursor.wall(), input);
        }
    }

    /// Tells the time, for events to come. It never goes back.
    pub fn set_wall(&mut self, now: Millis) {
        self.cursor.set_wall(now);
    }

    /// Counts the bytes of stored events against the limit.
    pub fn add_log_bytes(&mut self, bytes: u64) {
        self.log_size.add(bytes);
    }

    /// The host stops, and the attempt it was asked for has not begun: the host that takes the run up makes it. Without
    /// this a step that may run once only would count as interrupted.
    pub fn not_begun(&mut self, id: &StepId) {
        if let Some(body) = self.calls.steps.not_begun(id, self.cursor.now()) {
            self.happen(Some(id.clone()), body);
        }
    }

    // ---- before the first `next`

    /// A host has claimed the run and is about to go on with it. If it has its log from another run and did not begin yet by
    /// itself, it does now. To be called before the first [`next`](Replay::next).
    pub fn begin_again(&mut self, now: Millis) {
        let Some((origin, times)) = self.created.origin.as_ref().and_then(|origin| Some((origin.seq, origin.times?)))
        else {
            return;
        };
        if !self.cursor.begins_in_log() || self.cursor.taken_over.behind(origin) {
            return;
        }
        self.cursor.set_wall(now);
        let again = match times {
            OpenTimes::Anew => Takeover::Anew,
            OpenTimes::StoodAt(at) => Takeover::Paused(self.cursor.wall().saturating_sub(at)),
        };
        let (at, seq) = self.cursor.push(None, None, EventBody::RunStarted { again: Some(again) });
        self.cursor.taken_over.add(seq, at, again);
    }

    /// The script is that of another version than the log's last: appends `run_migrated`, and has the state that the
    /// script sets shown anew. To be called before the first [`next`](Replay::next); whether the log fits that script is
    /// known when `next` says `Idle` or `Stop`, and nothing may be committed if it does not.
    pub fn migrate(&mut self, now: Millis, from: Version, to: Version) {
        self.cursor.migrate(now, from, to);
    }

    /// The version that served when event `seq` came.
    pub fn version_at(&self, seq: u64) -> &Version {
        self.cursor.migrations.at(seq).unwrap_or(&self.created.version)
    }

    /// What the other replay of this run has under way is under way for this one too: attempts, by step id and number, and
    /// children. Both have come to the end of the same log.
    pub fn share_under_way(&mut self, other: &Replay) {
        self.calls.steps.share_attempts(&other.calls.steps);
        self.calls.children.share(&other.calls.children);
    }

    /// A run that was to begin as a child of this one was there already: with the next [`TakeUp`](super::Input::TakeUp) it is looked
    /// after like one of a log that was taken up. `false`: no call waits for it.
    pub fn look_after_again(&mut self, run: &RunId) -> bool {
        self.calls.children.look_after_again(run)
    }

    /// Lines, emitted values and state count as new from the beginning of the log on: for a run that took its log over
    /// from another one and has none of these yet.
    pub fn set_outputs_unwritten(&mut self) {
        self.outputs.set_unwritten();
    }

    /// A turn of this run was stored in parts before its host died: what it showed until then is not shown again.
    pub fn set_stored(&mut self, stored: StoredOutputs) {
        self.outputs.set_stored(stored);
    }

    // ---- turns

    /// What came since it was last taken.
    pub fn take(&mut self) -> Turn {
        let mut turn = Turn {
            events: std::mem::take(&mut self.cursor.events),
            commands: std::mem::take(&mut self.cursor.commands),
            ..Turn::default()
        };
        self.outputs.take(&mut turn);
        turn
    }

    /// Gives commands back that must not go out yet: they are part of what comes next.
    pub fn put_back(&mut self, commands: Vec<Command>) {
        self.cursor.commands.splice(0..0, commands);
    }

    /// Takes commands of this turn back before they go out; the caller must [`deliver`](Replay::deliver) what they come to.
    pub fn retain_commands(&mut self, keep: impl FnMut(&Command) -> bool) {
        self.cursor.commands.retain(keep);
    }

    /// For a host that looks at what a log comes to and stores nothing: what was shown is dropped.
    pub fn drop_outputs(&mut self) {
        self.outputs.forget();
    }

    /// Has all that `set_state` set so far written once more.
    pub fn show_state_again(&mut self) {
        self.outputs.show_state_again();
    }

    /// How far the outputs of this turn are, if all that was taken is stored.
    pub fn stored(&self) -> StoredOutputs {
        self.outputs.stored()
    }

    /// Events that wait for a commit.
    pub fn pending_events(&self) -> usize {
        self.cursor.events.len()
    }

    /// The error that the script ends with beyond its log, if that is what it does.
    pub fn new_failure(&self) -> Option<&Failure> {
        self.cursor.new_failure()
    }

    // ---- where the run stands

    pub fn run_id(&self) -> &RunId {
        &self.created.run
    }

    pub fn created(&self) -> &Created {
        &self.created
    }

    pub fn verdict(&self) -> Option<&Verdict> {
        self.life.verdict()
    }

    pub fn status(&self) -> Status {
        match self.life.final_status() {
            Some(status) => status,
            None if self.started_at.is_none() => Status::Pending,
            None if !self.calls.steps.is_empty() => Status::Running,
            None if !self.calls.suspends.is_empty() => Status::Suspended,
            None => Status::Waiting,
        }
    }

    /// The status says that nothing will ever happen again.
    pub fn is_over(&self) -> bool {
        self.status().is_terminal()
    }

    pub fn started_at(&self) -> Option<Millis> {
        self.started_at
    }

    /// The number of the last event, committed or still to be taken.
    pub fn last_seq(&self) -> u64 {
        self.cursor.last_seq()
    }

    /// How many inputs were handed to the script, recorded and new.
    pub fn inputs_handed(&self) -> u64 {
        self.inputs_handed
    }

    /// When [`Input::Time`] should be delivered.
    pub fn wake_at(&self) -> Option<Millis> {
        [self.calls.timers.first_at(), self.life.grace_at(), self.life.expires_at()].into_iter().flatten().min()
    }

    /// An attempt of a step is under way, so far as this replay knows.
    pub fn has_attempts(&self) -> bool {
        self.calls.steps.has_attempts()
    }

    /// What every open task waits for, in the order the tasks were opened.
    pub fn waiting_for(&self) -> Vec<WaitingFor> {
        let tasks = self.tasks.keys().into_iter().filter_map(|key| self.tasks.get(key));
        tasks
            .filter_map(|task| match &task.state {
                TaskState::Waiting(waits) => self.calls.describe(waits, task.site.to_string()),
                _ => None,
            })
            .collect()
    }

    /// The hooks that are open: the call that opened it, its token, whether the script named that, what the host was told
    /// of it.
    pub fn open_hooks(&self) -> impl Iterator<Item = (&StepId, &Arc<str>, bool, &Value)> {
        self.calls.hooks.all()
    }

    /// Whether this run has the token, so far as its script goes: the world may learn of it with the next commit only.
    pub fn has_hook(&self, token: &str) -> bool {
        self.calls.hooks.has_token(token)
    }
}
