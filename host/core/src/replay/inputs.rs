//! What comes from outside, recorded or new, and what it does to the run.

use std::sync::Arc;

use super::mail::Mail;
use super::tasks::Task;
use super::{Command, Input, Pending, Phase, Replay, Timer, Verdict, Waits};
use crate::replay::call::{Answer, BODY};
use crate::replay::turn::AttemptError;
use crate::{Body, Event, Failure, Kind, Millis, StepId, Value, retry, rng};

impl Replay {
    /// Hands over the next recorded input, and lays out what the script asked for after it.
    pub(super) fn replay_input(&mut self, event: Event) {
        if event.body.is_asked() {
            // Nothing the script waited for led to it: a call it should have made before.
            self.leftover(event);
            return;
        }
        while let Some(next) = self.history.front() {
            // What a version asked for beyond what the version before it did stands behind the move, what a run asked for
            // beyond the log that it took over behind its own beginning.
            let moved = matches!(next.body, Body::RunMigrated { .. } | Body::RunStarted { again: Some(_) });
            if !moved && !next.body.is_asked() {
                break;
            }
            let next = self.history.pop_front().expect("there is a front");
            if !moved {
                self.recorded.insert((next.step_id.clone(), Phase::of(&next.body)), next);
            }
        }
        self.live = false;
        self.handed += 1;
        if let Err(why) = self.apply(event.seq, event.at, event.step_id.as_ref(), &event.body) {
            let asked = self.side_of_opening(event.step_id.as_ref());
            self.diverge(why, Some(&event), asked);
        }
    }

    /// A recorded event the script did not ask for.
    pub(super) fn leftover(&mut self, event: Event) {
        if event.body.is_terminal() && self.body.is_none() {
            // The host ended the run from outside: nothing the script has to ask for.
            if self.is_from_outside(&event.body) || !self.started {
                self.verdict = Some(Verdict::Ended(event.body));
                return;
            }
        } else if event.body.is_terminal() {
            // Clean-ups went on after the body had ended, until the grace period was over.
            self.verdict = Some(Verdict::Ended(event.body));
            return;
        }
        let why = "the log has a call that the script does not make";
        let asked = self.side_of_opening(event.step_id.as_ref());
        self.diverge(why, Some(&event), asked);
    }

    /// The host ended the run, not its script.
    fn is_from_outside(&self, end: &Body) -> bool {
        match end {
            Body::RunFailed { error } => {
                matches!(error.kind, Kind::Terminated | Kind::Limit | Kind::Deadlock | Kind::Timeout)
            }
            Body::RunCancelled { .. } => self.cancelled.is_some(),
            _ => false,
        }
    }

    /// The log ends by a termination, and nothing else is left in it.
    pub fn only_terminated(&self) -> bool {
        let terminated =
            |event: &Event| matches!(&event.body, Body::RunFailed { error } if error.kind == Kind::Terminated);
        self.history.is_empty() && self.recorded.len() == 1 && self.recorded.values().all(terminated)
    }

    /// The log ends where the script stands, in the middle of what it did: it was terminated there, or came to a limit,
    /// which need not be the same everywhere. What it would do next never happened.
    pub fn ends_here(&mut self) -> bool {
        let cut_off = |end: &Body| matches!(end, Body::RunFailed { error } if matches!(error.kind, Kind::Terminated | Kind::Limit));
        let only = self.history.is_empty() && self.recorded.len() == 1;
        let Some(end) = self.recorded.values().next().filter(|event| only && cut_off(&event.body)) else {
            return false;
        };
        self.verdict = Some(Verdict::Ended(end.body.clone()));
        true
    }

    /// Turns an input into events, and applies them.
    pub(super) fn live_input(&mut self, Pending { at, input, message }: Pending) {
        self.live = true;
        self.check_log_size();
        if self.verdict.is_some() {
            return;
        }
        self.applied = message.or(self.applied);
        self.handed += 1;
        match input {
            Input::Start if self.started => {}
            Input::Start => self.happen(None, Body::RunStarted { again: None }),
            Input::TakeUp => self.take_up(),
            Input::Attempt { step_id, attempt, result } => self.attempt_ended(&step_id, attempt, result),
            Input::Time => self.time(at),
            Input::Signal { name, payload, id } => {
                if id.as_ref().is_none_or(|id| !self.signal_ids.contains(id)) {
                    let step_id = self.waiters.get(&Mail::Signal(name.clone())).and_then(|tasks| tasks.front());
                    let step_id = step_id.and_then(|task| self.tasks.get(task)).map(|task| task.last_call());
                    self.happen(step_id, Body::SignalReceived { name, payload: Arc::new(payload), id });
                }
            }
            Input::HookOpened { step_id, token, url } => {
                if self.openings.contains_key(&step_id) {
                    self.happen(Some(step_id), Body::HookOpened { token, url, kept: true });
                }
            }
            Input::HookConflict { step_id, token, run_id } => {
                if self.openings.contains_key(&step_id) {
                    self.happen(Some(step_id), Body::HookConflict { token, run_id });
                }
            }
            Input::HookPayload { step_id, token, keep, payload, id } => {
                self.hook_payload(step_id, token, keep, payload, id);
            }
            Input::Resume { step_id, run, data } => {
                let asked = run.as_ref().is_none_or(|run| *run == self.created.run);
                if asked && self.suspends.contains_key(&step_id) {
                    self.happen(Some(step_id), Body::Resumed { data: Arc::new(data) });
                } else {
                    let message = format!("an answer came for the question {step_id}, which is not asked any more");
                    self.line("warn", message, data, None);
                }
            }
            Input::Started { step_id, run_id } => {
                if let Some(super::What::Start { workflow, input, options }) =
                    self.openings.get(&step_id).map(|opening| &opening.what)
                {
                    let (name, input, label) = (workflow.clone(), input.clone(), options.label.clone());
                    let body = Body::ChildStarted { run_id, name, input, label, detached: true };
                    self.happen(Some(step_id), body);
                }
            }
            Input::Child { step_id, run, result } => {
                let open = self.children.get(&step_id);
                let own = open.is_some_and(|child| run.is_none_or(|run| run == child.run_id));
                if own || open.is_none() && self.openings.contains_key(&step_id) {
                    let body = match result {
                        Ok(output) => Body::ChildCompleted { output: Arc::new(output) },
                        Err(error) => Body::ChildFailed { error },
                    };
                    self.happen(Some(step_id), body);
                }
            }
            Input::Cancel { reason } => match &self.cancelled {
                _ if !self.started => self.finish(Body::RunCancelled { reason }),
                _ if self.body.is_some() => self.cut_off(),
                None => self.happen(None, Body::CancelRequested { reason, timeout: false }),
                Some(first) => {
                    let reason = first.clone();
                    self.end(Err(Failure::cancelled(&reason)));
                }
            },
            Input::Terminate { reason } => self.fail(Failure::new(Kind::Terminated, reason)),
        }
    }

    /// Something happened just now: an event, and what follows from it.
    fn happen(&mut self, step_id: Option<StepId>, body: Body) {
        // Values are shared, so this copies little.
        let copy = body.clone();
        // What opens a call says where it stands.
        let site = step_id.as_ref().and_then(|id| self.openings.get(id)).map(|opening| opening.site.clone());
        let (at, seq) = self.push(step_id.clone(), site, body);
        let applied = self.apply(seq, at, step_id.as_ref(), &copy);
        debug_assert!(applied.is_ok(), "a live input fits: {applied:?}");
    }

    /// The one place where inputs change a run. `Err`: the script never asked for what this answers.
    fn apply(&mut self, seq: u64, at: u64, id: Option<&StepId>, body: &Body) -> Result<(), &'static str> {
        const UNASKED: &str = "the log has the result of a call that the script did not make";
        self.note_input(seq);
        self.last_input = seq;
        match body {
            Body::RunStarted { again: None } => {
                self.clock = at;
                self.started = true;
                self.started_at = Some(self.taken_over.started(at));
                let since = self.taken_over.since(seq, at);
                self.expires_at = self.created.timeout.map(|timeout| since.saturating_add(timeout));
                self.next_task = BODY + 1;
                self.tasks.insert(BODY, Box::new(Task::body()));
                self.ready.push_back(BODY);
            }
            Body::StepStarted { attempt, .. } => {
                let (_, step) = self.step(id).ok_or(UNASKED)?;
                step.attempt = *attempt;
                step.issued = false;
                if let Some(timer) = step.retry.take() {
                    self.timers.remove(&timer);
                }
            }
            Body::StepRetrying { retry_at, error, .. } => {
                let (id, step) = self.step(id).ok_or(UNASKED)?;
                // An attempt that never began has not failed.
                step.failures += u32::from(error.kind != Kind::Interrupted);
                step.retry = Some((*retry_at, seq));
                self.timers.insert((*retry_at, seq), (id, Timer::Retry));
            }
            Body::StepCompleted { output } => {
                let task = self.close_step(id).ok_or(UNASKED)?;
                self.wake(task, at, Answer::Value(output.clone()));
            }
            Body::StepFailed { error } => {
                let task = self.close_step(id).ok_or(UNASKED)?;
                self.wake(task, at, Answer::Failure(error.clone()));
            }
            Body::TimerFired => {
                let found = self.timers.iter().find(|(_, (owner, kind))| *kind != Timer::Retry && Some(owner) == id);
                let (key, timer) = found.map(|(key, (_, timer))| (*key, *timer)).ok_or(UNASKED)?;
                self.timers.remove(&key);
                match timer {
                    Timer::Sleep(task) => self.wake(task, at, Answer::null()),
                    Timer::Mail(task) => {
                        self.drop_waiter(task);
                        self.wake(task, at, Answer::null());
                    }
                    Timer::Suspend => {
                        if let Some(id) = id {
                            self.resume(id, at, Arc::default())?;
                        }
                    }
                    Timer::Group(group) => self.group_timed_out(group, at),
                    Timer::Retry => {}
                }
            }
            Body::SignalReceived { name, payload, id } => {
                if let Some(id) = id {
                    self.note_signal_id(id);
                }
                self.put_mail(at, Mail::Signal(name.clone()), payload);
            }
            Body::HookOpened { token, url, kept } => {
                self.hook_opened(id.ok_or(UNASKED)?, (token, url, *kept), at)?;
            }
            Body::HookConflict { token, run_id } => self.hook_conflict(id.ok_or(UNASKED)?, token, run_id, at)?,
            Body::HookReceived { payload, id: payload_id, token } => {
                let (token, hook) = match (id, token) {
                    (Some(id), _) => {
                        let hook = self.hooks.get(id);
                        let hook = hook.ok_or("the log has a payload for a hook that the script did not open")?;
                        (hook.token.clone(), Some(id.clone()))
                    }
                    (None, Some(token)) => (token.as_str().into(), None),
                    (None, None) => return Err(UNASKED),
                };
                if let Some(payload_id) = payload_id {
                    self.note_payload_id(&token, payload_id);
                }
                let mail = match hook {
                    Some(id) => self.mail_of(&id).0,
                    None => {
                        // For one that this run closed; else for one that a run before it had, or that a host keeps it for.
                        if !self.closed_tokens.contains(&token) {
                            self.named.insert(token.clone());
                        }
                        Mail::Token(token)
                    }
                };
                self.put_mail(at, mail, payload);
            }
            Body::Resumed { data } => self.resume(id.ok_or(UNASKED)?, at, data.clone())?,
            Body::ChildStarted { run_id, name, input, detached: true, .. } => {
                self.started(id.ok_or(UNASKED)?, run_id, name, input, at)?;
            }
            Body::ChildCompleted { output } => self.child_ended(id.ok_or(UNASKED)?, at, Ok(output))?,
            Body::ChildFailed { error } => self.child_ended(id.ok_or(UNASKED)?, at, Err(error))?,
            Body::CancelRequested { reason, timeout } => {
                self.cancelled = Some(reason.clone());
                self.timed_out = *timeout;
                self.expires_at = None;
                self.clock = self.clock.max(at);
                let grace_at = self.taken_over.since(seq, at).saturating_add(self.limits.grace);
                self.grace_at = Some(self.grace_at.map_or(grace_at, |earlier| earlier.min(grace_at)));
                let mut all: Vec<_> = self.tasks.keys().copied().collect();
                all.sort_unstable();
                for task in all {
                    self.cancel_task(task, reason);
                }
            }
            Body::RunMigrated { .. } | Body::RunStarted { again: Some(_) } => {}
            body if body.is_terminal() => self.verdict = Some(Verdict::Ended(body.clone())),
            _ => return Err(UNASKED),
        }
        Ok(())
    }

    /// To the hook that has the token now, or kept for the next one.
    fn hook_payload(
        &mut self,
        opener: StepId,
        token: Option<Arc<str>>,
        keep: bool,
        payload: Value,
        id: Option<String>,
    ) {
        let open = match &token {
            // From a host that named the call alone.
            None => self.hooks.get_key_value(&opener),
            Some(token) => self.hooks.iter().find(|(_, hook)| hook.token == *token),
        };
        let (step_id, token) = match (open, token) {
            (Some((step_id, hook)), _) => (Some(step_id.clone()), hook.token.clone()),
            // Its handle is there, and what came before it was closed can still be read.
            (None, Some(token)) if keep || self.closed_tokens.contains(&token) => (None, token),
            (None, _) => {
                let message = format!("a payload came for the hook {opener}, which is closed");
                return self.line("warn", message, payload, None);
            }
        };
        if id.as_ref().is_some_and(|id| self.hook_ids.contains(&(token.clone(), id.clone()))) {
            return;
        }
        let token = step_id.is_none().then(|| token.to_string());
        self.happen(step_id, Body::HookReceived { payload: Arc::new(payload), id, token });
    }

    fn attempt_ended(&mut self, id: &StepId, attempt: u32, result: Result<Value, AttemptError>) {
        let now = self.wall.max(self.last_at);
        let seed = self.created.seed.as_deref().unwrap_or(self.created.run.as_str());
        let Some(step) = self.steps.get(id).filter(|step| step.attempt == attempt && step.retry.is_none()) else {
            return;
        };
        let body = match result {
            Ok(output) => Body::StepCompleted { output: Arc::new(output) },
            Err(error) => {
                // An attempt that never began has not failed: it is made again, and counts for nothing.
                let begun = error.kind != Kind::Interrupted || error.fatal;
                let failures = step.failures + u32::from(begun);
                let policy = match &error.policy {
                    Some(policy) if !step.options.asked_retry => policy,
                    _ => &step.options.retry,
                };
                let retry_at = now.saturating_add(
                    error
                        .retry_after
                        .unwrap_or_else(|| retry::wait(policy, failures, rng::jitter(seed, id.as_str(), failures))),
                );
                if error.fatal || begun && failures >= policy.max_attempts {
                    Body::StepFailed { error: error.into_failure(&step.name, id, attempt) }
                } else if step.deadline().is_some_and(|deadline| retry_at >= deadline) {
                    let message =
                        format!("the deadline leaves no time for another attempt; the last said: {}", error.message);
                    let late = AttemptError { kind: Kind::Timeout, message, ..error };
                    Body::StepFailed { error: late.into_failure(&step.name, id, attempt) }
                } else {
                    Body::StepRetrying { attempt, error: error.into_failure(&step.name, id, attempt), retry_at }
                }
            }
        };
        self.happen(Some(id.clone()), body);
    }

    /// Fires the earliest timer that is due; the others wait until the script has reacted to it.
    ///
    /// What is due is what was due at `now`, be it long ago: what was sent after it came to the run before anything that was
    /// due only later, however late the run hears of both.
    fn time(&mut self, now: Millis) {
        if self.grace_at.is_some_and(|at| at <= now) {
            self.cut_off();
            return;
        }
        let first = self.timers.first_key_value().map(|(key, value)| (*key, value.clone()));
        if let Some(at) = self.expires_at.filter(|at| *at <= now)
            && first.as_ref().is_none_or(|(key, _)| at <= key.0)
        {
            self.expires_at = None;
            if self.body.is_some() {
                return self.cut_off();
            }
            self.push_time(now);
            let timeout = crate::duration::show(self.created.timeout.unwrap_or_default());
            let reason = format!("the run took longer than its timeout of {timeout}");
            if self.cancelled.is_none() {
                self.happen(None, Body::CancelRequested { reason, timeout: true });
            }
            return;
        }
        let Some((key, (id, timer))) = first else { return };
        if key.0 > now {
            return;
        }
        self.push_time(now);
        match timer {
            Timer::Retry => self.attempt_again(&id, false),
            _ => self.happen(Some(id), Body::TimerFired),
        }
    }

    /// After a crash: what was under way is made again, or given up. The script must react to each step that is given up
    /// before anything else happens, as it will when this is replayed; so they come last, one at a time.
    fn take_up(&mut self) {
        let mut lost: Vec<_> = self
            .steps
            .iter()
            .filter(|(_, step)| !step.issued && step.retry.is_none())
            .map(|(id, step)| (step.options.once, step.order, id.clone()))
            .collect();
        lost.sort_unstable();
        for (once, _, id) in lost {
            if once {
                let step = &self.steps[&id];
                let message = "the attempt was interrupted by the end of its host, and the step may run once only";
                let error = Failure::new(Kind::Interrupted, message).of_step(&step.name, &id, step.attempt);
                self.push_input(Input::TakeUp);
                self.happen(Some(id), Body::StepFailed { error });
                return;
            }
            self.attempt_again(&id, true);
        }
        self.ask_again();
        self.look_after_children();
    }

    /// The host stops, and the attempt it was asked for has not begun: it is made by whoever takes the run up. Without
    /// this a step that may run once only would count as interrupted.
    pub fn not_begun(&mut self, id: &StepId) {
        let Some(step) = self.steps.get(id).filter(|step| step.retry.is_none()) else { return };
        let error = Failure::new(Kind::Interrupted, "the host stopped before the attempt began");
        let error = error.of_step(&step.name, id, step.attempt);
        let retry_at = self.wall.max(self.last_at);
        self.happen(Some(id.clone()), Body::StepRetrying { attempt: step.attempt, error, retry_at });
    }

    fn attempt_again(&mut self, id: &StepId, again: bool) {
        let Some(step) = self.steps.get(id) else { return };
        let (name, attempt) = (step.name.clone(), step.attempt + 1);
        self.happen(Some(id.clone()), Body::StepStarted { name, input: None, attempt, label: None });
        if let Some(step) = self.steps.get_mut(id) {
            step.issued = true;
            let command = step.command(id, self.wall, again, &self.created);
            self.turn.commands.push(command);
        }
    }

    /// Fails the run before its log outgrows the limit; warns at half.
    fn check_log_size(&mut self) {
        let pending = self.turn.events.len() as u64;
        let (events, bytes) = (self.last_seq, self.log_bytes + pending * 100);
        let (most, most_bytes) = (self.limits.log_events, self.limits.log_bytes);
        let advice = "use continue_as_new to go on with an empty log";
        if events >= most {
            self.log_is_full();
        } else if bytes >= most_bytes {
            let message = format!("the log has {bytes} bytes, the limit is {most_bytes}: {advice}");
            self.fail(Failure::new(Kind::Limit, message));
        } else if !self.warned && (events >= most / 2 || bytes >= most_bytes / 2) {
            self.warned = true;
            let message = format!("the log has {events} events and {bytes} bytes, half of what it may have: {advice}");
            self.line("warn", message, Value::Null, None);
        }
    }

    pub(super) fn log_is_full(&mut self) {
        let (events, most) = (self.last_seq, self.limits.log_events);
        let message =
            format!("the log has {events} events, the limit is {most}: use continue_as_new to go on with an empty log");
        self.fail(Failure::new(Kind::Limit, message));
    }

    fn step(&mut self, id: Option<&StepId>) -> Option<(StepId, &mut super::OpenStep)> {
        let id = id?.clone();
        self.steps.get_mut(&id).map(|step| (id, step))
    }

    fn close_step(&mut self, id: Option<&StepId>) -> Option<u32> {
        let id = id?;
        let step = self.steps.remove(id)?;
        if let Some(timer) = step.retry {
            self.timers.remove(&timer);
        }
        Some(step.task)
    }

    /// Closes a step whose task was cancelled: the log says so, the world is told.
    pub(super) fn abandon_step(&mut self, id: &StepId, reason: &str) {
        let Some(step) = self.steps.get(id) else { return };
        let (running, issued) = (step.retry.is_none(), step.issued);
        let error = Failure::cancelled(reason).of_step(&step.name, id, step.attempt);
        self.close_step(Some(id));
        if self.ask(Some(id), None, Body::StepFailed { error }).is_some() && running && issued {
            self.turn.commands.push(Command::CancelStep(id.clone()));
        }
    }

    /// The run came to its end by itself.
    pub(super) fn end(&mut self, result: Result<Arc<Value>, Failure>) {
        let body = match (result, &self.cancelled) {
            (Ok(_), None) if self.continuing.is_some() => self.continued(),
            (Ok(output), _) if self.continuing.is_none() => Body::RunCompleted { output },
            (Err(error), Some(_)) if error.kind != Kind::Cancelled => Body::RunFailed { error },
            (_, Some(reason)) if self.timed_out => {
                Body::RunFailed { error: Failure::new(Kind::Timeout, reason.clone()) }
            }
            (_, Some(reason)) => Body::RunCancelled { reason: reason.clone() },
            (Ok(output), None) => Body::RunCompleted { output },
            (Err(error), _) => Body::RunFailed { error },
        };
        self.finish(body);
    }

    /// What every open task waits for, in the order the tasks were opened.
    pub fn waiting_for(&self) -> Vec<super::WaitingFor> {
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        tasks.sort_unstable_by_key(|(key, _)| **key);
        tasks.into_iter().filter_map(|(_, task)| self.describe(task)).collect()
    }

    fn describe(&self, task: &Task) -> Option<super::WaitingFor> {
        let super::State::Waiting(waits) = &task.state else { return None };
        let site = task.site.to_string();
        let mut view =
            super::WaitingFor { kind: "", step_id: None, name: None, run_id: None, until: None, site, schema: None };
        match waits {
            Waits::Step(id) => {
                let step = self.steps.get(id)?;
                view.kind = if step.retry.is_some() { "retry" } else { "step" };
                view.name = Some(step.name.clone());
                view.until = step.retry.map(|timer| timer.0);
                view.step_id = Some(id.clone());
            }
            Waits::Timer(timer, id) => {
                view.kind = "sleep";
                view.until = Some(timer.0);
                view.step_id = Some(id.clone());
            }
            Waits::Mail(mail, timer, id, schema) => {
                (view.kind, view.name) = match mail {
                    Mail::Signal(name) => ("signal", Some(name.clone())),
                    Mail::Token(token) => ("hook", Some(token.clone())),
                    Mail::Hook(hook) => ("hook", self.hooks.get(hook).map(|hook| hook.token.clone())),
                };
                view.until = timer.map(|timer| timer.0);
                view.step_id = Some(id.clone());
                view.schema = schema.clone();
            }
            Waits::Suspend(id) => {
                let open = self.suspends.get(id)?;
                view.kind = "suspend";
                view.name = open.label.as_deref().map(Into::into);
                view.until = open.timer.map(|timer| timer.0);
                view.step_id = Some(id.clone());
            }
            Waits::Child(id) => {
                let child = self.children.get(id)?;
                view.kind = "child";
                view.name = Some(child.name.clone());
                view.run_id = Some(child.run_id.clone());
                view.step_id = Some(id.clone());
            }
            // Answered before anybody can look.
            Waits::Opening(id) => {
                view.kind = "hook";
                view.step_id = Some(id.clone());
            }
            Waits::Group(group) => {
                let group = self.groups.get(group)?;
                view.kind = "tasks";
                view.until = group.timer.map(|timer| timer.0);
                view.step_id = Some(group.id.clone());
            }
            Waits::Join(group) => {
                view.kind = "task";
                view.step_id = self.groups.get(group).map(|group| group.id.clone());
            }
        }
        Some(view)
    }

    /// Whether the status and verdict say that nothing will ever happen again.
    pub fn is_over(&self) -> bool {
        self.status().is_terminal()
    }
}
