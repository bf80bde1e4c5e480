//! What a run shows of itself: its output streams and its state, as they are stored and as they are read.

use std::sync::Arc;

use durhai_core::Value;
use durhai_core::replay::Emitted;
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::handle::Run;
use crate::slot::STATE;
use crate::view::{OutputEntry, StreamView};

/// The stream that `emit(value)` appends to.
pub const DEFAULT_STREAM: &str = "default";

/// In front of the names of output streams, among the streams of a run.
pub(crate) const OUTPUT: &str = "out/";

/// One value of an output stream, as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: u64,
    value: Value,
}

impl Run {
    /// Values of one of its output streams from index `from` (the first is 0), at most `limit`. A stream that nothing was
    /// emitted to is empty.
    pub async fn emitted(&self, stream: &str, from: u64, limit: usize) -> Result<Vec<OutputEntry>, HostError> {
        let inner = self.host.inner()?;
        inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let (id, name) = (self.id.clone(), format!("{OUTPUT}{stream}"));
        let stored = inner.blocking(move |world| world.stream(&id, &name, from, limit)).await?;
        let read = |(i, bytes): (usize, Vec<u8>)| {
            let Stored { at, value } = serde_json::from_slice(&bytes).ok()?;
            Some(OutputEntry { index: from + i as u64, at, value })
        };
        Ok(stored.into_iter().enumerate().filter_map(read).collect())
    }

    /// The output streams it has emitted to, by name.
    pub async fn streams(&self) -> Result<Vec<StreamView>, HostError> {
        let inner = self.host.inner()?;
        inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let id = self.id.clone();
        let all = inner.blocking(move |world| world.streams(&id)).await?;
        let own =
            |(name, entries): (String, u64)| Some(StreamView { name: name.strip_prefix(OUTPUT)?.to_owned(), entries });
        Ok(all.into_iter().filter_map(own).collect())
    }
}

pub(crate) fn encode(emitted: &Emitted) -> (Arc<str>, Vec<u8>) {
    let name = format!("{OUTPUT}{}", emitted.stream);
    let stored = Stored { at: emitted.at, value: emitted.value.clone() };
    (name.into(), serde_json::to_vec(&stored).expect("a value is JSON"))
}

pub(crate) fn encode_state((key, value): (&String, &Value)) -> (Arc<str>, Option<Vec<u8>>) {
    (format!("{STATE}{key}").into(), Some(serde_json::to_vec(value).expect("a value is JSON")))
}
