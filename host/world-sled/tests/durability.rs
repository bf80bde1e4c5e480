//! What was acknowledged is on the disk, not only with the operating system.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{FOLDER, child, create, event, held, holder, open, row, write};
use durhai_core::Version;
use durhai_world::{Concurrency, Row, World, Write};
use tempfile::TempDir;

#[test]
fn every_acknowledged_call_syncs() {
    let folder = TempDir::new().expect("a folder");
    let world = open(folder.path());
    let mut before = world.syncs();
    let mut synced = |what: &str| {
        assert!(world.syncs() > before, "{what} was not synced");
        before = world.syncs();
    };
    let mut claim = held(&world, "a");
    synced("a new run");
    write(&world, vec![event(&mut claim), event(&mut claim)]);
    synced("a commit");
    write(&world, vec![Write::Release { run: claim.run.clone(), fence: claim.fence }]);
    synced("a release");
    assert_eq!(world.claim(&holder(), 0, 9).expect("works").len(), 1);
    synced("a claim");
    write(&world, vec![common::send(&claim.run, vec![])]);
    synced("a message");
    world.put_meta("k", b"v").expect("works");
    synced("a named value");
    world.remove_meta("k").expect("works");
    synced("a named value that goes");
    let version = Version::of([("a", "b")]);
    world.put_program(&version, b"text").expect("works");
    synced("a program");
    assert!(world.drop_program(&version).expect("works"));
    synced("a program that goes");
    let concurrency = Some(Concurrency { key: "g".into(), limit: 1, priority: 0 });
    write(&world, vec![create(Row { concurrency, ..row("b") })]);
    synced("a run under a concurrency limit");
    world.set_limit("g", 2).expect("works");
    synced("a limit");
}

#[test]
fn writers_that_come_together_share_a_sync() {
    const WRITERS: usize = 8;
    const EACH: u64 = 60;
    let folder = TempDir::new().expect("a folder");
    let world = open(folder.path());
    let before = world.syncs();
    std::thread::scope(|scope| {
        for at in 0..WRITERS {
            let world = &world;
            scope.spawn(move || {
                let mut claim = held(world, &format!("run-{at}"));
                for _ in 1..EACH {
                    write(world, vec![event(&mut claim)]);
                }
            });
        }
    });
    let syncs = world.syncs() - before;
    let writes = WRITERS as u64 * EACH;
    assert!(syncs < writes * 3 / 4, "{syncs} syncs for {writes} writes of {WRITERS} threads");
}

/// The system calls themselves: after the last byte went to the file and before the acknowledgement, an fdatasync.
#[test]
fn the_file_is_synced_before_the_acknowledgement() {
    let Some(trace) = traced("acknowledger", "pwrite64,fdatasync,write") else { return };
    let lines: Vec<&str> = trace.lines().collect();
    let acks: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("\"acknowledged ")).collect();
    assert_eq!(acks.len(), 5, "{trace}");
    let mut from = 0;
    for ack in acks {
        let part = &lines[from..ack];
        // A call that another thread interrupts is shown on two lines; the second says `resumed`.
        let wrote = part.iter().rposition(|line| line.contains("pwrite64") && of_store(line)).expect("it wrote");
        let began = part.iter().rposition(|line| line.contains("fdatasync(") && line.contains("/journal/"));
        let began = began.unwrap_or_else(|| panic!("no fdatasync before an acknowledgement:\n{}", part.join("\n")));
        let ended = part[began..].iter().any(|line| line.contains("fdatasync") && line.trim_end().ends_with("= 0"));
        assert!(wrote < began && ended, "written after the last fdatasync:\n{}", part.join("\n"));
        from = ack;
    }
}

/// sled makes neither the files that it makes for large pages durable nor their names: so none is made.
#[test]
fn no_page_is_so_large_that_it_gets_a_file() {
    let Some(trace) = traced("settler", "openat,unlink,write") else { return };
    assert!(trace.contains("/journal/"), "{trace}");
    let made = trace.lines().find(|line| line.contains("/sled/blobs/"));
    assert_eq!(made, None);
}

/// Writes large values, of which some become others and some go, and closes the store, if it is started by the test above.
#[test]
fn settler() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let world = open(Path::new(&folder));
    for at in 0..60 {
        let length = [300, 6_000, 8_000, 90_000, 400_000][at % 5];
        world.put_meta(&format!("large-{}", at % 23), &common::noise(length, at as u64)).expect("written");
        if at % 7 == 0 {
            world.remove_meta(&format!("large-{}", at % 11)).expect("removed");
        }
    }
}

/// Where an older store is taken over there are such files: they are durable before what leads to them may be.
#[test]
fn files_of_large_pages_are_synced_first() {
    let folder = TempDir::new().expect("a folder");
    let world = open(folder.path());
    for at in 0..40 {
        world.put_meta(&format!("large-{at}"), &common::noise(60_000, at)).expect("written");
    }
    drop(world);
    common::raw::change_to_older(folder.path(), |entries| drop(entries.insert(b"!format".to_vec(), b"5".to_vec())));
    let Some(trace) = traced_in("opener", "openat,fdatasync,fsync", folder.path()) else { return };
    let mut fresh = Vec::new();
    let mut synced = 0;
    for line in trace.lines() {
        if line.contains("/sled/blobs/") && line.contains("O_CREAT") {
            fresh.push(line.rsplit_once('<').expect("a path").1.trim_end_matches('>'));
        } else if line.contains("fdatasync(") && line.contains("/sled/blobs/") {
            fresh.retain(|path| !line.contains(&format!("{path}>")));
            synced += 1;
        } else if line.contains("fdatasync(") && line.contains("/sled/db>") {
            assert_eq!(fresh, [""; 0], "the data is synced before them:\n{trace}");
        }
    }
    assert!(synced > 0, "no large page:\n{trace}");
}

/// Opens a store, if it is started by the test above.
#[test]
fn opener() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    drop(open(Path::new(&folder)));
}

/// A disk that cannot make durable what it was given: nothing is acknowledged any more, the store closes all the same, and what was
/// acknowledged before is there.
#[test]
fn after_a_sync_that_fails_nothing_is_acknowledged() {
    for fails_from in [12, 40, 90] {
        let folder = TempDir::new().expect("a folder");
        let plain = child("fails", folder.path());
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=fdatasync", "-e", &format!("inject=fdatasync:error=EIO:when={fails_from}+")]);
        strace.args(["-o", "/dev/null"]).arg(plain.get_program()).args(plain.get_args());
        let Ok(output) = strace.env(FOLDER, folder.path()).env(common::WINDOW, "3000").output() else {
            println!("skipped: there is no strace here");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let Some(acked) = said.lines().find_map(|line| line.strip_prefix("acked ")) else {
            assert!(said.is_empty() || output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            println!("skipped: strace cannot inject here");
            return;
        };
        assert!(output.status.success() && said.contains("closed"), "{said}");
        let world = open(folder.path());
        for at in 0..acked.parse::<usize>().expect("a number") {
            assert!(world.meta(&format!("k{at}")).expect("readable").is_some(), "value {at} of {acked} is lost");
        }
    }
}

/// Writes until it cannot, if it is started by the test above.
#[test]
fn fails() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let world = open(Path::new(&folder));
    let (acked, error) = (0..10_000)
        .find_map(|at| world.put_meta(&format!("k{at}"), &[7; 100]).err().map(|error| (at, error)))
        .expect("it fails");
    assert!(error.to_string().contains("Input/output error"), "{error}");
    for _ in 0..20 {
        assert_eq!(world.put_meta("more", b"").expect_err("it stays so").to_string(), error.to_string());
    }
    println!("\nacked {acked}");
    drop(world);
    println!("closed");
}

/// The system calls that a test of this file makes in a process of its own; none where they cannot be seen.
fn traced(test: &str, calls: &str) -> Option<String> {
    let folder = TempDir::new().expect("a folder");
    traced_in(test, calls, &folder.path().join("store"))
}

/// The same with a store that is there.
fn traced_in(test: &str, calls: &str, store: &Path) -> Option<String> {
    common::strace(test, store, &["-s", "64", "-e", &format!("trace={calls}")], None)
}

fn of_store(line: &str) -> bool {
    line.contains("/journal/") || line.contains("resumed")
}

/// Writes and acknowledges, if it is started by the test above.
#[test]
fn acknowledger() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let world = open(Path::new(&folder));
    let mut claim = held(&world, "a");
    for number in 0..5 {
        write(&world, vec![event(&mut claim)]);
        let mut out = std::io::stdout().lock();
        out.write_all(format!("acknowledged {number}\n").as_bytes()).and_then(|()| out.flush()).expect("written");
    }
}
