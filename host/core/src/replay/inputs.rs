//! External inputs, recorded or new, and what they change.

use std::sync::Arc;

use super::Replay;
use super::call::Answer;
use super::cursor::Stop;
use super::life::Cancellation;
use super::limits::LogRoom;
use super::open::hook::{Hooks, PayloadTarget};
use super::open::start;
use super::open::step::Interrupted;
use super::queue::PendingInput;
use super::tasks::Task;
use super::timers::Timer;
use super::turn::{Input, Verdict};
use super::waits::InboxKey;
use crate::{Event, EventBody, Failure, FailureKind, Millis, RunId, StepId, Value};

const UNASKED: Stop = Stop::Unasked("the log has the result of a call that the script did not make");

impl Replay {
    // ---- recorded inputs

    /// Hands over the next recorded event, which should be an input.
    pub(super) fn replay_input(&mut self, event: Event) {
        if event.body.is_asked() {
            // Nothing the script waited for led to it: a call it should have made before.
            self.leftover(event);
            return;
        }
        self.inputs_handed += 1;
        match self.apply(event.seq, event.at, event.step_id.as_ref(), &event.body) {
            Err(Stop::Unasked(why)) => self.does_not_fit(why, &event),
            applied => self.stop_if(applied),
        }
    }

    /// A recorded event the script did not ask for.
    pub(super) fn leftover(&mut self, event: Event) {
        // The host ended the run: nothing the script has to ask for. Or clean-ups went on after the body had ended, until
        // the grace period was over.
        let fits = self.life.has_body_ended() || self.started_at.is_none() || self.is_the_hosts(&event.body);
        if event.body.is_terminal() && fits {
            self.end_by(Verdict::Ended(event.body));
            return;
        }
        self.does_not_fit("the log has a call that the script does not make", &event);
    }

    /// The host ended the run, not its script.
    fn is_the_hosts(&self, end: &EventBody) -> bool {
        match end {
            EventBody::RunFailed { error } => {
                matches!(
                    error.kind,
                    FailureKind::Terminated | FailureKind::Limit | FailureKind::Deadlock | FailureKind::Timeout
                )
            }
            EventBody::RunCancelled { .. } => self.life.cancellation().is_some(),
            _ => false,
        }
    }

    /// The recorded event stands where the script asks for something else, or for nothing.
    fn does_not_fit(&mut self, why: &str, event: &Event) {
        let asked = self.calls.requests.side(event.step_id.as_ref(), &self.created);
        let divergence = self.cursor.divergence(why, Some(event), asked);
        self.end_by(Verdict::Diverged(divergence));
    }

    // ---- new inputs

    /// Turns an input into events, and applies them.
    pub(super) fn live_input(&mut self, PendingInput { at, input, message }: PendingInput) {
        self.cursor.set_wall(at);
        self.cursor.set_live();
        self.check_log_size();
        if self.life.is_over() {
            return;
        }
        self.queue.note_applied(message);
        self.inputs_handed += 1;
        match input {
            Input::Start if self.started_at.is_some() => {}
            Input::Start => self.happen(None, EventBody::RunStarted { again: None }),
            Input::TakeUp => self.take_up(),
            Input::Attempt { step_id, attempt, result } => {
                let end = self.calls.steps.end_of_attempt(&step_id, attempt, result, (self.cursor.now(), self.seed()));
                self.happen_if(step_id, end);
            }
            Input::Time => self.time(at),
            Input::Signal { name, payload, id } => self.signal(name, payload, id),
            Input::HookOpened { step_id, token, url } => {
                let body = EventBody::HookOpened { token, url, kept: true };
                let asked = self.calls.requests.get(&step_id).is_some();
                self.happen_if(step_id, Some(body).filter(|_| asked));
            }
            Input::HookConflict { step_id, token, run_id } => {
                let asked = self.calls.requests.get(&step_id).is_some();
                self.happen_if(step_id, Some(EventBody::HookConflict { token, run_id }).filter(|_| asked));
            }
            Input::HookPayload { step_id, token, keep, payload, id } => {
                let target = self.calls.hooks.target(&step_id, token, keep);
                self.hook_payload(&step_id, target, payload, id);
            }
            Input::Resume { step_id, run, data } => self.answer_of_person(step_id, run.as_ref(), data),
            Input::Started { step_id, run_id } => {
                let begun = start::event(&step_id, run_id, &self.calls.requests);
                self.happen_if(step_id, begun);
            }
            Input::Child { step_id, run, result } => self.end_of_child(step_id, run.as_ref(), result),
            Input::Cancel { reason } => self.cancel(reason),
            Input::Terminate { reason } => self.fail(Failure::new(FailureKind::Terminated, reason)),
        }
    }

    /// Something happened just now: an event, and what follows from it.
    pub(super) fn happen(&mut self, step_id: Option<StepId>, body: EventBody) {
        // What opens a call says where it stands.
        let site = step_id.as_ref().and_then(|id| self.calls.requests.site(id)).cloned();
        // Values are shared: this copies little.
        let (at, seq) = self.cursor.push(step_id.clone(), site, body.clone());
        let applied = self.apply(seq, at, step_id.as_ref(), &body);
        self.stop_if(applied);
    }

    fn happen_if(&mut self, step_id: StepId, body: Option<EventBody>) {
        if let Some(body) = body {
            self.happen(Some(step_id), body);
        }
    }

    /// A signal of an id that came before is ignored.
    fn signal(&mut self, name: Arc<str>, payload: Value, id: Option<String>) {
        if id.as_ref().is_some_and(|id| self.calls.inbox.knows_signal(id)) {
            return;
        }
        let waiter = self.calls.inbox.first_waiter(&InboxKey::Signal(name.clone()));
        let step_id = waiter.and_then(|task| self.tasks.get(task)).and_then(Task::last_call);
        self.happen(step_id, EventBody::SignalReceived { name, payload: Arc::new(payload), id });
    }

    /// To the hook that has the token now, or kept for the next one.
    fn hook_payload(&mut self, opener: &StepId, target: PayloadTarget, payload: Value, id: Option<String>) {
        let (step_id, token) = match target {
            PayloadTarget::Open(step_id, token) => (Some(step_id), token),
            PayloadTarget::Later(token) => (None, token),
            PayloadTarget::None => {
                return self.warn(format!("a payload came for the hook {opener}, which is closed"), payload);
            }
        };
        if id.as_ref().is_some_and(|id| self.calls.inbox.knows_payload(&token, id)) {
            return;
        }
        let token = step_id.is_none().then(|| token.to_string());
        self.happen(step_id, EventBody::HookReceived { payload: Arc::new(payload), id, token });
    }

    /// `run`: the one that asked, which may be another one of the chain.
    fn answer_of_person(&mut self, step_id: StepId, run: Option<&RunId>, data: Value) {
        let own = run.is_none_or(|run| *run == self.created.run);
        if own && self.calls.suspends.is_open(&step_id) {
            self.happen(Some(step_id), EventBody::Resumed { data: Arc::new(data) });
        } else {
            self.warn(format!("an answer came for the question {step_id}, which is not asked any more"), data);
        }
    }

    /// `run`: the one that ended, for another one of the chain may have started one under the same step id.
    fn end_of_child(&mut self, step_id: StepId, run: Option<&RunId>, result: Result<Value, Failure>) {
        let expected = match self.calls.children.run(&step_id) {
            Some(child) => run.is_none_or(|run| run == child),
            // A detached run that could not be started.
            None => self.calls.requests.get(&step_id).is_some(),
        };
        if expected {
            let body = match result {
                Ok(output) => EventBody::ChildCompleted { output: Arc::new(output) },
                Err(error) => EventBody::ChildFailed { error },
            };
            self.happen(Some(step_id), body);
        }
    }

    /// The first time the script is asked to stop; the second time the run ends.
    fn cancel(&mut self, reason: String) {
        if self.started_at.is_none() {
            self.finish(EventBody::RunCancelled { reason }, None);
        } else if self.life.has_body_ended() {
            self.cut_off();
        } else if self.life.cancellation().is_some() {
            self.end_cancelled();
        } else {
            self.happen(None, EventBody::CancelRequested { reason, timeout: false });
        }
    }

    /// Fires the earliest timer that is due; the others wait until the script has reacted to it.
    ///
    /// What is due is what was due at `now`, be it long ago: what was sent after it came to the run before anything that was
    /// due only later, however late the run hears of both.
    fn time(&mut self, now: Millis) {
        if self.life.grace_at().is_some_and(|at| at <= now) {
            self.cut_off();
            return;
        }
        let first = self.calls.timers.first_at();
        if let Some(at) = self.life.expires_at().filter(|at| *at <= now)
            && first.is_none_or(|first| at <= first)
        {
            if self.life.has_body_ended() {
                return self.cut_off();
            }
            self.queue.push_front(now, Input::Time);
            let timeout = crate::duration::show(self.created.timeout.unwrap_or_default());
            let reason = format!("the run took longer than its timeout of {timeout}");
            return self.happen(None, EventBody::CancelRequested { reason, timeout: true });
        }
        if first.is_none_or(|first| first > now) {
            return;
        }
        let Some((id, timer)) = self.calls.timers.first() else { return };
        let id = id.clone();
        // The time is told again, once the script has reacted to this.
        self.queue.push_front(now, Input::Time);
        match timer {
            Timer::Retry => self.attempt_again(&id, false),
            _ => self.happen(Some(id), EventBody::TimerFired),
        }
    }

    /// After a crash: what was under way is made again, or given up. The script must react to each step that is given up
    /// before anything else happens, as it will when this is replayed; so they come last, one at a time.
    fn take_up(&mut self) {
        for interrupted in self.calls.steps.interrupted() {
            match interrupted {
                Interrupted::Again(id) => self.attempt_again(&id, true),
                Interrupted::GivenUp(id, error) => {
                    self.queue.push_front(self.cursor.wall(), Input::TakeUp);
                    return self.happen(Some(id), EventBody::StepFailed { error });
                }
            }
        }
        self.calls.requests.ask_again(&self.created, &mut self.cursor);
        self.calls.children.ensure_started(&mut self.cursor);
    }

    fn attempt_again(&mut self, id: &StepId, again: bool) {
        let Some(body) = self.calls.steps.next_attempt(id) else { return };
        self.happen(Some(id.clone()), body);
        self.calls.steps.issue(id, again, &self.created, &mut self.cursor);
    }

    /// Fails the run before its log outgrows the limit; warns at half.
    fn check_log_size(&mut self) {
        match self.log_size.check(self.cursor.last_seq(), self.cursor.events.len(), &self.limits) {
            LogRoom::Enough => {}
            LogRoom::Half(message) => self.warn(message, Value::Null),
            LogRoom::Full(failure) => self.fail(failure),
        }
    }

    // ---- what inputs change

    /// The one place where inputs change a run.
    fn apply(&mut self, seq: u64, at: Millis, id: Option<&StepId>, body: &EventBody) -> Result<(), Stop> {
        self.outputs.note_input(seq);
        self.cursor.note_input(seq);
        let (calls, tasks) = (&mut self.calls, &mut self.tasks);
        let call = || id.ok_or(UNASKED);
        let (task, answer) = match body {
            EventBody::RunStarted { again: None } => {
                self.start(seq, at);
                return Ok(());
            }
            EventBody::StepStarted { attempt, .. } => {
                return calls.steps.attempt_started(call()?, *attempt, &mut calls.timers).ok_or(UNASKED);
            }
            EventBody::StepRetrying { retry_at, error, .. } => {
                let due = (*retry_at, seq);
                return calls.steps.attempt_failed(call()?, error.kind, due, &mut calls.timers).ok_or(UNASKED);
            }
            EventBody::StepCompleted { output } => {
                let task = calls.steps.close(call()?, &mut calls.timers).ok_or(UNASKED)?;
                (task, Answer::Value(output.clone()))
            }
            EventBody::StepFailed { error } => {
                let task = calls.steps.close(call()?, &mut calls.timers).ok_or(UNASKED)?;
                (task, Answer::failure(error.clone()))
            }
            EventBody::TimerFired => return self.timer_fired(call()?, at),
            EventBody::SignalReceived { name, payload, id } => {
                if let Some(id) = id {
                    calls.inbox.note_signal_id(id);
                }
                calls.inbox.put(at, InboxKey::Signal(name.clone()), payload.clone(), tasks, &mut calls.timers);
                return Ok(());
            }
            EventBody::HookOpened { token, url, kept } => {
                calls.hooks.opened(call()?, (token, url, *kept), &mut calls.requests)?
            }
            EventBody::HookConflict { token, run_id } => {
                Hooks::conflict(call()?, (token, run_id), &mut calls.requests, &self.created)?
            }
            EventBody::HookReceived { payload, id: payload_id, token } => {
                let (key, token) = calls.hooks.received(id, token.as_deref())?;
                if let Some(payload_id) = payload_id {
                    calls.inbox.note_payload_id(&token, payload_id);
                }
                calls.inbox.put(at, key, payload.clone(), tasks, &mut calls.timers);
                return Ok(());
            }
            EventBody::Resumed { data } => {
                (calls.suspends.answered(call()?, &mut calls.timers)?, Answer::Value(data.clone()))
            }
            EventBody::ChildStarted { run_id, name, input, detached: true, .. } => {
                start::started(call()?, (run_id, name, input), &mut calls.requests)?
            }
            EventBody::ChildCompleted { output } => (calls.child_ended(call()?)?, Answer::Value(output.clone())),
            EventBody::ChildFailed { error } => (calls.child_ended(call()?)?, Answer::failure(error.clone())),
            EventBody::CancelRequested { reason, timeout } => {
                let cancellation = Cancellation { reason: reason.clone(), by_timeout: *timeout };
                return self.ask_to_stop(cancellation, at);
            }
            EventBody::RunMigrated { .. } | EventBody::RunStarted { again: Some(_) } => return Ok(()),
            body if body.is_terminal() => {
                self.end_by(Verdict::Ended(body.clone()));
                return Ok(());
            }
            _ => return Err(UNASKED),
        };
        tasks.wake(task, at, answer);
        Ok(())
    }

    fn start(&mut self, seq: u64, at: Millis) {
        self.started_at = Some(self.cursor.taken_over.started(at));
        let since = self.cursor.taken_over.since(seq, at);
        self.life.start(self.created.timeout.map(|timeout| since.saturating_add(timeout)));
        self.tasks.begin(at);
    }

    fn timer_fired(&mut self, id: &StepId, at: Millis) -> Result<(), Stop> {
        match self.calls.timers.fire(id).ok_or(UNASKED)? {
            Timer::Sleep(task) => self.tasks.wake(task, at, Answer::null()),
            Timer::Message(task) => {
                self.calls.inbox.leave(task, &self.tasks, &mut self.calls.timers);
                self.tasks.wake(task, at, Answer::null());
            }
            Timer::Suspend => {
                let task = self.calls.suspends.answered(id, &mut self.calls.timers)?;
                self.tasks.wake(task, at, Answer::null());
            }
            Timer::Group(group) => self.tree().group_timed_out(group, at)?,
            Timer::Retry => {}
        }
        Ok(())
    }

    /// `cancelled` is thrown in every task.
    fn ask_to_stop(&mut self, cancellation: Cancellation, at: Millis) -> Result<(), Stop> {
        let reason = cancellation.reason.clone();
        self.tasks.move_clock(at);
        self.life.cancel(cancellation, self.cursor.grace_since(at).saturating_add(self.limits.grace));
        self.tree().cancel_all(&reason)
    }
}
