//! How a step is declared in settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A step of `durhai.toml`. Trusted: it needs no permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    Program(ProgramStep),
    Service(ServiceStep),
}

/// `[steps.resize] command = ["python3", "resize.py"]`: input as JSON on stdin, output as JSON on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramStep {
    /// The program and its arguments; never a shell.
    pub command: Vec<String>,
    /// Where it runs. Default: the folder of the settings.
    pub cwd: PathBuf,
    /// Beside the environment of the host.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secrets, by the secrets' names.
    pub secrets: BTreeMap<String, String>,
    pub description: String,
}

/// `[steps.score] url = "http://127.0.0.1:9000/score"`: input as JSON in a POST, output as JSON in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceStep {
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, by the secrets' names.
    pub secrets: BTreeMap<String, String>,
    /// The secret of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// How long one answer may take. Default: 5 minutes.
    pub timeout: Option<Duration>,
    pub description: String,
}
