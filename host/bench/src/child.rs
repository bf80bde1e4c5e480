//! Processes of their own: to be killed, or so that nothing else is counted.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::{memory, recovery};

/// How such a process is started: what it does, in which folder, how often. It must come to [`run`] with these.
pub type Child<'a> = &'a dyn Fn(&str, &Path, usize) -> io::Result<Command>;

/// What the process does.
pub async fn run(what: &str, dir: &Path, count: usize) -> anyhow::Result<()> {
    match what {
        "prepare" | "recover" => recovery::run(what == "prepare", dir, count).await,
        "live" | "evict" => memory::run(what == "evict", dir, count).await,
        other => anyhow::bail!("there is no child {other:?}"),
    }
}
