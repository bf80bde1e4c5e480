//! `wait_for` and `poll_signal`, and what hooks wait with: messages by name. They are kept in order until a task receives
//! them.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;

use crate::replay::call::{Answer, TaskKey};
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::tasks::{TaskState, Tasks};
use crate::replay::timers::{Timer, Timers};
use crate::replay::turn::WaitingFor;
use crate::replay::waits::{Called, Caller, InboxKey, MessageWait, WaitsFor};
use crate::{Millis, SmallMap, StepId, Value};

pub struct Inbox {
    /// What came and was not taken yet.
    messages: SmallMap<InboxKey, VecDeque<Arc<Value>>>,
    /// The tasks that wait for one.
    waiters: SmallMap<InboxKey, VecDeque<TaskKey>>,
    /// Ids of signals that came.
    signal_ids: SeenIds<String>,
    /// Token and id of payloads that came: one that is sent again may find another hook of that token.
    payload_ids: SeenIds<(Arc<str>, String)>,
}

/// Ids of messages that came, so that none is received twice.
struct SeenIds<T> {
    known: SmallMap<T, ()>,
    /// The same, in the order they came.
    order: Vec<T>,
}

/// How a task waits for a message.
pub struct ReceiveOptions {
    pub timeout: Option<Millis>,
    /// No further one will come.
    pub closed: bool,
    /// Of the payload that is wanted.
    pub schema: Option<Arc<Value>>,
}

impl Inbox {
    /// With the ids of messages that came to runs before this one of the chain.
    pub fn new(signal_ids: Vec<String>, payload_ids: Vec<(String, String)>) -> Self {
        Inbox {
            messages: SmallMap::default(),
            waiters: SmallMap::default(),
            signal_ids: SeenIds::new(signal_ids),
            payload_ids: SeenIds::new(payload_ids.into_iter().map(|(token, id)| (token.into(), id)).collect()),
        }
    }

    /// The next message of that kind, now or when it comes; null after the timeout.
    pub fn receive(
        &mut self,
        caller: Caller,
        key: InboxKey,
        options: ReceiveOptions,
        timers: &mut Timers,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        if let Some(payload) = self.take(&key) {
            return Ok(Called::Now(Answer::Value(payload)));
        }
        let timer = match options.timeout {
            _ if options.closed => return Ok(Called::null()),
            None => None,
            Some(0) => return Ok(Called::null()),
            Some(ms) => {
                let wake_at = cursor.wall().saturating_add(ms);
                Some(timers.start(&caller.id, &caller.site, wake_at, Timer::Message(caller.task), cursor)?)
            }
        };
        self.waiters.or_default(key.clone()).push_back(caller.task);
        Ok(Called::Wait(WaitsFor::Message(MessageWait { id: caller.id, key, timer, schema: options.schema })))
    }

    /// The next signal of that name that is there, or null.
    pub fn poll(&mut self, signal: Arc<str>) -> Called {
        self.take(&InboxKey::Signal(signal)).map_or_else(Called::null, |payload| Called::Now(Answer::Value(payload)))
    }

    /// The next message of that kind that is there.
    fn take(&mut self, key: &InboxKey) -> Option<Arc<Value>> {
        let queue = self.messages.get_mut(key)?;
        let payload = queue.pop_front();
        if queue.is_empty() {
            self.messages.remove(key);
        }
        payload
    }

    /// Hands a message to the task that waits longest, or keeps it.
    pub fn put(&mut self, at: Millis, key: InboxKey, payload: Arc<Value>, tasks: &mut Tasks, timers: &mut Timers) {
        match self.first_waiter(&key) {
            Some(task) => {
                self.leave(task, tasks, timers);
                tasks.wake(task, at, Answer::Value(payload));
            }
            None => self.messages.or_default(key).push_back(payload),
        }
    }

    /// No message of that kind will come: the tasks that wait for one get null.
    pub fn close(&mut self, key: &InboxKey, tasks: &mut Tasks, timers: &mut Timers) {
        let waiting: Vec<_> = self.waiters.get(key).into_iter().flatten().copied().collect();
        for task in waiting {
            self.leave(task, tasks, timers);
            tasks.wake(task, tasks.clock(), Answer::null());
        }
    }

    pub fn first_waiter(&self, key: &InboxKey) -> Option<TaskKey> {
        self.waiters.get(key).and_then(|tasks| tasks.front()).copied()
    }

    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// The task no longer waits for a message, nor for the end of that wait.
    pub fn leave(&mut self, task: TaskKey, tasks: &Tasks, timers: &mut Timers) {
        if let Some(TaskState::Waiting(WaitsFor::Message(wait))) = tasks.get(task).map(|task| &task.state) {
            self.abandon(task, wait, timers);
        }
    }

    /// `false`: a signal of that id came before.
    pub fn note_signal_id(&mut self, id: &str) -> bool {
        self.signal_ids.note(id.to_owned())
    }

    pub fn knows_signal(&self, id: &str) -> bool {
        self.signal_ids.known.contains_key(id)
    }

    /// `false`: a payload of that id came for this token before.
    pub fn note_payload_id(&mut self, token: &Arc<str>, id: &str) -> bool {
        self.payload_ids.note((token.clone(), id.to_owned()))
    }

    pub fn knows_payload(&self, token: &Arc<str>, id: &str) -> bool {
        self.payload_ids.known.contains_key(&(token.clone(), id.to_owned()))
    }

    // ---- what a successor gets

    /// The ids of the last so many signals.
    pub fn last_signal_ids(&self, most: usize) -> Vec<String> {
        self.signal_ids.last(most).to_vec()
    }

    /// The same of payloads, with their tokens.
    pub fn last_payload_ids(&self, most: usize) -> Vec<(String, String)> {
        self.payload_ids.last(most).iter().map(|(token, id)| (token.to_string(), id.clone())).collect()
    }

    /// Signals that no task received, by name.
    pub fn unread_signals(&self) -> Vec<(Arc<str>, Arc<Value>)> {
        self.unread(|key| match key {
            InboxKey::Signal(name) => Some(name.clone()),
            InboxKey::Token(_) | InboxKey::Hook(_) => None,
        })
    }

    /// Messages that no task received, with the name that `name` gives to their kind and in the order of these.
    pub fn unread(&self, name: impl Fn(&InboxKey) -> Option<Arc<str>>) -> Vec<(Arc<str>, Arc<Value>)> {
        let mut all: Vec<_> = self.messages.iter().filter_map(|(key, payloads)| Some((name(key)?, payloads))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let of = |(name, payloads): (Arc<str>, &VecDeque<Arc<Value>>)| {
            payloads.iter().map(|payload| (name.clone(), payload.clone())).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).collect()
    }

    // ---- as every open call

    pub fn abandon(&mut self, task: TaskKey, wait: &MessageWait, timers: &mut Timers) {
        if let Some(timer) = wait.timer {
            timers.remove(timer);
        }
        if let Some(queue) = self.waiters.get_mut(&wait.key) {
            queue.retain(|waiter| *waiter != task);
            if queue.is_empty() {
                self.waiters.remove(&wait.key);
            }
        }
    }

    /// `token`: that of the hook, where the inbox does not know it.
    pub fn describe(wait: &MessageWait, token: impl FnOnce(&StepId) -> Option<Arc<str>>, site: String) -> WaitingFor {
        let (kind, name) = match &wait.key {
            InboxKey::Signal(name) => ("signal", Some(name.clone())),
            InboxKey::Token(token) => ("hook", Some(token.clone())),
            InboxKey::Hook(hook) => ("hook", token(hook)),
        };
        let (until, schema) = (wait.timer.map(|timer| timer.0), wait.schema.clone());
        WaitingFor { name, until, schema, ..WaitingFor::new(kind, Some(wait.id.clone()), site) }
    }
}

impl ReceiveOptions {
    /// Of a wait for a signal.
    pub fn of_signal(timeout: Option<Millis>, schema: Option<Arc<Value>>) -> Self {
        ReceiveOptions { timeout, closed: false, schema }
    }
}

impl<T: Clone + Eq + Hash> SeenIds<T> {
    fn new(order: Vec<T>) -> Self {
        SeenIds { known: order.iter().map(|id| (id.clone(), ())).collect(), order }
    }

    fn note(&mut self, id: T) -> bool {
        let new = self.known.insert(id.clone(), ()).is_none();
        if new {
            self.order.push(id);
        }
        new
    }

    fn last(&self, most: usize) -> &[T] {
        &self.order[self.order.len().saturating_sub(most)..]
    }
}
