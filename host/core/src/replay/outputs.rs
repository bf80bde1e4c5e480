//! What a script shows of itself while it runs: state, status text, output streams, log lines. None of it is an event: a
//! replay makes the same of it again, silently.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Replay;
use super::call::{LogLine, TaskKey};
use super::turn::Emitted;
use crate::{Failure, Kind, StepId, Value};

/// Bytes of a status text.
const STATUS_TEXT: usize = 1_000;

/// Bytes of the name of a stream or of a key.
const NAME: usize = 256;

/// What `set_state` and `set_status` said last.
#[derive(Default)]
pub(super) struct Shown {
    state: BTreeMap<String, (Value, usize)>,
    /// Of all of it together, as JSON.
    bytes: usize,
    text: Option<String>,
    /// Of the values that wait for the end of this turn.
    emitted_bytes: usize,
}

impl Replay {
    /// Lines, emitted values and state count as new from the beginning of the log on: for a run that took its log over
    /// from another one and has none of these yet.
    pub fn set_fresh(&mut self) {
        self.fresh = true;
    }

    /// Visible from outside from the next commit on. An error of kind `limit` where all values together would be larger
    /// than one payload may be.
    pub fn set_state(&mut self, key: &str, value: Value) -> Result<(), Failure> {
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
        }
        self.shown.state.insert(key.to_owned(), (value, size));
        Ok(())
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

    /// Appends to one of the run's output streams, with the commit of this turn.
    pub fn emit(&mut self, stream: &str, value: Value) -> Result<(), Failure> {
        self.check_name("emit: the name of the stream", stream)?;
        if !(self.live || self.fresh) {
            return Ok(());
        }
        if self.turn.emitted.is_empty() {
            self.shown.emitted_bytes = 0;
        }
        self.shown.emitted_bytes += size_of(&value);
        let (bytes, most) = (self.shown.emitted_bytes as u64, self.limits.log_bytes);
        if bytes > most {
            let message = format!(
                "{bytes} bytes were emitted since the last durable call, the limit is {most}: make one now and then"
            );
            return Err(Failure::new(Kind::Limit, message));
        }
        let stream: Arc<str> = match self.turn.emitted.last() {
            Some(last) if *last.stream == *stream => last.stream.clone(),
            _ => stream.into(),
        };
        self.turn.emitted.push(Emitted { stream, at: self.clock, value });
        Ok(())
    }

    /// `print`, `debug`, `log`: kept unless this part of the log is being replayed.
    pub fn log(&mut self, task: TaskKey, level: &str, message: String, fields: Value) {
        let step_id = self.tasks.get(&task).filter(|task| task.ordinal > 0).map(|task| task.last_call());
        self.line(level, message, fields, step_id);
    }

    pub(super) fn line(&mut self, level: &str, message: String, fields: Value, step_id: Option<StepId>) {
        if self.live || self.fresh {
            self.turn.lines.push(LogLine {
                at: self.clock,
                level: level.into(),
                message,
                fields,
                step_id,
                attempt: None,
            });
        }
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
