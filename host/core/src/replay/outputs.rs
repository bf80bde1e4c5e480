//! What a script shows of itself while it runs: state, status text, output streams, log lines. None of it is an event: a
//! replay makes the same of it again, silently.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Replay;
use super::call::{LogLine, TaskKey};
use super::turn::Emitted;
use crate::{Failure, Kind, StepId, Value};

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

/// What `set_state` and `set_status` said last, and how much the script has shown.
#[derive(Default)]
pub(super) struct Shown {
    state: BTreeMap<String, (Value, usize)>,
    /// Of all of it together, as JSON.
    bytes: usize,
    text: Option<String>,
    /// Lines, and bytes of lines and emitted values, since the beginning of the log.
    lines: u64,
    stream_bytes: u64,
    /// Lines and values since the last input was handed over, whose event has this number.
    since_input: u64,
    input: u64,
    /// What was stored of a turn before it was over.
    stored: Option<Stored>,
    /// Entries and bytes that wait for a commit.
    gathered: u64,
    gathered_bytes: u64,
}

/// How far the outputs of a turn that is not over are in the store: those that the script made in reaction to the input
/// of event `after`, `shown` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stored {
    pub after: u64,
    pub shown: u64,
}

impl Replay {
    /// Lines, emitted values and state count as new from the beginning of the log on: for a run that took its log over
    /// from another one and has none of these yet.
    pub fn set_fresh(&mut self) {
        self.fresh = true;
    }

    /// A turn of this run was stored in parts before its host died: what it showed until then is not shown again.
    pub fn set_stored(&mut self, stored: Stored) {
        self.shown.stored = Some(stored);
    }

    /// How far the outputs of this turn are, if all that was taken is stored.
    pub fn stored(&self) -> Stored {
        Stored { after: self.shown.input, shown: self.shown.since_input }
    }

    /// So much waits for a commit that the script must not go on before one.
    pub fn is_full(&self) -> bool {
        self.shown.gathered >= GATHERED || self.shown.gathered_bytes >= GATHERED_BYTES
    }

    /// For one who looks at what a log comes to and stores nothing: what was shown is dropped.
    pub fn drop_outputs(&mut self) {
        self.turn.lines.clear();
        self.turn.emitted.clear();
        self.turn.state.clear();
        self.taken_outputs();
    }

    /// Nothing waits any more.
    pub(super) fn taken_outputs(&mut self) {
        self.shown.gathered = 0;
        self.shown.gathered_bytes = 0;
    }

    /// The script reacts to another input: that of event `seq`.
    pub(super) fn note_input(&mut self, seq: u64) {
        self.shown.input = seq;
        self.shown.since_input = 0;
    }

    /// Visible from outside from the next commit on; gives the bytes of the value as JSON. An error of kind `limit` where all values together would be larger
    /// than one payload may be.
    pub fn set_state(&mut self, key: &str, value: Value) -> Result<usize, Failure> {
        self.check_name("set_state: the key", key)?;
        let size = key.len() + size_of(&value);
        let before = self.shown.state.get(key).map_or(0, |(_, size)| *size);
        let bytes = self.shown.bytes - before + size;
        let most = self.limits.payload;
        if bytes > most {
            let message = format!("the state of the run would have {bytes} bytes as JSON, the limit is {most}");
            return Err(Failure::new(Kind::Limit, message));
        }
        self.shown.bytes = bytes;
        if self.live || self.fresh {
            self.turn.state.insert(key.to_owned(), value.clone());
            self.gather(size as u64);
        }
        self.shown.state.insert(key.to_owned(), (value, size));
        Ok(size)
    }

    pub(super) fn shown_state(&self) -> impl Iterator<Item = (String, Value)> {
        self.shown.state.iter().map(|(key, (value, _))| (key.clone(), value.clone()))
    }

    pub fn get_state(&self, key: &str) -> Option<&Value> {
        self.shown.state.get(key).map(|(value, _)| value)
    }

    /// A line about how far the run is; empty text takes it back.
    pub fn set_status(&mut self, text: String) -> Result<(), Failure> {
        if text.len() > STATUS_TEXT {
            let message = format!("set_status: the text has {} bytes, the limit is {STATUS_TEXT}", text.len());
            return Err(Failure::new(Kind::Limit, message));
        }
        self.shown.text = Some(text).filter(|text| !text.is_empty());
        Ok(())
    }

    /// What `set_status` said last.
    pub fn status_text(&self) -> Option<&str> {
        self.shown.text.as_deref()
    }

    /// Appends to one of the run's output streams, with the commit of this turn; gives the bytes of the value as JSON. An
    /// error of kind `limit` ends the run: it has written all it may.
    pub fn emit(&mut self, stream: &str, value: Value) -> Result<usize, Failure> {
        self.check_name("emit: the name of the stream", stream)?;
        let size = size_of(&value);
        if !self.shows(size)? {
            return Ok(size);
        }
        let stream: Arc<str> = match self.turn.emitted.last() {
            Some(last) if *last.stream == *stream => last.stream.clone(),
            _ => stream.into(),
        };
        self.turn.emitted.push(Emitted { stream, at: self.clock, value });
        Ok(size)
    }

    /// `print`, `debug`, `log`: kept unless this part of the log is being replayed; gives the bytes. An error of kind `limit`
    /// ends the run: it has written all it may.
    pub fn log(&mut self, task: TaskKey, level: &str, message: String, fields: Value) -> Result<usize, Failure> {
        let size = message.len() + if fields.is_null() { 0 } else { size_of(&fields) };
        self.shown.lines += 1;
        if self.shows(size)? {
            let step_id = self.tasks.get(&task).filter(|task| task.ordinal > 0).map(|task| task.last_call());
            self.push_line(level, message, fields, step_id);
        }
        Ok(size)
    }

    /// Counts one more line or value of the script; whether it is new.
    fn shows(&mut self, bytes: usize) -> Result<bool, Failure> {
        self.shown.since_input += 1;
        self.shown.stream_bytes += bytes as u64;
        let new = match self.shown.stored {
            Some(stored) if self.stored() <= stored => false,
            Some(stored) if self.shown.input == stored.after => true,
            _ => self.live || self.fresh,
        };
        // What is recorded may have been written under other limits; but where the log ends with one, that was this one.
        if let Some(message) = self.written_too_much()
            && (new || self.ends_here())
        {
            return Err(Failure::new(Kind::Limit, message));
        }
        if new {
            self.gather(bytes as u64);
        }
        Ok(new)
    }

    fn written_too_much(&self) -> Option<String> {
        let (lines, bytes) = (self.shown.lines, self.shown.stream_bytes);
        let (most, most_bytes) = (self.limits.log_lines, self.limits.stream_bytes);
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

    fn gather(&mut self, bytes: u64) {
        self.shown.gathered += 1;
        self.shown.gathered_bytes += bytes + ENTRY;
    }

    /// A line of the host's own, about the run.
    pub(super) fn line(&mut self, level: &str, message: String, fields: Value, step_id: Option<StepId>) {
        if self.live || self.fresh {
            self.push_line(level, message, fields, step_id);
        }
    }

    fn push_line(&mut self, level: &str, message: String, fields: Value, step_id: Option<StepId>) {
        self.turn.lines.push(LogLine { at: self.clock, level: level.into(), message, fields, step_id, attempt: None });
    }

    fn check_name(&self, what: &str, name: &str) -> Result<(), Failure> {
        match name.len() {
            1..=NAME => Ok(()),
            length => {
                let message = format!("{what} must have 1 to {NAME} bytes, found {length}");
                Err(Failure::new(Kind::InvalidInput, message))
            }
        }
    }
}

/// Bytes as JSON.
fn size_of(value: &Value) -> usize {
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
