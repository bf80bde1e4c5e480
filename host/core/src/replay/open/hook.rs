//! `hook` and the calls of its handle: payloads are sent to a run by token.

use std::sync::Arc;

use super::inbox::{Inbox, ReceiveOptions};
use super::request::{HostRequest, HostRequests};
use crate::event::Created;
use crate::replay::call::{Answer, HookRef, TaskKey};
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::tasks::Tasks;
use crate::replay::timers::Timers;
use crate::replay::turn::Command;
use crate::replay::waits::{Called, Caller, InboxKey};
use crate::{EventBody, Failure, FailureKind, Millis, RunId, Site, SmallMap, StepId, Value};

#[derive(Default)]
pub struct Hooks {
    open: SmallMap<StepId, OpenHook>,
    /// Tokens that the script named, in this run or in one before it of the chain.
    named: SmallMap<Arc<str>, ()>,
    /// Hooks that are closed, and their tokens.
    closed: SmallMap<StepId, Arc<str>>,
    /// These tokens, to be found by a payload however many hooks had them.
    closed_tokens: SmallMap<Arc<str>, ()>,
}

struct OpenHook {
    token: Arc<str>,
    /// The script gave the token, so it may open a hook with it again.
    named: bool,
    /// What comes for it is kept by the token.
    kept: bool,
    /// What the host needs to know of it.
    info: Value,
}

/// What a payload is for.
pub enum PayloadTarget {
    /// The hook that has the token now.
    Open(StepId, Arc<str>),
    /// No hook has the token, but one may be opened with it, or the handle of a closed one is read.
    Later(Arc<str>),
    /// No hook has or will have it.
    None,
}

impl Hooks {
    pub fn call(
        caller: Caller,
        (token, info): (Option<String>, Value),
        requests: &mut HostRequests,
        run: &Created,
        cursor: &mut Cursor,
    ) -> Called {
        requests.call(caller, HostRequest::Hook { token, info }, run, cursor)
    }

    /// The next payload of a hook; null when it is closed and nothing is left.
    pub fn wait(
        &self,
        caller: Caller,
        (hook, timeout): (&StepId, Option<Millis>),
        inbox: &mut Inbox,
        timers: &mut Timers,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let (key, closed) = self.key_of(hook);
        inbox.receive(caller, key, ReceiveOptions { timeout, closed, schema: None }, timers, cursor)
    }

    /// The tasks that wait get null, once what came before is taken.
    pub fn close(
        &mut self,
        (id, site): (&StepId, &Site),
        inbox: &mut Inbox,
        tasks: &mut Tasks,
        timers: &mut Timers,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let Some(hook) = self.open.get(id) else { return Ok(Called::null()) };
        let token = hook.token.to_string();
        let (key, _) = self.key_of(id);
        let asked = cursor.ask(Some(id), Some(site), EventBody::HookClosed)?;
        if let Some(hook) = self.open.remove(id).filter(|hook| hook.kept) {
            self.closed_tokens.insert(hook.token.clone(), ());
            self.closed.insert(id.clone(), hook.token);
        }
        inbox.close(&key, tasks, timers);
        if asked.new {
            cursor.commands.push(Command::CloseHook { token });
        }
        Ok(Called::null())
    }

    // ---- what its events change

    /// The world has the token for this run: the task that waits, and what it gets.
    pub fn opened(
        &mut self,
        id: &StepId,
        (token, url, kept): (&str, &str, bool),
        requests: &mut HostRequests,
    ) -> Result<(TaskKey, Answer), Stop> {
        let (named, info) = match requests.get_mut(id) {
            Some(HostRequest::Hook { token, info }) => (token.is_some(), std::mem::take(info)),
            _ => (false, Value::Null),
        };
        let task = requests.answered(id, Some(token))?;
        let hook = OpenHook { token: token.into(), named, kept, info };
        if named {
            self.named.insert(hook.token.clone(), ());
        }
        self.open.insert(id.clone(), hook);
        let hook = HookRef { id: id.clone(), token: token.into(), url: url.into() };
        Ok((task, Answer::Hook(Box::new(hook))))
    }

    /// Another open hook has the token: the task that waits, and what is thrown there.
    pub fn conflict(
        id: &StepId,
        (token, holder): (&str, &RunId),
        requests: &mut HostRequests,
        run: &Created,
    ) -> Result<(TaskKey, Answer), Stop> {
        let task = requests.answered(id, Some(token))?;
        let message = match *holder == run.run {
            true => format!("the token {token:?} belongs to another open hook of this run: close that one first"),
            false => format!("the token {token:?} belongs to an open hook of run {holder}"),
        };
        let failure = Failure { step_id: Some(id.clone()), ..Failure::new(FailureKind::HookConflict, message) };
        Ok((task, Answer::failure(failure.with_data(serde_json::json!({ "token": token, "run_id": holder })))))
    }

    /// Where a recorded payload is kept, and its token. It says the call that opened its hook, or the token of a hook to come.
    pub fn received(&mut self, id: Option<&StepId>, token: Option<&str>) -> Result<(InboxKey, Arc<str>), Stop> {
        match (id, token) {
            (Some(id), _) => {
                let unknown = Stop::Unasked("the log has a payload for a hook that the script did not open");
                let token = self.open.get(id).map(|hook| hook.token.clone()).ok_or(unknown)?;
                Ok((self.key_of(id).0, token))
            }
            (None, Some(token)) => {
                let token: Arc<str> = token.into();
                // For one that this run closed; else for one that a run before it had, or that a host keeps it for.
                if !self.closed_tokens.contains_key(&token) {
                    self.named.insert(token.clone(), ());
                }
                Ok((InboxKey::Token(token.clone()), token))
            }
            (None, None) => Err(Stop::Unasked("the log has the result of a call that the script did not make")),
        }
    }

    // ---- questions

    /// What a payload is for that names the token, or in messages of older hosts the call alone. `keep`: the script may
    /// open a hook with that token again.
    pub fn target(&self, opener: &StepId, token: Option<Arc<str>>, keep: bool) -> PayloadTarget {
        let open = match &token {
            None => self.open.get_key_value(opener),
            Some(token) => self.open.iter().find(|(_, hook)| hook.token == *token),
        };
        match (open, token) {
            (Some((id, hook)), _) => PayloadTarget::Open(id.clone(), hook.token.clone()),
            // Its handle is there, and what came before it was closed can still be read.
            (None, Some(token)) if keep || self.closed_tokens.contains_key(&token) => PayloadTarget::Later(token),
            (None, _) => PayloadTarget::None,
        }
    }

    /// Where payloads are kept for the hook that this call opened, and whether it is closed.
    fn key_of(&self, hook: &StepId) -> (InboxKey, bool) {
        match (self.open.get(hook), self.closed.get(hook)) {
            (Some(open), _) if open.kept => (InboxKey::Token(open.token.clone()), false),
            (None, Some(token)) => (InboxKey::Token(token.clone()), true),
            (open, _) => (InboxKey::Hook(hook.clone()), open.is_none()),
        }
    }

    /// The token that a successor may open a hook with, for a kind of messages that no task received.
    pub fn reopens(&self, key: &InboxKey) -> Option<Arc<str>> {
        match key {
            InboxKey::Token(token) => Some(token.clone()).filter(|token| self.named.contains_key(token)),
            InboxKey::Hook(id) => self.open.get(id).filter(|hook| hook.named).map(|hook| hook.token.clone()),
            InboxKey::Signal(_) => None,
        }
    }

    pub fn token(&self, hook: &StepId) -> Option<Arc<str>> {
        self.open.get(hook).map(|hook| hook.token.clone())
    }

    pub fn has_token(&self, token: &str) -> bool {
        self.open.values().any(|hook| *hook.token == *token)
    }

    /// The call that opened each, its token, whether the script named that, what the host was told of it.
    pub fn all(&self) -> impl Iterator<Item = (&StepId, &Arc<str>, bool, &Value)> {
        self.open.iter().map(|(id, hook)| (id, &hook.token, hook.named, &hook.info))
    }
}
