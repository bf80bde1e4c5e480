//! How the inbox of a run is read.

use std::sync::Arc;

use durhai_core::RunId;
use durhai_core::replay::Input;
use durhai_world::WorldError;

use super::Worker;
use crate::messages::message::Message;
use crate::runtime::take_up_later;

/// Messages of a run that are in memory at a time, and that the world is asked for at once.
const PAGE: usize = 256;

impl Worker {
    /// Reads what is new in a run's inbox, as much as its script takes in one turn; what was due before a message came
    /// fires before it. A message that ends the run at once is found wherever it stands: its sender was told that it will be
    /// obeyed, and the script may compute for long before it comes to it.
    pub(super) fn read_inbox(&mut self, run: &RunId) {
        let Some(live) = self.live_runs.get_mut(run) else { return };
        loop {
            let room = !live.reading;
            let from = if room { live.inbox } else { live.looked_at };
            let messages = match self.host.store.world.inbox(run, from, PAGE) {
                Ok(messages) => messages,
                Err(error @ WorldError::Unavailable(_)) => {
                    take_up_later::read_inbox_later(&self.host, run, &error);
                    break;
                }
                Err(error) => return self.host.fail(Arc::new(error)),
            };
            let Some(last) = messages.last().map(|stored| stored.index) else { break };
            match room {
                true => (live.reading, live.inbox) = (true, last),
                false => live.more = true,
            }
            for stored in messages {
                // Whatever an urgent one is for, it is looked at before its turn.
                let ahead = stored.urgent && stored.index > live.looked_at;
                let message = if room || ahead { Message::decode(&stored.bytes) } else { None };
                if let Some(Message::Terminate { reason }) = message.as_ref().filter(|_| ahead) {
                    live.terminated.get_or_insert_with(|| reason.clone());
                }
                if room {
                    live.deliver(stored.at, Input::Time);
                    let input = message.map_or_else(
                        || {
                            tracing::warn!(%run, "run {run} has a message of a kind this version does not know; dropped");
                            Input::Time
                        },
                        Message::into_input,
                    );
                    live.deliver_message(stored.at, input, stored.index);
                }
            }
            live.looked_at = live.looked_at.max(last);
        }
        self.touch(run.clone());
    }
}
