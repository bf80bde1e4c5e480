//! Calls that the host answers before the turn is over: `hook`, whose token the world must have for this run, and
//! `start_workflow`, whose workflow must be there.
//!
//! The answer is an input, so it is in the log and a replay gets the same one. A call that has no answer in the log (which
//! ends in the middle of a turn where it was cut off by hand) is asked for again when the run is taken up.

use std::sync::Arc;

use crate::event::Created;
use crate::options::ChildOptions;
use crate::replay::call::TaskKey;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::divergence::Side;
use crate::replay::turn::{Command, StartChild, WaitingFor};
use crate::replay::waits::{Called, Caller, WaitsFor};
use crate::{EventBody, Site, SmallMap, StepId, Value};

/// Requests to the host that it has not answered.
#[derive(Default)]
pub struct HostRequests {
    open: SmallMap<StepId, OpenRequest>,
}

struct OpenRequest {
    task: TaskKey,
    site: Site,
    request: HostRequest,
    /// The host was asked by this replay.
    issued: bool,
}

pub enum HostRequest {
    Hook { token: Option<String>, info: Value },
    Start { workflow: Arc<str>, input: Arc<Value>, options: ChildOptions },
}

impl HostRequests {
    pub fn call(&mut self, caller: Caller, request: HostRequest, run: &Created, cursor: &mut Cursor) -> Called {
        let Caller { task, id, site } = caller;
        let issued = cursor.is_through();
        if issued {
            cursor.set_live();
            cursor.commands.push(request.command(&id, run));
        }
        self.open.insert(id.clone(), OpenRequest { task, site, request, issued });
        Called::Wait(WaitsFor::Request(id))
    }

    /// Asks the host for what the log does not answer.
    pub fn ask_again(&mut self, run: &Created, cursor: &mut Cursor) {
        let mut open: Vec<_> = self.open.iter_mut().filter(|(_, open)| !open.issued).collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (id, open) in open {
            cursor.commands.push(open.request.command(id, run));
            open.issued = true;
        }
    }

    pub fn get(&self, id: &StepId) -> Option<&HostRequest> {
        self.open.get(id).map(|open| &open.request)
    }

    pub fn get_mut(&mut self, id: &StepId) -> Option<&mut HostRequest> {
        self.open.get_mut(id).map(|open| &mut open.request)
    }

    /// Where the script makes the request.
    pub fn site(&self, id: &StepId) -> Option<&Site> {
        self.open.get(id).map(|open| &open.site)
    }

    /// The host has answered; `token` must be the one that was asked for, if one was. The task that waits.
    pub fn answered(&mut self, id: &StepId, token: Option<&str>) -> Result<TaskKey, Stop> {
        let Some(open) = self.open.get(id) else {
            return Err(Stop::Unasked("the log has the answer to a call that the script did not make"));
        };
        match &open.request {
            HostRequest::Hook { token: Some(asked), .. } if token.is_some_and(|token| token != asked) => {
                return Err(Stop::Unasked("the hook is opened with another token"));
            }
            HostRequest::Hook { .. } if token.is_some() => {}
            HostRequest::Start { .. } if token.is_none() => {}
            _ => return Err(Stop::Unasked("another kind of call is asked for")),
        }
        let task = open.task;
        self.open.remove(id);
        Ok(task)
    }

    /// What the script asked for under this id, if it still waits for the answer: for reports.
    pub fn side(&self, id: Option<&StepId>, run: &Created) -> Option<Side> {
        let open = self.open.get(id?)?;
        let body = match &open.request {
            HostRequest::Hook { token, .. } => {
                EventBody::HookOpened { token: token.clone().unwrap_or_default(), url: String::new(), kept: true }
            }
            HostRequest::Start { workflow, input, .. } => EventBody::ChildStarted {
                run_id: run.run.clone(),
                name: workflow.clone(),
                input: input.clone(),
                label: None,
                detached: true,
            },
        };
        Some(Side::of(&body, Some(&open.site)))
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    // ---- as every open call

    /// The task that waits was cancelled. The host has not looked yet, or it has answered.
    pub fn abandon(&mut self, id: &StepId, cursor: &mut Cursor) {
        self.open.remove(id);
        cursor.commands.retain(|command| match command {
            Command::OpenHook { step_id, .. } => step_id != id,
            Command::StartChild(StartChild { step_id, detached: true, .. }) => step_id != id,
            _ => true,
        });
    }

    /// It is answered before the turn is over, so no view shows it.
    pub fn describe(id: &StepId, site: String) -> WaitingFor {
        WaitingFor::new("hook", Some(id.clone()), site)
    }
}

impl HostRequest {
    fn command(&self, id: &StepId, run: &Created) -> Command {
        match self {
            HostRequest::Hook { token, info } => {
                Command::OpenHook { step_id: id.clone(), token: token.clone(), info: info.clone() }
            }
            HostRequest::Start { workflow, input, options } => Command::StartChild(StartChild {
                step_id: id.clone(),
                run_id: options.id.clone().unwrap_or_else(|| run.run.child(id)),
                workflow: workflow.clone(),
                input: input.clone(),
                options: options.clone(),
                detached: true,
                again: false,
            }),
        }
    }
}
