//! A run as a pure function of its history.
//!
//! [`Replay`] stands between a script and the world. The engine asks it what to do ([`Replay::next`]), runs a task until
//! it makes a durable call ([`Replay::call`]) or ends ([`Replay::ended`]). What happens outside comes in through
//! [`Replay::deliver`]; what the run wants from outside goes out through [`Replay::take`].
//!
//! The history is a list of *inputs* (a step completed, a timer fired, a signal came), each followed by what the script
//! *asked* for in reaction to it (a step started, a timer started). An input is handed to the script, all tasks run until
//! they wait, then the next input follows. While the history lasts, inputs come from it and every call must be
//! recorded behind the input that led to it; afterwards they come from outside, and calls become new events. There is
//! no other difference between replay and live, so each tests the other.

mod again;
pub mod call;
mod children;
mod divergence;
mod inputs;
mod limits;
mod mail;
mod moving;
mod openings;
mod outputs;
mod people;
mod tasks;
mod timers;
mod turn;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

pub use self::again::TakenOver;
pub use self::call::*;
use self::children::OpenChild;
pub use self::divergence::{Divergence, Side};
pub use self::limits::Limits;
use self::mail::{Mail, OpenHook};
pub use self::moving::version_at;
use self::openings::{Opening, What};
use self::outputs::Shown;
pub use self::outputs::Stored;
use self::people::OpenSuspend;
use self::tasks::{Group, State, Task, Waits};
use self::timers::Timer;
use self::turn::OpenStep;
pub use self::turn::{AttemptError, Command, Continue, Emitted, Input, RunStep, StartChild, Turn, Verdict, WaitingFor};
use crate::event::Created;
use crate::legal::{BadLog, LogCheck};
use crate::{Body, Event, Failure, Kind, Millis, RunId, Site, Status, StepId, Value, Version, rng};

/// One run: its history, where the script is in it, and what is open.
pub struct Replay {
    created: Created,
    /// Where the log says that the run moved to another version, and to which.
    moves: Vec<(u64, Version)>,
    /// Where the log was taken over from another run.
    taken_over: TakenOver,
    limits: Limits,
    /// Recorded events that were not yet handed over.
    history: VecDeque<Event>,
    /// What the script asked for after the input at hand, as recorded.
    recorded: HashMap<(Option<StepId>, Phase), Event>,
    /// What comes from outside, in order.
    inputs: VecDeque<Pending>,
    /// Inputs that were handed over, recorded and new.
    handed: u64,
    /// The last message whose input was applied, since that was last asked for.
    applied: Option<u64>,
    /// New in this turn.
    turn: Turn,
    /// The input at hand is new, or the script went beyond what was recorded after it.
    live: bool,
    last_seq: u64,
    last_at: Millis,
    /// The number of the event that was handed over last.
    last_input: u64,
    /// The host's time.
    wall: Millis,
    /// The script's time: that of the input handed over last.
    clock: Millis,
    log_bytes: u64,
    warned: bool,
    /// Boxed, for most runs have one task and a table has room for four.
    tasks: HashMap<TaskKey, Box<Task>>,
    next_task: TaskKey,
    groups: HashMap<GroupKey, Group>,
    next_group: GroupKey,
    ready: VecDeque<TaskKey>,
    steps: HashMap<StepId, OpenStep>,
    timers: BTreeMap<(Millis, u64), (StepId, Timer)>,
    /// What came and was not taken yet.
    mail: HashMap<Mail, VecDeque<Arc<Value>>>,
    waiters: HashMap<Mail, VecDeque<TaskKey>>,
    signal_ids: HashSet<String>,
    /// The same, in the order they came.
    signal_order: Vec<String>,
    hooks: HashMap<StepId, OpenHook>,
    /// Token and id of payloads that came: one that is sent again may find another hook of that token.
    hook_ids: HashSet<(Arc<str>, String)>,
    /// The same, in the order they came.
    payload_order: Vec<(Arc<str>, String)>,
    /// Tokens that the script named, in this run or in one before it of the chain.
    named: HashSet<Arc<str>>,
    /// Hooks that are closed, and their tokens.
    closed: HashMap<StepId, Arc<str>>,
    /// These tokens, to be found by a payload however many hooks had them.
    closed_tokens: HashSet<Arc<str>>,
    /// Calls whose answer the host owes within the turn.
    openings: HashMap<StepId, Opening>,
    children: HashMap<StepId, OpenChild>,
    suspends: HashMap<StepId, OpenSuspend>,
    shown: Shown,
    /// Outputs count as new although their events are recorded.
    fresh: bool,
    cancelled: Option<String>,
    /// It was the run's own timeout that cancelled it.
    timed_out: bool,
    /// When that will be.
    expires_at: Option<Millis>,
    started: bool,
    started_at: Option<Millis>,
    body: Option<Result<Arc<Value>, Failure>>,
    /// The body ended by `continue_as_new`, with this input for the successor.
    continuing: Option<Value>,
    /// Clean-ups are cut off then.
    grace_at: Option<Millis>,
    /// The host is to end the run, with this reason.
    terminating: Option<String>,
    verdict: Option<Verdict>,
}

/// One call can be recorded twice: when it opens, and when it is closed by the script's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Open,
    Close,
    End,
}

impl Replay {
    /// Takes a run's whole log, or any prefix of it that holds at least `run_created`.
    pub fn new(history: Vec<Event>, limits: Limits) -> Result<Self, BadLog> {
        let mut check = LogCheck::default();
        let mut moves = Vec::new();
        let mut taken_over = TakenOver::default();
        for event in &history {
            check.next(event)?;
            taken_over.note(event);
            if let Body::RunMigrated { to, .. } = &event.body {
                moves.push((event.seq, to.clone()));
            }
        }
        let mut history = VecDeque::from(history);
        let Some(Event { at, body: Body::RunCreated(mut created), .. }) = history.pop_front() else {
            return Err(BadLog::empty());
        };
        let last_seq = 1 + history.len() as u64;
        let last_at = history.back().map_or(at, |event| event.at);
        let signal_order =
            created.chain.as_mut().map(|chain| std::mem::take(&mut chain.signal_ids)).unwrap_or_default();
        let payload_ids =
            created.chain.as_mut().map(|chain| std::mem::take(&mut chain.payload_ids)).unwrap_or_default();
        let payload_order: Vec<(Arc<str>, String)> =
            payload_ids.into_iter().map(|(token, id)| (token.into(), id)).collect();
        Ok(Replay {
            created: *created,
            moves,
            taken_over,
            limits,
            history,
            recorded: HashMap::new(),
            inputs: VecDeque::new(),
            handed: 0,
            applied: None,
            turn: Turn::default(),
            live: false,
            last_seq,
            last_at,
            last_input: 1,
            wall: last_at,
            clock: at,
            log_bytes: 0,
            warned: false,
            tasks: HashMap::new(),
            next_task: BODY,
            groups: HashMap::new(),
            next_group: 0,
            ready: VecDeque::new(),
            steps: HashMap::new(),
            timers: BTreeMap::new(),
            mail: HashMap::new(),
            waiters: HashMap::new(),
            signal_ids: signal_order.iter().cloned().collect(),
            signal_order,
            hooks: HashMap::new(),
            hook_ids: payload_order.iter().cloned().collect(),
            payload_order,
            named: HashSet::new(),
            closed: HashMap::new(),
            closed_tokens: HashSet::new(),
            openings: HashMap::new(),
            children: HashMap::new(),
            suspends: HashMap::new(),
            shown: Shown::default(),
            fresh: false,
            cancelled: None,
            timed_out: false,
            expires_at: None,
            started: false,
            started_at: None,
            body: None,
            continuing: None,
            grace_at: None,
            terminating: None,
            verdict: None,
        })
    }

    // ---- for the engine

    /// What to do next: do it, then ask again, until it says `Idle` or `Stop`.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: the caller acts between two calls")]
    pub fn next(&mut self) -> Next {
        loop {
            if self.verdict.is_some() {
                return Next::Stop;
            }
            if let Some(next) = self.next_ready() {
                return next;
            }
            if self.tasks.is_empty()
                && let Some(result) = self.body.take()
            {
                self.end(result);
                continue;
            }
            if let Some((_, leftover)) = self.recorded.drain().min_by_key(|(_, event)| event.seq) {
                self.leftover(leftover);
                continue;
            }
            if let Some(event) = self.history.pop_front() {
                self.replay_input(event);
                continue;
            }
            if self.obey() {
                continue;
            }
            if let Some(pending) = self.inputs.pop_front() {
                self.set_wall(pending.at);
                self.live_input(pending);
                continue;
            }
            if self.is_deadlocked() {
                let open: Vec<_> =
                    self.waiting_for().iter().map(|wait| format!("{} at {}", wait.kind, wait.site)).collect();
                let message = format!("every open task waits for another one: {}", open.join(", "));
                self.fail(Failure::new(Kind::Deadlock, message));
                continue;
            }
            // A waiting run may wait for months: it keeps no room for what has passed.
            self.inputs.shrink_to_fit();
            self.history.shrink_to_fit();
            return Next::Idle;
        }
    }

    /// A task makes a durable call.
    pub fn call(&mut self, task: TaskKey, call: Call, site: Site) -> Reply {
        if self.verdict.is_some() {
            return Reply::Stop;
        }
        let numbered = !matches!(call, Call::PollSignal { .. } | Call::Join(_) | Call::CloseHook { .. });
        let Some(state) = self.tasks.get_mut(&task) else { return Reply::Stop };
        state.ordinal += u32::from(numbered);
        state.site = site.clone();
        let id = StepId::make(&state.path, state.ordinal);
        if let Call::CloseHook { hook } = &call {
            return self.close_hook(hook, &site);
        }
        if let Some(reason) = state.take_cancel() {
            return Reply::Now(Answer::Failure(Failure::cancelled(&reason)));
        }
        match call {
            Call::Step { name, input, options } => {
                let input = Arc::new(input);
                let body = Body::StepStarted {
                    name: name.clone(),
                    input: Some(input.clone()),
                    attempt: 1,
                    label: options.label.clone(),
                };
                let Some(asked) = self.ask(Some(&id), Some(&site), body) else { return Reply::Stop };
                let step = OpenStep {
                    name,
                    input,
                    options,
                    task,
                    first_started: self.taken_over.since(asked.seq, asked.at),
                    attempt: 1,
                    failures: 0,
                    order: asked.seq,
                    retry: None,
                    issued: asked.new,
                };
                if asked.new {
                    self.turn.commands.push(step.command(&id, self.wall, false, &self.created));
                }
                self.steps.insert(id.clone(), step);
                self.wait(task, Waits::Step(id))
            }
            Call::Sleep(wake) => {
                if matches!(wake, Wake::After(0)) || matches!(wake, Wake::At(at) if at <= self.clock) {
                    return Reply::Now(Answer::null());
                }
                let wake_at = match wake {
                    Wake::After(ms) => self.wall.saturating_add(ms),
                    Wake::At(at) => at,
                };
                match self.start_timer(&id, &site, wake_at, Timer::Sleep(task)) {
                    Some(timer) => self.wait(task, Waits::Timer(timer, id)),
                    None => Reply::Stop,
                }
            }
            Call::WaitFor { signal, timeout, schema } => {
                self.wait_mail(task, id, &site, Mail::Signal(signal), (timeout, false), schema)
            }
            Call::PollSignal { signal } => {
                let payload = self.take_mail(&Mail::Signal(signal));
                Reply::Now(Answer::Value(payload.unwrap_or_default()))
            }
            Call::Hook { token, info } => self.begin_opening(task, id, &site, What::Hook { token, info }),
            Call::WaitHook { hook, timeout } => {
                let (mail, closed) = self.mail_of(&hook);
                self.wait_mail(task, id, &site, mail, (timeout, closed), None)
            }
            Call::CloseHook { .. } => unreachable!("it was answered above"),
            Call::Suspend { payload, label, schema, timeout } => {
                self.suspend(task, id, &site, (payload, schema), label, timeout)
            }
            Call::Child { workflow, input, options } => self.start_child(task, id, &site, workflow, input, options),
            Call::Start { workflow, input, options } => {
                let what = What::Start { workflow, input: Arc::new(input), options };
                self.begin_opening(task, id, &site, what)
            }
            Call::Continue { input } => self.continue_as_new(task, input),
            Call::Open { kind, size, concurrency } => self.open(task, id, &site, kind, size, concurrency),
            Call::Join(group) => self.join(task, group),
        }
    }

    /// A fiber came to its end. The value counts for the body only, it is the run's output; what branches return stays
    /// with the engine.
    pub fn ended(&mut self, task: TaskKey, result: Result<Value, Failure>) {
        if self.verdict.is_some() {
            return;
        }
        if task == BODY {
            self.body_ended(result.map(Arc::new));
        } else {
            self.branch_ended(task, result.err());
        }
    }

    /// Ends the run as failed, whatever the script does. Afterwards `call` answers `Stop`.
    pub fn fail(&mut self, failure: Failure) {
        if self.verdict.is_none() {
            self.finish(Body::RunFailed { error: failure });
        }
    }

    /// The run's clock.
    pub fn now(&self) -> Millis {
        self.clock
    }

    /// The random stream of a task.
    pub fn rng(&mut self, task: TaskKey) -> &mut ChaCha8Rng {
        let seed = self.created.seed.as_deref().unwrap_or(self.created.run.as_str());
        let state = self.tasks.get_mut(&task).expect("only tasks that run draw numbers");
        state.rng.get_or_insert_with(|| Box::new(rng::of_task(seed, &state.path)))
    }

    pub fn run_id(&self) -> &RunId {
        &self.created.run
    }

    /// What the script takes for the id of its run: that of the run that is tried again, if one is.
    pub fn known_as(&self) -> &RunId {
        self.created.keys_of.as_ref().unwrap_or(&self.created.run)
    }

    pub fn created(&self) -> &Created {
        &self.created
    }

    pub fn workflow(&self) -> &str {
        &self.created.workflow
    }

    /// The input of the run, for its body; it is asked for once and not kept twice.
    pub fn take_input(&mut self) -> Value {
        std::mem::take(&mut self.created.input)
    }

    /// The id of the last durable call of a task; empty before the first.
    pub fn step_id(&self, task: TaskKey) -> String {
        self.tasks
            .get(&task)
            .filter(|task| task.ordinal > 0)
            .map_or_else(String::new, |task| task.last_call().to_string())
    }

    /// The path of a task (`2.1`); empty for the body, and for one that has ended.
    pub fn task_path(&self, task: TaskKey) -> &str {
        self.tasks.get(&task).map_or("", |task| &task.path)
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    // ---- for the host

    /// Queues an input that came `at` this time; [`next`](Replay::next) hands it over once the history is through and
    /// every task waits.
    pub fn deliver(&mut self, at: Millis, input: Input) {
        self.inputs.push_back(Pending { at, input, message: None });
    }

    /// Queues what a message of the run's inbox says. It counts as dealt with when it is applied, not before: a run that
    /// ends first leaves it, and what is behind it, to whoever the rest of the inbox is for.
    pub fn deliver_message(&mut self, at: Millis, input: Input, index: u64) {
        self.inputs.push_back(Pending { at, input, message: Some(index) });
    }

    /// The last message that was applied since this was asked last. All before it were too.
    pub fn take_applied(&mut self) -> Option<u64> {
        self.applied.take()
    }

    /// Messages from outside that were delivered and not applied: signals, payloads, answers. The end of a child may have been
    /// learned in another way.
    pub fn waiting_messages(&self) -> usize {
        let sent =
            |input: &Input| matches!(input, Input::Signal { .. } | Input::HookPayload { .. } | Input::Resume { .. });
        self.inputs.iter().filter(|pending| pending.message.is_some() && sent(&pending.input)).count()
    }

    /// Ends the run at once, wherever its script is, and before everything that is queued; once its log is replayed, so that
    /// its children are known.
    pub fn terminate(&mut self, reason: String) {
        self.terminating.get_or_insert(reason);
        self.obey();
    }

    /// Ends the run that is to be terminated, if its log is replayed; `true`: it is over.
    pub fn obey(&mut self) -> bool {
        if self.history.is_empty()
            && self.recorded.is_empty()
            && let Some(reason) = self.terminating.take()
        {
            self.fail(Failure::new(Kind::Terminated, reason));
        }
        self.verdict.is_some()
    }

    /// Queues the answers to commands of this turn in front of everything else: the script must have them before the turn
    /// is over.
    pub fn answer(&mut self, answers: Vec<Input>) {
        for input in answers.into_iter().rev() {
            self.push_input(input);
        }
    }

    /// The time is told again, once the script has reacted to what was due.
    fn push_time(&mut self, now: Millis) {
        self.inputs.push_front(Pending { at: now, input: Input::Time, message: None });
    }

    /// An input that comes before all others.
    fn push_input(&mut self, input: Input) {
        self.inputs.push_front(Pending { at: self.wall, input, message: None });
    }

    /// Tells the time, for events to come. It never goes back.
    pub fn set_wall(&mut self, now: Millis) {
        self.wall = self.wall.max(now);
    }

    /// What came since it was last taken.
    pub fn take(&mut self) -> Turn {
        self.taken_outputs();
        std::mem::take(&mut self.turn)
    }

    /// Gives commands back that must not go out yet: they are part of what comes next.
    pub fn put_back(&mut self, commands: Vec<Command>) {
        self.turn.commands.splice(0..0, commands);
    }

    /// Events that wait for a commit.
    pub fn pending_events(&self) -> usize {
        self.turn.events.len()
    }

    /// What the script does now is new, not replayed.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// How many inputs were handed to the script, recorded and new.
    pub fn inputs_handed(&self) -> u64 {
        self.handed
    }

    /// Takes commands of this turn back before they go out; whoever does must [`deliver`](Replay::deliver) what they
    /// come to.
    pub fn retain_commands(&mut self, keep: impl FnMut(&Command) -> bool) {
        self.turn.commands.retain(keep);
    }

    /// Counts the bytes of stored events against the limit.
    pub fn add_log_bytes(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The number of the last event, committed or still to be taken.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn started_at(&self) -> Option<Millis> {
        self.started_at
    }

    /// An attempt of a step is under way, so far as this replay knows.
    pub fn has_attempts(&self) -> bool {
        self.steps.values().any(|step| step.retry.is_none())
    }

    pub fn status(&self) -> Status {
        match &self.verdict {
            Some(Verdict::Diverged(_)) => Status::Parked,
            Some(Verdict::Ended(Body::RunCompleted { .. })) => Status::Completed,
            Some(Verdict::Ended(Body::RunCancelled { .. })) => Status::Cancelled,
            Some(Verdict::Ended(Body::RunContinued { .. })) => Status::Continued,
            Some(Verdict::Ended(_)) => Status::Failed,
            None if !self.started => Status::Pending,
            None if !self.steps.is_empty() => Status::Running,
            None if !self.suspends.is_empty() => Status::Suspended,
            None => Status::Waiting,
        }
    }

    // ---- inside

    /// Asks for an event: matches it with what is recorded, or makes it. `None`: it diverged.
    fn ask(&mut self, id: Option<&StepId>, site: Option<&Site>, body: Body) -> Option<Asked> {
        let key = (id.cloned(), Phase::of(&body));
        if let Some(event) = self.recorded.remove(&key) {
            if let Err(why) = divergence::fits(&event.body, &body) {
                self.diverge(why, Some(&event), Some(Side::of(&body, site)));
                return None;
            }
            return Some(Asked { at: event.at, seq: event.seq, new: false, recorded: Some(event.body) });
        }
        if self.ends_here() {
            return None;
        }
        if !self.history.is_empty() || !self.recorded.is_empty() {
            // Something else was recorded here: show what the same task did, else whatever comes next.
            let task = id.map_or("", StepId::task);
            let same = self.recorded.values().filter(|event| event.step_id.as_ref().map_or("", StepId::task) == task);
            let event = same.min_by_key(|event| event.seq).or_else(|| self.history.front()).cloned();
            let side = Side::of(&body, site);
            match (&event, id) {
                // The log may simply hold nothing for this call.
                (Some(event), Some(id)) if event.step_id.as_ref() != Some(id) => {
                    let message = "the script makes a call that the log does not have";
                    self.verdict = Some(Verdict::Diverged(Box::new(Divergence {
                        message: message.into(),
                        step_id: Some(id.clone()),
                        seq: event.seq,
                        recorded: event.body.is_asked().then(|| Side::of_event(event)),
                        asked: Some(side),
                    })));
                }
                _ => self.diverge("the script makes a call that the log does not have", event.as_ref(), Some(side)),
            }
            return None;
        }
        self.live = true;
        if self.last_seq >= self.limits.log_events && !body.is_terminal() {
            self.log_is_full();
            return None;
        }
        let (at, seq) = self.push(id.cloned(), site.cloned(), body);
        Some(Asked { at, seq, new: true, recorded: None })
    }

    /// Appends a new event.
    fn push(&mut self, step_id: Option<StepId>, site: Option<Site>, body: Body) -> (Millis, u64) {
        self.last_seq += 1;
        self.last_at = self.last_at.max(self.wall);
        self.turn.events.push(Event { seq: self.last_seq, at: self.last_at, step_id, site, body });
        (self.last_at, self.last_seq)
    }

    fn diverge(&mut self, message: &str, recorded: Option<&Event>, asked: Option<Side>) {
        self.verdict = Some(Verdict::Diverged(Box::new(Divergence {
            message: message.into(),
            step_id: recorded.and_then(|event| event.step_id.clone()),
            seq: recorded.map_or(self.last_seq, |event| event.seq),
            recorded: recorded.map(Side::of_event),
            asked,
        })));
    }

    /// Ends the run by a terminal event, recorded or new.
    fn finish(&mut self, body: Body) {
        if self.ends_here() {
            return;
        }
        let Some(asked) = self.ask(None, None, body.clone()) else { return };
        if asked.new {
            self.end_children(&body);
            if matches!(body, Body::RunContinued { .. }) {
                self.begin_successor();
            }
        }
        self.verdict = Some(Verdict::Ended(body));
    }

    fn wait(&mut self, task: TaskKey, waits: Waits) -> Reply {
        let group = match &waits {
            Waits::Group(group) => Some(*group),
            _ => None,
        };
        if let Some(task) = self.tasks.get_mut(&task) {
            task.state = State::Waiting(waits);
        }
        Reply::Wait(group)
    }

    fn is_deadlocked(&self) -> bool {
        self.started
            && !self.tasks.is_empty()
            && self.steps.is_empty()
            && self.timers.is_empty()
            && self.waiters.is_empty()
            && self.openings.is_empty()
            && self.children.is_empty()
            && self.suspends.is_empty()
            && self.grace_at.is_none()
    }
}

/// An input that waits until the script can take it.
struct Pending {
    at: Millis,
    input: Input,
    /// The index of the message it came with.
    message: Option<u64>,
}

/// An event that was asked for.
struct Asked {
    at: Millis,
    seq: u64,
    /// It was not recorded: the world must act.
    new: bool,
    /// What was, otherwise: its moments and names hold.
    recorded: Option<Body>,
}

impl Phase {
    fn of(body: &Body) -> Self {
        match body {
            Body::StepFailed { .. } | Body::ChildFailed { .. } | Body::HookClosed => Phase::Close,
            body if body.is_terminal() => Phase::End,
            _ => Phase::Open,
        }
    }
}
