//! One message in the bytes of a segment: whether it is one, whether it is one but for a single bit, and where the next one is.

use super::{LONGEST, SEGMENT};
use crate::salvage::page::varint;

/// What stands at one place in a segment, if its check sum is right.
pub struct Found {
    pub kind: u8,
    pub segment: u64,
    pub page: u64,
    /// The body, as a part of the segment.
    pub body: std::ops::Range<usize>,
}

pub fn found(segment: &[u8], at: usize) -> Option<Found> {
    let (found, _, wrong) = unsummed(segment, at)?;
    (wrong == 0).then_some(found)
}

/// What a header says, and its length. Nothing vouches for it.
fn header(bytes: &[u8]) -> Option<(Found, usize)> {
    let kind = *bytes.get(4).filter(|kind| (1..=11).contains(*kind))?;
    let mut head = 5;
    let mut number = || -> Option<u64> {
        let (number, length) = varint(bytes.get(head..)?)?;
        head += length;
        Some(number)
    };
    let (length, segment, page) = (number()?, number()?, number()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= SEGMENT)?;
    Some((Found { kind, segment, page, body: head..head.checked_add(length)? }, head))
}

/// Bodies that are longer are not put right: the longer one is, the more single bits there are of which one could seem to be
/// the wrong one.
const RIGHTABLE: usize = 16 << 10;

/// A message of which just one bit is another than it was: its check sum says which. Where the bit stands in the body, that
/// place comes with it. What follows must be a message again, or nothing.
pub fn righted(bytes: &[u8], at: usize, own: Option<u64>, highest: u64) -> Option<(Found, Option<(usize, u8)>)> {
    let plausible = |found: &Found| match own {
        Some(own) => found.segment == own,
        None => found.segment <= highest,
    };
    let ends_well = |next: usize| {
        next + LONGEST > SEGMENT || found(bytes, next).is_some() || bytes[next..].iter().all(|byte| *byte == 0)
    };
    let head = at..(at + LONGEST).min(bytes.len());
    if bytes[head.clone()].iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut copy = bytes[at..(at + LONGEST + RIGHTABLE).min(bytes.len())].to_vec();
    for bit in 0..head.len() * 8 {
        copy[bit / 8] ^= 1 << (bit % 8);
        let found = found(&copy, 0);
        copy[bit / 8] ^= 1 << (bit % 8);
        let Some(mut found) = found else { continue };
        found.body = at + found.body.start..at + found.body.end;
        if plausible(&found) && ends_well(found.body.end) {
            let place = at + bit / 8;
            let patch = found.body.contains(&place).then_some((place, 1 << (bit % 8)));
            return Some((found, patch));
        }
    }
    let (found, sum, wrong) = unsummed(bytes, at)?;
    if found.body.len() > RIGHTABLE || !plausible(&found) || !ends_well(found.body.end) {
        return None;
    }
    let (place, bits) = wrong_bit(found.body.len() + sum, wrong)?;
    // The header comes last in the sum, and was tried.
    let place = found.body.start + place;
    found.body.contains(&place).then_some((found, Some((place, bits))))
}

/// What stands here by its header, how many bytes of that are summed up, and how the sum differs from what it should be.
fn unsummed(bytes: &[u8], at: usize) -> Option<(Found, usize, u32)> {
    let bytes = bytes.get(at..)?;
    let sum = u32::from_le_bytes(*bytes.first_chunk()?);
    let (found, head) = header(bytes)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(found.body.clone())?);
    hasher.update(&bytes[4..head]);
    let wrong = hasher.finalize() ^ u32::MAX ^ sum;
    let body = at + found.body.start..at + found.body.end;
    Some((Found { body, ..found }, head - 4, wrong))
}

/// In so many bytes, the one of which a single bit changes the sum like that, and the bit.
fn wrong_bit(length: usize, wrong: u32) -> Option<(usize, u8)> {
    // The sum of one byte with one bit, and what it is with each further byte behind it.
    let step = |sum: u32| (0..8).fold(sum, |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 });
    let mut sums: [u32; 8] = std::array::from_fn(|bit| step(1 << bit));
    for place in (0..length).rev() {
        if let Some(bit) = sums.iter().position(|sum| *sum == wrong) {
            return Some((place, 1 << bit));
        }
        for sum in &mut sums {
            *sum = step(*sum);
        }
    }
    None
}

/// The next place at which a message of this segment stands.
pub fn resync(bytes: &[u8], from: usize, own: Option<u64>, highest: u64) -> Option<(usize, Found)> {
    let last = SEGMENT.saturating_sub(LONGEST).min(bytes.len());
    (from..=last).find_map(|at| {
        // Look at what is cheap to look at first.
        let head = bytes.get(at..)?;
        head.get(4).filter(|kind| (1..=11).contains(*kind))?;
        let (_, length) = varint(&head[5..])?;
        let (segment, _) = varint(head.get(5 + length..)?)?;
        let plausible = own.map_or(segment <= highest + 64, |own| (own..=highest + 64).contains(&segment));
        if !plausible {
            return None;
        }
        found(bytes, at).map(|found| (at, found))
    })
}

#[cfg(test)]
mod tests {
    use super::wrong_bit;
    use crate::salvage::page::varint;

    #[test]
    fn a_single_wrong_bit_is_found_by_the_sum() {
        let bytes: Vec<u8> = (0..300_u32).map(|n| (n * 7) as u8).collect();
        for (place, bit) in [(0, 0), (0, 7), (17, 3), (298, 1), (299, 0), (299, 7)] {
            let mut other = bytes.clone();
            other[place] ^= 1 << bit;
            let wrong = crc32fast::hash(&bytes) ^ crc32fast::hash(&other);
            assert_eq!(wrong_bit(bytes.len(), wrong), Some((place, 1 << bit)));
        }
        assert_eq!(wrong_bit(bytes.len(), 0x1234_5678), None);
    }

    #[test]
    fn numbers_are_read_as_sled_writes_them() {
        for (bytes, number) in [
            (&[0_u8][..], 0),
            (&[240], 240),
            (&[241, 0], 240),
            (&[248, 255], 2287),
            (&[249, 0, 0], 2288),
            (&[250, 1, 2, 3], 0x0003_0201),
            (&[255, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
        ] {
            assert_eq!(varint(bytes), Some((number, bytes.len())));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
        }
    }
}
