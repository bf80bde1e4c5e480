//! HTTP, for scripts, built-in steps and declared services alike.

use std::path::PathBuf;

/// `[http]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpOptions {
    /// Whose signatures on certificates count.
    pub roots: Roots,
    /// Further certificates that count, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether the proxy variables of the environment count (`HTTPS_PROXY`, `NO_PROXY`, …).
    pub proxy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Roots {
    /// The system's and those that come with the program.
    #[default]
    Both,
    System,
    Bundled,
}
