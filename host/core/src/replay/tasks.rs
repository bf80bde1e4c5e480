//! Tasks: the body, branches of `parallel`, `foreach` and `race`, the closure of `with_timeout`, and what `task` opens.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;

use super::call::{Answer, BODY, GroupKey, Next, TaskKey};
use super::waits::{Caller, WaitsFor};
use crate::{Millis, Site, SmallMap, StepId, rng};

/// The open tasks of a run.
pub(super) struct Tasks {
    open: SmallMap<TaskKey, Box<Task>>,
    next: TaskKey,
    /// Tasks that can run, in the order they became ready.
    ready: VecDeque<TaskKey>,
    /// The script's time: that of the input which woke a task last.
    clock: Millis,
}

/// One line of execution, carried by a fiber of the engine.
pub(super) struct Task {
    /// Empty for the body, `4.1` for the first branch of call `4`.
    pub path: String,
    /// Numbered calls it has made.
    ordinal: u32,
    /// Where it made the last one.
    pub site: Site,
    pub state: TaskState,
    /// Not yet thrown: the reason.
    cancel: Option<String>,
    /// It was cancelled once; there is no second time.
    pub was_cancelled: bool,
    /// The group it is a branch of, and which one.
    pub branch: Option<(GroupKey, usize)>,
    /// Groups it opened that have running branches, or may get some.
    pub opened: Vec<GroupKey>,
    rng: Option<Box<ChaCha8Rng>>,
}

pub(super) enum TaskState {
    /// Queued for its first run.
    New,
    /// Queued with an answer.
    Ready(Answer),
    Running,
    Waiting(WaitsFor),
}

impl Tasks {
    pub fn new(clock: Millis) -> Self {
        Tasks { open: SmallMap::default(), next: BODY, ready: VecDeque::new(), clock }
    }

    /// The body may begin.
    pub fn begin(&mut self, at: Millis) {
        self.clock = at;
        self.next = BODY;
        self.add(String::new(), None);
    }

    /// Queues a task for its first run.
    pub fn add(&mut self, path: String, branch: Option<(GroupKey, usize)>) -> TaskKey {
        let key = self.next;
        self.next += 1;
        self.open.insert(key, Box::new(Task::new(path, branch)));
        self.ready.push_back(key);
        key
    }

    /// The next task that can run.
    pub fn next_ready(&mut self) -> Option<Next> {
        while let Some(key) = self.ready.pop_front() {
            // A task that was cancelled before it began is gone.
            let Some(task) = self.open.get_mut(&key) else { continue };
            return Some(match std::mem::replace(&mut task.state, TaskState::Running) {
                TaskState::New => match task.branch {
                    None => Next::Begin,
                    Some((group, index)) => Next::Branch { task: key, group, index },
                },
                TaskState::Ready(answer) => Next::Resume { task: key, answer },
                state @ (TaskState::Running | TaskState::Waiting(_)) => {
                    task.state = state;
                    continue;
                }
            });
        }
        None
    }

    /// Queues a waiting task with its answer; the script's clock moves to the moment of what woke it.
    pub fn wake(&mut self, key: TaskKey, at: Millis, answer: Answer) {
        if let Some(task) = self.open.get_mut(&key) {
            self.clock = self.clock.max(at);
            task.state = TaskState::Ready(answer);
            self.ready.push_back(key);
        }
    }

    pub fn wait(&mut self, key: TaskKey, waits: WaitsFor) {
        if let Some(task) = self.open.get_mut(&key) {
            task.state = TaskState::Waiting(waits);
        }
    }

    /// The script's time.
    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// It is later for all tasks.
    pub fn move_clock(&mut self, at: Millis) {
        self.clock = self.clock.max(at);
    }

    pub fn get(&self, key: TaskKey) -> Option<&Task> {
        self.open.get(&key).map(|task| &**task)
    }

    pub fn get_mut(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.open.get_mut(&key).map(|task| &mut **task)
    }

    pub fn remove(&mut self, key: TaskKey) -> Option<Box<Task>> {
        self.open.remove(&key)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn all(&self) -> impl Iterator<Item = &Task> {
        self.open.values().map(|task| &**task)
    }

    /// In the order they were opened.
    pub fn keys(&self) -> Vec<TaskKey> {
        let mut keys: Vec<_> = self.open.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}

impl Task {
    fn new(path: String, branch: Option<(GroupKey, usize)>) -> Self {
        Task {
            path,
            ordinal: 0,
            site: Site::default(),
            state: TaskState::New,
            cancel: None,
            was_cancelled: false,
            branch,
            opened: Vec::new(),
            rng: None,
        }
    }

    /// Makes a call there. Calls that leave no trace in the log have no number of their own.
    pub fn calls(&mut self, key: TaskKey, site: Site, numbered: bool) -> Caller {
        self.ordinal += u32::from(numbered);
        self.site = site.clone();
        Caller { task: key, id: StepId::make(&self.path, self.ordinal), site }
    }

    /// The id of the numbered call that it made last, if it has made one.
    pub fn last_call(&self) -> Option<StepId> {
        (self.ordinal > 0).then(|| StepId::make(&self.path, self.ordinal))
    }

    /// `cancelled` is thrown at its next call.
    pub fn cancel_next(&mut self, reason: &str) {
        self.cancel = Some(reason.to_owned());
    }

    pub fn take_cancel(&mut self) -> Option<String> {
        self.cancel.take()
    }

    /// Its random stream.
    pub fn rng(&mut self, seed: &str) -> &mut ChaCha8Rng {
        let path = &self.path;
        self.rng.get_or_insert_with(|| Box::new(rng::of_task(seed, path)))
    }
}
