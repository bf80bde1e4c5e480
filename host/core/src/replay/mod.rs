//! A run as a pure function of its history.
//!
//! [`Replay`] stands between a script and the world. The engine asks it what to do ([`Replay::next`]), runs a task until
//! it makes a durable call ([`Replay::call`]) or ends ([`Replay::ended`]). External inputs come in through
//! [`Replay::deliver`]; what the run wants of the world goes out through [`Replay::take`].
//!
//! The history is a list of *inputs* (a step completed, a timer fired, a signal came), each followed by what the script
//! *asked* for in reaction to it (a step started, a timer started). An input is handed to the script, all tasks run until
//! they wait, then the next input follows. While the history lasts, inputs come from it and every call must be
//! recorded behind the input that led to it; afterwards they come from the host, and calls become new events. There is
//! no other difference between replay and live, so each tests the other.
//!
//! `Replay` coordinates parts that do not know it: the [cursor](cursor) in the log, the [tasks](tasks), the calls that are
//! [open](open), the [queue](queue) of inputs, the [outputs](outputs), and the run's [life](life).

pub mod call;
mod cursor;
mod divergence;
mod ending;
mod host_side;
mod inputs;
mod life;
mod limits;
mod migration;
mod open;
mod outputs;
mod queue;
mod recorded;
mod taken_over;
mod task_tree;
mod tasks;
mod timers;
mod turn;
mod waits;

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

pub use self::call::*;
use self::cursor::{Cursor, Stop};
pub use self::divergence::{Divergence, Side};
use self::life::{BodyEnd, Life};
pub use self::limits::Limits;
use self::limits::LogSize;
pub use self::migration::version_at;
use self::open::OpenCalls;
use self::open::group::NewGroup;
use self::open::hook::Hooks;
use self::open::inbox::{Inbox, ReceiveOptions};
use self::open::suspend::Question;
use self::open::{sleep, start, successor};
pub use self::outputs::StoredOutputs;
use self::outputs::{Counted, Outputs, check_name, line_bytes, size_of};
use self::queue::InputQueue;
pub use self::taken_over::TakenOver;
use self::task_tree::TaskTree;
use self::tasks::{Task, Tasks};
pub use self::turn::{AttemptError, Command, Continue, Emitted, Input, RunStep, StartChild, Turn, Verdict, WaitingFor};
use self::waits::{Called, Caller, InboxKey, WaitsFor};
use crate::event::Created;
use crate::legal::{BadLog, LogCheck};
use crate::{Event, EventBody, Failure, FailureKind, Millis, RunId, Site, Value};

/// One run: its history, where the script is in it, and what is open.
pub struct Replay {
    created: Created,
    /// The same for all runs of a host.
    limits: Arc<Limits>,
    cursor: Cursor,
    tasks: Tasks,
    calls: OpenCalls,
    queue: InputQueue,
    outputs: Outputs,
    life: Life,
    started_at: Option<Millis>,
    /// Inputs that were handed over, recorded and new.
    inputs_handed: u64,
    log_size: LogSize,
}

impl Replay {
    /// Takes a run's whole log, or any prefix of it that holds at least `run_created`.
    pub fn new(history: Vec<Event>, limits: impl Into<Arc<Limits>>) -> Result<Self, BadLog> {
        let limits = limits.into();
        let mut check = LogCheck::default();
        history.iter().try_for_each(|event| check.next(event))?;
        let mut history = VecDeque::from(history);
        let Some(Event { at, body: EventBody::RunCreated(mut created), .. }) = history.pop_front() else {
            return Err(BadLog::empty());
        };
        let inbox = match &mut created.chain {
            Some(chain) => Inbox::new(std::mem::take(&mut chain.signal_ids), std::mem::take(&mut chain.payload_ids)),
            None => Inbox::new(Vec::new(), Vec::new()),
        };
        Ok(Replay {
            created: *created,
            cursor: Cursor::new(history, at, limits.log_events),
            limits,
            tasks: Tasks::new(at),
            calls: OpenCalls::new(inbox),
            queue: InputQueue::default(),
            outputs: Outputs::default(),
            life: Life::New,
            started_at: None,
            inputs_handed: 0,
            log_size: LogSize::default(),
        })
    }

    /// What to do next: do it, then ask again, until it says `Idle` or `Stop`.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: the caller acts between two calls")]
    pub fn next(&mut self) -> Next {
        loop {
            if self.life.is_over() {
                return Next::Stop;
            }
            if let Some(next) = self.tasks.next_ready() {
                return next;
            }
            if self.life.has_body_ended() && self.tasks.is_empty() {
                self.end_by_itself();
            } else if let Some(leftover) = self.cursor.take_leftover() {
                self.leftover(leftover);
            } else if let Some(event) = self.cursor.next_recorded() {
                self.replay_input(event);
            } else if self.end_if_terminated() {
                return Next::Stop;
            } else if let Some(pending) = self.queue.pop() {
                self.live_input(pending);
            } else if self.is_deadlocked() {
                let open: Vec<_> =
                    self.waiting_for().iter().map(|wait| format!("{} at {}", wait.kind, wait.site)).collect();
                let message = format!("every open task waits for another one: {}", open.join(", "));
                self.fail(Failure::new(FailureKind::Deadlock, message));
            } else {
                self.queue.shrink();
                self.cursor.shrink();
                return Next::Idle;
            }
        }
    }

    /// A task makes a durable call.
    pub fn call(&mut self, task: TaskKey, call: Call, site: Site) -> Reply {
        if self.life.is_over() {
            return Reply::Stop;
        }
        let Some(state) = self.tasks.get_mut(task) else { return Reply::Stop };
        let numbered = !matches!(call, Call::PollSignal { .. } | Call::Join(_) | Call::CloseHook { .. });
        let caller = state.calls(task, site, numbered);
        // A hook can be closed in a cancelled task too.
        let cancelled = if matches!(call, Call::CloseHook { .. }) { None } else { state.take_cancel() };
        if let Some(reason) = cancelled {
            return Reply::Now(Answer::failure(Failure::cancelled(&reason)));
        }
        let called = match call {
            Call::Continue { input } => return self.continue_as_new(task, input),
            call => self.open(caller, call),
        };
        match called {
            Ok(Called::Now(answer)) => Reply::Now(answer),
            Ok(Called::Wait(waits)) => {
                let group = match &waits {
                    WaitsFor::Group(group) => Some(*group),
                    _ => None,
                };
                self.tasks.wait(task, waits);
                Reply::Wait(group)
            }
            Err(stop) => {
                self.stop_if(Err(stop));
                Reply::Stop
            }
        }
    }

    /// Each call is in a file of its own, see [`open`].
    fn open(&mut self, caller: Caller, call: Call) -> Result<Called, Stop> {
        let (calls, cursor, run) = (&mut self.calls, &mut self.cursor, &self.created);
        Ok(match call {
            Call::Step { name, input, options } => calls.steps.call(caller, (name, input, options), run, cursor)?,
            Call::Sleep(wake) => sleep::call(caller, wake, self.tasks.clock(), &mut calls.timers, cursor)?,
            Call::WaitFor { signal, timeout, schema } => {
                let options = ReceiveOptions::of_signal(timeout, schema);
                calls.inbox.receive(caller, InboxKey::Signal(signal), options, &mut calls.timers, cursor)?
            }
            Call::PollSignal { signal } => calls.inbox.poll(signal),
            Call::Hook { token, info } => Hooks::call(caller, (token, info), &mut calls.requests, run, cursor),
            Call::WaitHook { hook, timeout } => {
                calls.hooks.wait(caller, (&hook, timeout), &mut calls.inbox, &mut calls.timers, cursor)?
            }
            Call::CloseHook { hook } => {
                let (inbox, timers) = (&mut calls.inbox, &mut calls.timers);
                calls.hooks.close((&hook, &caller.site), inbox, &mut self.tasks, timers, cursor)?
            }
            Call::Suspend { payload, label, schema, timeout } => {
                let question = Question { payload, label, schema, timeout };
                calls.suspends.call(caller, question, &mut calls.timers, cursor)?
            }
            Call::Child { workflow, input, options } => {
                calls.children.call(caller, (workflow, input, options), run, cursor)?
            }
            Call::Start { workflow, input, options } => {
                start::call(caller, (workflow, input, options), &mut calls.requests, run, cursor)
            }
            Call::Open { kind, size, concurrency } => {
                let new = NewGroup { kind, size, concurrency, most: self.limits.open_tasks };
                calls.groups.open(caller, &new, &mut self.tasks, &mut calls.timers, cursor)?
            }
            Call::Join(group) => calls.groups.join(caller.task, group),
            Call::Continue { .. } => unreachable!("it ends the body"),
        })
    }

    /// The body is over, the successor begins when all has ended.
    fn continue_as_new(&mut self, task: TaskKey, input: Value) -> Reply {
        if task != BODY {
            return Reply::Now(Answer::failure(successor::refusal()));
        }
        self.body_ended(BodyEnd::Continues(input));
        Reply::Stop
    }

    /// A fiber came to its end. The value counts for the body only, it is the run's output; what branches return stays
    /// with the engine.
    pub fn ended(&mut self, task: TaskKey, result: Result<Value, Failure>) {
        if self.life.is_over() {
            return;
        }
        if task == BODY {
            self.body_ended(result.into());
            return;
        }
        match self.tree().branch_ended(task, result.err()) {
            Ok(Some(warning)) => self.warn(warning, Value::Null),
            Ok(None) => {}
            Err(stop) => self.stop_if(Err(stop)),
        }
    }

    /// `handle.is_done()`.
    pub fn is_done(&self, group: GroupKey) -> bool {
        self.calls.groups.is_done(group)
    }

    /// `handle.cancel()`: the branches of the group are cancelled; the caller goes on.
    pub fn cancel_group(&mut self, key: GroupKey) {
        let cancelled = self.tree().cancel_branches(key, "the task was cancelled");
        self.stop_if(cancelled);
    }

    // ---- what a script asks about its run

    /// The run's clock.
    pub fn now(&self) -> Millis {
        self.tasks.clock()
    }

    /// The random stream of a task.
    pub fn rng(&mut self, task: TaskKey) -> &mut ChaCha8Rng {
        let seed = self.created.seed.as_deref().unwrap_or(self.created.run.as_str());
        self.tasks.get_mut(task).expect("only tasks that run draw numbers").rng(seed)
    }

    /// What the script takes for the id of its run: that of the run that is tried again, if one is.
    pub fn known_as(&self) -> &RunId {
        self.created.idempotency_run.as_ref().unwrap_or(&self.created.run)
    }

    pub fn workflow(&self) -> &str {
        &self.created.workflow
    }

    /// The number of the attempt that the script makes. Where a run that is tried again replays what an attempt before it
    /// did, the script is told that one's number: it may have decided by it.
    pub fn attempt(&self) -> u32 {
        let own = self.created.attempt;
        if own == 1 || self.created.idempotency_run.is_none() {
            return own;
        }
        let left = self.cursor.first_left();
        left.map_or(own, |left| own.saturating_sub(self.cursor.taken_over.tried_behind(left)).max(1))
    }

    /// The input of the run, for its body; it is asked for once and not kept twice.
    pub fn take_input(&mut self) -> Value {
        std::mem::take(&mut self.created.input)
    }

    /// The id of the last durable call of a task; empty before the first.
    pub fn step_id(&self, task: TaskKey) -> String {
        self.tasks.get(task).and_then(Task::last_call).map_or_else(String::new, |id| id.to_string())
    }

    /// The path of a task (`2.1`); empty for the body, and for one that has ended.
    pub fn task_path(&self, task: TaskKey) -> &str {
        self.tasks.get(task).map_or("", |task| &task.path)
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the script does now is new, not replayed.
    pub fn is_live(&self) -> bool {
        self.cursor.is_live()
    }

    // ---- what a script shows

    /// Views show it from the next commit on; gives the bytes of the value as JSON. An error of kind `limit` where all
    /// values together would be larger than one payload may be.
    pub fn set_state(&mut self, key: &str, value: Value) -> Result<usize, Failure> {
        self.outputs.set_state(key, value, self.limits.payload, self.cursor.is_live())
    }

    pub fn get_state(&self, key: &str) -> Option<&Value> {
        self.outputs.state(key)
    }

    /// A line about how far the run is; empty text takes it back.
    pub fn set_status(&mut self, text: String) -> Result<(), Failure> {
        self.outputs.set_status(text)
    }

    /// What `set_status` said last.
    pub fn status_text(&self) -> Option<&str> {
        self.outputs.status()
    }

    /// Appends to one of the run's output streams, with the commit of this turn; gives the bytes of the value as JSON. An
    /// error of kind `limit` ends the run: it has written all it may.
    pub fn emit(&mut self, stream: &str, value: Value) -> Result<usize, Failure> {
        check_name("emit: the name of the stream", stream)?;
        let bytes = size_of(&value);
        let counted = self.outputs.count(bytes, &self.limits, self.cursor.is_live());
        if self.is_new(counted)? {
            self.outputs.emit(stream, self.tasks.clock(), value, bytes);
        }
        Ok(bytes)
    }

    /// `print`, `debug`, `log`: kept unless this part of the log is being replayed; gives the bytes. An error of kind `limit`
    /// ends the run: it has written all it may.
    pub fn log(&mut self, task: TaskKey, level: &str, message: String, fields: Value) -> Result<usize, Failure> {
        let bytes = line_bytes(&message, &fields);
        let counted = self.outputs.count_line(bytes, &self.limits, self.cursor.is_live());
        if self.is_new(counted)? {
            let step_id = self.tasks.get(task).and_then(Task::last_call);
            let (at, level) = (self.tasks.clock(), level.into());
            self.outputs.line(LogLine { at, level, message, fields, step_id, attempt: None }, bytes);
        }
        Ok(bytes)
    }

    /// What is recorded may have been written under other limits; but where the log ends with one, that was this one.
    fn is_new(&mut self, counted: Counted) -> Result<bool, Failure> {
        match counted.excess {
            Some(message) if counted.new || self.ends_here() => Err(Failure::new(FailureKind::Limit, message)),
            _ => Ok(counted.new),
        }
    }

    /// So much waits for a commit that the script must not go on before one.
    pub fn is_full(&self) -> bool {
        self.outputs.is_full()
    }

    // ---- inside

    /// A warning about the run in the script's log.
    fn warn(&mut self, message: String, fields: Value) {
        self.outputs.warn(self.tasks.clock(), message, fields, self.cursor.is_live());
    }

    fn tree(&mut self) -> TaskTree<'_> {
        TaskTree { tasks: &mut self.tasks, calls: &mut self.calls, cursor: &mut self.cursor }
    }

    /// What random numbers of the run are drawn from.
    fn seed(&self) -> &str {
        self.created.seed.as_deref().unwrap_or(self.created.run.as_str())
    }

    fn is_deadlocked(&self) -> bool {
        let begun = self.started_at.is_some() && !self.tasks.is_empty();
        begun && self.calls.wait_for_nothing() && self.life.grace_at().is_none()
    }
}
