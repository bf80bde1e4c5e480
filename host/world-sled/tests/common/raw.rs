//! A closed store behind the world's back: its entries as they are documented, read and written without the world.

use std::collections::BTreeMap;
use std::path::Path;

/// The entries of a store, out of their blocks.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Does something to sled.
pub fn raw<T>(folder: &Path, change: impl FnOnce(&sled::Db) -> T) -> T {
    let db = loop {
        // Threads of a store that was just closed may hold its file a little longer.
        match sled::open(folder.join("sled")) {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => std::thread::yield_now(),
            opened => break opened.expect("opens"),
        }
    };
    let done = change(&db);
    db.flush().expect("flushed");
    done
}

pub fn entries(folder: &Path) -> Entries {
    raw(folder, unpacked)
}

/// How many blocks they stand in.
pub fn blocks(folder: &Path) -> usize {
    raw(folder, |db| db.scan_prefix("B").count())
}

/// Changes entries of a store, which stand in one block then.
pub fn change(folder: &Path, change: impl FnOnce(&mut Entries)) {
    raw(folder, |db| {
        let mut entries = unpacked(db);
        change(&mut entries);
        db.clear().expect("cleared");
        let mut block = vec![0];
        for (key, value) in &entries {
            if key[0] == b'!' {
                db.insert(key, &value[..]).expect("written");
                continue;
            }
            block.push(0);
            number(&mut block, key.len());
            number(&mut block, value.len());
            block.extend_from_slice(key);
            block.extend_from_slice(value);
        }
        db.insert("B", block).expect("written");
    });
}

/// The same for a store as it was before there were blocks.
pub fn change_to_older(folder: &Path, change: impl FnOnce(&mut Entries)) {
    raw(folder, |db| {
        let mut entries = unpacked(db);
        entries.remove(&b"!blocks"[..]).expect("they stand in blocks");
        change(&mut entries);
        db.clear().expect("cleared");
        entries.iter().for_each(|(key, value)| drop(db.insert(key, &value[..]).expect("written")));
    });
}

fn unpacked(db: &sled::Db) -> Entries {
    let mut entries = Entries::new();
    for entry in db.iter() {
        let (place, value) = entry.expect("readable");
        if place[0] == b'A' {
            continue;
        }
        if place[0] != b'B' {
            entries.insert(place.to_vec(), value.to_vec());
            continue;
        }
        let value = if value[0] == 2 { joined(db, &place, &value) } else { value.to_vec() };
        let block = match value[0] {
            0 => value[1..].to_vec(),
            _ => lz4_flex::block::decompress_size_prepended(&value[1..]).expect("compressed"),
        };
        let (mut rest, mut key) = (&block[..], Vec::new());
        while !rest.is_empty() {
            let [shared, own, length] = [(); 3].map(|()| take_number(&mut rest));
            key.truncate(shared);
            key.extend_from_slice(&rest[..own]);
            entries.insert(key.clone(), rest[own..own + length].to_vec());
            rest = &rest[own + length..];
        }
    }
    entries
}

/// A block that stands in several entries.
fn joined(db: &sled::Db, place: &[u8], value: &[u8]) -> Vec<u8> {
    let count = u32::from_le_bytes(value[2..6].try_into().expect("four bytes"));
    let part = |at: u32| db.get([b"A", &place[1..], &value[1..2], &at.to_be_bytes()].concat()).expect("readable");
    (0..count).flat_map(|at| part(at).expect("there").to_vec()).collect()
}

fn number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 127 {
        bytes.push((number % 128 + 128) as u8);
        number /= 128;
    }
    bytes.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> usize {
    let length = rest.iter().position(|byte| *byte < 128).expect("it ends") + 1;
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    bytes.iter().rev().fold(0, |number, byte| number * 128 + usize::from(byte % 128))
}
