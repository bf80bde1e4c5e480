//! The version of a workflow that new starts get.

use std::sync::Arc;

use durhai_core::Version;
use durhai_engine::Header;

/// The version of a workflow that new starts get.
#[derive(Clone)]
pub(crate) struct Serving {
    pub version: Version,
    pub header: Arc<Header>,
}

/// Why nothing can be started.
pub(crate) enum Missing {
    Unknown(String),
    Broken(String),
}
