//! Tasks: branches of `parallel`, `foreach` and `race`, the closure of `with_timeout`, and what `task` opens.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::call::{Answer, BODY, GroupKey, GroupKind, Next, Outcome, Reply, TaskKey};
use super::mail::Mail;
use super::{Replay, Timer};
use crate::{Failure, Kind, Millis, Site, StepId, Value};

/// One line of execution, carried by a fiber of the engine.
pub(super) struct Task {
    /// Empty for the body, `4.1` for the first branch of call `4`.
    pub path: String,
    /// Numbered calls it has made.
    pub ordinal: u32,
    /// Where it made the last one.
    pub site: Site,
    pub state: State,
    /// Not yet thrown: the reason.
    pub cancel: Option<String>,
    /// It was cancelled once; there is no second time.
    pub was_cancelled: bool,
    /// The group it is a branch of, and which one.
    pub branch: Option<(GroupKey, usize)>,
    /// Groups it opened that have running branches, or may get some.
    pub opened: Vec<GroupKey>,
    pub rng: Option<Box<ChaCha8Rng>>,
}

pub(super) enum State {
    /// Queued for its first run.
    New,
    /// Queued with an answer.
    Ready(Answer),
    Running,
    Waiting(Waits),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Waits {
    Step(StepId),
    Timer((Millis, u64), StepId),
    Mail(Mail, Option<(Millis, u64)>, StepId, Option<Arc<Value>>),
    Suspend(StepId),
    Child(StepId),
    /// For the host, within the turn.
    Opening(StepId),
    Group(GroupKey),
    Join(GroupKey),
}

/// Branches that were opened together.
pub(super) struct Group {
    pub id: StepId,
    pub kind: GroupKind,
    pub opener: TaskKey,
    pub size: usize,
    pub concurrency: usize,
    pub started: usize,
    /// Branches that run now.
    pub running: Vec<TaskKey>,
    pub done: usize,
    pub decided: Option<Outcome>,
    /// The task that waits for the decision (not for `Spawn`).
    pub waiter: Option<TaskKey>,
    /// Tasks that wait in `join`.
    pub joiners: Vec<TaskKey>,
    pub joined: bool,
    /// The error of a `Spawn` that nobody cancelled.
    pub failure: Option<Failure>,
    pub timer: Option<(Millis, u64)>,
}

impl Task {
    pub fn body() -> Self {
        Task::new(String::new(), None)
    }

    fn new(path: String, branch: Option<(GroupKey, usize)>) -> Self {
        Task {
            path,
            ordinal: 0,
            site: Site::default(),
            state: State::New,
            cancel: None,
            was_cancelled: false,
            branch,
            opened: Vec::new(),
            rng: None,
        }
    }

    pub fn last_call(&self) -> StepId {
        StepId::make(&self.path, self.ordinal)
    }

    pub fn take_cancel(&mut self) -> Option<String> {
        self.cancel.take()
    }
}

impl Replay {
    /// The next task that can run, in the order they became ready.
    pub(super) fn next_ready(&mut self) -> Option<Next> {
        while let Some(key) = self.ready.pop_front() {
            // A task that was cancelled before it began is gone.
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            return Some(match std::mem::replace(&mut task.state, State::Running) {
                State::New => match task.branch {
                    None => Next::Begin,
                    Some((group, index)) => Next::Branch { task: key, group, index },
                },
                State::Ready(answer) => Next::Resume { task: key, answer },
                state @ (State::Running | State::Waiting(_)) => {
                    task.state = state;
                    continue;
                }
            });
        }
        None
    }

    pub(super) fn open(
        &mut self,
        task: TaskKey,
        id: StepId,
        site: &Site,
        kind: GroupKind,
        size: usize,
        concurrency: usize,
    ) -> Reply {
        let most = self.limits.open_tasks;
        let wanted = self.tasks.len() + size.min(concurrency.max(1));
        if wanted > most {
            let message = format!("the run would have {wanted} open tasks, the limit is {most}");
            return Reply::Now(Answer::Failure(Failure::new(Kind::Limit, message)));
        }
        let key = self.next_group;
        self.next_group += 1;
        let timer = match kind {
            GroupKind::Timeout(ms) => {
                let wake_at = self.wall.saturating_add(ms);
                match self.start_timer(&id, site, wake_at, Timer::Group(key)) {
                    Some(timer) => Some(timer),
                    None => return Reply::Stop,
                }
            }
            _ => None,
        };
        let spawn = kind == GroupKind::Spawn;
        self.groups.insert(
            key,
            Group {
                id,
                kind,
                opener: task,
                size,
                concurrency: concurrency.max(1),
                started: 0,
                running: Vec::new(),
                done: 0,
                decided: None,
                waiter: (!spawn).then_some(task),
                joiners: Vec::new(),
                joined: false,
                failure: None,
                timer,
            },
        );
        if let Some(task) = self.tasks.get_mut(&task) {
            task.opened.push(key);
        }
        self.start_branches(key);
        if spawn {
            return Reply::Now(Answer::Opened(key));
        }
        if size == 0 {
            self.forget_group(key);
            return Reply::Now(Answer::Decided(key, Outcome::All));
        }
        self.wait(task, Waits::Group(key))
    }

    fn start_branches(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        while group.decided.is_none() && group.started < group.size && group.running.len() < group.concurrency {
            let index = group.started;
            group.started += 1;
            let task = self.next_task;
            self.next_task += 1;
            group.running.push(task);
            let path = format!("{}.{}", group.id, index + 1);
            self.tasks.insert(task, Box::new(Task::new(path, Some((key, index)))));
            self.ready.push_back(task);
        }
    }

    pub(super) fn join(&mut self, task: TaskKey, key: GroupKey) -> Reply {
        let Some(group) = self.groups.get_mut(&key) else {
            return Reply::Now(Answer::Failure(Failure::new(Kind::InvalidInput, "there is no such task")));
        };
        group.joined = true;
        match group.decided {
            Some(outcome) => Reply::Now(Answer::Decided(key, outcome)),
            None => {
                group.joiners.push(task);
                self.wait(task, Waits::Join(key))
            }
        }
    }

    /// `handle.is_done()`.
    pub fn is_done(&self, group: GroupKey) -> bool {
        self.groups.get(&group).is_none_or(|group| group.decided.is_some())
    }

    /// `handle.cancel()`: the branches of the group are cancelled; the caller goes on.
    pub fn cancel_group(&mut self, key: GroupKey) {
        self.cancel_branches(key, "the task was cancelled");
    }

    fn cancel_branches(&mut self, key: GroupKey, reason: &str) {
        let running = self.groups.get(&key).map(|group| group.running.clone()).unwrap_or_default();
        for task in running {
            self.cancel_task(task, reason);
        }
    }

    /// Cancels a task and all below it: `cancelled` is thrown at its pending durable call, or at its next one. Once.
    pub(super) fn cancel_task(&mut self, key: TaskKey, reason: &str) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if task.was_cancelled {
            return;
        }
        task.was_cancelled = true;
        let opened = task.opened.clone();
        match &task.state {
            State::New if key != BODY => {
                // It never began: there is nothing to clean up.
                self.branch_ended(key, Some(Failure::cancelled(reason)));
            }
            State::New | State::Ready(_) | State::Running => task.cancel = Some(reason.to_owned()),
            State::Waiting(waits) => {
                let waits = waits.clone();
                self.detach(key, &waits, reason);
                self.wake(key, self.clock, Answer::Failure(Failure::cancelled(reason)));
            }
        }
        for group in opened {
            // Nobody waits for it any more, so no further branch begins. A handle may have gone to another task.
            if let Some(group) = self.groups.get_mut(&group).filter(|group| group.kind != GroupKind::Spawn) {
                group.decided.get_or_insert(Outcome::All);
            }
            self.cancel_branches(group, reason);
        }
    }

    /// Takes a task away from what it waits for.
    fn detach(&mut self, task: TaskKey, waits: &Waits, reason: &str) {
        match waits {
            Waits::Step(id) => self.abandon_step(id, reason),
            Waits::Timer(timer, _) => drop(self.timers.remove(timer)),
            Waits::Mail(..) => self.drop_waiter(task),
            Waits::Suspend(id) => drop(self.close_suspend(id)),
            Waits::Child(id) => self.abandon_child(id, reason),
            Waits::Opening(id) => self.withdraw_opening(id),
            Waits::Group(key) => {
                if let Some(group) = self.groups.get_mut(key) {
                    group.waiter = None;
                    if let Some(timer) = group.timer.take() {
                        self.timers.remove(&timer);
                    }
                }
            }
            Waits::Join(key) => {
                if let Some(group) = self.groups.get_mut(key) {
                    group.joiners.retain(|joiner| *joiner != task);
                }
            }
        }
    }

    /// Queues a waiting task with its answer; the script's clock moves to the moment of what woke it.
    pub(super) fn wake(&mut self, key: TaskKey, at: Millis, answer: Answer) {
        if let Some(task) = self.tasks.get_mut(&key) {
            self.clock = self.clock.max(at);
            task.state = State::Ready(answer);
            self.ready.push_back(key);
        }
    }

    pub(super) fn branch_ended(&mut self, key: TaskKey, failure: Option<Failure>) {
        let Some(task) = self.tasks.remove(&key) else { return };
        let Some((group_key, index)) = task.branch else { return };
        let Some(group) = self.groups.get_mut(&group_key) else { return };
        group.running.retain(|running| *running != key);
        group.done += 1;
        if group.decided.is_some() {
            if let Some(failure) = failure.filter(|failure| failure.kind != Kind::Cancelled) {
                let message = format!("the clean-up of the cancelled task {} failed: {failure}", task.path);
                self.line("warn", message, Value::Null, None);
            }
            self.forget_if_over(group_key);
            return;
        }
        let failed = failure.is_some();
        match group.kind {
            GroupKind::All | GroupKind::Timeout(_) if failed => self.decide(group_key, Outcome::Failed(index)),
            GroupKind::Race => self.decide(group_key, Outcome::Won(index)),
            GroupKind::Spawn => {
                group.failure = failure.filter(|_| !task.was_cancelled);
                self.decide(group_key, if failed { Outcome::Failed(index) } else { Outcome::All });
            }
            _ if group.done == group.size => self.decide(group_key, Outcome::All),
            _ => self.start_branches(group_key),
        }
    }

    /// The group has come to its result: whoever waits gets it at once, branches that still run are cancelled.
    fn decide(&mut self, key: GroupKey, outcome: Outcome) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.decided = Some(outcome);
        let (waiter, joiners) = (group.waiter.take(), std::mem::take(&mut group.joiners));
        if let Some(timer) = group.timer.take() {
            self.timers.remove(&timer);
        }
        for task in waiter.into_iter().chain(joiners) {
            self.wake(task, self.clock, Answer::Decided(key, outcome));
        }
        self.cancel_branches(key, "another branch decided");
        self.forget_if_over(key);
    }

    pub(super) fn group_timed_out(&mut self, key: GroupKey, at: Millis) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.decided = Some(Outcome::All);
        group.timer = None;
        let waited = match group.kind {
            GroupKind::Timeout(ms) => crate::duration::show(ms),
            _ => String::new(),
        };
        let failure = Failure {
            step_id: Some(group.id.clone()),
            ..Failure::new(Kind::Timeout, format!("not done within {waited}"))
        };
        if let Some(waiter) = group.waiter.take() {
            self.wake(waiter, at, Answer::Failure(failure));
        }
        self.cancel_branches(key, "the time was over");
        self.forget_if_over(key);
    }

    /// Groups of `task` are kept: somebody may hold the handle.
    fn forget_if_over(&mut self, key: GroupKey) {
        let over = self
            .groups
            .get(&key)
            .is_some_and(|group| group.decided.is_some() && group.running.is_empty() && group.kind != GroupKind::Spawn);
        if over {
            self.forget_group(key);
        }
    }

    fn forget_group(&mut self, key: GroupKey) {
        if let Some(group) = self.groups.remove(&key)
            && let Some(opener) = self.tasks.get_mut(&group.opener)
        {
            opener.opened.retain(|opened| *opened != key);
        }
    }

    /// The value or error of the body is settled; what is still open is cancelled and may clean up.
    pub(super) fn body_ended(&mut self, result: Result<Arc<Value>, Failure>) {
        self.tasks.remove(&BODY);
        let mut lost: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| !group.joined)
            .filter_map(|(key, group)| group.failure.as_ref().map(|failure| (*key, group.id.clone(), failure.clone())))
            .collect();
        lost.sort_unstable_by_key(|(key, ..)| *key);
        let result = match (result, lost.into_iter().next()) {
            (Ok(_), Some((_, id, failure))) => {
                let message = format!("the task {id} failed and nobody joined it: {}", failure.message);
                Err(Failure { cause: Some(Box::new(failure.clone())), message, ..failure })
            }
            (result, _) => result,
        };
        self.body = Some(result);
        let mut open: Vec<_> = self.tasks.keys().copied().collect();
        open.sort_unstable();
        if !open.is_empty() {
            // Cancelled before, they clean up already and need no line.
            let paths: Vec<_> = open
                .iter()
                .map(|key| &self.tasks[key])
                .filter(|task| !task.was_cancelled)
                .map(|task| task.path.clone())
                .collect();
            if !paths.is_empty() {
                let message = format!("the script ended with open tasks, they are cancelled: {}", paths.join(", "));
                self.line("warn", message, Value::Null, None);
            }
            let since = self.taken_over.since(self.last_input, self.clock);
            let grace_at = since.saturating_add(self.limits.grace);
            self.grace_at = Some(self.grace_at.map_or(grace_at, |earlier| earlier.min(grace_at)));
            for key in open {
                self.cancel_task(key, "the script has ended");
            }
        }
    }

    /// The grace period is over: the run ends without its clean-ups.
    pub(super) fn cut_off(&mut self) {
        let name = |task: &Task| if task.path.is_empty() { "the body".into() } else { format!("task {}", task.path) };
        let mut open: Vec<_> = self.tasks.values().map(|task| name(task)).collect();
        open.sort_unstable();
        let message = format!("clean-ups took longer than the grace period and were cut off: {}", open.join(", "));
        self.line("warn", message, Value::Null, None);
        let reason = self.cancelled.clone().unwrap_or_default();
        let result = self.body.clone().unwrap_or_else(|| Err(Failure::cancelled(&reason)));
        self.end(result);
    }
}
