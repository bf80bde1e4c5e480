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
use crate::batch::Change;
use crate::keys;
use block::{Block, Builder, Unreadable};
use cache::Found;
use layout::{BLOCK, EMPTY, Head, IN_BLOCKS, LARGEST, PART, STEP_BYTES, place, stands_alone};

/// Bytes of entries in a block, at most, before they are compressed; one entry may have more. So only that is in parts.
const MOST: usize = LARGEST - 256;

/// What an entry counts at least, so that a block of very small ones is soon walked through.
const ENTRY: usize = 16;

/// With so many bytes a block leaves what is put behind it to the next one.
const FULL: usize = MOST / 4 * 3;

/// Entries that are removed at a time when a store of an older format is taken over. sled makes two pages of what is left of them one.
const STEP: usize = 128;

impl Store {
    /// Whether sled has something under a key.
    pub fn is_stored(&self, key: &[u8]) -> Result<bool, WorldError> {
        if stands_alone(key) {
            return self.guard("read", || self.db().contains_key(key));
        }
        Ok(self.block_of(key)?.block.get(key).is_some())
    }

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
            let mut block = Block::read(&whole).map_err(|_| self.unreadable(&place))?;
            // It may have become two after its value was read.
            block.end_at(end.as_ref().map(|end| &end[1..]));
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
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while bytes < STEP_BYTES
            && let Some((key, value)) = entries.next_if(|(key, _)| belongs(key))
        {
            // Nothing is written to remove what is not there.
            if value.is_some() || block.get(key).is_some() {
                changes.push((key, value));
                bytes += key.len() + value.map_or(0, |value| value.len());
            }
        }
        let Some((first, _)) = changes.first() else { return Ok(0) };
        let goes_on = block.iter().next_back().is_none_or(|(last, _)| *first > last);
        if goes_on && (head.is_some() || block.bytes() >= FULL) {
            let behind = place_of(first);
            let blocks = cut(behind.clone(), &Block::default(), &changes);
            return self.write_blocks(Old { place: &place, at: &behind, head: None, moves: false }, blocks);
        }
        let blocks = cut(place.clone(), &block, &changes);
        self.write_blocks(Old { place: &place, at: &place, head, moves: !goes_on }, blocks)
    }

    /// Puts blocks where one was, or behind it.
    fn write_blocks(&self, old: Old<'_>, mut blocks: Vec<(IVec, Vec<u8>)>) -> Result<usize, WorldError> {
        let bytes = blocks.iter().map(|(place, value)| place.len() + value.len()).sum::<usize>();
        for (its, value) in blocks.iter_mut().filter(|(_, value)| value.len() > LARGEST) {
            *value = self.write_parts(its, value, old.head.filter(|_| its == old.at))?;
        }
        let together = old.moves && blocks.len() > 1;
        if together {
            // What stands before a batch in sled's log must be there when the batch is: after a power cut it is whole or not there.
            self.flush_sled()?;
        }
        let done = self.guard("write to", || match &blocks[..] {
            [] if old.at.len() == 1 => self.db().insert(old.at, EMPTY).map(drop),
            [] => self.db().remove(old.at).map(drop),
            several if together => {
                let mut batch = sled::Batch::default();
                several.iter().for_each(|(place, value)| batch.insert(place, &value[..]));
                self.db().apply_batch(batch)
            }
            // Whatever of them is there after a crash, the others are put there again.
            several => several.iter().try_for_each(|(place, value)| self.db().insert(place, &value[..]).map(drop)),
        });
        self.blocks().changed(old.place);
        done?;
        if together {
            self.flush_sled()?;
        }
        if let Some(before) = old.head {
            self.drop_parts(old.at, before)?;
        }
        Ok(bytes)
    }

    /// Puts the entries of a store of an older format, which all stand alone, into blocks. It may be cut short anywhere: the
    /// next one that opens the store does the rest.
    ///
    /// `format`: the entries that say of which format it is then, and of which it was. They are there before anything is
    /// removed: an older version of durhai refuses the store from then on.
    pub fn take_over(&self, format: Vec<Change>) -> Result<(), WorldError> {
        if self.guard("read", || self.db().get(IN_BLOCKS))?.is_none() {
            // Some blocks may be there.
            self.remove_all(vec![PART]..vec![BLOCK + 1])?;
            self.guard("write to", || self.db().insert([BLOCK], EMPTY))?;
            let mut from = vec![BLOCK + 1];
            loop {
                let (mut some, mut bytes) = (Vec::new(), 0);
                for entry in self.db().range(from..) {
                    let (key, value) = self.guard("read", || entry)?;
                    bytes += key.len() + value.len();
                    some.push((key, value));
                    if bytes > STEP_BYTES {
                        break;
                    }
                }
                let Some((last, _)) = some.last() else { break };
                from = [&last[..], &[0]].concat();
                self.put(some.iter().map(|(key, value)| (key, Some(value))), &mut |_| Ok(()))?;
                self.flush_sled()?;
            }
            self.apply_alone(format)?;
            self.flush_sled()?;
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
            if let Some(earlier) = before.replace(place.clone())
                && let Some(value) = self.guard("read", || self.db().get(&earlier))?
                && let Some(whole) = self.whole(&earlier, value)?
                && let Ok(block) = Block::read(&whole)
                && block.iter().next_back().is_some_and(|(last, _)| last[..] >= place[1..])
            {
                report(format!("the block before the one at {} has an entry of it", keys::hex(&place)));
            }
        }
        Ok(())
    }

    fn remove_all(&self, range: impl RangeBounds<Vec<u8>> + Clone) -> Result<(), WorldError> {
        loop {
            // From the end, so that what is left goes to pages that go themselves.
            let last = || self.db().range(range.clone()).keys().rev().take(STEP).collect();
            let keys: Vec<IVec> = self.guard("read", last)?;
            if keys.is_empty() {
                return Ok(());
            }
            keys.iter().try_for_each(|key| self.guard("write to", || self.db().remove(key).map(drop)))?;
            self.flush_sled()?;
        }
    }
}

/// A block that is written anew, or behind which others are put.
struct Old<'a> {
    place: &'a IVec,
    /// Where the first of the new ones stands.
    at: &'a IVec,
    /// Of one that is replaced and is in parts.
    head: Option<Head>,
    /// Entries of it come into another block.
    moves: bool,
}

/// What is in a block after the changes, in as many blocks as it takes; none if it is empty. The first one stays where it was.
fn cut(at: IVec, before: &Block, changes: &[(&IVec, Option<&IVec>)]) -> Vec<(IVec, Vec<u8>)> {
    let entries = merged(before, changes);
    let mut sizes = Vec::with_capacity(entries.len());
    let mut last: &[u8] = &[];
    for (key, value) in &entries {
        sizes.push((block::MOST_NUMBERS + key.len() - block::shared(last, key) + value.len()).max(ENTRY));
        last = key;
    }
    let all: usize = sizes.iter().sum();
    let goes_on =
        before.iter().next_back().is_none_or(|(last, _)| changes.first().is_some_and(|(first, _)| *first > last));
    // What only goes on at its end leaves full blocks behind. Others get room on both sides.
    let most = if all <= MOST || goes_on { MOST } else { all.div_ceil(all.div_ceil(MOST * 2 / 3)) };
    let (mut blocks, mut builder, mut size) = (Vec::new(), Builder::default(), 0);
    let mut place = at;
    for ((key, value), its) in entries.iter().zip(sizes) {
        if size + its > most && !builder.is_empty() {
            blocks.push((std::mem::replace(&mut place, place_of(key)), builder.finish()));
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

fn place_of(key: &IVec) -> IVec {
    place(key).into()
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
