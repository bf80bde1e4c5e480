//! The messages in sled's data file, read without sled: what its check sums vouch for, and where there is something else.
//!
//! The file is a row of segments of 512 KiB. A segment begins with a header (check sum, the number at which it begins in the
//! log, up to where all was on the disk then) and holds messages: check sum u32, kind u8, and as variable numbers the length
//! of the body, the number of the segment, the page; then the body. Segments are used again in any order; what is written
//! later has the higher number. Everything is little endian, check sums are CRC-32.

mod bytes;
mod marks;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::{Found, found, resync, righted};
use marks::Marks;

/// Bytes of a segment, as sled makes them unless told otherwise.
pub const SEGMENT: usize = 512 << 10;

/// Bytes of the header of a segment.
const HEADER: usize = 20;

/// Nothing begins nearer to the end of a segment than this.
const LONGEST: usize = 32;

/// What a message is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Nothing, or the end of a segment.
    Padding,
    /// Up to this number a batch goes, which counts as a whole.
    Batch(u64),
    /// A page is gone.
    Free,
    /// The counter of ids, or what trees there are.
    Other,
    /// A page as a whole.
    Page,
    /// A change of a page.
    Change,
}

/// Where a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPlace {
    Here {
        at: u64,
        len: usize,
    },
    /// In a file of its own, of that name.
    Blob(i64),
}

#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Its place in the log.
    pub number: u64,
    pub kind: MessageKind,
    pub page: u64,
    pub body: BodyPlace,
}

/// Bytes of the file that are no message, where there must be some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub at: u64,
    pub end: u64,
    /// Its place in the log, where that can be told; 0 for what can have held nothing, or was put right.
    pub number: Option<u64>,
    /// Just one bit of it was another, and it is known which.
    pub righted: bool,
}

#[derive(Default)]
pub struct Log {
    pub messages: Vec<Message>,
    pub gaps: Vec<Gap>,
    /// The same where it is not known whether anything was there: what was being written when the process died, or damage.
    pub tears: Vec<Gap>,
    /// Bytes of bodies that are read otherwise than they stand in the file: where, and which bits.
    pub righted: Vec<(u64, u8)>,
    /// Up to here everything was on the disk once.
    pub stable: u64,
    /// Where segments stand that come after the first tear: they must not count.
    pub behind: Vec<u64>,
    /// Only the damage is wanted: there may be many messages.
    damage_only: bool,
}

impl Log {
    fn keep(&mut self, message: Option<Message>) {
        if !self.damage_only {
            self.messages.extend(message);
        }
    }
}

/// Up to where all was on the disk, as the caller knows.
#[derive(Debug, Clone, Copy)]
pub struct Stable {
    pub until: u64,
    /// The store has a journal. What was written after its mark may be on the disk in part, whatever sled says: the journal has it still,
    /// or the store is refused because that does not go on from the mark. Without a journal sled's word counts, which was made true
    /// before anything was acknowledged.
    pub journaled: bool,
}

/// Looks for damage in the segments that begin at or after this place in the log, and in those of which it is not known. Up
/// to `stable` all was on the disk, as the caller knows.
pub fn check(path: &Path, from: u64, stable: Stable) -> std::io::Result<Log> {
    segments(path, from, stable, || Log { damage_only: true, ..Log::default() })
}

/// Reads everything; the messages are in the order in which they were written.
pub fn read(path: &Path, stable: Stable) -> std::io::Result<Log> {
    let mut log = segments(path, 0, stable, Log::default)?;
    drop_torn_batch(&mut log);
    log.messages.sort_unstable_by_key(|message| message.number);
    Ok(log)
}

fn segments(path: &Path, from: u64, stable: Stable, new: impl Fn() -> Log) -> std::io::Result<Log> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let heads = heads(&mut file, bytes)?;
    let highest = heads.iter().flatten().map(|head| head.begins / SEGMENT as u64).max().unwrap_or(0);
    let mut buffer = Vec::with_capacity(SEGMENT);
    let mut all = |take: &mut dyn FnMut(&[u8], Slot)| -> std::io::Result<()> {
        for (at, head) in heads.iter().enumerate() {
            if head.as_ref().is_some_and(|head| head.begins < from) {
                continue;
            }
            let base = (at * SEGMENT) as u64;
            file.seek(SeekFrom::Start(base))?;
            buffer.clear();
            (&mut file).take(SEGMENT as u64).read_to_end(&mut buffer)?;
            take(&buffer, Slot { base, begins: head.as_ref().map(|head| head.begins), from, highest });
        }
        Ok(())
    };
    let until = if stable.journaled {
        let mut marks = Marks::default();
        all(&mut |bytes, _| marks.take(bytes))?;
        marks.stable()
    } else {
        heads.iter().flatten().map(|head| head.stable).max().unwrap_or(0)
    };
    let mut log = Log { stable: stable.until.max(until), ..new() };
    all(&mut |bytes, slot| segment(bytes, slot, &mut log))?;
    // What was never on the disk as a whole is no damage. sled takes nothing that comes after it in its segment.
    let stable = log.stable;
    let torn = |gap: &Gap| gap.number.is_some_and(|number| number >= stable);
    let (tears, gaps) = std::mem::take(&mut log.gaps).into_iter().partition(torn);
    (log.tears, log.gaps) = (tears, gaps);
    if let Some(first) = log.tears.iter().filter_map(|tear| tear.number).min() {
        let behind = heads.iter().enumerate().filter(|(_, head)| head.as_ref().is_some_and(|head| head.begins > first));
        log.behind = behind.map(|(at, _)| (at * SEGMENT) as u64).collect();
    }
    // Where the file ends in the middle of something, more may have come after it, of any time.
    for gap in log.tears.iter_mut().chain(&mut log.gaps).filter(|gap| gap.end >= bytes) {
        gap.number = None;
    }
    Ok(log)
}

/// The header of a segment.
struct Head {
    begins: u64,
    stable: u64,
}

fn heads(file: &mut File, bytes: u64) -> std::io::Result<Vec<Option<Head>>> {
    let mut heads = Vec::new();
    let mut at = 0;
    while at < bytes {
        let mut buffer = [0; HEADER];
        file.seek(SeekFrom::Start(at))?;
        heads.push(if at + HEADER as u64 <= bytes {
            file.read_exact(&mut buffer)?;
            head(&buffer)
        } else {
            None
        });
        at += SEGMENT as u64;
    }
    Ok(heads)
}

fn head(buffer: &[u8; HEADER]) -> Option<Head> {
    let (sum, rest) = buffer.split_first_chunk::<4>()?;
    let (begins, stable) = rest.split_first_chunk::<8>()?;
    let stable = stable.first_chunk::<8>()?;
    if crc32fast::hash(&buffer[4..]) != u32::from_le_bytes(*sum) ^ u32::MAX {
        return None;
    }
    let number = |bytes: &[u8; 8]| u64::try_from(i64::from_le_bytes(*bytes) ^ i64::MAX).ok();
    let begins = number(begins)?;
    // -1 at the very beginning: nothing was stable yet.
    Some(Head { begins, stable: number(stable).unwrap_or(0) }).filter(|_| begins % SEGMENT as u64 == 0)
}

/// Lets the log end at its first tear. sled looks for one behind the place only up to which all was on the disk by its own word, and
/// would take segments that come after it: parts of what is whole or nothing.
pub fn end_at_tear(path: &Path, behind: &[u64]) -> std::io::Result<()> {
    if behind.is_empty() {
        return Ok(());
    }
    let mut file = File::options().write(true).open(path)?;
    for at in behind {
        file.seek(SeekFrom::Start(*at))?;
        file.write_all(&[0; HEADER])?;
    }
    file.sync_data()
}

/// A place for a segment in the file.
#[derive(Clone, Copy)]
struct Slot {
    base: u64,
    /// Where the segment begins in the log, by its header.
    begins: Option<u64>,
    /// Segments from here on are wanted.
    from: u64,
    /// The last one that has a header.
    highest: u64,
}

fn segment(bytes: &[u8], slot: Slot, log: &mut Log) {
    let Slot { base, begins, highest, .. } = slot;
    let size = SEGMENT as u64;
    if begins.is_none() && bytes.iter().all(|byte| *byte == 0) {
        // Never used, or cleared.
        return;
    }
    let mut own = begins.map(|begins| begins / size);
    let mut gaps = Vec::new();
    let mut at = HEADER;
    while at + LONGEST <= SEGMENT && at < bytes.len() {
        if let Some(found) = found(bytes, at) {
            own = own.or(Some(found.segment));
            let number = found.segment.saturating_mul(size) + at as u64;
            let next = found.body.end;
            // Padding up to the end of the segment.
            let ends = found.kind == 2;
            log.keep(message(&found, bytes, base, number));
            if ends {
                break;
            }
            at = next;
            continue;
        }
        if let Some((found, patch)) = righted(bytes, at, own, highest) {
            own = own.or(Some(found.segment));
            let number = found.segment.saturating_mul(size) + at as u64;
            let next = found.body.end;
            log.keep(message(&found, bytes, base, number));
            log.righted.extend(patch.map(|(at, bits)| (base + at as u64, bits)));
            // What was being written may look like that by chance.
            let lost = if number >= log.stable { number } else { 0 };
            log.gaps.push(Gap { at: base + at as u64, end: base + next as u64, number: Some(lost), righted: true });
            if found.kind == 2 {
                break;
            }
            at = next;
            continue;
        }
        let blank = bytes[at..].iter().all(|byte| *byte == 0);
        if blank && own.is_some_and(|own| own.saturating_mul(size) + at as u64 >= log.stable) {
            // Nothing was written there yet.
            break;
        }
        let next = if blank { None } else { resync(bytes, at + 1, own, highest) };
        // A segment that is used again may have been written from its middle on, when its process died: what is of an
        // older time there counts no more, before it and after it.
        let newer = next.as_ref().map(|(_, found)| found.segment).filter(|newer| own.is_some_and(|own| *newer > own));
        let end = next.as_ref().map_or(bytes.len(), |(next, _)| *next);
        match newer {
            Some(_) => own = newer,
            None => gaps.push((at, end)),
        }
        match next {
            Some((next, _)) => at = next,
            None => break,
        }
    }
    close(bytes, slot, Walked { own, gaps, at }, log);
}

/// How far the messages of a segment went.
struct Walked {
    /// Which one it is, if that is known.
    own: Option<u64>,
    gaps: Vec<(usize, usize)>,
    at: usize,
}

/// What a segment has that is no message.
fn close(bytes: &[u8], slot: Slot, Walked { own, mut gaps, at }: Walked, log: &mut Log) {
    let Slot { base, begins, from, highest } = slot;
    let size = SEGMENT as u64;
    // Cleared when it was free, in part: with its header it would not have been looked at.
    if begins.is_none() && own.is_some_and(|own| own.saturating_mul(size) < from) {
        return;
    }
    // Nothing tells which one it is. One that is full has messages up to its end; this was just begun, behind all others.
    let begun =
        own.is_none() && (bytes.len() < SEGMENT || bytes[SEGMENT - SEGMENT / 4..].iter().all(|byte| *byte == 0));
    let fresh = begun.then_some(highest + 1);
    let whole = begins.is_none() && own.is_some();
    // That of a segment that was being written may not be on the disk yet.
    if whole && own.is_some_and(|own| own.saturating_mul(size) < log.stable) {
        gaps.insert(0, (0, HEADER));
    }
    log.gaps.extend(gaps.into_iter().map(|(at, end)| gap(base, at, end, own.or(fresh))));
    // Of a cut segment the end is missing.
    let cut = bytes.len() < SEGMENT && at >= bytes.len();
    let missing = own.map(|own| own.saturating_mul(size) + bytes.len() as u64);
    if let (true, Some(_)) = (cut, missing.filter(|number| *number < log.stable)) {
        let number = missing;
        log.gaps.push(Gap { at: base + bytes.len() as u64, end: base + size, number, righted: false });
    }
    if begins.is_none() && own.is_none() {
        let number = fresh.map(|segment| segment.saturating_mul(size));
        log.gaps.push(Gap { at: base, end: base + bytes.len() as u64, number, righted: false });
    }
}

/// Bytes of a segment that are no message. `own`: which one it is.
fn gap(base: u64, at: usize, end: usize, own: Option<u64>) -> Gap {
    // Nothing that counts stands in a header.
    let number = if at == 0 { Some(0) } else { own.map(|own| own.saturating_mul(SEGMENT as u64) + at as u64) };
    Gap { at: base + at as u64, end: base + end as u64, number, righted: false }
}

fn message(found: &Found, segment: &[u8], base: u64, number: u64) -> Option<Message> {
    let here = BodyPlace::Here { at: base + found.body.start as u64, len: found.body.len() };
    let first = || segment.get(found.body.clone())?.first_chunk::<8>().map(|bytes| i64::from_le_bytes(*bytes));
    let blob = || first().map(BodyPlace::Blob);
    let (kind, body) = match found.kind {
        3 => (MessageKind::Batch(u64::try_from(first()?).ok()?), here),
        4 => (MessageKind::Free, here),
        5..=7 => (MessageKind::Other, here),
        8 => (MessageKind::Page, here),
        9 => (MessageKind::Page, blob()?),
        10 => (MessageKind::Change, here),
        11 => (MessageKind::Change, blob()?),
        _ => (MessageKind::Padding, here),
    };
    Some(Message { number, kind, page: found.page, body })
}

/// A batch of which the end is not there was never acknowledged: it counts as a whole or not at all.
fn drop_torn_batch(log: &mut Log) {
    let Some(last) = log.messages.iter().map(|message| message.number).max() else { return };
    let torn = log.messages.iter().filter_map(|message| match message.kind {
        MessageKind::Batch(until) if until > last => Some(message.number),
        _ => None,
    });
    if let Some(torn) = torn.min().filter(|torn| *torn >= log.stable) {
        log.messages.retain(|message| message.number < torn);
    }
}
