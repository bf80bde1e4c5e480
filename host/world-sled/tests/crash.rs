//! A writer is killed again and again: what it was told is durable must be there.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use common::{
    Dice, FOLDER, WINDOW, WINDOWS, child, damage, end, event, held, holder, open, open_with, row, text, turn, write,
};
use durhai_core::RunId;
use durhai_world::{Chunk, Commit, Concurrency, Create, Row, World, Write, Written};
use durhai_world_sled::{Options, SledWorld};
use tempfile::TempDir;

/// With each window.
const ROUNDS: u64 = 7;

/// What was acknowledged, of each run.
#[derive(Default, Debug)]
struct Acked {
    seq: u64,
    message: u64,
    entries: u64,
    ended: bool,
    deleted: bool,
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let seed = std::env::var("DURHAI_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64));
    println!("DURHAI_SEED={seed}");
    for window in WINDOWS {
        kill_again_and_again(seed, window);
    }
}

fn kill_again_and_again(seed: u64, window: usize) {
    let folder = TempDir::new().expect("a folder");
    let mut dice = Dice(seed);
    let mut acked = BTreeMap::new();
    let mut total = 0;
    for round in 0..ROUNDS {
        let lines = 1 + dice.below(400) as usize;
        let mut writer = child("writer", folder.path());
        writer.env("DURHAI_SEED", (seed + round).to_string());
        let mut writer = writer.env(WINDOW, window.to_string()).spawn().expect("starts");
        let mut output = BufReader::new(writer.stdout.take().expect("piped"));
        let mut seen = 0;
        let mut line = String::new();
        // After the kill what was printed before can still be read.
        while output.read_line(&mut line).expect("readable") > 0 {
            if line.ends_with('\n') && line.starts_with("ack ") {
                seen += 1;
                note(&mut acked, &line);
                if seen == lines {
                    writer.kill().expect("killed");
                }
            }
            line.clear();
        }
        writer.wait().expect("ended");
        assert!(seen >= lines, "round {round}: the writer stopped by itself after {seen} acknowledgements");
        total += seen;
        // What a kill leaves behind is no damage.
        let files = SledWorld::examine(folder.path()).expect("readable");
        assert!(files.damage.is_empty() && files.aside.is_empty(), "round {round}: {files:?}");
        let options = Options { window_bytes: window, ..Options::default() };
        check(&open_with(folder.path(), &options), &acked, round);
    }
    println!("window {window}: {total} acknowledged writes of {} runs were all there", acked.len());
}

fn note(acked: &mut BTreeMap<String, Acked>, line: &str) {
    let [_, run, what, number] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line:?}") };
    let number = number.parse().expect("a number");
    let of_run = acked.entry(run.to_owned()).or_default();
    match what {
        "event" => of_run.seq = number,
        "message" => of_run.message = number,
        "entry" => of_run.entries = number,
        "end" => of_run.ended = true,
        "delete" => of_run.deleted = true,
        "create" => {}
        _ => panic!("{line:?}"),
    }
}

fn check(world: &SledWorld, acked_all: &BTreeMap<String, Acked>, round: u64) {
    for (name, acked) in acked_all {
        let run = RunId::new(name).expect("legal");
        let row = world.row(&run).expect("readable");
        if acked.deleted {
            assert_eq!(row, None, "round {round}: {name} was deleted");
            continue;
        }
        let Some(row) = row else {
            // Its deletion may have been written and not acknowledged.
            assert!(acked.ended, "round {round}: {name} is gone: {acked:?}");
            continue;
        };
        assert!(!acked.ended || row.status.is_terminal(), "round {round}: {name} had ended");
        let mut next = 1;
        for chunk in world.log(&run, 1, usize::MAX).expect("readable") {
            assert_eq!((chunk.first, &chunk.bytes), (next, &text(&run, next)), "round {round}: the log of {name}");
            next += u64::from(chunk.count);
        }
        assert!(next > acked.seq, "round {round}: {name} ends before event {}, {acked:?}", acked.seq);
        let messages = world.inbox(&run, 0, usize::MAX).expect("readable");
        let last = messages.last().map_or(0, |message| message.index);
        assert!(
            row.status.is_terminal() || last >= acked.message,
            "round {round}: {name}: a message is lost, {acked:?}"
        );
        // A run that was created with a commit is there if what else that commit brought is, and the other way round.
        let values = world.values(&run).expect("readable");
        for (child, _) in &values {
            let gone = acked_all.get(child).is_some_and(|acked| acked.ended);
            let there = world.row(&RunId::new(child).expect("legal")).expect("readable").is_some();
            assert!(there || gone, "round {round}: {name} created {child}, which is not there");
        }
        if let Some(parent) = row.parent.as_ref().filter(|parent| world.row(parent).expect("readable").is_some()) {
            let values = world.values(parent).expect("readable");
            assert!(values.iter().any(|(child, _)| child == name), "round {round}: {parent} knows nothing of {name}");
        }
        let entries = world.stream(&run, "out", 0, usize::MAX).expect("readable").len() as u64;
        assert!(entries >= acked.entries, "round {round}: {name}: a stream entry is lost, {acked:?}");
    }
    let damage = damage(world);
    assert!(damage.is_empty(), "round {round}: {damage:#?}");
}

/// Writes until it is killed, if it is started by the test above.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let seed: u64 = std::env::var("DURHAI_SEED").expect("set").parse().expect("a number");
    let mut dice = Dice(seed);
    let world = open(Path::new(&folder));
    let mut claims = world.claim(&holder(), 0, 1000).expect("works");
    let mut entries: BTreeMap<RunId, u64> = claims
        .iter()
        .map(|claim| (claim.run.clone(), world.stream(&claim.run, "out", 0, usize::MAX).expect("works").len() as u64))
        .collect();
    let mut ended = None;
    println!();
    for number in 0.. {
        if claims.len() < 12 {
            claims.push(held(&world, &format!("run-{seed}-{number}")));
        }
        let mut batch = Vec::new();
        let mut acks = Vec::new();
        for claim in &mut claims {
            match dice.below(8) {
                0..5 => {
                    batch.push(event(claim));
                    acks.push(format!("ack {} event {}", claim.run, claim.last_seq));
                }
                5 => {
                    // Some are long enough to be a file of their own.
                    let bytes = vec![7; if dice.below(20) == 0 { 150_000 } else { 20 }];
                    batch.push(common::send(&claim.run, bytes));
                    acks.push(format!("ack {} message ?", claim.run));
                }
                6 => {
                    let append = vec![("out".into(), vec![7; 30])];
                    batch.push(Write::Commit(Box::new(Commit { append, ..turn(claim) })));
                    let count = entries.entry(claim.run.clone()).or_default();
                    *count += 1;
                    acks.push(format!("ack {} entry {count}", claim.run));
                }
                _ if dice.below(6) == 0 => {
                    let name = format!("child-{seed}-{number}-{}", batch.len());
                    let concurrency = Some(Concurrency { key: "g".into(), limit: 3, priority: dice.below(3) as i32 });
                    let run = RunId::new(&name).expect("legal");
                    let events = Chunk { first: 1, count: 1, bytes: text(&run, 1) };
                    let row = Row { concurrency, parent: Some(claim.run.clone()), ..row(&name) };
                    batch.push(Write::Commit(Box::new(Commit {
                        values: vec![(name.as_str().into(), Some(vec![7]))],
                        create: vec![Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() }],
                        send: vec![common::message(&run, vec![7])],
                        ..turn(claim)
                    })));
                    acks.push(format!("ack {name} create 0"));
                }
                _ => {}
            }
        }
        if number % 10 == 9 {
            let over = claims.swap_remove(dice.below(claims.len() as u64) as usize);
            batch.push(end(&over));
            acks.push(format!("ack {} end 0", over.run));
            ended = Some(over.run);
        } else if let Some(run) = ended.take().filter(|_| dice.below(2) == 0) {
            acks.push(format!("ack {run} delete 0"));
            batch.push(Write::Delete { run });
        }
        let written = write(&world, batch);
        if number % 10 == 9 {
            claims.extend(world.claim(&holder(), 0, 3).expect("works"));
        }
        let mut out = String::new();
        for (ack, written) in acks.iter().zip(written) {
            match written {
                Written::Sent(index) => out += &ack.replace('?', &index.to_string()),
                _ => out += ack,
            }
            out.push('\n');
        }
        if std::io::stdout().write_all(out.as_bytes()).and_then(|()| std::io::stdout().flush()).is_err() {
            return;
        }
    }
}
