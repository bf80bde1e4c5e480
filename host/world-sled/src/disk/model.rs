//! Tests: what is read, by whatever way, is what was written last, while it goes from memory into sled and blocks are cut.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durhai_world::conformance::Dice;

use super::Disk;
use crate::batch::Batch;
use crate::{Options, open};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Some are next to each other, some are far away, one is a prefix of others.
fn key(dice: &mut Dice) -> Vec<u8> {
    let tag = b"CNlrm"[dice.below(5) as usize];
    let number = dice.below(40) * [1, 1 << 20][dice.below(2) as usize];
    let mut key = vec![tag];
    key.extend_from_slice(&number.to_be_bytes()[..dice.below(9) as usize]);
    key
}

fn value(dice: &mut Dice) -> Vec<u8> {
    let length = [0, 3, 40, 300, 20_000][dice.below(5).min(dice.below(6)) as usize];
    (0..length).map(|_| if length < 100 { 7 } else { dice.below(256) as u8 }).collect()
}

fn disk(folder: &std::path::Path, window_bytes: usize) -> Disk {
    open::open(folder, &Options { window_bytes, idle: Duration::from_millis(20), ..Options::default() }).expect("opens")
}

fn compare(disk: &Disk, model: &Model, dice: &mut Dice, what: &str) {
    let of_model = |range: (Bound<Vec<u8>>, Bound<Vec<u8>>)| -> Vec<_> {
        model.range(range).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let own = |entry: Result<(sled::IVec, sled::IVec), _>| {
        let (key, value) = entry.expect("readable");
        (key.to_vec(), value.to_vec())
    };
    for _ in 0..20 {
        let (mut from, mut to) = (key(dice), key(dice));
        if from > to {
            std::mem::swap(&mut from, &mut to);
        }
        if from == to {
            to.push(0);
        }
        let range = match dice.below(3) {
            0 => (Bound::Included(from), Bound::Excluded(to)),
            1 => (Bound::Excluded(from), Bound::Included(to)),
            _ => (Bound::Included(from), Bound::Included(to)),
        };
        let wanted = of_model(range.clone());
        assert_eq!(disk.range(range.clone()).map(own).collect::<Vec<_>>(), wanted, "{what}: {range:?}");
        let mut back: Vec<_> = disk.range_back(range.clone()).map(own).collect();
        back.reverse();
        assert_eq!(back, wanted, "{what}: {range:?} from the end");
    }
    for tag in b"CNlrm" {
        let wanted: Vec<_> = of_model((Bound::Included(vec![*tag]), Bound::Excluded(vec![tag + 1])));
        assert_eq!(disk.prefix([*tag]).map(own).collect::<Vec<_>>(), wanted, "{what}");
        assert_eq!(disk.last([*tag]).expect("readable").map(|entry| own(Ok(entry))), wanted.last().cloned(), "{what}");
    }
    for _ in 0..50 {
        let key = key(dice);
        let found = disk.get(&key).expect("readable").map(|value| value.to_vec());
        assert_eq!(found.as_ref(), model.get(&key), "{what}: {key:?}");
    }
}

#[test]
fn what_is_read_is_what_was_written_last() {
    let seed = std::env::var("DURHAI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for (seed, window) in [(seed, 300), (seed + 1, 3_000), (seed + 2, 30_000), (seed + 3, 4 << 20)] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut dice, mut model) = (Dice(seed), Model::new());
        for round in 0..6 {
            let disk = disk(folder.path(), window);
            for batch in 0..40 {
                let mut changes = Batch::default();
                for _ in 0..dice.below(30) {
                    let key = key(&mut dice);
                    if dice.below(3) == 0 {
                        changes.remove(key.clone());
                        model.remove(&key);
                    } else {
                        let value = value(&mut dice);
                        changes.insert(key.clone(), value.clone());
                        model.insert(key, value);
                    }
                }
                disk.apply(changes).expect("applied");
                disk.sync().expect("synced");
                if batch % 8 == 0 {
                    compare(&disk, &model, &mut dice, &format!("seed {seed}, round {round}"));
                }
            }
            let mut wrong = Vec::new();
            disk.verify_blocks(&mut |what| wrong.push(what)).expect("readable");
            assert_eq!(wrong, [""; 0], "seed {seed}");
        }
    }
}

/// What is there all the time is seen by every walk, both ways, while others are put beside it and go again.
#[test]
fn what_stays_is_always_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = disk(folder.path(), 2_000);
    let stays = |at: u64| [b"l", &(at * 100).to_be_bytes()[..]].concat();
    let mut batch = Batch::default();
    (0..200).for_each(|at| batch.insert(stays(at), vec![1; 100]));
    disk.apply(batch).expect("applied");
    disk.sync().expect("synced");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(5);
            for _ in 0..400 {
                let mut batch = Batch::default();
                for _ in 0..20 {
                    let key = [b"l", &(dice.below(200) * 100 + 1 + dice.below(3)).to_be_bytes()[..]].concat();
                    batch.set(key, (dice.below(2) == 0).then(|| vec![2; dice.below(600) as usize]));
                }
                disk.apply(batch).expect("applied");
                disk.sync().expect("synced");
            }
            over.store(true, Ordering::Relaxed);
        });
        for back in [false, true] {
            let (disk, over) = (&disk, &over);
            scope.spawn(move || {
                let mut walks = 0;
                while !over.load(Ordering::Relaxed) || walks == 0 {
                    let all = vec![b'l']..vec![b'm'];
                    let walk = if back { disk.range_back(all) } else { disk.range(all) };
                    let keys: Vec<_> = walk.map(|entry| entry.expect("readable").0.to_vec()).collect();
                    let mut sorted = keys.clone();
                    sorted.sort_unstable();
                    sorted.dedup();
                    assert_eq!(sorted.len(), keys.len(), "an entry is given twice");
                    for at in 0..200 {
                        assert!(sorted.binary_search(&stays(at)).is_ok(), "entry {at} is missed, back: {back}");
                        assert!(disk.has(stays(at)).expect("readable"), "entry {at}");
                    }
                    walks += 1;
                }
            });
        }
    });
}
