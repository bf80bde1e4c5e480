//! The bytes of a block: entries that follow each other, in one value of sled.
//!
//! | bytes | |
//! |---|---|
//! | 1 | 0: the entries follow as they are; 1: compressed |
//! | 4 | only if compressed: how many bytes they are otherwise, little endian |
//! | … | the entries, as they are or as one LZ4 block |
//!
//! An entry is three numbers (seven bits a byte, the lowest first, the highest bit set in all but the last), then bytes: how many
//! bytes of the key before it the key begins with, how many follow, how many the value has; what follows of the key; the value.
//! Keys ascend.

#[cfg(test)]
mod tests;

use std::ops::Range;

use sled::IVec;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// What LZ4 makes of a byte at most.
const RATIO: usize = 255;

/// Bytes of all keys of a block, at most: what each has of the one before it takes memory, too.
const KEYS: usize = 64 << 20;

/// Bytes of the numbers of an entry, at most, as long as it is small.
pub const MOST_NUMBERS: usize = 6;

/// Bytes of a key that take no memory beside its place.
const INLINE: usize = 22;

/// Fewer bytes are left as they are.
const SMALL: usize = 64;

/// A block that was read.
#[derive(Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// The keys, in order, and where in the bytes the values are.
    entries: Vec<(IVec, Range<usize>)>,
}

/// A block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Block {
    pub fn read(value: &[u8]) -> Result<Self, Unreadable> {
        let bytes = match value.split_first() {
            Some((&PLAIN, entries)) => entries.to_vec(),
            Some((&COMPRESSED, rest)) => {
                let (length, entries) = rest.split_first_chunk().ok_or(Unreadable)?;
                let length = u32::from_le_bytes(*length) as usize;
                if length > entries.len().saturating_mul(RATIO) {
                    return Err(Unreadable);
                }
                let read = lz4_flex::block::decompress(entries, length).map_err(|_| Unreadable)?;
                if read.len() == length { read } else { return Err(Unreadable) }
            }
            _ => return Err(Unreadable),
        };
        let entries = entries(&bytes)?;
        Ok(Block { bytes, entries })
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let at = self.entries.binary_search_by(|(its, _)| its[..].cmp(key)).ok()?;
        Some(self.at(at).1)
    }

    /// Leaves out what is not before this key.
    pub fn end_at(&mut self, end: Option<&[u8]>) {
        if let Some(end) = end {
            let count = self.entries.partition_point(|(key, _)| key[..] < *end);
            self.entries.truncate(count);
        }
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry at this place.
    pub fn at(&self, at: usize) -> (&IVec, &[u8]) {
        let (key, value) = &self.entries[at];
        (key, &self.bytes[value.clone()])
    }

    /// At which places the keys are that are not `below` and not `above`.
    pub fn between(&self, below: impl Fn(&[u8]) -> bool, above: impl Fn(&[u8]) -> bool) -> Range<usize> {
        let from = self.entries.partition_point(|(key, _)| below(key));
        let to = self.entries.partition_point(|(key, _)| !above(key));
        from..to.max(from)
    }

    /// All that is in it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&IVec, &[u8])> {
        self.entries.iter().map(|(key, value)| (key, &self.bytes[value.clone()]))
    }

    /// Bytes of memory that it takes, about.
    pub fn memory(&self) -> usize {
        let key = |(key, _): &(IVec, Range<usize>)| {
            size_of::<(IVec, Range<usize>)>() + if key.len() > INLINE { key.len() + 16 } else { 0 }
        };
        self.bytes.len() + self.entries.iter().map(key).sum::<usize>()
    }
}

fn entries(bytes: &[u8]) -> Result<Vec<(IVec, Range<usize>)>, Unreadable> {
    let (mut rest, mut key, mut of_keys) = (bytes, Vec::new(), 0);
    let mut entries: Vec<(IVec, Range<usize>)> = Vec::new();
    while !rest.is_empty() {
        let (shared, own, length) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let (own, after) = rest.split_at_checked(own).ok_or(Unreadable)?;
        if shared > key.len() || (!entries.is_empty() && key[shared..] >= *own) {
            return Err(Unreadable);
        }
        key.truncate(shared);
        key.extend_from_slice(own);
        of_keys += key.len();
        if of_keys > KEYS {
            return Err(Unreadable);
        }
        let from = bytes.len() - after.len();
        rest = after.get(length..).ok_or(Unreadable)?;
        entries.push((IVec::from(&key[..]), from..from + length));
    }
    Ok(entries)
}

/// A block in the making.
#[derive(Default)]
pub struct Builder {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Builder {
    /// Adds an entry behind all others.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = shared(&self.last, key);
        for number in [shared, key.len() - shared, value.len()] {
            put_number(&mut self.bytes, number);
        }
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The block; the next one begins.
    pub fn finish(&mut self) -> Vec<u8> {
        let entries = std::mem::take(&mut self.bytes);
        self.last.clear();
        if entries.len() >= SMALL
            && let Ok(length) = u32::try_from(entries.len())
        {
            let mut value = vec![COMPRESSED; 5 + lz4_flex::block::get_maximum_output_size(entries.len())];
            value[1..5].copy_from_slice(&length.to_le_bytes());
            if let Ok(written) = lz4_flex::block::compress_into(&entries, &mut value[5..])
                && 5 + written < 1 + entries.len()
            {
                value.truncate(5 + written);
                return value;
            }
        }
        let mut value = Vec::with_capacity(1 + entries.len());
        value.push(PLAIN);
        value.extend_from_slice(&entries);
        value
    }
}

/// How many bytes two keys begin with alike.
pub fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn number(rest: &mut &[u8]) -> Result<usize, Unreadable> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, after) = rest.split_first().ok_or(Unreadable)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift > 56 {
            return Err(Unreadable);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(number).map_err(|_| Unreadable);
        }
        shift += 7;
    }
}

fn put_number(bytes: &mut Vec<u8>, number: usize) {
    let mut number = number as u64;
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
