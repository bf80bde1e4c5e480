//! How a run comes to its end: by its script, by a limit, by an operator, or because it does not fit its log.

use std::sync::Arc;

use super::Replay;
use super::call::BODY;
use super::cursor::Stop;
use super::life::{BodyEnd, Life};
use super::limits;
use super::open::successor;
use super::turn::Verdict;
use crate::{EventBody, Failure, FailureKind, Value};

impl Replay {
    /// Ends the run as failed, whatever the script does. Afterwards `call` answers `Stop`.
    pub fn fail(&mut self, failure: Failure) {
        if !self.life.is_over() {
            self.finish(EventBody::RunFailed { error: failure }, None);
        }
    }

    /// Ends the run at once, wherever its script is, and before everything that is queued; once its log is replayed, so that
    /// its children are known.
    pub fn terminate(&mut self, reason: String) {
        self.queue.terminate(reason);
        self.end_if_terminated();
    }

    /// Ends the run that is to be terminated, if its log is replayed; `true`: it is over.
    pub fn end_if_terminated(&mut self) -> bool {
        if self.cursor.is_through()
            && let Some(reason) = self.queue.take_termination()
        {
            self.fail(Failure::new(FailureKind::Terminated, reason));
        }
        self.life.is_over()
    }

    /// The log ends by a termination, and nothing else is left in it.
    pub fn only_terminated(&self) -> bool {
        self.cursor.only_terminated()
    }

    /// The log ends where the script stands, in the middle of what it did: it was terminated there, or came to a limit,
    /// which need not be the same everywhere. What it would do next never happened.
    pub fn ends_here(&mut self) -> bool {
        let end = self.cursor.end_here().cloned();
        end.map(|end| self.end_by(Verdict::Ended(end))).is_some()
    }

    /// The value or error of the body is settled; what is still open is cancelled and may clean up.
    pub(super) fn body_ended(&mut self, end: BodyEnd) {
        if self.tasks.remove(BODY).is_none() {
            return;
        }
        let end = match (end, self.calls.groups.unjoined_failure()) {
            (BodyEnd::Continues(_) | BodyEnd::Returned(Ok(_)), Some(lost)) => BodyEnd::Returned(Err(lost)),
            (end, _) => end,
        };
        if self.tasks.is_empty() {
            return self.life.body_ended(end, None);
        }
        let until = self.cursor.grace_since(self.tasks.clock()).saturating_add(self.limits.grace);
        self.life.body_ended(end, Some(until));
        // Cancelled before, they clean up already and need no warning.
        let open = self.tasks.keys().into_iter().filter_map(|key| self.tasks.get(key));
        let paths: Vec<_> = open.filter(|task| !task.was_cancelled).map(|task| task.path.clone()).collect();
        if !paths.is_empty() {
            let paths = paths.join(", ");
            self.warn(format!("the script ended with open tasks, they are cancelled: {paths}"), Value::Null);
        }
        let cancelled = self.tree().cancel_all("the script has ended");
        self.stop_if(cancelled);
    }

    /// The body has ended and so has all else.
    pub(super) fn end_by_itself(&mut self) {
        if let (Some(end), cancellation) = self.life.conclude() {
            let (body, successor) = end.into_event(cancellation, || successor::id(&self.created));
            self.finish(body, successor);
        }
    }

    /// The grace period is over: the run ends without its clean-ups.
    pub(super) fn cut_off(&mut self) {
        let open = self.tasks.all().map(|task| match task.path.as_str() {
            "" => "the body".to_owned(),
            path => format!("task {path}"),
        });
        let mut open: Vec<_> = open.collect();
        open.sort_unstable();
        let open = open.join(", ");
        self.warn(format!("clean-ups took longer than the grace period and were cut off: {open}"), Value::Null);
        match self.life.has_body_ended() {
            true => self.end_by_itself(),
            false => self.end_cancelled(),
        }
    }

    /// The body is cut off in its clean-ups.
    pub(super) fn end_cancelled(&mut self) {
        let (_, cancellation) = self.life.conclude();
        let reason = cancellation.as_ref().map_or("", |cancellation| &cancellation.reason);
        let end = BodyEnd::Returned(Err(Failure::cancelled(reason)));
        let (body, _) = end.into_event(cancellation, || successor::id(&self.created));
        self.finish(body, None);
    }

    /// Ends the run by a terminal event, recorded or new; `successor`: the input of the run that goes on.
    pub(super) fn finish(&mut self, body: EventBody, successor: Option<Value>) {
        if self.ends_here() {
            return;
        }
        match self.cursor.ask(None, None, body.clone()) {
            Err(stop) => self.stop_if(Err(stop)),
            Ok(asked) => {
                if asked.new {
                    self.calls.children.end_all(&body, &mut self.cursor);
                    if let Some(input) = successor {
                        let command = successor::command(&self.created, input, &self.calls.inbox, &self.calls.hooks);
                        self.cursor.commands.push(command);
                    }
                }
                self.end_by(Verdict::Ended(body));
            }
        }
    }

    /// The script cannot go on.
    pub(super) fn stop_if(&mut self, done: Result<(), Stop>) {
        match done {
            Ok(()) => {}
            Err(Stop::Diverged(divergence)) => self.end_by(Verdict::Diverged(divergence)),
            Err(Stop::LogEnds(end)) => self.end_by(Verdict::Ended(*end)),
            Err(Stop::LogFull) => self.fail(limits::log_is_full(self.cursor.last_seq(), self.limits.log_events)),
            Err(Stop::Unasked(why)) => debug_assert!(false, "an input that was not recorded fits: {why}"),
        }
    }

    pub(super) fn end_by(&mut self, verdict: Verdict) {
        self.life = Life::Over(Box::new(verdict));
    }
}

impl From<Result<Value, Failure>> for BodyEnd {
    fn from(result: Result<Value, Failure>) -> Self {
        BodyEnd::Returned(result.map(Arc::new))
    }
}
