//! What a run shows of itself: its output streams and its state, as they are stored and as they are read.

use std::sync::Arc;

use durhai_core::replay::{Emitted, LogLine};
use durhai_core::{RunId, Value};
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::store::access::Store;
use crate::view::{LogEntry, OutputEntry, StreamView};

/// The stream that `emit(value)` appends to.
pub const DEFAULT_STREAM: &str = "default";

/// In front of the names of output streams, among the streams of a run.
pub(crate) const OUTPUT: &str = "out/";

/// In front of the keys of `set_state` among the named values of a run.
pub(crate) const STATE: &str = "state/";

/// The stream of a run that holds its log lines.
pub(crate) const LOG_STREAM: &str = "log";

/// The stream of a run that holds messages it was sent and did not come to, for the one that tries it again.
pub(crate) const UNREAD: &str = "unread";

/// One value of an output stream, as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: u64,
    value: Value,
}

/// See [`Run::emitted`](crate::Run::emitted).
pub(crate) async fn emitted(
    store: &Store,
    run: &RunId,
    stream: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<OutputEntry>, HostError> {
    store.known(run).await?;
    let (id, name) = (run.clone(), format!("{OUTPUT}{stream}"));
    let stored = store.blocking(move |world| world.stream(&id, &name, from, limit)).await?;
    let read = |(i, bytes): (usize, Vec<u8>)| {
        let Stored { at, value } = serde_json::from_slice(&bytes).ok()?;
        Some(OutputEntry { index: from + i as u64, at, value })
    };
    Ok(stored.into_iter().enumerate().filter_map(read).collect())
}

/// See [`Run::streams`](crate::Run::streams).
pub(crate) async fn streams(store: &Store, run: &RunId) -> Result<Vec<StreamView>, HostError> {
    store.known(run).await?;
    let id = run.clone();
    let all = store.blocking(move |world| world.streams(&id)).await?;
    let own =
        |(name, entries): (String, u64)| Some(StreamView { name: name.strip_prefix(OUTPUT)?.to_owned(), entries });
    Ok(all.into_iter().filter_map(own).collect())
}

/// Lines of its log from index `from` (the first is 0), at most `limit`.
pub(crate) async fn log_lines(store: &Store, run: &RunId, from: u64, limit: usize) -> Result<Vec<LogEntry>, HostError> {
    store.known(run).await?;
    let id = run.clone();
    let lines = store.blocking(move |world| world.stream(&id, LOG_STREAM, from, limit)).await?;
    let read = |(i, bytes): (usize, Vec<u8>)| {
        let line: LogLine = serde_json::from_slice(&bytes).ok()?;
        Some(LogEntry { index: from + i as u64, line })
    };
    Ok(lines.into_iter().enumerate().filter_map(read).collect())
}

pub(crate) fn encode(emitted: &Emitted) -> (Arc<str>, Vec<u8>) {
    let name = format!("{OUTPUT}{}", emitted.stream);
    let stored = Stored { at: emitted.at, value: emitted.value.clone() };
    (name.into(), serde_json::to_vec(&stored).expect("a value is JSON"))
}

pub(crate) fn encode_state((key, value): (&String, &Value)) -> (Arc<str>, Option<Vec<u8>>) {
    (format!("{STATE}{key}").into(), Some(serde_json::to_vec(value).expect("a value is JSON")))
}

pub(crate) fn encode_line(line: &LogLine) -> (Arc<str>, Vec<u8>) {
    (LOG_STREAM.into(), serde_json::to_vec(line).expect("a line is JSON"))
}
