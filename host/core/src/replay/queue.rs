//! External inputs that wait until the script can take them.

use std::collections::VecDeque;

use super::turn::Input;
use crate::Millis;

/// External inputs, in order.
#[derive(Default)]
pub(super) struct InputQueue {
    pending: VecDeque<PendingInput>,
    /// The last message whose input was applied, since the host last asked.
    applied: Option<u64>,
    /// The host is to end the run, with this reason, before anything that waits here.
    terminating: Option<String>,
}

pub(super) struct PendingInput {
    pub at: Millis,
    pub input: Input,
    /// The index of the message it came with.
    pub message: Option<u64>,
}

impl InputQueue {
    pub fn push(&mut self, at: Millis, input: Input, message: Option<u64>) {
        self.pending.push_back(PendingInput { at, input, message });
    }

    /// An input that comes before all others.
    pub fn push_front(&mut self, at: Millis, input: Input) {
        self.pending.push_front(PendingInput { at, input, message: None });
    }

    pub fn pop(&mut self) -> Option<PendingInput> {
        self.pending.pop_front()
    }

    /// The script is handed what came with this message.
    pub fn note_applied(&mut self, message: Option<u64>) {
        self.applied = message.or(self.applied);
    }

    pub fn take_applied(&mut self) -> Option<u64> {
        self.applied.take()
    }

    /// Messages of senders that wait here: signals, payloads, answers. The end of a child may have been learned in another
    /// way.
    pub fn waiting_messages(&self) -> usize {
        let sent =
            |input: &Input| matches!(input, Input::Signal { .. } | Input::HookPayload { .. } | Input::Resume { .. });
        self.pending.iter().filter(|pending| pending.message.is_some() && sent(&pending.input)).count()
    }

    /// The first reason counts.
    pub fn terminate(&mut self, reason: String) {
        self.terminating.get_or_insert(reason);
    }

    pub fn take_termination(&mut self) -> Option<String> {
        self.terminating.take()
    }

    /// A waiting run may wait for months: it keeps no room for what has passed.
    pub fn shrink(&mut self) {
        self.pending.shrink_to_fit();
    }
}
