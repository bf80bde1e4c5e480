//! A sound world made of a damaged one.

use std::io::{BufWriter, Write};
use std::sync::mpsc;

use durhai_core::RunId;
use durhai_world::{Record, World, WorldError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Damage, Pass};
use crate::archive::export::lines::LinesOut;
use crate::error::HostError;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repaired {
    /// Runs that are in the new world.
    pub runs: u64,
    /// What was wrong. What is not mendable is still so.
    pub findings: Vec<Damage>,
    /// Entries that were left out or changed; the file has each of them as it was.
    pub set_aside: u64,
}

/// Records that wait for being written into the new world.
const AHEAD: usize = 256;

/// Puts everything that is sound in `from` into `to`, which is empty, and mends what can be mended with certainty. What is
/// left out or changed stands in `aside` as it was, with the reason; the caller has that on the disk before he makes use of
/// `to`. `from`, which no host may write to meanwhile, is not touched.
///
/// [`HostError::World`] if one of them cannot be read or written; then `to` is of no use.
pub fn repair(from: &dyn World, to: &dyn World, aside: impl Write + Send) -> Result<Repaired, HostError> {
    let mut found = Vec::new();
    from.verify(&mut |line| found.push(Damage::mended(None, line)))?;
    let mut repaired = rebuild(from, to, aside)?;
    repaired.findings.append(&mut found);
    repaired.findings.sort();
    repaired.findings.dedup();
    Ok(repaired)
}

/// The same where the indexes and counters of `from` need no look: it was put together from what was left of another one.
pub fn rebuild(from: &dyn World, to: &dyn World, aside: impl Write + Send) -> Result<Repaired, HostError> {
    let mut lines = LinesOut::new(BufWriter::new(aside));
    lines
        .line(&json!({ "durhai_aside": 1, "durhai": env!("CARGO_PKG_VERSION") }))
        .map_err(crate::archive::export::unwritten)?;
    let mut repaired = Repaired::default();
    let (tx, rx) = mpsc::sync_channel::<Record>(AHEAD);
    let (sorted, restored) = std::thread::scope(|scope| {
        let sorting = scope.spawn(|| sort(from, tx, &mut lines));
        let restored = to.restore(&mut || Ok(rx.recv().ok()));
        // If it failed, the thread that sorts must not wait for it.
        drop(rx);
        (sorting.join(), restored)
    });
    let sorted = sorted.map_err(|_| WorldError::Corrupt("the store cannot be read".into()))?;
    // That one ends when the other does: the first to fail says why.
    restored?;
    let (runs, mut findings, set_aside) = sorted?;
    repaired.runs = runs;
    repaired.set_aside = set_aside;
    repaired.findings.append(&mut findings);
    repaired.findings.sort();
    repaired.findings.dedup();
    lines.end(&[("entries", set_aside)]).map_err(crate::archive::export::unwritten)?;
    Ok(repaired)
}

#[derive(Serialize)]
struct DetachedWrite<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run: Option<&'a RunId>,
    why: &'a str,
    record: &'a Record,
}

type Sorted = (u64, Vec<Damage>, u64);

fn sort<W: Write>(
    from: &dyn World,
    sound: mpsc::SyncSender<Record>,
    lines: &mut LinesOut<W>,
) -> Result<Sorted, HostError> {
    let mut pass = Pass::new(from, true);
    let mut set_aside = 0;
    let mut hand_over = |pass: &mut Pass<'_>| -> Result<(), WorldError> {
        for (run, why, record) in pass.aside.drain(..) {
            set_aside += 1;
            let line = DetachedWrite { kind: "aside", run: run.as_ref(), why: &why, record: &record };
            lines
                .line(&line)
                .map_err(|error| WorldError::Unavailable(crate::archive::export::unwritten(error).to_string()))?;
        }
        for record in pass.out.drain(..) {
            sound.send(record).map_err(|_| WorldError::Unavailable("the new store takes nothing more".into()))?;
        }
        Ok(())
    };
    from.copy(&mut |record| {
        pass.take(record)?;
        hand_over(&mut pass)
    })?;
    pass.end()?;
    hand_over(&mut pass)?;
    let stray = std::mem::take(&mut pass.stray).into_iter().map(|(_, damage)| damage);
    pass.findings.extend(stray);
    Ok((pass.runs, pass.findings, set_aside))
}
