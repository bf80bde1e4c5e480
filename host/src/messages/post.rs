//! The one way of a message into an inbox from outside of a run's own commits.

use std::sync::Arc;

use durhai_core::{RunId, Status};
use durhai_world::{Refused, Write};

use crate::error::{HostError, refusal};
use crate::logs::lineage::latest;
use crate::messages::message::Message;
use crate::shared::Shared;

/// Puts a message into a run's inbox, or into that of the run it became. Durable when this returns.
pub(crate) async fn post(host: &Arc<Shared>, run: &RunId, message: &Message) -> Result<(), HostError> {
    let mut run = run.clone();
    loop {
        let write = Write::Send(message.to(&run, host.store.clock.now()));
        let Err(refused) = host.store.ask(write).await? else { return Ok(()) };
        if !matches!(refused, Refused::Terminal(_, Status::Continued)) {
            return Err(refusal(refused));
        }
        let before = run.clone();
        run = host.store.blocking(move |world| latest(world, &run)).await?;
        if run == before {
            return Err(refusal(refused));
        }
    }
}
