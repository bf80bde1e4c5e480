//! `parallel`, `foreach`, `race`, `with_timeout` and `task`: tasks that are opened by one call.

use crate::replay::call::{Answer, GroupKey, GroupKind, Outcome, TaskKey};
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::tasks::Tasks;
use crate::replay::timers::{Timer, Timers};
use crate::replay::turn::WaitingFor;
use crate::replay::waits::{Called, Caller, TimerKey, WaitsFor};
use crate::{Failure, FailureKind, SmallMap, StepId};

/// Groups whose branches run, or whose handles the script may hold.
#[derive(Default)]
pub struct Groups {
    open: SmallMap<GroupKey, Group>,
    next: GroupKey,
}

/// Branches that were opened together.
pub struct Group {
    id: StepId,
    pub kind: GroupKind,
    opener: TaskKey,
    pub size: usize,
    concurrency: usize,
    started: usize,
    /// Branches that run now.
    pub running: Vec<TaskKey>,
    pub done: usize,
    pub decided: Option<Outcome>,
    /// The task that waits for the decision (not for `Spawn`).
    pub waiter: Option<TaskKey>,
    /// Tasks that wait in `join`.
    pub joiners: Vec<TaskKey>,
    joined: bool,
    /// The error of a `Spawn` that was not cancelled.
    pub failure: Option<Failure>,
    pub timer: Option<TimerKey>,
}

/// What a call opens.
pub struct NewGroup {
    pub kind: GroupKind,
    pub size: usize,
    pub concurrency: usize,
    /// Tasks that the run may have open.
    pub most: usize,
}

impl Groups {
    pub fn open(
        &mut self,
        caller: Caller,
        new: &NewGroup,
        tasks: &mut Tasks,
        timers: &mut Timers,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let NewGroup { kind, size, most, .. } = *new;
        let concurrency = new.concurrency.max(1);
        let wanted = tasks.len() + size.min(concurrency);
        if wanted > most {
            let message = format!("the run would have {wanted} open tasks, the limit is {most}");
            return Ok(Called::Now(Answer::failure(Failure::new(FailureKind::Limit, message))));
        }
        let key = self.next;
        self.next += 1;
        let timer = match kind {
            GroupKind::Timeout(ms) => {
                let wake_at = cursor.wall().saturating_add(ms);
                Some(timers.start(&caller.id, &caller.site, wake_at, Timer::Group(key), cursor)?)
            }
            _ => None,
        };
        let spawn = kind == GroupKind::Spawn;
        let group = Group {
            id: caller.id,
            kind,
            opener: caller.task,
            size,
            concurrency,
            started: 0,
            running: Vec::new(),
            done: 0,
            decided: None,
            waiter: (!spawn).then_some(caller.task),
            joiners: Vec::new(),
            joined: false,
            failure: None,
            timer,
        };
        self.open.insert(key, group);
        if let Some(task) = tasks.get_mut(caller.task) {
            task.opened.push(key);
        }
        self.start_branches(key, tasks);
        if spawn {
            return Ok(Called::Now(Answer::Opened(key)));
        }
        if size == 0 {
            self.forget(key, tasks);
            return Ok(Called::Now(Answer::Decided(key, Outcome::All)));
        }
        Ok(Called::Wait(WaitsFor::Group(key)))
    }

    /// As many as may run at a time.
    pub fn start_branches(&mut self, key: GroupKey, tasks: &mut Tasks) {
        let Some(group) = self.open.get_mut(&key) else { return };
        while group.decided.is_none() && group.started < group.size && group.running.len() < group.concurrency {
            let index = group.started;
            group.started += 1;
            let path = format!("{}.{}", group.id, index + 1);
            group.running.push(tasks.add(path, Some((key, index))));
        }
    }

    pub fn join(&mut self, task: TaskKey, key: GroupKey) -> Called {
        let Some(group) = self.open.get_mut(&key) else {
            return Called::Now(Answer::failure(Failure::new(FailureKind::InvalidInput, "there is no such task")));
        };
        group.joined = true;
        match group.decided {
            Some(outcome) => Called::Now(Answer::Decided(key, outcome)),
            None => {
                group.joiners.push(task);
                Called::Wait(WaitsFor::Join(key))
            }
        }
    }

    pub fn is_done(&self, key: GroupKey) -> bool {
        self.open.get(&key).is_none_or(|group| group.decided.is_some())
    }

    pub fn get_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        self.open.get_mut(&key)
    }

    /// Branches that run now.
    pub fn running(&self, key: GroupKey) -> Vec<TaskKey> {
        self.open.get(&key).map(|group| group.running.clone()).unwrap_or_default()
    }

    /// The task that opened it was cancelled and waits no more, so no further branch begins. The handle of a `task` may have
    /// gone to another task.
    pub fn begin_no_more(&mut self, key: GroupKey) {
        if let Some(group) = self.open.get_mut(&key).filter(|group| group.kind != GroupKind::Spawn) {
            group.decided.get_or_insert(Outcome::All);
        }
    }

    /// The task that waits for the group does so no more.
    pub fn abandon(&mut self, key: GroupKey, timers: &mut Timers) {
        if let Some(group) = self.open.get_mut(&key) {
            group.waiter = None;
            if let Some(timer) = group.timer.take() {
                timers.remove(timer);
            }
        }
    }

    pub fn abandon_join(&mut self, task: TaskKey, key: GroupKey) {
        if let Some(group) = self.open.get_mut(&key) {
            group.joiners.retain(|joiner| *joiner != task);
        }
    }

    /// The time of a `with_timeout` is over: the task that waits, and what is thrown there.
    pub fn time_out(&mut self, key: GroupKey) -> Option<(Option<TaskKey>, Failure)> {
        let group = self.open.get_mut(&key)?;
        group.decided = Some(Outcome::All);
        group.timer = None;
        let waited = match group.kind {
            GroupKind::Timeout(ms) => crate::duration::show(ms),
            _ => String::new(),
        };
        let failure = Failure::new(FailureKind::Timeout, format!("not done within {waited}"));
        Some((group.waiter.take(), Failure { step_id: Some(group.id.clone()), ..failure }))
    }

    /// Groups of `task` are kept: the script may hold the handle.
    pub fn forget_if_over(&mut self, key: GroupKey, tasks: &mut Tasks) {
        let over =
            |group: &Group| group.decided.is_some() && group.running.is_empty() && group.kind != GroupKind::Spawn;
        if self.open.get(&key).is_some_and(over) {
            self.forget(key, tasks);
        }
    }

    fn forget(&mut self, key: GroupKey, tasks: &mut Tasks) {
        if let Some(group) = self.open.remove(&key)
            && let Some(opener) = tasks.get_mut(group.opener)
        {
            opener.opened.retain(|opened| *opened != key);
        }
    }

    /// The first `task` that failed and was never joined: it fails the run.
    pub fn unjoined_failure(&self) -> Option<Failure> {
        let lost = self.open.iter().filter(|(_, group)| !group.joined && group.failure.is_some());
        let (_, group) = lost.min_by_key(|(key, _)| **key)?;
        let failure = group.failure.clone()?;
        let message = format!("the task {} failed and nobody joined it: {}", group.id, failure.message);
        Some(Failure { cause: Some(Box::new(failure.clone())), message, ..failure })
    }

    pub fn describe(&self, key: GroupKey, site: String) -> Option<WaitingFor> {
        let group = self.open.get(&key)?;
        let until = group.timer.map(|timer| timer.0);
        Some(WaitingFor { until, ..WaitingFor::new("tasks", Some(group.id.clone()), site) })
    }

    pub fn describe_join(&self, key: GroupKey, site: String) -> WaitingFor {
        WaitingFor::new("task", self.open.get(&key).map(|group| group.id.clone()), site)
    }
}
