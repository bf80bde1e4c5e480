//! What every route is given.

use std::sync::Arc;

use axum::body::Bytes;
use durhai::{Host, Millis};

use crate::capacity::Capacity;
use crate::config::Config;

pub(crate) struct App {
    pub host: Host,
    pub config: Config,
    pub capacity: Capacity,
    /// When the server started, in milliseconds since the Unix epoch.
    pub started_at: Millis,
    /// The description of the API, as JSON.
    pub document: Bytes,
}

pub(crate) type Shared = Arc<App>;

/// In milliseconds since the Unix epoch.
pub(crate) fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
