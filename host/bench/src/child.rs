//! Processes of their own: to be killed, or so that nothing else is counted.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// How such a process is started: what it does, in which folder, how often. It must come to
/// [`run_child`](crate::run_child) with these.
pub type Child<'a> = &'a dyn Fn(&str, &Path, usize) -> io::Result<Command>;

/// Lets one do its work in a new folder: the lines of JSON that it says.
pub fn ask(child: Child<'_>, what: &str, dir: &Path, count: usize) -> anyhow::Result<Vec<Value>> {
    std::fs::create_dir_all(dir)?;
    let output = child(what, dir, count)?.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "the process {what:?} ended with {} after {said:?}", output.status);
    let lines: Result<_, _> = said.lines().map(serde_json::from_str).collect();
    lines.map_err(|error| anyhow::anyhow!("the process {what:?} said {said:?}: {error}"))
}

/// A number of such a line.
pub fn number(line: &Value, key: &str) -> anyhow::Result<f64> {
    line[key].as_f64().ok_or_else(|| anyhow::anyhow!("found {line}, expected the number {key:?} in it"))
}
