//! Lines for people on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::text::harmless;

/// Whether notes are events of the log. Of the whole process, as its standard error is.
static EVENTS: AtomicBool = AtomicBool::new(false);

/// A line on standard error, or an event of the log where that is JSON. Never fails, never panics.
pub fn note(text: impl AsRef<str>) {
    if are_events() {
        return tell(text.as_ref());
    }
    let mut err = io::stderr().lock();
    let text = if err.is_terminal() { harmless(text.as_ref()) } else { text.as_ref().into() };
    let _ = writeln!(err, "{text}");
}

/// Whether they are events of the log.
pub fn are_events() -> bool {
    EVENTS.load(Ordering::Relaxed)
}

/// From now on every note is an event of the log, as everything on standard error is JSON.
pub fn become_events() {
    EVENTS.store(true, Ordering::Relaxed);
}

/// A line for people as an event of the log.
fn tell(text: &str) {
    match (text.strip_prefix("error: "), text.strip_prefix("warning: ")) {
        (Some(text), _) => tracing::error!("{text}"),
        (None, Some(text)) => tracing::warn!("{text}"),
        (None, None) => tracing::info!("{text}"),
    }
}
