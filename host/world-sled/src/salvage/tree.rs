//! The entries of the store, put together from what of its pages can be read.
//!
//! A page is one whole state of it and the changes after that. Pages with entries cover ranges of keys; together they cover
//! everything. They are put one upon the other in the order in which their whole states were written: so an old state of a
//! page, of which the newer one is lost, shows only where nothing newer is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::log::{BodyPlace, Log, Message, MessageKind};
use super::page::{Leaf, change_of, node};

/// How far something can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Nothing of it was found.
    Lost,
    /// Something that was written there later may be lost.
    Doubtful,
    Sound,
}

/// What was found.
pub struct Tree {
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// From this key on, up to the next one.
    pub(super) trust: BTreeMap<Vec<u8>, Trust>,
    /// Bodies that could not be read, each in a sentence.
    pub damage: Vec<String>,
    /// A file is not there that is removed when something newer takes its place: that is lost.
    pub outdated: bool,
}

pub fn build(folder: &Path, log: &Log) -> std::io::Result<Tree> {
    let mut tree = Tree { entries: BTreeMap::new(), trust: BTreeMap::new(), damage: Vec::new(), outdated: false };
    tree.trust.insert(Vec::new(), Trust::Lost);
    let mut bodies = Bodies { file: File::open(folder.join("db"))?, folder, righted: &log.righted, outdated: false };
    let mut pages: BTreeMap<u64, Vec<&Message>> = BTreeMap::new();
    for message in &log.messages {
        if matches!(message.kind, MessageKind::Free | MessageKind::Page | MessageKind::Change) {
            pages.entry(message.page).or_default().push(message);
        }
    }
    let mut leaves = Vec::new();
    for messages in pages.values() {
        if let Some(leaf) = page(messages, log, &mut bodies, &mut tree.damage)? {
            leaves.push(leaf);
        }
    }
    tree.outdated = bodies.outdated;
    leaves.sort_unstable_by_key(|(number, ..)| *number);
    for (_, leaf, trust) in leaves {
        tree.put(leaf, trust);
    }
    Ok(tree)
}

impl Tree {
    fn put(&mut self, leaf: Leaf, trust: Trust) {
        let Leaf { low, high, entries, .. } = leaf;
        if !high.is_empty() && high <= low {
            return;
        }
        let within = |key: &[u8]| high.is_empty() || key < &high[..];
        let old: Vec<_> = self.entries.range(low.clone()..).map(|(key, _)| key).take_while(|key| within(key)).collect();
        let old: Vec<Vec<u8>> = old.into_iter().cloned().collect();
        for key in old {
            self.entries.remove(&key);
        }
        self.entries.extend(entries);
        let beyond = self.trust_of(&high);
        let marks: Vec<_> = self.trust.range(low.clone()..).map(|(key, _)| key).take_while(|key| within(key)).collect();
        let marks: Vec<Vec<u8>> = marks.into_iter().cloned().collect();
        for mark in marks {
            self.trust.remove(&mark);
        }
        self.trust.insert(low, trust);
        if !high.is_empty() {
            self.trust.entry(high).or_insert(beyond);
        }
    }

    /// From here on, up to there, nothing is known.
    pub fn lose(&mut self, from: Vec<u8>, to: Option<Vec<u8>>) {
        let beyond = to.as_deref().map(|to| self.trust_of(to));
        let within = |key: &Vec<u8>| *key >= from && to.as_ref().is_none_or(|to| key < to);
        self.trust.retain(|key, _| !within(key));
        self.trust.insert(from, Trust::Lost);
        if let (Some(to), Some(beyond)) = (to, beyond) {
            self.trust.entry(to).or_insert(beyond);
        }
    }

    /// Of everything that is there something later may be lost.
    pub fn doubt_all(&mut self) {
        self.trust.values_mut().for_each(|trust| *trust = (*trust).min(Trust::Doubtful));
    }

    fn trust_of(&self, key: &[u8]) -> Trust {
        self.trust.range(..=key.to_vec()).next_back().map_or(Trust::Lost, |(_, trust)| *trust)
    }

    /// The least trust there is in a range of keys, both ends included.
    pub fn trust(&self, from: &[u8], to: &[u8]) -> Trust {
        let within = self.trust.range(from.to_vec()..=to.to_vec()).map(|(_, trust)| *trust);
        within.chain([self.trust_of(from)]).min().unwrap_or(Trust::Lost)
    }

    /// The ranges of keys of which nothing was found: from where, and up to where (empty: the end).
    pub fn holes(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut ends = self.trust.keys().skip(1).cloned().collect::<Vec<_>>();
        ends.push(Vec::new());
        let lost = self.trust.iter().zip(ends).filter(|((_, trust), _)| **trust == Trust::Lost);
        lost.map(|((from, _), to)| (from.clone(), to)).collect()
    }
}

/// The newest whole state of a page that can be read, with its changes; when it was written, and how far it can be trusted.
fn page(
    messages: &[&Message],
    log: &Log,
    bodies: &mut Bodies<'_>,
    damage: &mut Vec<String>,
) -> std::io::Result<Option<(u64, Leaf, Trust)>> {
    let mut trust = Trust::Sound;
    // From here on it is not known what was there.
    let mut unknown = u64::MAX;
    for (at, message) in messages.iter().enumerate().rev() {
        match message.kind {
            MessageKind::Free => return Ok(None),
            MessageKind::Page => {}
            _ => continue,
        }
        let Some(bytes) = bodies.read(message, damage)? else {
            (trust, unknown) = (Trust::Doubtful, message.number);
            continue;
        };
        let mut leaf = match node(&bytes) {
            Some(Some(leaf)) => leaf,
            // It leads to others.
            Some(None) => return Ok(None),
            None => {
                damage.push(format!("page {} as it was written at {} is none", message.page, message.number));
                (trust, unknown) = (Trust::Doubtful, message.number);
                continue;
            }
        };
        for gap in &log.gaps {
            if gap.number.is_none_or(|number| number > message.number) {
                trust = Trust::Doubtful;
                unknown = unknown.min(gap.number.unwrap_or(0));
            }
        }
        for change in &messages[at + 1..] {
            if change.kind != MessageKind::Change {
                continue;
            }
            let change_of = match bodies.read(change, damage)? {
                Some(bytes) => change_of(&bytes),
                None => None,
            };
            match change_of {
                // Another whole state may have come before it, in which keys are written otherwise.
                Some(change_of) => leaf.apply(change_of, change.number > unknown),
                None => trust = Trust::Doubtful,
            }
        }
        return Ok(Some((message.number, leaf, trust)));
    }
    Ok(None)
}

struct Bodies<'a> {
    file: File,
    folder: &'a Path,
    /// See [`Log::righted`].
    righted: &'a [(u64, u8)],
    outdated: bool,
}

impl Bodies<'_> {
    fn read(&mut self, message: &Message, damage: &mut Vec<String>) -> std::io::Result<Option<Vec<u8>>> {
        match message.body {
            BodyPlace::Here { at, len } => {
                // Its check sum was right a moment ago.
                let mut bytes = vec![0; len];
                self.file.seek(SeekFrom::Start(at))?;
                self.file.read_exact(&mut bytes)?;
                for (place, bits) in self.righted {
                    let within = place.checked_sub(at).and_then(|place| bytes.get_mut(usize::try_from(place).ok()?));
                    within.into_iter().for_each(|byte| *byte ^= bits);
                }
                Ok(Some(bytes))
            }
            BodyPlace::Blob(name) => {
                let path = self.folder.join("blobs").join(name.to_string());
                let bytes = match std::fs::read(&path) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        self.outdated |= error.kind() == std::io::ErrorKind::NotFound;
                        damage.push(format!("{} cannot be read: {error}", path.display()));
                        return Ok(None);
                    }
                };
                let sound = bytes.split_first_chunk::<4>().filter(|(sum, rest)| {
                    let kind = rest.first().copied();
                    crc32fast::hash(rest) == u32::from_le_bytes(**sum) && matches!(kind, Some(9 | 11))
                });
                if sound.is_none() {
                    damage.push(format!("{} is damaged", path.display()));
                }
                Ok(sound.map(|(_, rest)| rest[1..].to_vec()))
            }
        }
    }
}
