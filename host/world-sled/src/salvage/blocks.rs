//! The entries of a tree out of the blocks in which they stand, with how far each can be trusted.

use std::collections::BTreeMap;

use super::tree::{Tree, Trust};
use crate::disk::{BLOCK, Block, Head, IN_BLOCKS, PART, Unreadable};
use crate::keys;

/// What comes before all entries that stand in blocks.
const FIRST: u8 = keys::OWN + 1;

/// Puts what stands in blocks into their place. A store of an older format has none, or some that do not count yet.
pub fn unpack(tree: &mut Tree) {
    let others = tree.entries.split_off(&[FIRST][..]);
    let (mut parts, alone): (BTreeMap<_, _>, BTreeMap<_, _>) =
        others.into_iter().partition(|(key, _)| matches!(key.first(), Some(&(PART | BLOCK))));
    let blocks = parts.split_off(&[BLOCK][..]);
    // A new store, or one that was being taken over, has a block without entries. What says so may be lost.
    let older = tree.entries.get(&b"!format"[..]).is_some_and(|format| format.len() == 1 && format[0] < b'6');
    if !tree.entries.contains_key(IN_BLOCKS) && !alone.is_empty() {
        tree.entries.extend(alone);
        if older || blocks.len() < 2 {
            return;
        }
    }
    let trust = std::mem::take(&mut tree.trust);
    tree.trust = unpacked_trust(&trust);
    let mut blocks = blocks.into_iter().peekable();
    while let Some((place, value)) = blocks.next() {
        let (from, to) = (&place[1..], blocks.peek().map(|(next, _)| next[1..].to_vec()));
        let within = |key: &[u8]| key >= from && to.as_deref().is_none_or(|to| key < to);
        let whole = match Head::of(&value) {
            Some(head) => head.joined(head.keys(&place).map(|key| parts.get(&key))),
            None => Some(value),
        };
        match whole.as_deref().map_or(Err(Unreadable), Block::read) {
            // An old state of a block may have what newer ones have by now.
            Ok(block) => {
                let found = block.iter().filter(|(key, _)| within(key));
                tree.entries.extend(found.map(|(key, value)| (key.to_vec(), value.to_vec())));
            }
            Err(_) => {
                tree.damage.push(format!("the block of entries from {} on cannot be read", keys::hex(from)));
                tree.lose(from.to_vec().max(vec![FIRST]), to);
            }
        }
    }
}

/// How far entries can be trusted, by how far the blocks can in which they are.
fn unpacked_trust(trust: &BTreeMap<Vec<u8>, Trust>) -> BTreeMap<Vec<u8>, Trust> {
    let mut unpacked = BTreeMap::new();
    for (from, trust) in trust {
        match from.split_first() {
            Some((&BLOCK, from)) => drop(unpacked.insert(from.to_vec().max(vec![FIRST]), *trust)),
            Some((&first, _)) if first > BLOCK => {}
            Some((&first, _)) if first >= FIRST => drop(unpacked.insert(vec![FIRST], *trust)),
            // Of this world itself, which stand alone; what follows may be of blocks too.
            _ => {
                unpacked.insert(from.clone(), *trust);
                unpacked.insert(vec![FIRST], *trust);
            }
        }
    }
    unpacked
}
