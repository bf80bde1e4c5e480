//! A power cut: of what a process has written, only what it has waited for is on the disk; of the rest anything may be, sector by
//! sector, and names of files as they were or as they became.
//!
//! A writer runs under strace, which sees each write with its bytes, each sync and each acknowledgement. From that the files are made as
//! they may be after a cut at any moment, and the store is opened. `DURHAI_SEED` does the same cuts again, `DURHAI_ROUNDS` more.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::{Dice, FOLDER, damage, open, patiently};
use durhai_world::{World, WorldError};
use durhai_world_sled::SledWorld;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// Bytes of a place that sled clears.
const SEGMENT: usize = 512 << 10;

/// How often the writer opens the store, and how many values it writes then.
const SESSIONS: usize = 2;
const VALUES: usize = 130;

/// The key and the value of a write.
fn written(at: usize) -> (String, Vec<u8>) {
    let length = if at % 60 == 59 { 200_000 } else { at % 50 * 20 };
    (format!("k{}", at * 7 % 100), common::noise(length, at as u64))
}

/// Writes and acknowledges, if it is started by the test below.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    for session in 0..SESSIONS {
        let world = open(Path::new(&folder));
        for at in session * VALUES..(session + 1) * VALUES {
            let (key, value) = written(at);
            world.put_meta(&key, &value).expect("written");
            let mut out = std::io::stdout().lock();
            out.write_all(format!("ack {at}\n").as_bytes()).and_then(|()| out.flush()).expect("written");
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("DURHAI_SEED")
        .unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64));
    println!("DURHAI_SEED={seed}");
    for (window, rounds) in [(3_000, 60), (40_000, 30), (4 << 20, 30)] {
        let folder = common::folder();
        let Some(calls) = traced(folder.path(), window) else { return };
        let last = calls.last().expect("some").ended;
        for round in 0..number("DURHAI_ROUNDS").unwrap_or(rounds) {
            let mut dice = Dice(seed.wrapping_add(round));
            let cut = dice.below(last as u64) as usize;
            let after = common::folder();
            let (acked, clears) = make(&calls, folder.path(), cut, &mut dice, after.path());
            let what = format!("seed {}, window {window}, cut at line {cut}", seed.wrapping_add(round));
            let opened = patiently(|| SledWorld::open(after.path()));
            match opened {
                Ok(world) => check(&world, acked, &what),
                // sled clears places that are free as it opens, without a word to anybody. They look damaged then.
                Err(WorldError::Corrupt(_)) if clears => {
                    let saved = common::folder();
                    let salvaged = SledWorld::salvage(after.path(), saved.path()).expect("readable");
                    assert!(!salvaged.damage.is_empty(), "{what}");
                    check(&open(saved.path()), acked, &what);
                }
                Err(error) => panic!("{what}, {acked} acknowledged: {error}"),
            }
        }
    }
}

fn check(world: &SledWorld, acked: usize, what: &str) {
    let after = |count: usize| (0..count).map(written).collect::<BTreeMap<_, _>>();
    let (then, next) = (after(acked), after((acked + 1).min(SESSIONS * VALUES)));
    for key in (0..100).map(|at| format!("k{at}")) {
        let found = world.meta(&key).expect("readable");
        let fits = found.as_ref() == then.get(&key) || found.as_ref() == next.get(&key);
        assert!(fits, "{what}: {key} is not what it was after {acked} acknowledged writes");
    }
    assert_eq!(damage(world), [""; 0], "{what}");
}

/// What a process asked of the system, from which line of the trace to which.
struct Call {
    began: usize,
    ended: usize,
    what: What,
}

enum What {
    Folder(PathBuf),
    /// Opens a file for writing; with `true` it is empty then.
    Open(PathBuf, bool),
    Length(PathBuf, usize),
    /// Behind what is there, if no place is given.
    Write(PathBuf, Option<usize>, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Acknowledged,
}

/// The calls of the writer; none where they cannot be seen.
fn traced(folder: &Path, window: usize) -> Option<Vec<Call>> {
    let store = folder.join("store");
    let calls = "trace=pwrite64,write,ftruncate,fdatasync,fsync,rename,unlink,openat,mkdir";
    let trace = common::strace("writer", &store, &["-xx", "-s", "4000000", "-e", calls], Some(window))?;
    Some(parse(&trace, &store))
}

fn parse(trace: &str, store: &Path) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // By thread: the call that another thread's interrupted in the trace.
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    for (at, line) in trace.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').expect("a thread");
        let rest = rest.trim_start();
        let (began, front, back) = if let Some(front) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (at, front));
            continue;
        } else if rest.starts_with("<... ") {
            let Some((began, front)) = open.remove(thread) else { continue };
            (began, front, rest)
        } else {
            (at, rest.rsplit_once(" = ").map_or(rest, |(front, _)| front.trim_end()), rest)
        };
        let result = back.rsplit_once(" = ").map_or("", |(_, result)| result);
        if result.starts_with('-') || result.is_empty() {
            continue;
        }
        calls.extend(call(front, result, store).map(|what| Call { began, ended: at, what }));
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// A call on a file of the store, or an acknowledgement.
fn call(front: &str, result: &str, store: &Path) -> Option<What> {
    let (name, arguments) = front.split_once('(')?;
    let fd = || arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| unhex(path));
    let path = |bytes: Vec<u8>| {
        let path = PathBuf::from(String::from_utf8(bytes).ok()?);
        path.starts_with(store).then_some(path)
    };
    let texts: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    let named = |at: usize| path(unhex(texts.get(at)?));
    let numbers: Vec<usize> = arguments
        .trim_end_matches(')')
        .rsplit(", ")
        .map_while(|part| part.trim_end_matches([')', ' ']).parse().ok())
        .collect();
    let of_result =
        || result.split_once('<').and_then(|(_, rest)| rest.split_once('>')).and_then(|(of, _)| path(unhex(of)));
    match name {
        "mkdir" => Some(What::Folder(named(0)?)),
        "openat" if arguments.contains("O_WRONLY") || arguments.contains("O_RDWR") => {
            Some(What::Open(of_result()?, arguments.contains("O_TRUNC")))
        }
        "write" if texts.first().is_some_and(|text| unhex(text).starts_with(b"ack ")) => Some(What::Acknowledged),
        "write" => Some(What::Write(path(fd()?)?, None, unhex(texts.first()?))),
        "pwrite64" => Some(What::Write(path(fd()?)?, numbers.first().copied(), unhex(texts.first()?))),
        "ftruncate" => Some(What::Length(path(fd()?)?, *numbers.first()?)),
        "fdatasync" | "fsync" => Some(What::Sync(path(fd()?)?)),
        "rename" => Some(What::Rename(named(0)?, named(1)?)),
        "unlink" => Some(What::Remove(named(0)?)),
        _ => None,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).expect("a byte")).collect()
}

/// A file: what is on the disk for sure, and what may be, each with the line at which the system had it.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    /// As the process sees it.
    seen: usize,
    may_be: Vec<(usize, Change)>,
}

enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// What happened to a name in a folder: it leads to this file since, or to none.
type Named = (usize, PathBuf, Option<usize>);

#[derive(Default)]
struct Disk {
    files: Vec<Content>,
    folders: Vec<PathBuf>,
    /// As the process sees them, and as they are on the disk for sure.
    seen: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    may_be: Vec<Named>,
}

impl Disk {
    fn name(&mut self, line: usize, path: PathBuf, file: Option<usize>) {
        set(&mut self.seen, &path, file);
        self.may_be.push((line, path, file));
    }

    fn change(&mut self, line: usize, path: &Path, change: Change) {
        let Some(file) = self.seen.get(path) else { return };
        let file = &mut self.files[*file];
        file.seen = match &change {
            Change::Length(length) => *length,
            Change::Write(at, bytes) => file.seen.max(at + bytes.len()),
        };
        file.may_be.push((line, change));
    }

    /// What the system had before the call began is on the disk.
    fn sync(&mut self, began: usize, path: &Path) {
        if let Some(file) = self.seen.get(path) {
            let file = &mut self.files[*file];
            let (done, left) = std::mem::take(&mut file.may_be).into_iter().partition(|(line, _)| *line < began);
            file.may_be = left;
            let done: Vec<(usize, Change)> = done;
            done.into_iter().for_each(|(_, change)| apply(&mut file.durable, &change, &mut |_| true));
        }
        let within = |(line, name, _): &Named| name.parent() == Some(path) && *line < began;
        let (done, left) = std::mem::take(&mut self.may_be).into_iter().partition(within);
        self.may_be = left;
        let done: Vec<Named> = done;
        done.iter().for_each(|(_, path, file)| set(&mut self.durable, path, *file));
    }
}

fn set(names: &mut BTreeMap<PathBuf, usize>, path: &Path, file: Option<usize>) {
    match file {
        Some(file) => drop(names.insert(path.to_owned(), file)),
        None => drop(names.remove(path)),
    }
}

/// Does a change to a file, of a write those sectors only that are wanted.
fn apply(bytes: &mut Vec<u8>, change: &Change, wanted: &mut dyn FnMut(usize) -> bool) {
    match change {
        Change::Length(length) => {
            if wanted(0) {
                bytes.resize(*length, 0);
            }
        }
        Change::Write(at, new) => {
            let mut from = 0;
            while from < new.len() {
                let to = new.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                if wanted(at + from) {
                    bytes.resize(bytes.len().max(at + to), 0);
                    bytes[at + from..at + to].copy_from_slice(&new[from..to]);
                }
                from = to;
            }
        }
    }
}

/// Makes the files as they may be after a cut at this line of the trace; how many writes had been acknowledged, and whether sled was
/// clearing a place that was free.
fn make(calls: &[Call], from: &Path, cut: usize, dice: &mut Dice, into: &Path) -> (usize, bool) {
    let (mut disk, mut acked) = (Disk::default(), 0);
    for Call { began, ended, what } in calls.iter().filter(|call| call.began < cut) {
        let (began, ended) = (*began, *ended);
        match what {
            What::Folder(path) => disk.folders.push(path.clone()),
            What::Open(path, empty) => {
                if !disk.seen.contains_key(path) {
                    disk.files.push(Content::default());
                    disk.name(ended, path.clone(), Some(disk.files.len() - 1));
                }
                if *empty {
                    disk.change(ended, path, Change::Length(0));
                }
            }
            What::Length(path, length) => disk.change(ended, path, Change::Length(*length)),
            What::Write(path, at, bytes) => {
                let end = disk.seen.get(path).map_or(0, |file| disk.files[*file].seen);
                disk.change(ended, path, Change::Write(at.unwrap_or(end), bytes.clone()));
            }
            What::Rename(old, new) => {
                let file = disk.seen.get(old).copied();
                disk.name(ended, old.clone(), None);
                disk.name(ended, new.clone(), file);
            }
            What::Remove(path) => disk.name(ended, path.clone(), None),
            What::Sync(path) if ended < cut => disk.sync(began, path),
            What::Sync(_) => {}
            What::Acknowledged => acked += 1,
        }
    }
    let mut names = disk.durable;
    // The names in a folder change in order.
    let folders: Vec<_> = disk.folders.iter().map(|folder| (folder.clone(), dice.below(4))).collect();
    for (folder, share) in folders {
        let of: Vec<&Named> = disk.may_be.iter().filter(|(_, path, _)| path.parent() == Some(&*folder)).collect();
        let most = of.len() as u64 + 1;
        let count = [0, most - 1, dice.below(most), dice.below(most)][share as usize];
        of.iter().take(count as usize).for_each(|(_, path, file)| set(&mut names, path, *file));
    }
    let moved = |path: &Path| into.join(path.strip_prefix(from.join("store")).expect("of the store"));
    disk.folders.iter().for_each(|folder| std::fs::create_dir_all(moved(folder)).expect("made"));
    for (path, file) in names {
        let mut bytes = disk.files[file].durable.clone();
        let share = dice.below(4);
        for (_, change) in &disk.files[file].may_be {
            let whole = dice.below(2) == 0;
            apply(&mut bytes, change, &mut |_| match share {
                0 => false,
                1 => true,
                2 => whole,
                _ => dice.below(2) == 0,
            });
        }
        std::fs::write(moved(&path), bytes).expect("written");
    }
    let clears = |(_, change): &(usize, Change)| matches!(change, Change::Write(_, bytes) if bytes.len() == SEGMENT && bytes.iter().all(|byte| *byte == 0));
    (acked, disk.files.iter().any(|file| file.may_be.iter().any(clears)))
}
