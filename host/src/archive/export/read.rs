//! Reading a file of runs, and finding all that can be wrong with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;

use durhai_core::legal::LogCheck;
use durhai_core::{Event, EventBody, Millis, RunId, Value, Version, wire};
use durhai_engine::Bundle;
use durhai_world::Row;

use super::ExportError;
use super::format::{ExportHeader, FORMAT, Line, TextLine};
use super::lines::LinesIn;
use crate::messages::message::Message;

/// What a line says. What is not a text belongs to the run that came last.
#[derive(Debug)]
pub(crate) enum Item {
    /// None: the text was missing where the run came from.
    Text(Version, Option<Bundle>),
    Run {
        row: Box<Row>,
    },
    Event(Box<Event>),
    Log(Value),
    Output {
        stream: String,
        entry: Value,
    },
    State {
        key: String,
        value: Value,
    },
    Entry {
        stream: String,
        text: String,
    },
    Value {
        name: String,
        text: String,
    },
    Hook {
        token: String,
        info: String,
    },
    Letter {
        at: Millis,
        message: Message,
    },
}

/// Reads one line after the other. What it gives out is legal as far as one can tell by then; the file is whole when it
/// says that nothing follows.
pub(crate) struct Reader<R> {
    lines: LinesIn<R>,
    header: ExportHeader,
    runs: HashSet<RunId>,
    texts: HashSet<Version>,
    named: HashMap<Version, u64>,
    now: Option<Current>,
    over: bool,
}

/// The run that is being read.
struct Current {
    row: Box<Row>,
    events: u64,
    read: u64,
    check: LogCheck,
    indexes: BTreeMap<String, u64>,
}

impl<R: BufRead> Reader<R> {
    pub fn open(input: R) -> Result<Self, ExportError> {
        let mut lines = LinesIn::new(input);
        let header = header(&mut lines)?;
        Ok(Reader {
            lines,
            header,
            runs: HashSet::new(),
            texts: HashSet::new(),
            named: HashMap::new(),
            now: None,
            over: false,
        })
    }

    pub fn header(&self) -> &ExportHeader {
        &self.header
    }

    /// The line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    /// The next thing in the file; `None`: it is whole.
    pub fn next(&mut self) -> Result<Option<Item>, ExportError> {
        if self.over {
            return Ok(None);
        }
        let json = self.lines.next()?;
        if json.starts_with(b"{\"seq\":") {
            let event = wire::read(json);
            let event = event.map_err(|error| self.lines.error(format!("this event cannot be read: {error}")))?;
            return self.event(event).map(Some);
        }
        let line = serde_json::from_slice::<Line>(json);
        let line = line.map_err(|error| self.lines.error(format!("this line cannot be read: {error}")))?;
        self.take(line)
    }

    fn event(&mut self, event: Event) -> Result<Item, ExportError> {
        let number = self.lines.number();
        let error = |why: String| ExportError { line: number, why };
        let Some(now) = &mut self.now else { return Err(error("an event comes before any run".into())) };
        if !now.indexes.is_empty() {
            return Err(error("an event comes after what its run showed: events come first".into()));
        }
        now.check.next(&event).map_err(|bad| error(bad.to_string()))?;
        now.read += 1;
        match &event.body {
            EventBody::RunCreated(created) => {
                if created.run != now.row.run {
                    return Err(error(format!(
                        "this log is of run {}, and belongs to run {}",
                        created.run, now.row.run
                    )));
                }
                self.named.entry(created.version.clone()).or_insert(number);
            }
            EventBody::RunMigrated { from, to } => {
                self.named.entry(from.clone()).or_insert(number);
                self.named.entry(to.clone()).or_insert(number);
            }
            _ => {}
        }
        Ok(Item::Event(Box::new(event)))
    }

    fn take(&mut self, line: Line) -> Result<Option<Item>, ExportError> {
        let number = self.lines.number();
        let error = |why: String| ExportError { line: number, why };
        let of_run = matches!(line, Line::Text(_) | Line::Run { .. } | Line::End {});
        if self.now.is_none() && !of_run {
            return Err(error("this belongs to a run, and there is none before it".into()));
        }
        Ok(Some(match line {
            Line::Text(TextLine { version, missing, texts }) => {
                if texts.is_none() && !missing {
                    let why = "`workflow`, `source` and `sha256` are needed, `modules` is a map of texts";
                    return Err(error(format!("the text of version {} cannot be read: {why}", version.short())));
                }
                if !self.texts.insert(version.clone()) {
                    return Err(error(format!("the text of version {} comes twice", version.short())));
                }
                let bundle = texts.map(|texts| texts.bundle(&version)).transpose().map_err(error)?;
                Item::Text(version, bundle)
            }
            Line::Run { row, events } => {
                self.finish()?;
                if !self.runs.insert(row.run.clone()) {
                    return Err(error(format!("the run {} comes twice", row.run)));
                }
                if self.runs.len() == 1 && row.run != self.header.run {
                    return Err(error(format!(
                        "the file says that it is about run {}, and begins with run {}",
                        self.header.run, row.run
                    )));
                }
                self.named.entry(row.version.clone()).or_insert(number);
                let (check, indexes) = (LogCheck::default(), BTreeMap::new());
                self.now = Some(Current { row: row.clone(), events, read: 0, check, indexes });
                Item::Run { row }
            }
            Line::Log { index, line } => {
                self.counted("log", index)?;
                Item::Log(line)
            }
            Line::Output { stream, index, entry } => {
                self.counted(&format!("out/{stream}"), index)?;
                Item::Output { stream, entry }
            }
            Line::Entry { stream, index, text } => {
                self.counted(&stream, index)?;
                Item::Entry { stream, text }
            }
            Line::State { key, value } => Item::State { key, value },
            Line::Value { name, text } => Item::Value { name, text },
            Line::Hook { token, info } => {
                if token.is_empty() {
                    return Err(error("the token of a hook is empty".into()));
                }
                Item::Hook { token, info }
            }
            Line::Letter { at, message } => {
                let message = serde_json::from_value(message)
                    .map_err(|why| error(format!("this message is of no kind that this version knows: {why}")))?;
                Item::Letter { at, message }
            }
            Line::End {} => {
                self.finish()?;
                self.lines.end()?;
                self.over = true;
                if self.runs.is_empty() {
                    return Err(error("there is no run in this file".into()));
                }
                let missing = self.named.iter().find(|(version, _)| !self.texts.contains(*version));
                return match missing {
                    Some((version, line)) => {
                        let why = format!("the text of version {} is not in the file", version.short());
                        Err(ExportError { line: *line, why })
                    }
                    None => Ok(None),
                };
            }
        }))
    }

    /// Entries of one stream follow each other, from 0.
    fn counted(&mut self, stream: &str, index: u64) -> Result<(), ExportError> {
        let Some(now) = &mut self.now else { return Ok(()) };
        let next = now.indexes.entry(stream.to_owned()).or_insert(0);
        if index != *next {
            let why = format!("entry {index} of {stream:?} comes where entry {next} belongs");
            return Err(self.lines.error(why));
        }
        *next += 1;
        Ok(())
    }

    /// The run that was being read is over.
    fn finish(&mut self) -> Result<(), ExportError> {
        let Some(Current { row, events, read, check, .. }) = self.now.take() else { return Ok(()) };
        let why = if read != events {
            format!("run {} should have {events} events, and has {read}", row.run)
        } else if read == 0 {
            format!("run {} has no events", row.run)
        } else if check.has_ended() != row.status.is_terminal() {
            let log = if check.has_ended() { "has ended" } else { "has not ended" };
            format!("run {} is {}, but by its log it {log}", row.run, row.status)
        } else {
            return Ok(());
        };
        Err(self.lines.error(why))
    }
}

fn header<R: BufRead>(lines: &mut LinesIn<R>) -> Result<ExportHeader, ExportError> {
    let json = lines.next()?;
    // Editors put a mark in front of what they have saved.
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let value: Option<Value> = serde_json::from_slice(json).ok();
    let format = value.as_ref().and_then(|value| value.get("durhai_export")).and_then(Value::as_u64);
    let backup = value.as_ref().is_some_and(|value| value.get("durhai_backup").is_some());
    match format {
        Some(FORMAT) => {
            let header = serde_json::from_value(value.unwrap_or_default());
            header.map_err(|error| lines.error(format!("the first line cannot be read: {error}")))
        }
        Some(format) => Err(lines.error(format!(
            "this file is written in format {format}; this version of durhai reads format {FORMAT}: use a newer one"
        ))),
        None if backup => Err(lines.error("this is a backup of a whole store: `durhai import --backup FILE` restores it")),
        None => Err(lines.error(
            "this is no exported run: the first line should be {\"durhai_export\":1,…}, as `durhai export RUN` writes it",
        )),
    }
}
