//! Durable calls that are open, a file for each kind: what is known of them, what becomes of one whose task is cancelled
//! (`abandon`), how views show a wait for it (`describe`).

pub mod child;
pub mod group;
pub mod hook;
pub mod inbox;
pub mod request;
pub mod sleep;
pub mod start;
pub mod step;
pub mod successor;
pub mod suspend;

use self::child::Children;
use self::group::Groups;
use self::hook::Hooks;
use self::inbox::Inbox;
use self::request::HostRequests;
use self::step::Steps;
use self::suspend::Suspends;
use crate::StepId;
use crate::replay::call::TaskKey;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::timers::Timers;
use crate::replay::turn::WaitingFor;
use crate::replay::waits::WaitsFor;

/// All open calls of a run.
pub(super) struct OpenCalls {
    pub timers: Timers,
    pub steps: Steps,
    pub inbox: Inbox,
    pub hooks: Hooks,
    pub suspends: Suspends,
    pub children: Children,
    pub requests: HostRequests,
    pub groups: Groups,
}

impl OpenCalls {
    pub fn new(inbox: Inbox) -> Self {
        OpenCalls {
            timers: Timers::default(),
            steps: Steps::default(),
            inbox,
            hooks: Hooks::default(),
            suspends: Suspends::default(),
            children: Children::default(),
            requests: HostRequests::default(),
            groups: Groups::default(),
        }
    }

    /// Takes a task that is cancelled away from what it waits for.
    pub fn abandon(&mut self, task: TaskKey, waits: &WaitsFor, reason: &str, cursor: &mut Cursor) -> Result<(), Stop> {
        match waits {
            WaitsFor::Step(id) => self.steps.abandon(id, reason, &mut self.timers, cursor)?,
            WaitsFor::Sleep(timer, _) => self.timers.remove(*timer),
            WaitsFor::Message(wait) => self.inbox.abandon(task, wait, &mut self.timers),
            WaitsFor::Suspend(id) => self.suspends.abandon(id, &mut self.timers),
            WaitsFor::Child(id) => self.children.abandon(id, reason, cursor)?,
            WaitsFor::Request(id) => self.requests.abandon(id, cursor),
            WaitsFor::Group(key) => self.groups.abandon(*key, &mut self.timers),
            WaitsFor::Join(key) => self.groups.abandon_join(task, *key),
        }
        Ok(())
    }

    /// What a task waits for that made its call at `site`.
    pub fn describe(&self, waits: &WaitsFor, site: String) -> Option<WaitingFor> {
        match waits {
            WaitsFor::Step(id) => self.steps.describe(id, site),
            WaitsFor::Sleep(timer, id) => Some(sleep::describe(*timer, id, site)),
            WaitsFor::Message(wait) => Some(Inbox::describe(wait, |hook: &StepId| self.hooks.token(hook), site)),
            WaitsFor::Suspend(id) => self.suspends.describe(id, site),
            WaitsFor::Child(id) => self.children.describe(id, site),
            WaitsFor::Request(id) => Some(HostRequests::describe(id, site)),
            WaitsFor::Group(key) => self.groups.describe(*key, site),
            WaitsFor::Join(key) => Some(self.groups.describe_join(*key, site)),
        }
    }

    /// A child has ended, or a detached run could not be started: the task that waits for it.
    pub fn child_ended(&mut self, id: &StepId) -> Result<TaskKey, Stop> {
        match self.children.ended(id) {
            Some(task) => Ok(task),
            None => {
                let unknown = Stop::Unasked("the log has the end of a child that the script did not start");
                self.requests.answered(id, None).map_err(|_| unknown)
            }
        }
    }

    /// Nothing is open that an external input or the time could end: what tasks wait for is other tasks.
    pub fn wait_for_nothing(&self) -> bool {
        self.steps.is_empty()
            && self.timers.is_empty()
            && !self.inbox.has_waiters()
            && self.requests.is_empty()
            && self.children.is_empty()
            && self.suspends.is_empty()
    }
}
