//! What an attempt tells while it runs: secrets hidden, and no more of it than a log can bear.

use std::sync::atomic::{AtomicU32, Ordering};

use durhai_core::Value;
use durhai_core::replay::LogLine;

use crate::steps::mask::{self, Mask};
use crate::steps::step::Note;
use crate::store::payload;

/// Lines of one attempt that are kept.
pub(crate) const MOST_LINES: u32 = 10_000;

/// Bytes of one message, of its fields, and of what a heartbeat says.
pub(crate) const MOST_BYTES: usize = 64 * 1024;

/// Counts what one attempt has told.
#[derive(Default)]
pub(crate) struct AttemptNotes(AtomicU32);

impl AttemptNotes {
    /// What is kept of a note, if anything. It is cut after secrets were hidden, so that no beginning of one remains.
    pub fn take(&self, mask: Option<&Mask>, note: Note) -> Option<Note> {
        let count = match note {
            // The last one says how far a step is, and takes the place of the one before.
            Note::Heartbeat(_) => 0,
            Note::Log(_) => self.0.fetch_add(1, Ordering::Relaxed),
        };
        if count > MOST_LINES {
            // Not counted on, lest the number begins anew.
            self.0.store(MOST_LINES + 1, Ordering::Relaxed);
            return None;
        }
        Some(match mask::note(mask, note) {
            Note::Heartbeat(detail) => Note::Heartbeat(short(detail)),
            Note::Log(line) if count == MOST_LINES => Note::Log(LogLine {
                level: "warn".into(),
                message: format!("further lines of this attempt are left out: {MOST_LINES} of one attempt are kept"),
                fields: Value::Null,
                ..line
            }),
            Note::Log(mut line) => {
                if line.message.len() > MOST_BYTES {
                    let bytes = line.message.len();
                    let end = (0..=MOST_BYTES).rev().find(|end| line.message.is_char_boundary(*end));
                    line.message.truncate(end.unwrap_or_default());
                    line.message.push_str(&format!("… ({bytes} bytes, {MOST_BYTES} are kept)"));
                }
                line.fields = short(line.fields);
                Note::Log(line)
            }
        })
    }
}

fn short(value: Value) -> Value {
    match payload::check(&value, MOST_BYTES, 64) {
        Ok(()) => value,
        Err(why) => Value::String(format!("left out: it {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn line(message: &str, fields: Value) -> Note {
        let (level, message) = ("info".into(), message.into());
        Note::Log(LogLine { at: 0, level, message, fields, step_id: None, attempt: None })
    }

    fn kept(note: Option<Note>) -> LogLine {
        match note {
            Some(Note::Log(line)) => line,
            _ => panic!("no line"),
        }
    }

    #[test]
    fn long_lines_are_cut_and_many_are_left_out() {
        let told = AttemptNotes::default();
        let mask: Mask = Arc::new(|text| text.contains("secret").then(|| text.replace("secret", "*")));
        let long = "ü".repeat(MOST_BYTES);
        let cut = kept(told.take(Some(&mask), line(&long, json!([long]))));
        assert!(cut.message.len() < MOST_BYTES + 50 && cut.message.ends_with("… (131072 bytes, 65536 are kept)"));
        assert_eq!(cut.fields, "left out: it has 131077 bytes as JSON, the limit is 65536");
        // No beginning of a secret is left where the cut goes through it.
        let through = "x".repeat(MOST_BYTES - 3) + "secret and more";
        assert!(!kept(told.take(Some(&mask), line(&through, Value::Null))).message.contains("se"));
        for _ in 2..MOST_LINES {
            assert_eq!(kept(told.take(None, line("x", json!(1)))).message, "x");
        }
        let last = kept(told.take(None, line("x", json!(1))));
        assert_eq!((last.level.as_str(), last.message.contains("10000 of one attempt")), ("warn", true));
        for _ in 0..10 {
            assert!(told.take(None, line("x", json!(1))).is_none());
        }
        assert!(matches!(told.take(None, Note::Heartbeat(json!(1))), Some(Note::Heartbeat(n)) if n == 1));
    }
}
