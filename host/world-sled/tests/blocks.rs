//! Entries stand in blocks: those of an older store are put there, whatever it was cut short by, and small ones take little.

mod common;

use std::path::Path;

use common::raw::{Entries, blocks, change_to_older, entries, raw};
use common::{damage, end, event, held, open, row, write};
use durhai_core::RunId;
use durhai_world::{Query, World};
use durhai_world_sled::SledWorld;
use tempfile::TempDir;

const RUNS: usize = 300;

/// A store with runs of several events, of which every third has ended.
fn fill(folder: &Path) {
    let world = open(folder);
    for at in 0..RUNS {
        let mut claim = held(&world, &format!("run-{at}"));
        let batch = (0..4).map(|_| event(&mut claim)).collect();
        write(&world, batch);
        if at % 3 == 0 {
            write(&world, vec![end(&claim)]);
        }
    }
}

fn check(world: &SledWorld, what: &str) {
    assert_eq!(damage(world), [""; 0], "{what}");
    let all = Query { limit: 2 * RUNS, ..Query::default() };
    assert_eq!(world.list(&all).expect("works").rows.len(), RUNS, "{what}");
    for at in 0..RUNS {
        let run = RunId::new(format!("run-{at}")).expect("legal");
        let log = world.log(&run, 1, usize::MAX).expect("works");
        assert_eq!(log.iter().map(|chunk| chunk.count).sum::<u32>(), 5, "{what}: {run}");
        assert!(log.iter().all(|chunk| chunk.bytes == common::text(&run, chunk.first)), "{what}: {run}");
    }
}

/// A store of format 5, whose entries stand alone.
fn older(folder: &Path) {
    change_to_older(folder, |entries| drop(entries.insert(b"!format".to_vec(), b"5".to_vec())));
}

#[test]
fn small_entries_share_blocks() {
    let folder = common::folder();
    fill(folder.path());
    let (entries, blocks) = (entries(folder.path()).len(), blocks(folder.path()));
    assert!(entries > 20 * blocks, "{entries} entries in {blocks} blocks");
    check(&open(folder.path()), "in blocks");
}

/// It is cut short while blocks are made, and while what stood alone is removed.
#[test]
fn an_older_store_that_was_half_taken_over() {
    let newer = common::folder();
    fill(newer.path());
    let in_blocks: Vec<_> = raw(newer.path(), |db| db.scan_prefix("B").map(|entry| entry.expect("readable")).collect());
    let alone: Entries = entries(newer.path()).into_iter().filter(|(key, _)| key[0] != b'!').collect();
    older(newer.path());
    for left in [0, 1, alone.len() / 2, alone.len()] {
        let (made, removed) = (common::folder(), common::folder());
        for folder in [made.path(), removed.path()] {
            common::copy(newer.path(), folder);
        }
        raw(made.path(), |db| {
            for (place, value) in in_blocks.iter().take(left) {
                // Another cut than the next one makes.
                db.insert(place, value).expect("written");
                db.insert([&place[..], b"x"].concat(), &[0]).expect("written");
            }
        });
        raw(removed.path(), |db| {
            in_blocks.iter().for_each(|(place, value)| drop(db.insert(place, value).expect("written")));
            // An older version refuses it from then on: what it wrote would be removed.
            db.insert("!blocks", "5").expect("written");
            db.insert("!format", "6").expect("written");
            alone.keys().take(left).for_each(|key| drop(db.remove(key).expect("removed")));
        });
        for (folder, what) in [(made, "half made"), (removed, "half removed")] {
            check(&open(folder.path()), what);
            check(&open(folder.path()), what);
            let now = entries(folder.path());
            assert!(
                now.keys().all(|key| key[0] != b'B') && now[&b"!blocks"[..]].is_empty() && now[&b"!format"[..]] == b"6"
            );
        }
    }
}

/// What the journal of an older store has is newer than what was taken over.
#[test]
fn an_older_store_that_was_killed() {
    let (live, dead) = (common::folder(), common::folder());
    fill(live.path());
    let world = open(live.path());
    for at in (0..RUNS).filter(|at| at % 3 != 0) {
        let run = RunId::new(format!("run-{at}")).expect("legal");
        let claim = world.claim_run(&run, &common::holder(), 1).expect("works").expect("free");
        write(&world, vec![end(&claim)]);
    }
    write(&world, vec![common::create(row("newest"))]);
    common::copy(live.path(), dead.path());
    drop(world);
    assert!(dead.path().join("journal").read_dir().expect("readable").next().is_some(), "it has a journal");
    older(dead.path());
    let world = open(dead.path());
    assert_eq!(damage(&world), [""; 0]);
    let counts = world.run_counts().expect("works");
    assert_eq!(counts.iter().map(|count| (count.status.is_terminal(), count.runs)).collect::<Vec<_>>().len(), 2);
    assert!(counts.iter().all(|count| count.runs == if count.status.is_terminal() { RUNS as u64 } else { 1 }));
}

/// Of a damaged block nothing is invented, and what stands in others is saved.
#[test]
fn a_block_that_cannot_be_read() {
    let folder = common::folder();
    fill(folder.path());
    raw(folder.path(), |db| {
        // In the middle of the logs.
        let place = [b"Bl", &(RUNS as u64 / 2).to_be_bytes()[..]].concat();
        let (place, _) = db.get_lt(place).expect("readable").expect("there");
        db.insert(place, &[9, 9, 9]).expect("written");
    });
    let world = open(folder.path());
    let mut found = Vec::new();
    world.verify(&mut |what| found.push(what)).expect("it goes on");
    assert!(found.len() == 1 && found[0].contains("cannot be read"), "{found:?}");
    drop(world);
    let saved = TempDir::new().expect("a folder");
    let salvaged = SledWorld::salvage(folder.path(), saved.path()).expect("works");
    assert!(salvaged.damage.iter().any(|what| what.contains("block")), "{salvaged:?}");
    assert!(!salvaged.parked.is_empty() && salvaged.lost.is_empty(), "{salvaged:?}");
    let world = open(saved.path());
    let rows = world.list(&Query { limit: 2 * RUNS, ..Query::default() }).expect("works").rows;
    assert_eq!(rows.len(), RUNS, "the rows stand elsewhere");
    for row in rows.iter().filter(|row| !row.status.is_terminal() && !salvaged.parked.contains(&row.run)) {
        let log = world.log(&row.run, 1, usize::MAX).expect("works");
        assert_eq!(log.iter().map(|chunk| chunk.count).sum::<u32>(), 5, "{}", row.run);
    }
}
