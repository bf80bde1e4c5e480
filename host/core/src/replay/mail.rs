//! What comes in by name: signals, and the payloads of hooks. Both are kept in order until somebody takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::call::{Answer, HookRef, Reply, TaskKey};
use super::openings::What;
use super::tasks::{State, Waits};
use super::{Command, Replay, Timer};
use crate::{Body, Failure, Kind, Millis, RunId, Site, StepId, Value};

/// Where something lies until it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Mail {
    Signal(Arc<str>),
    /// For a token, whichever hook has it.
    Token(Arc<str>),
    /// By the call that opened the hook, in logs of older versions.
    Hook(StepId),
}

/// A hook that is open.
pub(super) struct OpenHook {
    pub token: Arc<str>,
    /// The script gave the token, so it may open a hook with it again.
    pub named: bool,
    /// What comes for it is kept by the token.
    pub kept: bool,
    /// What the host needs to know of it.
    pub info: Value,
}

impl Replay {
    /// The next of that name, now or when it comes; null after the timeout.
    pub(super) fn wait_mail(
        &mut self,
        task: TaskKey,
        id: StepId,
        site: &Site,
        mail: Mail,
        (timeout, closed): (Option<Millis>, bool),
        schema: Option<Arc<Value>>,
    ) -> Reply {
        if let Some(payload) = self.take_mail(&mail) {
            return Reply::Now(Answer::Value(payload));
        }
        let timer = match timeout {
            _ if closed => return Reply::Now(Answer::null()),
            None => None,
            Some(0) => return Reply::Now(Answer::null()),
            Some(ms) => {
                let wake_at = self.wall.saturating_add(ms);
                match self.start_timer(&id, site, wake_at, Timer::Mail(task)) {
                    Some(timer) => Some(timer),
                    None => return Reply::Stop,
                }
            }
        };
        self.waiters.entry(mail.clone()).or_default().push_back(task);
        self.wait(task, Waits::Mail(mail, timer, id, schema))
    }

    pub(super) fn take_mail(&mut self, mail: &Mail) -> Option<Arc<Value>> {
        let queue = self.mail.get_mut(mail)?;
        let payload = queue.pop_front();
        if queue.is_empty() {
            self.mail.remove(mail);
        }
        payload
    }

    /// Hands it to whoever waits longest, or keeps it.
    pub(super) fn put_mail(&mut self, at: Millis, mail: Mail, payload: &Arc<Value>) {
        match self.waiters.get(&mail).and_then(|tasks| tasks.front()).copied() {
            Some(task) => {
                self.drop_waiter(task);
                self.wake(task, at, Answer::Value(payload.clone()));
            }
            None => self.mail.entry(mail).or_default().push_back(payload.clone()),
        }
    }

    /// The task no longer waits for mail, nor for the end of that wait.
    pub(super) fn drop_waiter(&mut self, task: TaskKey) {
        let Some(State::Waiting(Waits::Mail(mail, timer, ..))) = self.tasks.get(&task).map(|task| &task.state) else {
            return;
        };
        if let Some(timer) = timer {
            self.timers.remove(timer);
        }
        let mail = mail.clone();
        if let Some(queue) = self.waiters.get_mut(&mail) {
            queue.retain(|waiter| *waiter != task);
            if queue.is_empty() {
                self.waiters.remove(&mail);
            }
        }
    }

    /// Signals that came and that nobody took, by name.
    pub(super) fn unread_signals(&self) -> Vec<(Arc<str>, Arc<Value>)> {
        let mut names: Vec<_> =
            self.mail.keys().filter_map(|mail| if let Mail::Signal(name) = mail { Some(name) } else { None }).collect();
        names.sort_unstable();
        let of = |name: &Arc<str>| {
            let name = name.clone();
            self.mail[&Mail::Signal(name.clone())].iter().map(move |payload| (name.clone(), payload.clone()))
        };
        names.into_iter().flat_map(of).collect()
    }

    /// Where payloads lie for the hook that this call opened, and whether it is closed.
    pub(super) fn mail_of(&self, hook: &StepId) -> (Mail, bool) {
        match (self.hooks.get(hook), self.closed.get(hook)) {
            (Some(open), _) if open.kept => (Mail::Token(open.token.clone()), false),
            (None, Some(token)) => (Mail::Token(token.clone()), true),
            (open, _) => (Mail::Hook(hook.clone()), open.is_none()),
        }
    }

    /// Payloads that nobody took, for tokens that the script named, by token.
    pub(super) fn unread_payloads(&self) -> Vec<(Arc<str>, Arc<Value>)> {
        let mut all: Vec<(Arc<str>, &VecDeque<Arc<Value>>)> = Vec::new();
        for (mail, payloads) in &self.mail {
            match mail {
                Mail::Token(token) if self.named.contains(token) => all.push((token.clone(), payloads)),
                Mail::Hook(id) => {
                    all.extend(self.hooks.get(id).filter(|hook| hook.named).map(|hook| (hook.token.clone(), payloads)));
                }
                Mail::Token(_) | Mail::Signal(_) => {}
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let of = |(token, payloads): (Arc<str>, &VecDeque<Arc<Value>>)| {
            payloads.iter().map(move |payload| (token.clone(), payload.clone())).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).collect()
    }

    /// `false`: a payload of that id came for this token before.
    pub(super) fn note_payload_id(&mut self, token: &Arc<str>, id: &str) -> bool {
        let new = self.hook_ids.insert((token.clone(), id.to_owned()));
        if new {
            self.payload_order.push((token.clone(), id.to_owned()));
        }
        new
    }

    /// `false`: a signal of that id was delivered before.
    pub(super) fn note_signal_id(&mut self, id: &str) -> bool {
        let new = self.signal_ids.insert(id.to_owned());
        if new {
            self.signal_order.push(id.to_owned());
        }
        new
    }

    // ---- hooks

    /// The hooks that are open: the call that opened it, its token, whether the script named that, what the host was told
    /// of it.
    pub fn open_hooks(&self) -> impl Iterator<Item = (&StepId, &Arc<str>, bool, &Value)> {
        self.hooks.iter().map(|(id, hook)| (id, &hook.token, hook.named, &hook.info))
    }

    /// Whether this run has the token, so far as its script goes: the world may learn of it with the next commit only.
    pub fn has_hook(&self, token: &str) -> bool {
        self.hooks.values().any(|hook| *hook.token == *token)
    }

    pub(super) fn hook_opened(
        &mut self,
        id: &StepId,
        (token, url, kept): (&str, &str, bool),
        at: Millis,
    ) -> Result<(), &'static str> {
        let (named, info) = match self.openings.get_mut(id).map(|opening| &mut opening.what) {
            Some(What::Hook { token, info }) => (token.is_some(), std::mem::take(info)),
            _ => (false, Value::Null),
        };
        let task = self.opened(id, Some(token))?;
        let hook = OpenHook { token: token.into(), named, kept, info };
        if named {
            self.named.insert(hook.token.clone());
        }
        self.hooks.insert(id.clone(), hook);
        let answer = HookRef { id: id.clone(), token: token.into(), url: url.into() };
        self.wake(task, at, Answer::Hook(answer));
        Ok(())
    }

    pub(super) fn hook_conflict(
        &mut self,
        id: &StepId,
        token: &str,
        holder: &RunId,
        at: Millis,
    ) -> Result<(), &'static str> {
        let task = self.opened(id, Some(token))?;
        let message = match *holder == self.created.run {
            true => format!("the token {token:?} belongs to another open hook of this run: close that one first"),
            false => format!("the token {token:?} belongs to an open hook of run {holder}"),
        };
        let failure = Failure { step_id: Some(id.clone()), ..Failure::new(Kind::HookConflict, message) };
        self.wake(
            task,
            at,
            Answer::Failure(failure.with_data(serde_json::json!({ "token": token, "run_id": holder }))),
        );
        Ok(())
    }

    /// Whoever waits gets null, once what came before is taken.
    pub(super) fn close_hook(&mut self, id: &StepId, site: &Site) -> Reply {
        let Some(hook) = self.hooks.get(id) else { return Reply::Now(Answer::null()) };
        let token = hook.token.to_string();
        let (mail, _) = self.mail_of(id);
        let Some(asked) = self.ask(Some(id), Some(site), Body::HookClosed) else { return Reply::Stop };
        if let Some(hook) = self.hooks.remove(id).filter(|hook| hook.kept) {
            self.closed_tokens.insert(hook.token.clone());
            self.closed.insert(id.clone(), hook.token);
        }
        let waiting: Vec<_> = self.waiters.get(&mail).into_iter().flatten().copied().collect();
        for task in waiting {
            self.drop_waiter(task);
            self.wake(task, self.clock, Answer::null());
        }
        if asked.new {
            self.turn.commands.push(Command::CloseHook { token });
        }
        Reply::Now(Answer::null())
    }
}
