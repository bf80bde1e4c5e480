//! What a script shows of itself while it runs: state, status text, output streams, log lines. None of it is an event: a
//! replay makes the same of it again, silently.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call::LogLine;
use super::limits::Limits;
use super::turn::{Emitted, Turn};
use crate::{Failure, FailureKind, Millis, Value};

/// Bytes of a status text.
const STATUS_TEXT: usize = 1_000;

/// Bytes of the name of a stream or of a key.
const NAME: usize = 256;

/// Lines, values and bytes that may wait for the commit of a turn, about. A script that shows more has what is there
/// committed first, so that a loop of `print` takes no more memory than this.
const GATHERED: u64 = 4_096;
const GATHERED_BYTES: u64 = 4 << 20;

/// What a line or a value takes beside its text.
const ENTRY: u64 = 64;

/// What the script has shown, and what of it is new in this turn.
#[derive(Default)]
pub(super) struct Outputs {
    /// What `set_state` said last, and how many bytes each has as JSON.
    state: BTreeMap<String, (Value, usize)>,
    /// Of all of it together.
    state_bytes: usize,
    /// What `set_status` said last.
    status: Option<String>,
    /// Lines, and bytes of lines and emitted values, since the beginning of the log.
    shown_lines: u64,
    shown_bytes: u64,
    /// Lines and values since the last input was handed over, whose event has this number.
    since_input: u64,
    input: u64,
    /// What was stored of a turn before it was over.
    stored: Option<StoredOutputs>,
    /// The run has its log from another one and none of its outputs: all of them are new.
    unwritten: bool,
    /// New in this turn.
    lines: Vec<LogLine>,
    emitted: Vec<Emitted>,
    changed: BTreeMap<String, Value>,
    /// How many entries and bytes these are.
    gathered: u64,
    gathered_bytes: u64,
}

/// One more line or value of a script.
pub(super) struct Counted {
    /// It is not in the store.
    pub new: bool,
    /// The script has shown more than it may.
    pub excess: Option<String>,
}

/// How far the outputs of a turn that is not over are in the store: those that the script made in reaction to the input
/// of event `after`, `shown` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredOutputs {
    pub after: u64,
    pub shown: u64,
}

impl Outputs {
    pub fn set_unwritten(&mut self) {
        self.unwritten = true;
    }

    pub fn set_stored(&mut self, stored: StoredOutputs) {
        self.stored = Some(stored);
    }

    /// How far the outputs of this turn are, if all that was taken is stored.
    pub fn stored(&self) -> StoredOutputs {
        StoredOutputs { after: self.input, shown: self.since_input }
    }

    /// So much waits for a commit that the script must not go on before one.
    pub fn is_full(&self) -> bool {
        self.gathered >= GATHERED || self.gathered_bytes >= GATHERED_BYTES
    }

    /// Moves what is new to what the host takes.
    pub fn take(&mut self, turn: &mut Turn) {
        turn.lines = std::mem::take(&mut self.lines);
        turn.emitted = std::mem::take(&mut self.emitted);
        turn.state = std::mem::take(&mut self.changed);
        self.gathered = 0;
        self.gathered_bytes = 0;
    }

    /// Drops what is new.
    pub fn forget(&mut self) {
        self.take(&mut Turn::default());
    }

    /// The script reacts to another input: that of event `seq`.
    pub fn note_input(&mut self, seq: u64) {
        self.input = seq;
        self.since_input = 0;
    }

    // ---- state and status

    /// The bytes of the value as JSON. `live`: the script does something new.
    pub fn set_state(&mut self, key: &str, value: Value, most: usize, live: bool) -> Result<usize, Failure> {
        check_name("set_state: the key", key)?;
        let size = key.len() + size_of(&value);
        let before = self.state.get(key).map_or(0, |(_, size)| *size);
        let bytes = self.state_bytes - before + size;
        if bytes > most {
            let message = format!("the state of the run would have {bytes} bytes as JSON, the limit is {most}");
            return Err(Failure::new(FailureKind::Limit, message));
        }
        self.state_bytes = bytes;
        if live || self.unwritten {
            self.changed.insert(key.to_owned(), value.clone());
            self.gather(size);
        }
        self.state.insert(key.to_owned(), (value, size));
        Ok(size)
    }

    pub fn state(&self, key: &str) -> Option<&Value> {
        self.state.get(key).map(|(value, _)| value)
    }

    /// All of the state counts as new.
    pub fn show_state_again(&mut self) {
        for (key, (value, _)) in &self.state {
            self.changed.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    pub fn set_status(&mut self, text: String) -> Result<(), Failure> {
        if text.len() > STATUS_TEXT {
            let message = format!("set_status: the text has {} bytes, the limit is {STATUS_TEXT}", text.len());
            return Err(Failure::new(FailureKind::Limit, message));
        }
        self.status = Some(text).filter(|text| !text.is_empty());
        Ok(())
    }

    pub fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    // ---- lines and emitted values

    pub fn count_line(&mut self, bytes: usize, limits: &Limits, live: bool) -> Counted {
        self.shown_lines += 1;
        self.count(bytes, limits, live)
    }

    /// `live`: the script does something new.
    pub fn count(&mut self, bytes: usize, limits: &Limits, live: bool) -> Counted {
        self.since_input += 1;
        self.shown_bytes += bytes as u64;
        let new = match self.stored {
            Some(stored) if self.stored() <= stored => false,
            Some(stored) if self.input == stored.after => true,
            _ => live || self.unwritten,
        };
        Counted { new, excess: self.excess(limits) }
    }

    fn excess(&self, limits: &Limits) -> Option<String> {
        let (lines, bytes) = (self.shown_lines, self.shown_bytes);
        let (most, most_bytes) = (limits.log_lines, limits.stream_bytes);
        if lines > most {
            let message = format!("the script wrote more than {most} lines to the run's log (the limit `log_lines`)");
            return Some(format!("{message}: is there a loop that does not end?"));
        }
        (bytes > most_bytes).then(|| {
            format!(
                "the lines and emitted values of the run have {bytes} bytes, the limit `stream_bytes` is {most_bytes}"
            )
        })
    }

    /// A value of so many bytes that was counted and is new.
    pub fn emit(&mut self, stream: &str, at: Millis, value: Value, bytes: usize) {
        self.gather(bytes);
        let stream: Arc<str> = match self.emitted.last() {
            Some(last) if *last.stream == *stream => last.stream.clone(),
            _ => stream.into(),
        };
        self.emitted.push(Emitted { stream, at, value });
    }

    /// A line of the script of so many bytes, that was counted and is new.
    pub fn line(&mut self, line: LogLine, bytes: usize) {
        self.gather(bytes);
        self.lines.push(line);
    }

    /// A warning about the run that the script did not write. `live`: it is not replayed.
    pub fn warn(&mut self, at: Millis, message: String, fields: Value, live: bool) {
        if live || self.unwritten {
            let level = "warn".into();
            self.lines.push(LogLine { at, level, message, fields, step_id: None, attempt: None });
        }
    }

    fn gather(&mut self, bytes: usize) {
        self.gathered += 1;
        self.gathered_bytes += bytes as u64 + ENTRY;
    }
}

/// Bytes of a line as they count.
pub(super) fn line_bytes(message: &str, fields: &Value) -> usize {
    message.len() + if fields.is_null() { 0 } else { size_of(fields) }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    match name.len() {
        1..=NAME => Ok(()),
        length => {
            let message = format!("{what} must have 1 to {NAME} bytes, found {length}");
            Err(Failure::new(FailureKind::InvalidInput, message))
        }
    }
}

/// Bytes as JSON.
pub(super) fn size_of(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}
