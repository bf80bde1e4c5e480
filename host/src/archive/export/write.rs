//! Writing runs into a file.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};

use durhai_core::{Event, EventBody, Millis, RunId, Value, Version, wire};
use durhai_engine::Bundle;
use durhai_world::{Snapshot, World, WorldError};

use super::format::{ExportHeader, FORMAT, Line, TextLine, Texts};
use super::lines::LinesOut;
use super::masking::Tokens;
use super::{ExportOptions, ExportSummary};
use crate::error::HostError;
use crate::store::streams::{LOG_STREAM, OUTPUT, STATE};

/// Bytes of a log, and entries of a stream, that are read at a time.
const PAGE: usize = 1 << 20;
const ENTRIES: usize = 256;

pub fn export(
    world: &dyn World,
    root: &RunId,
    now: Millis,
    options: ExportOptions,
    out: impl Write,
) -> Result<ExportSummary, HostError> {
    let snapshots = gather(world, root, options.children)?;
    let mut export = Export {
        world,
        lines: LinesOut::new(BufWriter::with_capacity(1 << 16, out)),
        tokens: Tokens::default(),
        mask: !options.tokens,
        texts: HashSet::new(),
        events: 0,
    };
    let header = ExportHeader {
        durhai_export: FORMAT,
        run: root.clone(),
        at: now,
        durhai: env!("CARGO_PKG_VERSION").into(),
        children: options.children,
        tokens: options.tokens,
    };
    export.lines.line(&header).map_err(unwritten)?;
    for snapshot in &snapshots {
        export.run(snapshot)?;
    }
    let summary = ExportSummary { runs: snapshots.len() as u64, events: export.events, bytes: export.lines.bytes() };
    export.lines.end(&[("runs", summary.runs), ("events", summary.events)]).map_err(unwritten)?;
    Ok(summary)
}

pub(crate) fn unwritten(error: io::Error) -> HostError {
    HostError::Invalid(format!("the file cannot be written: {error}"))
}

/// The runs that belong into the file, all as they stand at one moment.
fn gather(world: &dyn World, root: &RunId, children: bool) -> Result<Vec<Snapshot>, HostError> {
    let mut ids = vec![root.clone()];
    // How far each log was searched.
    let mut searched: HashMap<RunId, u64> = HashMap::new();
    loop {
        let found: Vec<_> = world.snapshot(&ids)?.into_iter().flatten().collect();
        if found.first().is_none_or(|first| first.row.run != *root) {
            return Err(HostError::NotFound(format!("there is no run {root}")));
        }
        let known = ids.len();
        for snapshot in found.iter().filter(|_| children) {
            let run = &snapshot.row.run;
            let from = searched.insert(run.clone(), snapshot.last_seq).unwrap_or(0);
            each_event(world, run, from + 1, snapshot.last_seq, |event, _| {
                let other = match event.body {
                    EventBody::ChildStarted { run_id, .. } => Some(run_id),
                    EventBody::RunContinued { next } => Some(next),
                    _ => None,
                };
                if let Some(other) = other.filter(|other| !ids.contains(other)) {
                    ids.push(other);
                }
                Ok(())
            })?;
        }
        if ids.len() == known {
            return Ok(found);
        }
    }
}

/// Reads a part of a log page by page. The bytes are those of the event as they are stored.
fn each_event(
    world: &dyn World,
    run: &RunId,
    from: u64,
    to: u64,
    mut take: impl FnMut(Event, Vec<u8>) -> Result<(), HostError>,
) -> Result<(), HostError> {
    let damaged =
        |why: String| WorldError::Corrupt(format!("the log of run {run} is damaged: {why}; see `durhai doctor`"));
    let mut next = from;
    while next <= to {
        let chunks = world.log(run, next, PAGE)?;
        let before = next;
        for chunk in chunks {
            let mut events = Vec::with_capacity(chunk.count as usize);
            wire::decode(&chunk.bytes, &mut events)
                .map_err(|error| damaged(format!("the events from {} on: {error}", chunk.first)))?;
            for event in events.into_iter().filter(|event| (before..=to).contains(&event.seq)) {
                next = event.seq + 1;
                let mut bytes = Vec::new();
                wire::write(&event, &mut bytes);
                take(event, bytes)?;
            }
        }
        if next == before {
            return match world.row(run)? {
                None => Err(HostError::NotFound(format!("the run {run} was removed meanwhile"))),
                Some(_) => Err(damaged(format!("event {next} is missing")).into()),
            };
        }
    }
    Ok(())
}

struct Export<'a, W: Write> {
    world: &'a dyn World,
    lines: LinesOut<BufWriter<W>>,
    tokens: Tokens,
    mask: bool,
    /// Versions whose texts are written.
    texts: HashSet<Version>,
    events: u64,
}

impl<W: Write> Export<'_, W> {
    fn run(&mut self, snapshot: &Snapshot) -> Result<(), HostError> {
        let Snapshot { row, last_seq, streams, values, messages, hooks } = snapshot;
        let run = &row.run;
        self.line(&Line::Run { row: Box::new(row.clone()), events: *last_seq })?;
        self.text(&row.version)?;
        let world = self.world;
        each_event(world, run, 1, *last_seq, |event, mut bytes| {
            match &event.body {
                EventBody::RunCreated(created) => self.text(&created.version)?,
                EventBody::RunMigrated { from, to } => {
                    self.text(from)?;
                    self.text(to)?;
                }
                _ => {}
            }
            if self.mask {
                self.tokens.mask(&event);
            }
            self.tokens.apply(&mut bytes);
            self.events += 1;
            self.lines.raw(&bytes).map_err(unwritten)
        })?;
        for (stream, count) in streams {
            self.stream(run, stream, *count)?;
        }
        for (name, bytes) in values {
            let value = serde_json::from_slice(bytes).ok();
            self.line(&match (name.strip_prefix(STATE), value) {
                (Some(key), Some(value)) => Line::State { key: key.into(), value },
                _ => Line::Value { name: name.clone(), text: text(bytes)? },
            })?;
        }
        for (token, info) in hooks {
            self.line(&Line::Hook { token: token.clone(), info: text(info)? })?;
        }
        for waiting in messages {
            let message = serde_json::from_slice(&waiting.bytes).map_err(|error| {
                WorldError::Corrupt(format!("a message for run {run} cannot be read: {error}; see `durhai doctor`"))
            })?;
            self.line(&Line::Letter { at: waiting.at, message })?;
        }
        Ok(())
    }

    fn stream(&mut self, run: &RunId, stream: &str, count: u64) -> Result<(), HostError> {
        let mut index = 0;
        while index < count {
            let entries = self.world.stream(run, stream, index, ENTRIES.min((count - index) as usize))?;
            if entries.is_empty() {
                return Err(HostError::NotFound(format!("the run {run} was removed meanwhile")));
            }
            for bytes in entries {
                let value: Option<Value> = serde_json::from_slice(&bytes).ok();
                self.line(&match (stream.strip_prefix(OUTPUT), value) {
                    (_, Some(line)) if stream == LOG_STREAM => Line::Log { index, line },
                    (Some(name), Some(entry)) => Line::Output { stream: name.into(), index, entry },
                    _ => Line::Entry { stream: stream.into(), index, text: text(&bytes)? },
                })?;
                index += 1;
            }
        }
        Ok(())
    }

    /// The texts of a version, where they are named first.
    fn text(&mut self, version: &Version) -> Result<(), HostError> {
        if !self.texts.insert(version.clone()) {
            return Ok(());
        }
        let texts = match self.world.program(version)? {
            None => None,
            Some(bytes) => {
                let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|error| {
                    let short = version.short();
                    WorldError::Corrupt(format!("the stored text of version {short} is damaged: {error}"))
                })?;
                Some(Texts::new(version, bundle))
            }
        };
        self.line(&Line::Text(TextLine { version: version.clone(), missing: texts.is_none(), texts }))
    }

    fn line(&mut self, line: &Line) -> Result<(), HostError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| unwritten(error.into()))?;
        // The digits of a digest are never beside those of a token, and a text holds none.
        self.tokens.apply(&mut bytes);
        self.lines.raw(&bytes).map_err(unwritten)
    }
}

fn text(bytes: &[u8]) -> Result<String, HostError> {
    let text = std::str::from_utf8(bytes);
    text.map(ToOwned::to_owned).map_err(|_| HostError::Invalid("a run has bytes that are no text".into()))
}
