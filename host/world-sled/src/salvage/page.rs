//! The bytes of sled's pages: a leaf with its entries, a change of one.

use std::collections::BTreeMap;

use crate::disk::{BLOCK, Block, PART};
use crate::keys;

/// A page with entries.
#[derive(Debug)]
pub struct Leaf {
    pub low: Vec<u8>,
    /// Empty: there is nothing above.
    pub high: Vec<u8>,
    /// So much of `low` do all keys of the page begin with; it is left out in them.
    shared: usize,
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A key and its new value, or none; nothing for what concerns pages that lead to others.
pub type Change = Option<(Vec<u8>, Option<Vec<u8>>)>;

impl Leaf {
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    pub fn apply(&mut self, change: Change, doubtful: bool) {
        let Some((key, value)) = change else { return };
        let key = [&self.low[..self.shared], &key].concat();
        let fits = key >= self.low && (self.high.is_empty() || key < self.high);
        if !fits || (doubtful && !is_whole(&key, value.as_deref())) {
            return;
        }
        match value {
            Some(value) => drop(self.entries.insert(key, value)),
            None => drop(self.entries.remove(&key)),
        }
    }
}

/// Whether nothing can have been left out in front of a key: it has just the length that its kind has, or leads to the block that
/// it must.
fn is_whole(key: &[u8], value: Option<&[u8]>) -> bool {
    match key.first() {
        // The sum of the block tells whether it is a part of it.
        Some(&PART) => true,
        Some(&BLOCK) => value.is_some_and(|value| is_at(key, value)),
        Some(&(keys::LOG | keys::MESSAGE)) => key.len() == 17,
        Some(&(keys::ROW | keys::TAKEN | keys::URGENT | keys::TRIES | keys::ADMISSION)) => key.len() == 9,
        _ => false,
    }
}

/// Whether a value is the block that stands under this key. Of one from which the first entry was removed since it cannot be
/// told, and not of one in parts.
fn is_at(key: &[u8], value: &[u8]) -> bool {
    let Some((&BLOCK, from)) = key.split_first() else { return false };
    Block::read(value).is_ok_and(|block| block.iter().next().is_some_and(|(first, _)| first[..] == *from))
}

/// `Some(None)`: a page that leads to others. `None`: it cannot be read.
pub fn node(bytes: &[u8]) -> Option<Option<Leaf>> {
    let mut bytes = Bytes(bytes);
    // The page to the right, and one that is being merged.
    bytes.number()?;
    bytes.number()?;
    let _merging = bytes.byte()?;
    let shared = usize::from(bytes.byte()?);
    let (low, high) = (bytes.text()?.to_vec(), bytes.text()?.to_vec());
    let prefix = low.get(..shared)?.to_vec();
    if bytes.byte()? != 0 {
        return Some(None);
    }
    let count = bytes.number()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push([&prefix, bytes.text()?].concat());
    }
    let mut entries = BTreeMap::new();
    for name in names {
        entries.insert(name, bytes.text()?.to_vec());
    }
    Some(Some(Leaf { low, high, shared, entries }))
}

/// The page with the first entries of all, if these are its bytes.
pub fn first_leaf(bytes: &[u8]) -> Option<Leaf> {
    let mut front = Bytes(bytes);
    front.number()?;
    front.number()?;
    front.byte()?;
    front.byte()?;
    if front.text()?.is_empty() { node(bytes)? } else { None }
}

pub fn change_of(bytes: &[u8]) -> Option<Change> {
    let mut bytes = Bytes(bytes);
    Some(match bytes.byte()? {
        0 => {
            let key = bytes.text()?.to_vec();
            Some((key, Some(bytes.text()?.to_vec())))
        }
        1 => Some((bytes.text()?.to_vec(), None)),
        2..=4 => None,
        _ => return None,
    })
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, length) = varint(self.0)?;
        self.0 = &self.0[length..];
        Some(number)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = self.0.get(..length)?;
        self.0 = &self.0[length..];
        Some(text)
    }
}

/// A number as sled writes it, and how many bytes that takes.
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let at = |at: usize| bytes.get(at).map(|byte| u64::from(*byte));
    Some(match at(0)? {
        first @ 0..=240 => (first, 1),
        first @ 241..=248 => (240 + 256 * (first - 241) + at(1)?, 2),
        249 => (2288 + 256 * at(1)? + at(2)?, 3),
        first => {
            let length = first as usize - 247;
            let mut number = [0; 8];
            number[..length].copy_from_slice(bytes.get(1..=length)?);
            (u64::from_le_bytes(number), length + 1)
        }
    })
}
