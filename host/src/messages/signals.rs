//! Where a signal enters: checked, then put into the inbox of the run it is for.

use std::sync::Arc;

use durhai_core::RunId;
use serde::Serialize;

use crate::error::HostError;
use crate::messages::message::Message;
use crate::messages::post;
use crate::shared::Shared;
use crate::store::payload;

/// Bytes of a signal's name, at most.
const NAME: usize = 256;

/// See [`Run::signal_once`](crate::Run::signal_once). Durable when this returns.
pub(crate) async fn send<T: Serialize + ?Sized>(
    host: &Arc<Shared>,
    run: &RunId,
    name: &str,
    payload: &T,
    id: Option<String>,
) -> Result<(), HostError> {
    let payload = serde_json::to_value(payload)
        .map_err(|error| HostError::Invalid(format!("the payload is not JSON: {error}")))?;
    let limits = &host.config.limits;
    payload::check(&payload, limits.payload, limits.depth)
        .map_err(|why| HostError::Invalid(format!("the payload {why}")))?;
    if name.is_empty() || name.len() > NAME {
        return Err(HostError::Invalid(format!("the name of a signal has 1 to {NAME} bytes")));
    }
    post::post(host, run, &Message::Signal { name: name.into(), payload, id }).await?;
    host.observe.meters.signals.inc();
    Ok(())
}
