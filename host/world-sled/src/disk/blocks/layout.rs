//! Where blocks stand in sled.
//!
//! A block stands under `B` and a key. sled puts a page into a file of its own when it has more than 128 KiB, and it has up to 20
//! entries: it makes such files durable neither before nor together with what leads to them. With entries of a few KiB there is none. So a
//! block that is larger stands in parts, and in its place: 2, a version u8, how many parts there are u32, the CRC-32 of all of them u32
//! (little endian). A part stands under `A`, the key of the block, the version and its number u32 (big endian). A block that is
//! written again has the other version.

use crate::keys;

/// What the key of a block begins with.
pub const BLOCK: u8 = b'B';

/// Says that entries stand in blocks.
pub const IN_BLOCKS: &[u8] = b"!blocks";

/// A block without entries.
pub const EMPTY: &[u8] = &[0];

/// Bytes that go into sled before they are made durable there. sled uses the place again of what it has written elsewhere: before
/// the other place is durable that must not happen, and it does after some 1 MiB.
pub const STEP_BYTES: usize = 128 << 10;

/// Under which key of sled a block that begins with this key stands.
pub fn place(key: &[u8]) -> Vec<u8> {
    [&[BLOCK], key].concat()
}

/// Whether an entry stands for itself.
pub fn stands_alone(key: &[u8]) -> bool {
    key.first() == Some(&keys::OWN)
}

/// What the key of a part begins with.
pub const PART: u8 = b'A';

/// Bytes of an entry of sled, at most.
pub const LARGEST: usize = 6 << 10;

const IN_PARTS: u8 = 2;

/// What stands in the place of a block that is in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    version: u8,
    count: u32,
    sum: u32,
}

impl Head {
    pub fn new(version: u8, count: u32, block: &[u8]) -> Self {
        Head { version, count, sum: crc32fast::hash(block) }
    }

    pub fn version(self) -> u8 {
        self.version
    }

    /// The version of the parts that are written next.
    pub fn other_version(self) -> u8 {
        self.version ^ 1
    }

    /// None if the value is the block itself.
    pub fn of(value: &[u8]) -> Option<Self> {
        let (&IN_PARTS, rest) = value.split_first()? else { return None };
        let (&version, rest) = rest.split_first()?;
        let (count, rest) = rest.split_first_chunk()?;
        let sum = rest.try_into().ok()?;
        Some(Head { version, count: u32::from_le_bytes(*count), sum: u32::from_le_bytes(sum) })
    }

    pub fn value(self) -> Vec<u8> {
        [&[IN_PARTS, self.version], &self.count.to_le_bytes()[..], &self.sum.to_le_bytes()].concat()
    }

    /// Where its parts stand.
    pub fn keys(self, place: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let front = front(place, self.version);
        (0..self.count).map(move |number| [&front[..], &number.to_be_bytes()].concat())
    }

    /// The block, if these are its parts.
    pub fn joined<P: AsRef<[u8]>>(self, parts: impl Iterator<Item = Option<P>>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part?.as_ref());
        }
        (crc32fast::hash(&bytes) == self.sum).then_some(bytes)
    }
}

/// What the keys of all parts begin with.
pub fn front(place: &[u8], version: u8) -> Vec<u8> {
    [&[PART], &place[1..], &[version]].concat()
}
