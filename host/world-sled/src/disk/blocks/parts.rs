//! A block that is too large for one entry of sled stands in several.
//!
//! sled puts a page into a file of its own when it has more than 128 KiB, and it has up to 17 entries: it makes such files durable
//! neither before nor together with what leads to them. With entries of a few KiB there is none.
//!
//! In the place of the block stands then: 2, a version u8, how many parts there are u32, the CRC-32 of all of them u32 (little endian).
//! A part stands under `A`, the key of the block, the version and its number u32 (big endian). A block that is written again has the
//! other version: its parts are durable before it leads to them, and those of the one before are removed after that is durable.

use durhai_world::WorldError;
use sled::IVec;

use super::STEP_BYTES;
use crate::disk::store::Store;

/// What the key of a part begins with.
pub const PART: u8 = b'A';

/// Bytes of an entry, at most.
pub const MOST: usize = 6 << 10;

const IN_PARTS: u8 = 2;

/// What stands in the place of a block that is in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    version: u8,
    count: u32,
    sum: u32,
}

impl Head {
    /// None if the value is the block itself.
    pub fn of(value: &[u8]) -> Option<Self> {
        let (&IN_PARTS, rest) = value.split_first()? else { return None };
        let (&version, rest) = rest.split_first()?;
        let (count, rest) = rest.split_first_chunk()?;
        let sum = rest.try_into().ok()?;
        Some(Head { version, count: u32::from_le_bytes(*count), sum: u32::from_le_bytes(sum) })
    }

    fn value(self) -> Vec<u8> {
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

fn front(place: &[u8], version: u8) -> Vec<u8> {
    [&[PART], &place[1..], &[version]].concat()
}

impl Store {
    /// The bytes of the block whose entry in sled has this value; none if it is another one by now.
    pub(super) fn whole(&self, place: &[u8], value: IVec) -> Result<Option<IVec>, WorldError> {
        let Some(head) = Head::of(&value) else { return Ok(Some(value)) };
        let parts = head.keys(place).map(|key| self.guard("read", || self.db().get(key)));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(head.joined(parts.into_iter()).map(IVec::from))
    }

    /// Makes the parts of a block durable, and gives what leads to them. `before`: what did so until now.
    pub(super) fn write_parts(&self, place: &[u8], block: &[u8], before: Option<Head>) -> Result<Vec<u8>, WorldError> {
        let version = before.map_or(0, |before| before.version ^ 1);
        // One that was cut short may have left some.
        self.remove_parts(place, version)?;
        let parts = block.chunks(MOST);
        let count = u32::try_from(parts.len()).map_err(|_| self.corrupt("an entry is too large for it"))?;
        let head = Head { version, count, sum: crc32fast::hash(block) };
        for (at, (key, part)) in head.keys(place).zip(parts).enumerate() {
            self.guard("write to", || self.db().insert(key, part))?;
            if at % (STEP_BYTES / MOST) == 0 {
                self.flush_sled()?;
            }
        }
        self.flush_sled()?;
        Ok(head.value())
    }

    /// Removes the parts to which nothing leads any more.
    pub(super) fn drop_parts(&self, place: &[u8], before: Head) -> Result<(), WorldError> {
        self.flush_sled()?;
        self.remove_parts(place, before.version)
    }

    fn remove_parts(&self, place: &[u8], version: u8) -> Result<(), WorldError> {
        let front = front(place, version);
        let range = [&front[..], &[0; 4]].concat()..=[&front[..], &[u8::MAX; 4]].concat();
        loop {
            // Those of blocks whose keys go on with these bytes are longer.
            let keys = || self.db().range(range.clone()).keys();
            let its = |key: &sled::Result<IVec>| key.as_ref().map_or(true, |key| key.len() == front.len() + 4);
            let some: Vec<IVec> = self.guard("read", || keys().filter(its).take(STEP_BYTES / MOST).collect())?;
            if some.is_empty() {
                return Ok(());
            }
            some.iter().try_for_each(|key| self.guard("write to", || self.db().remove(key).map(drop)))?;
            self.flush_sled()?;
        }
    }
}
