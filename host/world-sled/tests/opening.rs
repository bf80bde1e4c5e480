//! Opening: one owner, a known format, and a clear word about what is broken.

mod common;

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use common::raw::{Entries, change, change_to_older, entries, raw};
use common::{Dice, FOLDER, WINDOW, WINDOWS, child, damage, end, event, held, holder, open, row, text, write};
use durhai_core::{RunId, Status, Version};
use durhai_world::{
    Chunk, Commit, Concurrency, Create, Creation, HookChange, NewMessage, Query, Row, World, WorldError, Write, Written,
};
use durhai_world_sled::SledWorld;
use tempfile::TempDir;

/// The error of a store that must not open.
fn refused(folder: &Path) -> WorldError {
    match SledWorld::open(folder) {
        Ok(_) => panic!("{} opened", folder.display()),
        Err(error) => error,
    }
}

/// The keys of a closed store.
fn keys(folder: &Path) -> Vec<Vec<u8>> {
    entries(folder).into_keys().collect()
}

#[test]
fn one_at_a_time_in_one_process() {
    let folder = TempDir::new().expect("a folder");
    let first = open(folder.path());
    let error = refused(folder.path());
    assert!(matches!(error, WorldError::Locked(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&folder.path().display().to_string()) && text.contains("this process"), "{text}");
    drop(first);
    open(folder.path());
}

#[test]
fn one_at_a_time_among_processes() {
    let folder = TempDir::new().expect("a folder");
    let mut owner = child("owner", folder.path()).stdin(std::process::Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    let mut output = BufReader::new(owner.stdout.take().expect("piped"));
    while !line.contains("open") {
        assert!(output.read_line(&mut line).expect("readable") > 0, "the owner says nothing");
    }
    let error = refused(folder.path());
    assert!(matches!(error, WorldError::Locked(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", owner.id())), "{text}");
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    owner.kill().expect("killed");
    owner.wait().expect("ended");
    assert!(open(folder.path()).row(&RunId::new("a").expect("legal")).expect("readable").is_some());
}

#[test]
fn owner() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let world = open(Path::new(&folder));
    held(&world, "a");
    println!("\nopen");
    std::io::stdout().flush().expect("written");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = TempDir::new().expect("a folder");
    drop(open(folder.path()));
    for (format, wanted) in [("7", "newer version"), ("17", "newer version"), ("0", "damaged"), ("x", "damaged")] {
        raw(folder.path(), |db| db.insert("!format", format).map(drop).expect("written"));
        let text = refused(folder.path()).to_string();
        assert!(text.contains(wanted) && text.contains(format), "{format}: {text}");
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
    }
    raw(folder.path(), |db| db.remove("!format").map(drop).expect("removed"));
    assert!(matches!(refused(folder.path()), WorldError::Corrupt(_)));
}

/// Stores of format 1 know nothing of versions, concurrency limits and purge times; their rows do not have them either. Those of format
/// 2 do not count their runs, nor find them by their time.
#[test]
fn an_older_format_is_brought_up_to_date() {
    const RUNS: usize = 2500;
    let folder = TempDir::new().expect("a folder");
    let [one, two] = ["1", "2"].map(|text| Version::of([("flow", text)]));
    let of = |at: usize| if at.is_multiple_of(3) { &two } else { &one };
    let world = open(folder.path());
    let rows = (0..RUNS).map(|at| Row { version: of(at).clone(), created_at: at as u64, ..row(&format!("r{at}")) });
    let events = Chunk { first: 1, count: 0, bytes: vec![] };
    let new = |row| {
        Write::Create(Box::new(Create {
            row,
            events: events.clone(),
            claim: None,
            hooks: Vec::new(),
            messages: Vec::new(),
        }))
    };
    write(&world, rows.map(new).collect());
    world.put_program(&one, b"text").expect("works");
    drop(world);
    // All of it, and again as if it had been cut short.
    for (format, keep, counted) in [("1", 0, 0), ("1", 700, 0), ("2", RUNS, 0), ("2", RUNS, 1), ("4", RUNS, 2)] {
        change_to_older(folder.path(), |entries| {
            if counted < 2 {
                for (kind, keep) in [("V", keep), ("N", counted), ("C", counted)] {
                    let of: Vec<_> = entries.keys().filter(|key| key[0] == kind.as_bytes()[0]).cloned().collect();
                    of.iter().skip(keep).for_each(|key| drop(entries.remove(key)));
                }
                // Without the workflow in it, as it was.
                let of: Vec<_> = entries.keys().filter(|key| key[0] == b'S').cloned().collect();
                for key in of.into_iter().skip(counted * RUNS / 2) {
                    let old = [&key[..2], &key[key.len() - 8..]].concat();
                    let value = entries.remove(&key).expect("there");
                    entries.insert(old, value);
                }
            }
            entries.insert(b"!format".to_vec(), format.into());
            entries.remove(&b"!settled"[..]);
            let (_, row) = entries.range(b"r".to_vec()..).next().expect("one");
            let row: serde_json::Value = serde_json::from_slice(row).expect("JSON");
            assert!(row.get("gate").is_none() && row.get("purge_at").is_none(), "as an old one: {row}");
        });
        let world = open(folder.path());
        let count = |version: &Version| {
            let query = Query { version: Some(version.clone()), limit: RUNS, ..Query::default() };
            world.list(&query).expect("works").rows.len()
        };
        assert_eq!((count(&one), count(&two)), (RUNS - RUNS.div_ceil(3), RUNS.div_ceil(3)));
        let counts: Vec<_> =
            world.run_counts().expect("works").iter().map(|of| (of.version.clone(), of.runs)).collect();
        let mut wanted = vec![(one.clone(), count(&one) as u64), (two.clone(), count(&two) as u64)];
        wanted.sort();
        assert_eq!(counts, wanted);
        let running = Query { status: vec![Status::Running], limit: RUNS, ..Query::default() };
        assert_eq!(world.list(&running).expect("works").rows.len(), RUNS);
        let late = Query { since: Some(RUNS as u64 - 7), ..Query::default() };
        assert_eq!(world.list(&late).expect("works").rows.len(), 7);
        assert!(!world.drop_program(&one).expect("works"));
        assert_eq!(damage(&world), [""; 0]);
        drop(world);
        let stored = entries(folder.path());
        assert_eq!(stored[&b"!format"[..]], b"6", "which the older version refuses");
        assert_eq!(stored.keys().filter(|key| key[0] == b'r').count(), RUNS);
        let alone =
            raw(folder.path(), |db| db.iter().keys().filter(|key| b"!B".contains(&key.as_ref().unwrap()[0])).count());
        assert_eq!(alone, raw(folder.path(), |db| db.len()), "nothing stands alone any more");
    }
}

/// In stores of format 3 any message made a run due that had not begun.
#[test]
fn a_message_of_an_older_format_begins_no_run() {
    let folder = TempDir::new().expect("a folder");
    let world = open(folder.path());
    let create = |name: &str, status, wake_at| {
        let row = Row { status, wake_at, ..row(name) };
        Write::Create(Box::new(Create {
            row,
            events: Chunk { first: 1, count: 1, bytes: vec![] },
            claim: None,
            hooks: Vec::new(),
            messages: Vec::new(),
        }))
    };
    let (pending, waiting) = (Status::Pending, Status::Waiting);
    write(
        &world,
        vec![create("delayed", pending, Some(700)), create("asleep", waiting, Some(700)), create("x", pending, None)],
    );
    let run = |name: &str| RunId::new(name).expect("legal");
    write(&world, ["delayed", "asleep", "x"].map(|name| common::send(&run(name), vec![1])).into());
    drop(world);
    change_to_older(folder.path(), |entries| {
        let moment = [&b"d"[..], &700_u64.to_be_bytes(), &1_u64.to_be_bytes()].concat();
        entries.remove(&moment).expect("it is listed under its moment");
        entries.insert([&b"d"[..], &0_u64.to_be_bytes(), &1_u64.to_be_bytes()].concat(), Vec::new());
        entries.insert(b"!format".to_vec(), b"3".to_vec());
        entries.remove(&b"!settled"[..]);
    });
    let world = open(folder.path());
    assert_eq!(damage(&world), [""; 0]);
    let claimed = |now| -> Vec<String> {
        world.claim(&holder(), now, 9).expect("works").iter().map(|claim| claim.run.to_string()).collect()
    };
    assert_eq!(claimed(699), ["asleep", "x"]);
    assert_eq!(claimed(700), ["delayed"]);
    assert!(!world.inbox(&run("delayed"), 0, 9).expect("works")[0].urgent);
}

#[test]
fn a_folder_that_cannot_be() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let error = refused(&file);
    assert!(matches!(&error, WorldError::Unavailable(text) if text.contains("file")), "{error:?}");
}

/// Whatever is done to the files: an error that names the folder, or a store that can be read; never a panic.
#[test]
fn broken_files_are_an_error() {
    let template = TempDir::new().expect("a folder");
    let world = open(template.path());
    let mut claim = held(&world, "a");
    for _ in 0..400 {
        write(&world, (0..4).map(|_| event(&mut claim)).collect());
    }
    drop(world);
    let db = template.path().join("sled").join("db");
    let whole = std::fs::read(&db).expect("readable");
    let mut dice = Dice(7);
    let mut errors = 0;
    for round in 0..24 {
        let folder = TempDir::new().expect("a folder");
        common::copy(template.path(), folder.path());
        let mut bytes = whole.clone();
        match round % 4 {
            0 => bytes.truncate(dice.below(bytes.len() as u64) as usize),
            1 => bytes.iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
            2 => {
                let at = dice.below(bytes.len() as u64 - 5000) as usize;
                bytes[at..at + 5000].iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
            }
            _ => std::fs::write(folder.path().join("sled").join("conf"), "no configuration").expect("written"),
        }
        std::fs::write(folder.path().join("sled").join("db"), bytes).expect("written");
        match SledWorld::open(folder.path()) {
            Ok(world) => {
                let _ = world.log(&claim.run, 1, usize::MAX);
                let _ = world.verify(&mut |_| {});
                let _ = world.claim(&holder(), 0, 9);
            }
            Err(WorldError::Corrupt(text) | WorldError::Unavailable(text)) => {
                assert!(text.contains(&folder.path().display().to_string()), "{text}");
                errors += 1;
            }
            Err(error) => panic!("round {round}: {error:?}"),
        }
    }
    assert!(errors >= 6, "only {errors} of 24 broken stores were noticed at open");
}

/// A disk that is full, played by a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    // What fails is the journal, or with small windows what the journal goes into.
    WINDOWS.into_iter().for_each(a_full_disk);
}

#[cfg(unix)]
fn a_full_disk(window: usize) {
    let folder = TempDir::new().expect("a folder");
    let plain = child("filler", folder.path());
    let mut shell = std::process::Command::new("sh");
    // Without the signal the limit is an error like that of a full disk. 6000 blocks of 512 (or 1024) bytes.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 6000; exec \"$0\" \"$@\""]);
    shell.arg(plain.get_program()).args(plain.get_args()).env(FOLDER, folder.path()).env(WINDOW, window.to_string());
    let output = shell.output().expect("starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let acked: u64 =
        said.lines().find_map(|line| line.strip_prefix("acked ")).expect("a count").parse().expect("a number");
    assert!(acked > 10, "{said}");
    let world = open(folder.path());
    let run = RunId::new("a").expect("legal");
    let log = world.log(&run, 1, usize::MAX).expect("readable");
    assert!(log.len() as u64 >= acked, "{} of {acked} acknowledged events are there", log.len());
    assert!(log.iter().zip(1..).all(|(chunk, first)| chunk.first == first));
    assert_eq!(damage(&world), [""; 0]);
}

#[test]
fn filler() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let world = open(Path::new(&folder));
    let mut claim = held(&world, "a");
    let mut acked = 1;
    let error = loop {
        match world.write((0..10).map(|_| event(&mut claim)).collect()) {
            Ok(_) => acked += 10,
            Err(error) => break error,
        }
        assert!(acked < 1_000_000, "the disk does not fill");
    };
    let first = error.to_string();
    assert!(matches!(error, WorldError::Unavailable(_)), "{first}");
    assert!(first.contains(&folder) && first.contains("File too large"), "{first}");
    // From now on the same, at once.
    for _ in 0..100 {
        let again = world.write(vec![event(&mut claim)]).expect_err("still full");
        assert_eq!(again.to_string(), first);
        assert_eq!(world.claim(&holder(), 0, 1).expect_err("still full").to_string(), first);
    }
    println!("\nacked {acked}");
    std::io::stdout().flush().expect("written");
    // sled may wait for its disk when it is closed.
    std::process::exit(0);
}

#[test]
fn a_turn_with_events_only_is_one_entry() {
    let after = |turns: usize| {
        let folder = TempDir::new().expect("a folder");
        let world = open(folder.path());
        let mut claim = held(&world, "a");
        write(&world, (0..turns).map(|_| event(&mut claim)).collect());
        drop(world);
        entries(folder.path())
    };
    let (before, after) = (after(0), after(7));
    assert_eq!(after.len(), before.len() + 7, "seven chunks");
    // The mark of the journal says how much was written.
    let mut others = before.iter().filter(|(key, _)| key[..] != b"!settled"[..]);
    assert!(others.all(|(key, value)| after.get(key) == Some(value)), "and nothing else changed");
}

#[test]
fn deleting_leaves_nothing() {
    let folder = TempDir::new().expect("a folder");
    drop(open(folder.path()));
    let empty = keys(folder.path());
    for events in [3_usize, 5000] {
        let world = open(folder.path());
        let mut claim = held(&world, "a");
        write(&world, vec![common::send(&claim.run, text(&claim.run, 1))]);
        write(&world, (0..events).map(|_| event(&mut claim)).collect());
        let concurrency = Some(Concurrency { key: "g".into(), limit: 1, priority: 0 });
        let child = |name: &str| Create {
            row: Row { concurrency: concurrency.clone(), purge_at: Some(3), wake_at: Some(0), ..row(name) },
            events: Chunk { first: 1, count: 1, bytes: vec![] },
            claim: Some(holder()),
            hooks: Vec::new(),
            messages: Vec::new(),
        };
        let all = Commit {
            append: vec![("out".into(), vec![1])],
            values: vec![("v".into(), Some(vec![1])), ("w".into(), Some(vec![1]))],
            hooks: vec![HookChange::Open { token: "t".into(), info: vec![1] }],
            create: vec![child("inside"), child("waits")],
            send: vec![common::message(&claim.run, vec![1])],
            ..common::turn(&claim)
        };
        let written = write(&world, vec![Write::Commit(Box::new(all))]);
        let Written::Committed(created) = &written[0] else { panic!("{written:?}") };
        let [Creation::Claimed(inside), Creation::Waits] = &created[..] else { panic!("{created:?}") };
        write(&world, vec![end(inside)]);
        let waited = world.claim(&holder(), 9, 9).expect("works").remove(0);
        write(&world, vec![end(&waited), end(&claim)]);
        write(&world, [inside, &waited].map(|claim| Write::Delete { run: claim.run.clone() }).into());
        write(&world, vec![Write::Delete { run: claim.run.clone() }]);
        if events == 3 {
            world.finish_deletes();
        } else {
            // Closed before all is swept up: the next one goes on.
            drop(world);
            let world = open(folder.path());
            assert_eq!(damage(&world), [""; 0]);
            world.finish_deletes();
            drop(world);
            assert_eq!(keys(folder.path()), empty, "{events} events");
            return;
        }
        drop(world);
        assert_eq!(keys(folder.path()), empty, "{events} events");
    }
}

/// Each kind of entry is lost or planted once: `verify` must see every one.
#[test]
fn verify_sees_damage() {
    let template = TempDir::new().expect("a folder");
    let world = open(template.path());
    let mut claim = held(&world, "held");
    write(&world, (0..5).map(|_| event(&mut claim)).collect());
    write(
        &world,
        vec![Write::Create(Box::new(Create {
            row: Row { parent: Some(claim.run.clone()), ..row("due") },
            events: Chunk { first: 1, count: 1, bytes: vec![] },
            claim: None,
            hooks: Vec::new(),
            messages: Vec::new(),
        }))],
    );
    let limited = |name: &str| {
        let concurrency = Some(Concurrency { key: "g".into(), limit: 1, priority: 3 });
        let row = Row { concurrency, ..row(name) };
        Create {
            row,
            events: Chunk { first: 1, count: 1, bytes: vec![] },
            claim: None,
            hooks: Vec::new(),
            messages: Vec::new(),
        }
    };
    let later = Create { row: Row { wake_at: Some(1 << 40), ..limited("later").row }, ..limited("later") };
    let over = Create { row: Row { status: Status::Failed, purge_at: Some(7), ..row("over") }, ..limited("over") };
    let all = Commit {
        values: vec![("v".into(), Some(vec![1]))],
        hooks: vec![HookChange::Open { token: "t".into(), info: vec![1] }],
        create: vec![limited("inside"), limited("waits"), later, over],
        ..common::turn(&claim)
    };
    write(&world, vec![Write::Commit(Box::new(all))]);
    let streams = (0..3).map(|_| ("out".into(), vec![1])).collect();
    write(&world, vec![Write::Commit(Box::new(Commit { append: streams, ..common::turn(&claim) }))]);
    for _ in 0..3 {
        write(&world, vec![common::send(&claim.run, vec![2])]);
    }
    write(&world, vec![Write::Send(NewMessage { urgent: true, ..common::message(&claim.run, vec![2]) })]);
    assert_eq!(damage(&world), [""; 0]);
    drop(world);
    let lost = keys(template.path());
    let check = |what: String, harm: &dyn Fn(&mut Entries)| {
        let folder = TempDir::new().expect("a folder");
        common::copy(template.path(), folder.path());
        change(folder.path(), harm);
        match SledWorld::open(folder.path()) {
            Ok(world) => {
                let mut lines = 0;
                let read = world.verify(&mut |_| lines += 1);
                assert!(lines > 0 || read.is_err(), "{what} was not noticed");
            }
            Err(error) => assert!(matches!(error, WorldError::Corrupt(_)), "{what}: {error:?}"),
        }
    };
    for (at, key) in lost.iter().enumerate() {
        let ends_a_row = b"lsx".contains(&key[0]) && lost.get(at + 1).is_none_or(|next| next[..9] != key[..9]);
        // Nobody can know of the last of a row of things, of the number of openings, of a claim, or of a value.
        if b"hv".contains(&key[0]) || key == b"!opened" || ends_a_row {
            continue;
        }
        check(format!("the loss of {:?}", String::from_utf8_lossy(key)), &|entries| drop(entries.remove(key)));
    }
    for planted in [
        "i-nobody",
        "l-12345678-12345678",
        "S-12345678",
        "S\u{1}\0\0\0\u{4}flow12345678",
        "V-12345678",
        "E1234567812345678",
        "d-12345678-12345678",
        "u12345678",
        "u1234",
        "v12345678name",
        "kplanted",
        "o12345678planted",
        "Gplanted",
        "Nplanted",
        "N\u{1}\0\0\0\u{1}vflow",
        "Cplanted",
        "C12345678",
        "g12345678",
        "Q123456781234567812345678",
        "?",
        "r-1234567",
    ] {
        check(format!("the planted {planted:?}"), &|entries| drop(entries.insert(planted.into(), b"x".to_vec())));
    }
    // A limit that counts wrongly: limit 1, so many inside, so many in all.
    for (inside, members) in [(0, 3), (2, 3), (1, 4), (1, 2)] {
        let value = [&1_u32.to_be_bytes()[..], &u64::to_be_bytes(inside), &u64::to_be_bytes(members)].concat();
        check(format!("{inside} of {members}"), &|entries| drop(entries.insert(b"Gg".to_vec(), value.clone())));
    }
    // Runs that are counted wrongly, and times that hide one.
    let of_counts = lost.iter().find(|key| key[0] == b'N').expect("one");
    for wrong in [0_u64, 2, u64::MAX] {
        check(format!("{wrong} runs"), &|entries| {
            drop(entries.insert(of_counts.clone(), wrong.to_be_bytes().to_vec()))
        });
    }
    let zone = lost.iter().find(|key| key[0] == b'C').expect("one");
    for (earliest, latest) in [(0_u64, 0_u64), (2, 9), (9, 2)] {
        let value = [earliest.to_be_bytes(), latest.to_be_bytes()].concat();
        check(format!("{earliest} to {latest}"), &|entries| drop(entries.insert(zone.clone(), value.clone())));
    }
    let room = [&2_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &3_u64.to_be_bytes()].concat();
    check("room that nobody takes".into(), &|entries| drop(entries.insert(b"Gg".to_vec(), room.clone())));
}
