//! The journal: what was acknowledged is in it, whole, until the tree has it; and nothing else is taken for it.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Dice, FOLDER, child, damage, event, held, holder, open_with, patiently, text, write};
use durhai_world::{World, WorldError};
use durhai_world_sled::{Options, SledWorld};
use tempfile::TempDir;

/// Bytes of the head of a file.
const HEAD: u64 = 40;

/// As long as the test does not want it, nothing goes into the tree.
fn never() -> Options {
    Options { idle: Duration::from_secs(1 << 20), ..Options::default() }
}

/// The files of the journal in a folder, in order.
fn journal(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("journal")) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

/// How many of the numbered values are there; they are there up to one of them, and none is behind it.
fn prefix(world: &SledWorld) -> usize {
    let there = |at: usize| world.meta(&format!("k{at}")).expect("readable");
    let count = (0..).take_while(|at| there(*at).is_some()).count();
    assert!((count..count + 50).all(|at| there(at).is_none()), "a hole behind value {count}");
    assert!((0..count).all(|at| there(at).is_some_and(|value| value == value_of(at))), "another value");
    count
}

fn value_of(at: usize) -> Vec<u8> {
    vec![at as u8 + 1; 1 + at * 7 % 23]
}

/// A store as it is when its host dies after so many acknowledged writes, all of them in the journal only; and after how many bytes
/// of its file each of them was durable.
fn killed(writes: usize) -> (TempDir, Vec<u64>) {
    let (live, dead) = (common::folder(), common::folder());
    let world = open_with(live.path(), &never());
    let mut ends = Vec::new();
    for at in 0..writes {
        world.put_meta(&format!("k{at}"), &value_of(at)).expect("written");
        let [file] = &journal(live.path())[..] else { panic!("one file: {:?}", journal(live.path())) };
        let bytes = std::fs::read(file).expect("readable");
        ends.push(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1));
    }
    common::copy(live.path(), dead.path());
    (dead, ends)
}

/// A copy of a dead store in which its journal's only file is changed.
fn changed(dead: &Path, change: impl FnOnce(&File)) -> TempDir {
    let folder = common::folder();
    common::copy(dead, folder.path());
    let [path] = &journal(folder.path())[..] else { panic!("one file") };
    change(&File::options().read(true).write(true).open(path).expect("opens"));
    folder
}

#[test]
fn a_journal_that_is_cut_anywhere_is_a_prefix() {
    let (dead, ends) = killed(6);
    for cut in 0..=ends[5] {
        let folder = changed(dead.path(), |file| file.set_len(cut).expect("cut"));
        if cut < HEAD {
            // Without its head it is not the file that the store was written to.
            let error = patiently(|| SledWorld::open(folder.path())).err().expect("refused");
            assert!(matches!(error, WorldError::Corrupt(_)), "cut at {cut}: {error}");
            continue;
        }
        assert_eq!(patiently(|| SledWorld::examine(folder.path())).expect("readable").damage, [""; 0], "cut at {cut}");
        let world = open_with(folder.path(), &never());
        let wanted = ends.iter().filter(|end| **end <= cut).count();
        assert!(prefix(&world) >= wanted, "cut at {cut}: {} of {wanted} values", prefix(&world));
        // It goes on from there, and nothing of what was cut off comes back.
        let before = prefix(&world);
        world.put_meta(&format!("k{before}"), &value_of(before)).expect("written");
        drop(world);
        assert_eq!(prefix(&open_with(folder.path(), &never())), before + 1, "cut at {cut}, opened once more");
    }
}

/// What is damaged and followed by something is refused. The end of the journal may be a record that nobody was told of: it is not
/// there then.
#[test]
fn a_journal_with_a_wrong_byte_is_refused_or_a_prefix() {
    let (dead, ends) = killed(6);
    let mut refused = 0;
    for at in 0..ends[5] + 40 {
        let folder = changed(dead.path(), |file| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("readable");
            file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).expect("written");
        });
        let examined = patiently(|| SledWorld::examine(folder.path())).expect("readable").damage;
        match patiently(|| SledWorld::open_with(folder.path(), &never())) {
            Ok(world) => {
                assert_eq!(examined, [""; 0], "byte {at}");
                let wanted = if at < ends[5] { 5 } else { 6 };
                assert_eq!(prefix(&world), wanted, "byte {at} was wrong");
                assert!(at >= ends[4], "byte {at} was wrong, and what is behind it is there no more");
            }
            Err(WorldError::Corrupt(text)) => {
                refused += 1;
                assert!(text.contains("journal") && text.contains("durhai doctor --repair"), "{text}");
                assert!(!examined.is_empty(), "byte {at}: {text}");
                assert!(at < ends[4], "byte {at}: {text}");
                let to = common::folder();
                let saved = patiently(|| SledWorld::salvage(folder.path(), to.path().join("new"))).expect("saved");
                assert!(!saved.damage.is_empty(), "byte {at}");
                assert!(saved.damage.iter().all(|text| text.contains("journal")), "byte {at}: {:?}", saved.damage);
                let world = open_with(&to.path().join("new"), &never());
                let there = (0..6).filter(|at| world.meta(&format!("k{at}")).expect("readable").is_some()).count();
                assert!(there >= 5, "byte {at}: {there} of 6 values are saved");
            }
            Err(error) => panic!("byte {at}: {error:?}"),
        }
    }
    assert!(refused > 0);
}

/// A disk writes whole sectors, in any order, and may be cut off between two of them.
#[test]
fn a_last_record_of_which_some_sectors_are_missing_is_not_there() {
    const SECTOR: u64 = 512;
    let mut dice = Dice(0x5ec7);
    let live = common::folder();
    let world = open_with(live.path(), &never());
    (0..3).for_each(|at| world.put_meta(&format!("k{at}"), &value_of(at)).expect("written"));
    let before = common::folder();
    common::copy(live.path(), before.path());
    world.put_meta("large", &[0x5a; 9_000]).expect("written");
    let dead = common::folder();
    common::copy(live.path(), dead.path());
    let old = std::fs::read(&journal(before.path())[0]).expect("readable");
    for round in 0..60 {
        let mut whole = true;
        let folder = changed(dead.path(), |file| {
            for (at, sector) in old.chunks(SECTOR as usize).enumerate().take(9_500 / SECTOR as usize) {
                let mut now = vec![0; sector.len()];
                file.read_exact_at(&mut now, at as u64 * SECTOR).expect("readable");
                if now != sector && dice.below(4) == 0 {
                    file.write_all_at(sector, at as u64 * SECTOR).expect("written");
                    whole = false;
                }
            }
        });
        let world = open_with(folder.path(), &never());
        assert_eq!(prefix(&world), 3, "round {round}");
        assert_eq!(world.meta("large").expect("readable").is_some(), whole, "round {round}");
    }
}

#[test]
fn a_clean_close_leaves_no_journal_and_a_kill_leaves_one() {
    let (dead, _) = killed(3);
    assert_eq!(journal(dead.path()).len(), 1);
    let world = open_with(dead.path(), &never());
    assert_eq!(prefix(&world), 3);
    drop(world);
    assert_eq!(journal(dead.path()), [""; 0].map(PathBuf::from));
    assert_eq!(prefix(&open_with(dead.path(), &never())), 3);
}

/// What takes a journal from elsewhere for its own would lose what is in it, or bring back what is gone.
#[test]
fn a_journal_of_another_time_is_no_part_of_a_store() {
    let (dead, _) = killed(4);
    let (later, _) = killed(4);
    let file = |folder: &Path| journal(folder)[0].clone();
    // Gone as a whole.
    std::fs::remove_file(file(dead.path())).expect("removed");
    let text = patiently(|| SledWorld::open(dead.path())).err().expect("refused").to_string();
    assert!(text.contains("is missing"), "{text}");
    // That of the same store before it was closed the last time.
    let old = std::fs::read(file(later.path())).expect("readable");
    let name = file(later.path());
    drop(open_with(later.path(), &never()));
    std::fs::write(&name, &old).expect("written");
    assert_eq!(prefix(&open_with(later.path(), &never())), 4, "its content is in the tree already");
    assert!(!name.exists(), "and it is of no use");
    // A file of that name with the head of another one counts for nothing.
    let next = |number: u64| later.path().join("journal").join(format!("{number:016x}"));
    std::fs::write(next(40), &old).expect("written");
    assert_eq!(prefix(&open_with(later.path(), &never())), 4);
    std::fs::remove_file(next(40)).expect("removed");
    // The next one, of another store: nothing was written to this one since it was closed.
    let (other, _) = killed(2);
    let closed = journal(other.path());
    drop(open_with(other.path(), &never()));
    assert!(closed.iter().all(|file| !file.exists()));
    let (third, _) = killed(5);
    for _ in 0..4 {
        let died = child("starts_and_dies", third.path()).output().expect("started");
        assert!(died.status.success(), "{died:?}");
    }
    for file in journal(third.path()) {
        std::fs::copy(&file, other.path().join("journal").join(file.file_name().expect("one"))).expect("copied");
    }
    let error = patiently(|| SledWorld::open(other.path())).err().expect("refused");
    assert!(matches!(&error, WorldError::Corrupt(text) if text.contains("another store")), "{error}");
}

/// Stale content of a file that is used again never comes back.
#[test]
fn what_a_file_held_before_is_gone() {
    let folder = common::folder();
    for round in 0..6 {
        let died = child("writes_and_dies", folder.path()).env("ROUND", round.to_string()).output().expect("started");
        assert!(String::from_utf8_lossy(&died.stdout).contains("written"), "round {round}: {died:?}");
        let files = journal(folder.path());
        let number = |path: &PathBuf| u64::from_str_radix(&path.file_name().expect("one").to_string_lossy(), 16);
        assert!(files.last().map(number).expect("a file").expect("a number") >= 4, "{files:?} were not used again");
        let world = open_with(folder.path(), &never());
        assert_eq!(world.meta("same").expect("readable"), Some(format!("{round}.119").into_bytes()));
        assert_eq!(damage(&world), [""; 0]);
    }
}

/// The child of the test above.
#[test]
fn writes_and_dies() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var("ROUND")) else { return };
    let world = open_with(Path::new(&folder), &Options { window_bytes: 300, ..never() });
    for at in 0..120 {
        world.put_meta("same", format!("{round}.{at}").as_bytes()).expect("written");
        world.put_meta(&format!("own-{}", at % 7), &vec![7; 40 + at % 90]).expect("written");
    }
    println!("written");
    // The settler is wherever it is.
    std::process::exit(0);
}

#[test]
fn memory_is_bounded_and_given_back() {
    const WINDOW: usize = 100_000;
    let folder = common::folder();
    let options = Options { window_bytes: WINDOW, idle: Duration::from_millis(1), ..Options::default() };
    let world = open_with(folder.path(), &options);
    let mut most = 0;
    for at in 0..400 {
        world.put_meta(&format!("k{}", at % 90), &[7; 20_000]).expect("written");
        most = most.max(world.unsettled());
    }
    assert!(most as usize <= 6 * WINDOW, "{most} bytes were in memory");
    // Nobody writes any more: the settler does the rest by itself.
    while world.unsettled() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(world.meta("k3").expect("readable"), Some(vec![7; 20_000]));
}

/// A file has an entry as often as it was written, memory has it once: a value that is written again and again fills the disk, and the
/// memory of the next start, if only memory is looked at.
#[test]
fn a_file_is_bounded_where_one_entry_is_written_again_and_again() {
    const WINDOW: usize = 50_000;
    let folder = common::folder();
    let world = open_with(folder.path(), &Options { window_bytes: WINDOW, ..never() });
    for at in 0..400 {
        world.put_meta("same", &vec![at as u8; 10_000]).expect("written");
        let longest = journal(folder.path()).iter().map(|file| file.metadata().map_or(0, |meta| meta.len())).max();
        // Blocks are made ready a MiB at a time.
        assert!(longest.unwrap_or(0) as usize <= 4 * WINDOW + (2 << 20), "{longest:?} bytes after {at} writes");
    }
    assert!(journal(folder.path()).len() <= 12, "{:?}", journal(folder.path()));
    drop(world);
    assert_eq!(open_with(folder.path(), &never()).meta("same").expect("readable"), Some(vec![143; 10_000]));
}

/// Starts that are cut off at once, one after the other, and with a first record of which only the beginning is there.
#[test]
fn a_store_that_dies_at_each_start_still_opens() {
    let (dead, _) = killed(3);
    for start in 0..6 {
        let died = child("starts_and_dies", dead.path()).output().expect("started");
        assert!(String::from_utf8_lossy(&died.stdout).contains("opened"), "start {start}: {died:?}");
        if start % 2 == 0 {
            // The newest file has a head, and a part of a record.
            let newest = journal(dead.path()).pop().expect("a file");
            File::options().write(true).open(newest).and_then(|file| file.set_len(60)).expect("cut");
        }
    }
    let world = open_with(dead.path(), &Options { window_bytes: 300, ..Options::default() });
    assert_eq!(prefix(&world), 3);
    for at in 3..40 {
        world.put_meta(&format!("k{at}"), &value_of(at)).expect("written");
    }
    assert_eq!(prefix(&world), 40);
    drop(world);
    assert_eq!(prefix(&open_with(dead.path(), &never())), 40);
}

/// The child of the test above.
#[test]
fn starts_and_dies() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let _world = open_with(Path::new(&folder), &never());
    println!("opened");
    // Nothing is closed.
    std::process::exit(0);
}

/// Much at once: the settler and those who write meet all the time.
#[test]
fn what_is_frozen_is_settled_whoever_is_faster() {
    let folder = common::folder();
    let options = Options { window_bytes: 30_000, idle: Duration::from_millis(1), ..Options::default() };
    let world = open_with(folder.path(), &options);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let world = &world;
            scope.spawn(move || {
                for at in 0..1_500 {
                    world.put_meta(&format!("{thread}.{}", at % 400), &[thread; 300]).expect("written");
                }
            });
        }
    });
    while world.unsettled() > 0 {
        std::thread::yield_now();
    }
    drop(world);
    assert_eq!(journal(folder.path()).len(), 0);
    let world = open_with(folder.path(), &options);
    assert!((0..3).all(|thread| world.meta(&format!("{thread}.399")).expect("readable") == Some(vec![thread; 300])));
}

/// Entries go from memory into the tree while they are read: a reader sees each of them, once.
#[test]
fn a_reader_misses_nothing_while_it_settles() {
    let folder = common::folder();
    let world = open_with(folder.path(), &Options { window_bytes: 2_000, ..Options::default() });
    let mut claim = held(&world, "a");
    let run = claim.run.clone();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..700 {
                write(&world, vec![event(&mut claim), event(&mut claim)]);
            }
        });
        while !writer.is_finished() {
            let known = world.log_tail(&run).expect("readable").map_or(0, |chunk| chunk.first);
            let mut next = 1;
            for chunk in world.log(&run, 1, usize::MAX).expect("readable") {
                assert_eq!((chunk.first, &chunk.bytes), (next, &text(&run, next)));
                next += u64::from(chunk.count);
            }
            assert!(next > known, "the log ends at {next}, and had {known} before");
        }
    });
}

/// Claims, deletions and new runs in several threads, with a copy made meanwhile: nobody waits for nobody.
#[test]
fn all_who_write_come_to_an_end() {
    let folder = common::folder();
    let options = Options { window_bytes: 500, idle: Duration::from_millis(1), ..Options::default() };
    let world = open_with(folder.path(), &options);
    std::thread::scope(|scope| {
        for at in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..40 {
                    let mut claim = held(world, &format!("run-{at}-{number}"));
                    write(world, vec![event(&mut claim)]);
                    write(world, vec![common::end(&claim)]);
                    if number % 3 == 0 {
                        write(world, vec![durhai_world::Write::Delete { run: claim.run }]);
                    }
                    world.claim(&holder(), 0, 3).expect("works");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                let mut records = 0;
                let mut count = |_| {
                    records += 1;
                    Ok(())
                };
                world.copy(&mut count).expect("copied");
            }
        });
    });
    assert_eq!(damage(&world), [""; 0]);
    drop(world);
    assert_eq!(damage(&open_with(folder.path(), &options)), [""; 0]);
}
