//! Processes of their own: to be killed, or so that nothing else is counted.

use std::io;
use std::path::Path;
use std::process::Command;

/// How such a process is started: what it does, in which folder, how often. It must come to
/// [`run_child`](crate::run_child) with these.
pub type Child<'a> = &'a dyn Fn(&str, &Path, usize) -> io::Result<Command>;
