//! What an operator decides about HTTP.

use std::path::PathBuf;
use std::time::Duration;

use super::resolver::Resolver;

/// A connection that is not there by then is given up, whatever the request's own limit.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// `[http]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpOptions {
    /// Whose signatures on certificates count.
    pub roots: Roots,
    /// Further certificates that count, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether the proxy variables of the environment count (`HTTPS_PROXY`, `NO_PROXY`, …). What a host's name stands
    /// for is then the proxy's business: the name still must be granted, its addresses cannot be checked.
    pub proxy: bool,
    /// Where the addresses of names come from.
    pub resolver: Resolver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Roots {
    /// The system's and those that come with the program.
    #[default]
    Both,
    System,
    Bundled,
}
