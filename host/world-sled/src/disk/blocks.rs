//! Entries in sled: those that follow each other stand together in one [block](block), because what sled takes, in memory and on the
//! disk, goes with how many entries it has, however small they are.
//!
//! A block stands under `B` and a key: it has the entries from that key on, up to the key of the next block. The first one stands
//! under `B` alone. A block that grows too large becomes several; one that has no entry any more is removed; two never become
//! one, so that a walk from block to block meets every entry that stays, whatever is written meanwhile. The entries of this world
//! itself (`!`) stand for themselves: some of them say how the others are to be read.

pub mod block;

use std::iter::Peekable;
use std::ops::RangeBounds;

use durhai_world::WorldError;
use sled::IVec;

use super::store::Store;
use crate::keys;
use block::{Block, Builder, Unreadable};

/// What the key of a block begins with.
pub const BLOCK: u8 = b'B';

/// Says that entries stand in blocks.
pub const IN_BLOCKS: &[u8] = b"!blocks";

/// Bytes of entries in a block, at most, before they are compressed; one entry may have more.
const MOST: usize = 8 << 10;

/// What an entry counts at least, so that a block of very small ones is soon walked through.
const ENTRY: usize = 16;

/// Entries that are put into blocks at a time when a store of an older format is taken over.
const STEP: usize = 8192;

/// Under which key of sled a block that begins with this key stands.
pub fn place(key: &[u8]) -> Vec<u8> {
    [&[BLOCK], key].concat()
}

/// Whether an entry stands for itself.
pub fn stands_alone(key: &[u8]) -> bool {
    key.first() == Some(&keys::OWN)
}

impl Store {
    /// What sled has under a key.
    pub fn stored(&self, key: &[u8]) -> Result<Option<IVec>, WorldError> {
        if stands_alone(key) {
            return self.guard("read", || self.db().get(key));
        }
        let Some((place, value)) = self.block_of(key)? else { return Ok(None) };
        let unreadable = |_: Unreadable| self.unreadable(&place);
        let block = Block::read(&value).map_err(unreadable)?;
        Ok(block.get(key).map_err(unreadable)?.map(IVec::from))
    }

    /// The block in which a key would be, and where it stands.
    pub fn block_of(&self, key: &[u8]) -> Result<Option<(IVec, IVec)>, WorldError> {
        let upto = vec![BLOCK]..=place(key);
        self.guard("read", || self.db().range(upto).next_back().transpose())
    }

    pub fn unreadable(&self, place: &[u8]) -> WorldError {
        self.corrupt(format!("the block of entries from {} on cannot be read", keys::hex(place)))
    }

    /// Puts entries into sled, in the order of their keys, each once. All of one block are there together or not at all.
    /// `written` hears of each block how many bytes it made sled write, about.
    pub fn put<'e>(
        &self,
        entries: impl Iterator<Item = (&'e IVec, Option<&'e IVec>)>,
        written: &mut dyn FnMut(usize) -> Result<(), WorldError>,
    ) -> Result<(), WorldError> {
        let mut entries = entries.peekable();
        while let Some((key, value)) = entries.peek().copied() {
            if stands_alone(key) {
                entries.next();
                self.guard("write to", || match value {
                    Some(value) => self.db().insert(key, value).map(drop),
                    None => self.db().remove(key).map(drop),
                })?;
                written(key.len() + value.map_or(0, |value| value.len()))?;
            } else {
                written(self.put_into_block(&mut entries)?)?;
            }
        }
        Ok(())
    }

    /// Puts the entries that belong into the same block as the first of them.
    fn put_into_block<'e>(
        &self,
        entries: &mut Peekable<impl Iterator<Item = (&'e IVec, Option<&'e IVec>)>>,
    ) -> Result<usize, WorldError> {
        let Some((first, _)) = entries.peek().copied() else { return Ok(0) };
        let found = self.block_of(first)?;
        let place = found.as_ref().map_or_else(|| IVec::from(&[BLOCK]), |(place, _)| place.clone());
        let next = self.guard("read", || self.db().get_gt(&place))?;
        let end = next.filter(|(next, _)| next.first() == Some(&BLOCK)).map(|(next, _)| next);
        let belongs = |key: &IVec| end.as_ref().is_none_or(|end| key[..] < end[1..]);
        let mut changes = Vec::new();
        while let Some(change) = entries.next_if(|(key, _)| belongs(key)) {
            changes.push(change);
        }
        let old = found.as_ref().map(|(_, value)| Block::read(value)).transpose();
        let before = old.as_ref().map(|old| old.as_ref().map_or(Ok(Vec::new()), Block::entries));
        let (Ok(Ok(before)), had) = (before, found.as_ref().map_or(0, |(_, value)| value.len())) else {
            return Err(self.unreadable(&place));
        };
        let parts = parts(&place, &before, &changes);
        let bytes = had + parts.iter().map(|(place, value)| place.len() + value.len()).sum::<usize>();
        self.guard("write to", || match &parts[..] {
            [] if found.is_none() => Ok(()),
            [] => self.db().remove(&place).map(drop),
            // One entry is atomic by itself: a batch of sled's would add a record of its own.
            [(_, value)] => self.db().insert(&place, &value[..]).map(drop),
            several => {
                let mut batch = sled::Batch::default();
                several.iter().for_each(|(place, value)| batch.insert(place, &value[..]));
                self.db().apply_batch(batch)
            }
        })?;
        Ok(bytes)
    }

    /// Puts the entries of a store of an older format, which all stand alone, into blocks. It may be cut short anywhere: the
    /// next one that opens the store does the rest.
    pub fn take_over(&self) -> Result<(), WorldError> {
        if self.guard("read", || self.db().get(IN_BLOCKS))?.is_none() {
            // Some blocks may be there.
            self.remove_all(vec![BLOCK]..vec![BLOCK + 1])?;
            let mut from = vec![BLOCK + 1];
            loop {
                let some: Vec<_> = self.guard("read", || self.db().range(from.clone()..).take(STEP).collect())?;
                let Some((last, _)) = some.last() else { break };
                from = [&last[..], &[0]].concat();
                self.put(some.iter().map(|(key, value)| (key, Some(value))), &mut |_| Ok(()))?;
                self.flush_sled()?;
            }
            self.put_into_sled(IN_BLOCKS, &[])?;
        }
        self.remove_all(vec![BLOCK + 1]..)
    }

    /// Looks for blocks that cannot be read, or have what is not theirs.
    pub fn verify_blocks(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        let mut before: Option<IVec> = None;
        let mut entries = self.db().range(vec![BLOCK]..);
        while let Some((place, value)) = self.guard("read", || entries.next().transpose())? {
            if place.first() != Some(&BLOCK) {
                report(format!("an entry stands in no block: {}", keys::hex(&place)));
                continue;
            }
            match ends(&value) {
                Err(Unreadable) => report(format!("the block at {} cannot be read", keys::hex(&place))),
                Ok(ends) if ends.as_ref().is_none_or(|(first, _)| first[..] < place[1..]) => {
                    report(format!("the block at {} does not begin there", keys::hex(&place)));
                }
                Ok(_) => {}
            }
            // As it is now: it may have become two meanwhile.
            let earlier = before.replace(place.clone());
            let earlier = earlier.map(|place| self.guard("read", || self.db().get(&place))).transpose()?.flatten();
            if let Some(Ok(Some((_, last)))) = earlier.map(|value| ends(&value))
                && last[..] >= place[1..]
            {
                report(format!("the block before the one at {} has entries of it", keys::hex(&place)));
            }
        }
        Ok(())
    }

    fn remove_all(&self, range: impl RangeBounds<Vec<u8>> + Clone) -> Result<(), WorldError> {
        loop {
            let keys: Vec<IVec> = self.guard("read", || self.db().range(range.clone()).keys().take(STEP).collect())?;
            if keys.is_empty() {
                return Ok(());
            }
            keys.iter().try_for_each(|key| self.guard("write to", || self.db().remove(key).map(drop)))?;
            self.flush_sled()?;
        }
    }
}

/// The first and the last key in a block.
fn ends(value: &[u8]) -> Result<Option<(IVec, IVec)>, Unreadable> {
    let block = Block::read(value)?;
    let entries = block.entries()?;
    Ok(entries.first().zip(entries.last()).map(|((first, _), (last, _))| (first.clone(), last.clone())))
}

/// What is in a block after the changes, in as many blocks as it takes; none if it is empty. The first one stays where it was.
fn parts(at: &IVec, before: &[(IVec, &[u8])], changes: &[(&IVec, Option<&IVec>)]) -> Vec<(IVec, Vec<u8>)> {
    let entries = merged(before, changes);
    let mut sizes = Vec::with_capacity(entries.len());
    let mut last: &[u8] = &[];
    for (key, value) in &entries {
        sizes.push((3 + key.len() - block::shared(last, key) + value.len()).max(ENTRY));
        last = key;
    }
    let all: usize = sizes.iter().sum();
    let goes_on = before.last().is_none_or(|(last, _)| changes.first().is_some_and(|(first, _)| *first > last));
    // What only goes on at its end leaves full blocks behind. Others get room on both sides.
    let most = if all <= MOST || goes_on { MOST } else { all.div_ceil(all.div_ceil(MOST * 2 / 3)) };
    let (mut parts, mut builder, mut size) = (Vec::new(), Builder::default(), 0);
    let mut place = at.clone();
    for ((key, value), its) in entries.iter().zip(sizes) {
        if size + its > most && !builder.is_empty() {
            parts.push((std::mem::replace(&mut place, self::place(key).into()), builder.finish()));
            size = 0;
        }
        size += its;
        builder.push(key, value);
    }
    if !builder.is_empty() {
        parts.push((place, builder.finish()));
    }
    parts
}

/// The entries that are there after the changes, in order.
fn merged<'a>(before: &'a [(IVec, &'a [u8])], changes: &'a [(&IVec, Option<&IVec>)]) -> Vec<(&'a IVec, &'a [u8])> {
    let mut entries = Vec::with_capacity(before.len() + changes.len());
    let mut before = before.iter().map(|(key, value)| (key, *value)).peekable();
    for (key, value) in changes {
        while let Some(entry) = before.next_if(|(old, _)| old < key) {
            entries.push(entry);
        }
        before.next_if(|(old, _)| old == key);
        entries.extend(value.map(|value| (*key, &value[..])));
    }
    entries.extend(before);
    entries
}
