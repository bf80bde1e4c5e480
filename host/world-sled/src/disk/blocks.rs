//! Entries in sled: those that follow each other stand together in one [block](block), because what sled takes, in memory and on the
//! disk, goes with how many entries it has, however small they are.
//!
//! A block stands under `B` and a key: it has the entries from that key on, up to the key of the next block. The first one stands
//! under `B` alone and is always there. A block that grows too large becomes several; one that has no entry any more is removed;
//! two that have some never become one, so that a walk from block to block meets every entry that stays, whatever is written
//! meanwhile. The entries of this world
//! itself (`!`) stand for themselves: some of them say how the others are to be read.

pub mod block;
pub mod cache;
pub mod layout;
mod parts;

use std::iter::Peekable;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use durhai_world::WorldError;
use sled::IVec;

use super::store::Store;
use crate::keys;
use block::{Block, Builder, Unreadable};
use cache::Found;
use layout::{BLOCK, EMPTY, Head, IN_BLOCKS, LARGEST, PART, place, stands_alone};

/// Bytes of entries in a block, at most, before they are compressed; one entry may have more.
const MOST: usize = 8 << 10;

/// What an entry counts at least, so that a block of very small ones is soon walked through.
const ENTRY: usize = 16;

/// Entries that are put into blocks at a time when a store of an older format is taken over.
const STEP: usize = 8192;

impl Store {
    /// What sled has under a key.
    pub fn stored(&self, key: &[u8]) -> Result<Option<IVec>, WorldError> {
        if stands_alone(key) {
            return self.guard("read", || self.db().get(key));
        }
        Ok(self.block_of(key)?.block.get(key).map(IVec::from))
    }

    /// The block in which a key would be.
    pub fn block_of(&self, key: &[u8]) -> Result<Found, WorldError> {
        let place = place(key);
        let (kept, changes) = {
            let mut blocks = self.blocks();
            (blocks.around(&place), blocks.changes())
        };
        match kept {
            Some(found) => Ok(found),
            None => self.read_block(..=place, changes)?.ok_or_else(|| self.corrupt("its first block is missing")),
        }
    }

    /// The block before the one that stands there, or the last of all.
    pub fn block_before(&self, place: Option<&IVec>) -> Result<Option<Found>, WorldError> {
        let (kept, changes) = {
            let mut blocks = self.blocks();
            (place.and_then(|place| blocks.before(place)), blocks.changes())
        };
        match kept {
            Some(found) => Ok(Some(found)),
            None => self.read_block(..place.map_or_else(|| vec![BLOCK + 1], |place| place.to_vec()), changes),
        }
    }

    /// The last block within these places. `changes`: how many there had been before.
    fn read_block(&self, upto: impl RangeBounds<Vec<u8>>, mut changes: u64) -> Result<Option<Found>, WorldError> {
        let range = (Bound::Included(vec![BLOCK]), upto.end_bound().cloned());
        loop {
            let found = self.guard("read", || self.db().range(range.clone()).next_back().transpose())?;
            let Some((place, value)) = found else { return Ok(None) };
            let next = self.guard("read", || self.db().get_gt(&place))?;
            let end = next.map(|(next, _)| next).filter(|next| next.first() == Some(&BLOCK));
            let head = Head::of(&value);
            let Some(whole) = self.whole(&place, value)? else {
                match self.blocks().changes() {
                    same if same == changes => return Err(self.unreadable(&place)),
                    // Its parts were written again meanwhile.
                    more => changes = more,
                }
                continue;
            };
            let block = Block::read(&whole).map_err(|_| self.unreadable(&place))?;
            let found = Found { place, end, head, block: Arc::new(block) };
            self.blocks().keep(found.clone(), changes);
            return Ok(Some(found));
        }
    }

    fn unreadable(&self, place: &[u8]) -> WorldError {
        self.corrupt(format!("the block of entries at {} cannot be read", keys::hex(place)))
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
        let Found { place, end, head, block } = self.block_of(first)?;
        let belongs = |key: &IVec| end.as_ref().is_none_or(|end| key[..] < end[1..]);
        let mut changes = Vec::new();
        while let Some(change) = entries.next_if(|(key, _)| belongs(key)) {
            changes.push(change);
        }
        let mut blocks = cut(&place, &block, &changes);
        let bytes = blocks.iter().map(|(place, value)| place.len() + value.len()).sum::<usize>();
        for (at, value) in blocks.iter_mut().filter(|(_, value)| value.len() > LARGEST) {
            *value = self.write_parts(at, value, head.filter(|_| *at == place))?;
        }
        let done = self.guard("write to", || match &blocks[..] {
            [] if place.len() == 1 => self.db().insert(&place, EMPTY).map(drop),
            [] => self.db().remove(&place).map(drop),
            // One entry is atomic by itself: a batch of sled's would add a record of its own.
            [(_, value)] => self.db().insert(&place, &value[..]).map(drop),
            several => {
                let mut batch = sled::Batch::default();
                several.iter().for_each(|(place, value)| batch.insert(place, &value[..]));
                self.db().apply_batch(batch)
            }
        });
        self.blocks().changed(&place);
        done?;
        if let Some(before) = head {
            self.drop_parts(&place, before)?;
        }
        Ok(bytes + block.len())
    }

    /// Puts the entries of a store of an older format, which all stand alone, into blocks. It may be cut short anywhere: the
    /// next one that opens the store does the rest.
    pub fn take_over(&self) -> Result<(), WorldError> {
        if self.guard("read", || self.db().get(IN_BLOCKS))?.is_none() {
            // Some blocks may be there.
            self.remove_all(vec![PART]..vec![BLOCK + 1])?;
            self.guard("write to", || self.db().insert([BLOCK], EMPTY))?;
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
            let whole = self.whole(&place, value)?;
            let block = whole.as_ref().map_or(Err(Unreadable), |whole| Block::read(whole));
            match &block {
                // It may have become another one meanwhile.
                Err(Unreadable) if self.block_of(&place[1..]).is_ok() => {}
                Err(Unreadable) => report(format!("the block at {} cannot be read", keys::hex(&place))),
                Ok(block) if block.len() == 0 && place.len() > 1 => {
                    report(format!("the block at {} is empty", keys::hex(&place)));
                }
                Ok(block) if block.len() > 0 && block.at(0).0[..] < place[1..] => {
                    report(format!("the block at {} has an entry of the one before", keys::hex(&place)));
                }
                Ok(_) => {}
            }
            // As it is now: it may have become two meanwhile.
            let earlier = before.replace(place.clone());
            let earlier = earlier.and_then(|place| self.block_of(&place[1..]).ok());
            if let Some(Found { block, place: its, .. }) = &earlier
                && let Some((last, _)) = block.iter().next_back()
                && last[..] >= place[1..]
                && *its < place
            {
                report(format!("the block before the one at {} has an entry of it", keys::hex(&place)));
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

/// What is in a block after the changes, in as many blocks as it takes; none if it is empty. The first one stays where it was.
fn cut(at: &IVec, before: &Block, changes: &[(&IVec, Option<&IVec>)]) -> Vec<(IVec, Vec<u8>)> {
    let entries = merged(before, changes);
    let mut sizes = Vec::with_capacity(entries.len());
    let mut last: &[u8] = &[];
    for (key, value) in &entries {
        sizes.push((3 + key.len() - block::shared(last, key) + value.len()).max(ENTRY));
        last = key;
    }
    let all: usize = sizes.iter().sum();
    let goes_on =
        before.iter().next_back().is_none_or(|(last, _)| changes.first().is_some_and(|(first, _)| *first > last));
    // What only goes on at its end leaves full blocks behind. Others get room on both sides.
    let most = if all <= MOST || goes_on { MOST } else { all.div_ceil(all.div_ceil(MOST * 2 / 3)) };
    let (mut blocks, mut builder, mut size) = (Vec::new(), Builder::default(), 0);
    let mut place = at.clone();
    for ((key, value), its) in entries.iter().zip(sizes) {
        if size + its > most && !builder.is_empty() {
            blocks.push((std::mem::replace(&mut place, self::place(key).into()), builder.finish()));
            size = 0;
        }
        size += its;
        builder.push(key, value);
    }
    if !builder.is_empty() {
        blocks.push((place, builder.finish()));
    }
    blocks
}

/// The entries that are there after the changes, in order.
fn merged<'a>(before: &'a Block, changes: &'a [(&IVec, Option<&IVec>)]) -> Vec<(&'a IVec, &'a [u8])> {
    let mut entries = Vec::with_capacity(before.len() + changes.len());
    let mut before = before.iter().peekable();
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
