//! A block that is too large for one entry of sled stands in [parts](Head).
//!
//! Its parts are durable before what leads to them is written, and those of the one before are removed after that is durable.

use durhai_world::WorldError;
use sled::IVec;

use super::layout::{Head, LARGEST, STEP_BYTES, front};
use crate::disk::store::Store;

impl Store {
    /// The bytes of the block whose entry in sled has this value; none if it is another one by now.
    pub(super) fn whole(&self, place: &[u8], value: IVec) -> Result<Option<IVec>, WorldError> {
        let Some(head) = Head::of(&value) else { return Ok(Some(value)) };
        let mut parts = Vec::new();
        for key in head.keys(place) {
            let Some(part) = self.guard("read", || self.db().get(key))? else { return Ok(None) };
            parts.push(Some(part));
        }
        Ok(head.joined(parts.into_iter()).map(IVec::from))
    }

    /// Makes the parts of a block durable, and gives what leads to them. `before`: what did so until now.
    pub(super) fn write_parts(&self, place: &[u8], block: &[u8], before: Option<Head>) -> Result<Vec<u8>, WorldError> {
        let version = before.map_or(0, Head::other_version);
        // One that was cut short may have left some.
        self.remove_parts(place, version)?;
        let parts = block.chunks(LARGEST);
        let count = u32::try_from(parts.len()).map_err(|_| self.corrupt("an entry is too large for it"))?;
        let head = Head::new(version, count, block);
        for (at, (key, part)) in head.keys(place).zip(parts).enumerate() {
            self.guard("write to", || self.db().insert(key, part))?;
            if (at + 1) % (STEP_BYTES / LARGEST) == 0 {
                self.flush_sled()?;
            }
        }
        self.flush_sled()?;
        Ok(head.value())
    }

    /// Removes the parts to which nothing leads any more.
    pub(super) fn drop_parts(&self, place: &[u8], before: Head) -> Result<(), WorldError> {
        self.flush_sled()?;
        self.remove_parts(place, before.version())
    }

    fn remove_parts(&self, place: &[u8], version: u8) -> Result<(), WorldError> {
        let front = front(place, version);
        let range = [&front[..], &[0; 4]].concat()..=[&front[..], &[u8::MAX; 4]].concat();
        loop {
            // Those of blocks whose keys go on with these bytes are longer.
            let keys = || self.db().range(range.clone()).keys();
            let its = |key: &sled::Result<IVec>| key.as_ref().map_or(true, |key| key.len() == front.len() + 4);
            let some: Vec<IVec> = self.guard("read", || keys().filter(its).take(STEP_BYTES / LARGEST).collect())?;
            if some.is_empty() {
                return Ok(());
            }
            some.iter().try_for_each(|key| self.guard("write to", || self.db().remove(key).map(drop)))?;
            self.flush_sled()?;
        }
    }
}
