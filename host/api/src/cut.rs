//! Long values, shown by their beginning: for clients that show many.

use std::io::{self, Write};
use std::sync::Arc;

use durhai::view::{Listing, LogEntry, OutputEntry};
use durhai::{Event, EventBody, Failure, RunView, Value};
use serde_json::json;

use crate::extract::Params;
use crate::feed::Item;
use crate::problem::Problem;

/// The smallest and the largest number of bytes that may be asked for.
const BOUNDS: std::ops::RangeInclusive<u64> = 16..=1 << 20;

/// How long a value may be, as JSON; none: as long as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut(Option<usize>);

/// What holds values of unknown length.
pub(crate) trait Long {
    /// Hands over each of them.
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value));
}

impl Cut {
    /// What the parameter `value_bytes` says.
    pub fn read(params: &mut Params) -> Result<Cut, Problem> {
        Ok(Cut(params.whole("value_bytes", BOUNDS)?.map(|bytes| bytes as usize)))
    }

    /// The same with every longer value replaced by `{ "$cut": BYTES, "start": TEXT }`.
    pub fn of<T: Long>(self, mut what: T) -> T {
        if let Some(bytes) = self.0 {
            what.values(&mut |value| shorten(value, bytes));
        }
        what
    }
}

/// The beginning of what is written, and how much it is.
struct Beginning {
    kept: Vec<u8>,
    keep: usize,
    length: usize,
}

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.keep - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shorten(value: &mut Value, bytes: usize) {
    let mut beginning = Beginning { kept: Vec::new(), keep: bytes, length: 0 };
    // The keys of a value are strings and the beginning takes every byte, so nothing can fail here.
    serde_json::to_writer(&mut beginning, value).expect("a value is always JSON");
    if beginning.length > bytes {
        // The last character may be there in part.
        let whole = beginning.kept.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        *value = json!({ "$cut": beginning.length, "start": whole });
    }
}

impl<T: Long> Long for Vec<T> {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        self.iter_mut().for_each(|one| one.values(cut));
    }
}

impl Long for Listing {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        self.runs.values(cut);
    }
}

impl Long for RunView {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        cut(&mut self.input);
        cut(&mut self.output);
        cut(&mut self.state);
        if let Some(error) = &mut self.error {
            error.values(cut);
        }
    }
}

impl Long for Failure {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        let mut failure = Some(self);
        while let Some(one) = failure {
            cut(&mut one.data);
            failure = one.cause.as_deref_mut();
        }
    }
}

impl Long for Event {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        match &mut self.body {
            EventBody::RunCreated(created) => cut(&mut created.input),
            EventBody::StepStarted { input: Some(input), .. } => cut(Arc::make_mut(input)),
            EventBody::ChildStarted { input, .. } => cut(Arc::make_mut(input)),
            EventBody::StepCompleted { output }
            | EventBody::ChildCompleted { output }
            | EventBody::RunCompleted { output } => cut(Arc::make_mut(output)),
            EventBody::SignalReceived { payload, .. } | EventBody::HookReceived { payload, .. } => {
                cut(Arc::make_mut(payload))
            }
            // Its schema stays: a form is made from it.
            EventBody::Suspended { payload, .. } => cut(Arc::make_mut(payload)),
            EventBody::Resumed { data } => cut(Arc::make_mut(data)),
            EventBody::StepRetrying { error, .. }
            | EventBody::StepFailed { error }
            | EventBody::ChildFailed { error }
            | EventBody::RunFailed { error } => error.values(cut),
            EventBody::StepStarted { input: None, .. }
            | EventBody::RunStarted { .. }
            | EventBody::TimerStarted { .. }
            | EventBody::TimerFired
            | EventBody::HookOpened { .. }
            | EventBody::HookConflict { .. }
            | EventBody::HookClosed
            | EventBody::CancelRequested { .. }
            | EventBody::RunMigrated { .. }
            | EventBody::RunCancelled { .. }
            | EventBody::RunContinued { .. } => {}
        }
    }
}

impl Long for LogEntry {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        cut(&mut self.line.fields);
    }
}

impl Long for OutputEntry {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        cut(&mut self.value);
    }
}

impl Long for Item {
    fn values(&mut self, cut: &mut dyn FnMut(&mut Value)) {
        match self {
            Item::Event(event) => event.values(cut),
            Item::Line(line) => line.values(cut),
            Item::Emitted(entry) => entry.values(cut),
            Item::Parked(run) | Item::Ended(run) => run.values(cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_longer_values_are_cut_and_only_between_characters() {
        let long = "ä".repeat(20);
        for (value, bytes, wanted) in [
            (json!("0123456789abcd"), 16, json!("0123456789abcd")),
            (json!("0123456789abcde"), 16, json!({ "$cut": 17, "start": "\"0123456789abcde" })),
            (json!(long), 16, json!({ "$cut": 42, "start": "\"äääääää" })),
            (json!(long), 17, json!({ "$cut": 42, "start": "\"ääääääää" })),
            (json!(null), 16, json!(null)),
            (json!({ "a": [1, 2, 3], "b": "long enough" }), 16, json!({ "$cut": 31, "start": "{\"a\":[1,2,3],\"b\"" })),
        ] {
            let mut found = value.clone();
            shorten(&mut found, bytes);
            assert_eq!(found, wanted, "{value} in {bytes}");
        }
    }
}
