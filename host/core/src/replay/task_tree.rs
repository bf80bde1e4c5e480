//! What goes along the tree of tasks: cancellation down, results of branches up.

use super::call::{Answer, BODY, GroupKey, GroupKind, Outcome, TaskKey};
use super::cursor::{Cursor, Stop};
use super::open::OpenCalls;
use super::tasks::{TaskState, Tasks};
use crate::{Failure, FailureKind, Millis};

/// Tasks, and what they wait for.
pub(super) struct TaskTree<'a> {
    pub tasks: &'a mut Tasks,
    pub calls: &'a mut OpenCalls,
    pub cursor: &'a mut Cursor,
}

impl TaskTree<'_> {
    /// Cancels every task that is open, in the order they were opened.
    pub fn cancel_all(&mut self, reason: &str) -> Result<(), Stop> {
        self.tasks.keys().into_iter().try_for_each(|task| self.cancel(task, reason))
    }

    /// Cancels a task and all below it: `cancelled` is thrown at its pending durable call, or at its next one. Once.
    fn cancel(&mut self, key: TaskKey, reason: &str) -> Result<(), Stop> {
        let Some(task) = self.tasks.get_mut(key) else { return Ok(()) };
        if task.was_cancelled {
            return Ok(());
        }
        task.was_cancelled = true;
        let opened = task.opened.clone();
        match &task.state {
            TaskState::New if key != BODY => {
                // It never began: there is nothing to clean up, and no warning that this failed.
                self.branch_ended(key, Some(Failure::cancelled(reason)))?;
            }
            TaskState::New | TaskState::Ready(_) | TaskState::Running => task.cancel_next(reason),
            TaskState::Waiting(waits) => {
                let waits = waits.clone();
                self.calls.abandon(key, &waits, reason, self.cursor)?;
                self.tasks.wake(key, self.tasks.clock(), Answer::failure(Failure::cancelled(reason)));
            }
        }
        for group in opened {
            self.calls.groups.begin_no_more(group);
            self.cancel_branches(group, reason)?;
        }
        Ok(())
    }

    pub fn cancel_branches(&mut self, key: GroupKey, reason: &str) -> Result<(), Stop> {
        self.calls.groups.running(key).into_iter().try_for_each(|task| self.cancel(task, reason))
    }

    /// A branch has come to its end; the text is a warning for the log.
    pub fn branch_ended(&mut self, key: TaskKey, failure: Option<Failure>) -> Result<Option<String>, Stop> {
        let Some(task) = self.tasks.remove(key) else { return Ok(None) };
        let Some((group_key, index)) = task.branch else { return Ok(None) };
        let Some(group) = self.calls.groups.get_mut(group_key) else { return Ok(None) };
        group.running.retain(|running| *running != key);
        group.done += 1;
        if group.decided.is_some() {
            self.calls.groups.forget_if_over(group_key, self.tasks);
            let failure = failure.filter(|failure| failure.kind != FailureKind::Cancelled);
            return Ok(
                failure.map(|failure| format!("the clean-up of the cancelled task {} failed: {failure}", task.path))
            );
        }
        let failed = failure.is_some();
        match group.kind {
            GroupKind::All | GroupKind::Timeout(_) if failed => self.decide(group_key, Outcome::Failed(index))?,
            GroupKind::Race => self.decide(group_key, Outcome::Won(index))?,
            GroupKind::Spawn => {
                group.failure = failure.filter(|_| !task.was_cancelled);
                self.decide(group_key, if failed { Outcome::Failed(index) } else { Outcome::All })?;
            }
            _ if group.done == group.size => self.decide(group_key, Outcome::All)?,
            _ => self.calls.groups.start_branches(group_key, self.tasks),
        }
        Ok(None)
    }

    /// The group has come to its result: the tasks that wait for it get it at once, branches that still run are cancelled.
    fn decide(&mut self, key: GroupKey, outcome: Outcome) -> Result<(), Stop> {
        let Some(group) = self.calls.groups.get_mut(key) else { return Ok(()) };
        group.decided = Some(outcome);
        let (waiter, joiners) = (group.waiter.take(), std::mem::take(&mut group.joiners));
        if let Some(timer) = group.timer.take() {
            self.calls.timers.remove(timer);
        }
        for task in waiter.into_iter().chain(joiners) {
            self.tasks.wake(task, self.tasks.clock(), Answer::Decided(key, outcome));
        }
        self.cancel_branches(key, "another branch decided")?;
        self.calls.groups.forget_if_over(key, self.tasks);
        Ok(())
    }

    /// The time of a `with_timeout` is over.
    pub fn group_timed_out(&mut self, key: GroupKey, at: Millis) -> Result<(), Stop> {
        let Some((waiter, failure)) = self.calls.groups.time_out(key) else { return Ok(()) };
        if let Some(waiter) = waiter {
            self.tasks.wake(waiter, at, Answer::failure(failure));
        }
        self.cancel_branches(key, "the time was over")?;
        self.calls.groups.forget_if_over(key, self.tasks);
        Ok(())
    }
}
