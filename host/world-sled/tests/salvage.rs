//! Damaged files: what is set aside, what is refused, and what is saved.
//!
//! `DURHAI_SEED` does one round of damage again, `DURHAI_ROUNDS` does more of them and prints a table.

#![cfg(unix)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use common::{Dice, create, damage, end, event, open, row, turn, write};
use durhai_core::Status;
use durhai_world::{Chunk, Claim, Commit, NewMessage, Record, Row, World, WorldError, Write, Written};
use durhai_world_sled::{Salvaged, SledWorld};
use tempfile::TempDir;

/// What a store has.
#[derive(Default, PartialEq)]
struct Stored {
    rows: BTreeMap<u64, Row>,
    logs: BTreeMap<(u64, u64), Chunk>,
    messages: BTreeSet<(u64, u64)>,
    programs: usize,
    metas: usize,
}

fn stored(world: &SledWorld) -> Result<Stored, WorldError> {
    let mut all = Stored::default();
    world.copy(&mut |record| {
        match record {
            Record::Run { number, value: Some(row) } => drop(all.rows.insert(number, *row)),
            Record::Log { number, first, count, value: Some(bytes) } => {
                all.logs.insert((number, first), Chunk { first, count, bytes });
            }
            Record::Message { number, index, value: Some(_), .. } => drop(all.messages.insert((number, index))),
            Record::Program { value: Some(_), .. } => all.programs += 1,
            Record::Meta { value: Some(_), .. } => all.metas += 1,
            _ => {}
        }
        Ok(())
    })?;
    Ok(all)
}

/// A store that was in use for some time: opened several times, with runs that live, that have ended and that were removed.
fn fill(folder: &Path, runs: usize, seed: u64) -> Stored {
    let mut dice = Dice(seed);
    let mut number = 0;
    for session in 0..3 {
        let world = open(folder);
        world.put_program(&row("x").version, &[b'p'; 3000]).expect("works");
        world.put_meta(&format!("m{session}"), b"x").expect("works");
        let mut claims: Vec<Claim> = world.claim(&common::holder(), 0, 20).expect("works");
        while number < runs * (session + 1) / 3 {
            if claims.len() < 12 {
                number += 1;
                let made = Row { status: Status::Running, ..row(&format!("run-{number:04}")) };
                let Written::Created(Some(claim)) = write(&world, vec![create(made)]).remove(0) else {
                    panic!("not claimed")
                };
                claims.push(claim);
            }
            let mut batch = Vec::new();
            for claim in &mut claims {
                match dice.below(9) {
                    0..6 => batch.push(event(claim)),
                    6 => {
                        claim.last_seq += 1;
                        let long = if dice.below(20) == 0 { 150_000 } else { 3_000 };
                        let bytes = common::noise(dice.below(long) as usize, number as u64);
                        let events = Some(Chunk { first: claim.last_seq, count: 1, bytes });
                        batch.push(Write::Commit(Box::new(Commit { events, ..turn(claim) })));
                    }
                    7 => batch.push(Write::Send(NewMessage {
                        urgent: dice.below(2) == 0,
                        ..common::message(&claim.run, vec![7; 30])
                    })),
                    _ => {
                        let append = vec![("log".into(), vec![7; 30])];
                        let values = vec![("v".into(), Some(vec![1; 20]))];
                        let inbox_taken = Some(dice.below(3));
                        batch.push(Write::Commit(Box::new(Commit { append, values, inbox_taken, ..turn(claim) })));
                    }
                }
            }
            write(&world, batch);
            if dice.below(4) == 0 {
                let over = claims.remove(dice.below(claims.len() as u64) as usize);
                write(&world, vec![end(&over)]);
                if dice.below(10) == 0 {
                    write(&world, vec![Write::Delete { run: over.run }]);
                }
            }
        }
        for claim in claims {
            write(&world, vec![Write::Release { run: claim.run, fence: claim.fence }]);
        }
        world.finish_deletes();
        assert_eq!(damage(&world), [""; 0]);
    }
    let world = open(folder);
    stored(&world).expect("readable")
}

/// The file of the given kind: `db`, `conf`, `snap`, or one of the blobs.
fn file_of(folder: &Path, kind: &str) -> std::path::PathBuf {
    let inner = folder.join("sled");
    match kind {
        "db" | "conf" => inner.join(kind),
        "snap" => newest(&inner, "snap."),
        _ => newest(&inner.join("blobs"), ""),
    }
}

fn newest(folder: &Path, begins: &str) -> std::path::PathBuf {
    let mut all: Vec<_> =
        std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    all.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)));
    all.sort();
    all.pop().expect("one")
}

#[test]
fn what_is_made_anew_is_set_aside_and_the_store_opens() {
    let template = TempDir::new().expect("a folder");
    let truth = fill(template.path(), 30, 1);
    let mut dice = Dice(9);
    for kind in ["conf", "snap"] {
        for round in 0..12 {
            let folder = TempDir::new().expect("a folder");
            common::copy(template.path(), folder.path());
            let path = file_of(folder.path(), kind);
            let mut bytes = std::fs::read(&path).expect("readable");
            let at = dice.below(bytes.len() as u64) as usize;
            match round % 4 {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => bytes.truncate((at + 9).min(bytes.len() - 1)),
                2 => bytes.iter_mut().for_each(|byte| *byte = 0),
                _ => bytes = b"something else altogether".to_vec(),
            }
            std::fs::write(&path, &bytes).expect("written");
            let before = SledWorld::examine(folder.path()).expect("readable");
            assert_eq!((before.aside.as_slice(), before.damage.len()), (&[path.clone()][..], 0), "{kind} {round}");
            assert_eq!(std::fs::read(&path).expect("still there"), bytes, "looking changes nothing");
            let world = open(folder.path());
            let said = world.set_aside();
            assert!(said.len() == 1 && said[0].contains(kind) && said[0].contains("set aside"), "{said:?}");
            assert!(stored(&world).expect("readable") == truth, "{kind} {round}: all of it is there");
            assert_eq!(damage(&world), [""; 0]);
            drop(world);
            let kept = newest(&folder.path().join("sled"), "damaged-");
            assert_eq!(std::fs::read(kept).expect("kept"), bytes);
            let again = open(folder.path());
            assert_eq!(again.set_aside(), [""; 0]);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    Cut,
    Zeroes,
    Flip,
    Header,
    Noise,
    Blob,
}

const HARMS: [Harm; 6] = [Harm::Cut, Harm::Zeroes, Harm::Flip, Harm::Header, Harm::Noise, Harm::Blob];

fn harm(folder: &Path, harm: Harm, dice: &mut Dice) {
    if harm == Harm::Blob {
        // Only older stores have such files.
        common::raw::change_to_older(folder, |entries| drop(entries.insert(b"!format".to_vec(), b"5".to_vec())));
    }
    let path = file_of(folder, if harm == Harm::Blob { "blob" } else { "db" });
    let file = OpenOptions::new().read(true).write(true).open(&path).expect("opens");
    let length = file.metadata().expect("known").len();
    let at = dice.below(length);
    let page = at / 4096 * 4096;
    match harm {
        Harm::Cut => file.set_len(at).expect("cut"),
        Harm::Zeroes => file.write_all_at(&vec![0; 4096.min(length - page) as usize], page).expect("written"),
        Harm::Noise => {
            let noise: Vec<u8> = (0..4096.min(length - page)).map(|_| dice.below(256) as u8).collect();
            file.write_all_at(&noise, page).expect("written");
        }
        Harm::Flip | Harm::Blob => flip(&file, at, dice),
        // Of a segment, or of the messages at its beginning.
        Harm::Header => flip(&file, at / (512 << 10) * (512 << 10) + dice.below(24), dice),
    }
}

fn flip(file: &std::fs::File, at: u64, dice: &mut Dice) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("readable");
    byte[0] ^= 1 << dice.below(8);
    file.write_all_at(&byte, at).expect("written");
}

/// What became of one damaged store.
#[derive(Debug, Default)]
struct Outcome {
    /// It opened, and all was there; it opened, and says what is wrong; it was refused; it opened without a word.
    opened: [bool; 4],
    runs: usize,
    /// With their whole logs, with a part of it, by name only.
    whole: usize,
    part: usize,
    named: usize,
    parked: usize,
}

fn judge(truth: &Stored, folder: &Path, what: &str) -> Outcome {
    let mut outcome = Outcome { runs: truth.rows.len(), ..Outcome::default() };
    let to = TempDir::new().expect("a folder");
    let salvaged: Salvaged = SledWorld::salvage(folder, to.path().join("new")).expect("saved");
    let world = open(&to.path().join("new"));
    let found = stored(&world).expect("readable");
    for (key, chunk) in &found.logs {
        if let Some(wanted) = truth.logs.get(key) {
            assert!(chunk == wanted, "{what}: the chunk {key:?} is another");
        }
    }
    for (number, row) in &truth.rows {
        let chunks = |all: &Stored| {
            let mut next = 1;
            for (_, chunk) in all.logs.range((*number, 0)..=(*number, u64::MAX)) {
                if chunk.first != next {
                    break;
                }
                next += u64::from(chunk.count);
            }
            next
        };
        let (whole, has) = (chunks(truth), chunks(&found));
        match found.rows.get(number) {
            Some(found) => {
                assert_eq!(found.run, row.run, "{what}: number {number} is another run");
                let live = !found.status.is_terminal() && found.status != Status::Parked;
                assert!(
                    has == whole || !live,
                    "{what}: {} would go on with {has} of {whole} events; {salvaged:?}",
                    row.run
                );
                outcome.parked += usize::from(found.status == Status::Parked);
                if has == whole { outcome.whole += 1 } else { outcome.part += 1 }
            }
            None if has > 1 => outcome.part += 1,
            None if salvaged.lost.contains(&row.run) => outcome.named += 1,
            None => assert!(!salvaged.missing.is_empty(), "{what}: {} is missing in silence", row.run),
        }
    }
    drop(world);
    let opened = SledWorld::open(folder);
    let at = match opened {
        Ok(world) => match stored(&world) {
            Ok(found) if found == *truth => 0,
            Ok(_) if verified(&world) => 3,
            _ => 1,
        },
        Err(WorldError::Corrupt(text)) => {
            assert!(text.contains("durhai doctor") && text.contains("--repair"), "{what}: {text}");
            2
        }
        Err(error) => panic!("{what}: {error:?}"),
    };
    outcome.opened[at] = true;
    outcome
}

/// Nothing is wrong with it, as far as it can tell.
fn verified(world: &SledWorld) -> bool {
    let mut lines = 0;
    world.verify(&mut |_| lines += 1).is_ok() && lines == 0
}

/// Whatever is done to the files: never a panic, never something else than was written, never a run that is gone in silence.
#[test]
fn what_can_be_read_of_damaged_files_is_saved() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("DURHAI_ROUNDS").unwrap_or(4);
    let fresh = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64);
    let template = TempDir::new().expect("a folder");
    let truth = fill(template.path(), if rounds > 4 { 400 } else { 90 }, 3);
    let mut table: BTreeMap<Harm, Vec<Outcome>> = BTreeMap::new();
    for kind in HARMS {
        for round in 0..rounds {
            let seed = number("DURHAI_SEED").unwrap_or(if round % 2 == 0 { round } else { fresh + round });
            let folder = TempDir::new().expect("a folder");
            common::copy(template.path(), folder.path());
            let mut dice = Dice(seed);
            harm(folder.path(), kind, &mut dice);
            let what = format!("{kind:?}, DURHAI_SEED={seed}");
            match catch_unwind(AssertUnwindSafe(|| judge(&truth, folder.path(), &what))) {
                Ok(outcome) => table.entry(kind).or_default().push(outcome),
                Err(panic) => {
                    eprintln!("{what}");
                    resume_unwind(panic);
                }
            }
        }
    }
    println!(
        "{:8} {:>6} {:>6} {:>7} {:>6} | of {} runs: whole part named gone; parked of them",
        "harm",
        "opened",
        "says",
        "refused",
        "silent",
        truth.rows.len()
    );
    for (kind, all) in table {
        let opened = [0, 1, 2, 3].map(|at| all.iter().filter(|one| one.opened[at]).count());
        let sum = |of: fn(&Outcome) -> usize| all.iter().map(of).sum::<usize>() as f64 / all.len() as f64;
        let gone = |one: &Outcome| one.runs - one.whole - one.part - one.named;
        println!(
            "{:8} {:>6} {:>6} {:>7} {:>6} | {:>6.1} {:>6.1} {:>6.1} {:>6.1}; {:>6.1}",
            format!("{kind:?}"),
            opened[0],
            opened[1],
            opened[2],
            opened[3],
            sum(|one| one.whole),
            sum(|one| one.part),
            sum(|one| one.named),
            sum(gone),
            sum(|one| one.parked)
        );
    }
}
