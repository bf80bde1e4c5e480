//! Secrets by name: read where they are used, hidden in what steps hand over.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the line end at its end.
    File(PathBuf),
}

/// Every secret that `durhai.toml` names.
pub type SecretSources = BTreeMap<String, SecretSource>;
