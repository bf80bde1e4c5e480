//! A whole world as one file, taken while it is in use, and brought back into an empty one.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use durhai_core::Millis;
use durhai_world::{Record, World, WorldError};
use serde::{Deserialize, Serialize};

use crate::archive::export::lines::{LinesIn, LinesOut};
use crate::error::HostError;
use crate::shared::Shared;

/// The number of this format.
const FORMAT: u64 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    durhai_backup: u64,
    /// When it was begun.
    at: Millis,
    durhai: String,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Runs that were read; those that were removed meanwhile are counted too.
    pub runs: u64,
    pub records: u64,
    pub bytes: u64,
}

/// See [`Host::backup`](crate::Host::backup).
pub(crate) async fn backup(host: &Arc<Shared>, out: impl Write + Send + 'static) -> Result<BackupSummary, HostError> {
    let host = host.clone();
    let (now, tokio) = (host.store.clock.now(), host.tokio.clone());
    let work = move || write_backup(&*host.store.world, now, out);
    tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)?
}

/// The same for a world that no host has.
pub(crate) fn write_backup(world: &dyn World, now: Millis, out: impl Write) -> Result<BackupSummary, HostError> {
    let mut lines = LinesOut::new(BufWriter::with_capacity(1 << 16, out));
    let header = Header { durhai_backup: FORMAT, at: now, durhai: env!("CARGO_PKG_VERSION").into() };
    lines.line(&header).map_err(crate::archive::export::unwritten)?;
    let mut summary = BackupSummary::default();
    let mut unwritten = None;
    let copied = world.copy(&mut |record| {
        if let Record::Unreadable { what, .. } = &record {
            return Err(WorldError::Corrupt(format!(
                "the store is damaged: {what} cannot be read; `durhai doctor` lists the damage, --repair mends it"
            )));
        }
        summary.runs += u64::from(record.run().is_some());
        summary.records += 1;
        lines.line(&record).map_err(|error| {
            let text = error.to_string();
            unwritten = Some(error);
            WorldError::Unavailable(text)
        })
    });
    if let Some(error) = unwritten {
        return Err(crate::archive::export::unwritten(error));
    }
    copied?;
    summary.bytes = lines.bytes();
    lines.end(&[("records", summary.records)]).map_err(crate::archive::export::unwritten)?;
    Ok(summary)
}

/// Puts a backup into an empty world: runs, with the names they had and all they have under way, texts, schedules, what
/// waits. The next host on it goes on as after a crash at the moment of the backup. After an error the world is of no use.
///
/// [`HostError::Invalid`] with the line of the file for everything that is wrong with it, or if the world is not empty.
pub fn restore(world: &dyn World, input: impl Read) -> Result<BackupSummary, HostError> {
    let mut lines = LinesIn::new(BufReader::with_capacity(1 << 16, input));
    header(&mut lines)?;
    let mut summary = BackupSummary::default();
    world.restore(&mut || {
        let json = lines.next().map_err(|error| WorldError::Invalid(error.to_string()))?;
        summary.bytes += json.len() as u64 + 1;
        if json.starts_with(b"{\"type\":\"end\"") {
            return lines.end().map(|()| None).map_err(|error| WorldError::Invalid(error.to_string()));
        }
        let record = serde_json::from_slice::<Record>(json)
            .map_err(|why| WorldError::Invalid(lines.error(format!("this line cannot be read: {why}")).to_string()))?;
        summary.runs += u64::from(record.run().is_some());
        summary.records += 1;
        Ok(Some(record))
    })?;
    Ok(summary)
}

fn header<R: BufRead>(lines: &mut LinesIn<R>) -> Result<(), HostError> {
    let json = lines.next()?;
    let value: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    let number = |key: &str| value.as_ref().and_then(|value| value.get(key)?.as_u64());
    let why = match (number("durhai_backup"), number("durhai_export")) {
        (Some(FORMAT), _) => return Ok(()),
        (Some(format), _) => format!(
            "this backup is written in format {format}; this version of durhai reads format {FORMAT}: use a newer one"
        ),
        (None, Some(_)) => "this is an exported run, not a backup: `durhai import FILE` brings it in".into(),
        (None, None) => {
            "this is no backup: the first line should be {\"durhai_backup\":1,…}, as `durhai backup` writes it".into()
        }
    };
    Err(lines.error(why).into())
}
