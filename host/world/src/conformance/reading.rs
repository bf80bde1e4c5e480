//! Logs, streams, programs, named values.

use durhai_core::{Status, Version};

use super::tools::*;
use super::{Cases, Subject};
use crate::{Chunk, Commit, Create, NewMessage, Row, Standing, World, Write};

pub const CASES: Cases = &[
    ("log: from any event on", log_from),
    ("log: as much as fits", log_limit),
    ("log: the tail", log_tail),
    ("log: runs do not mix", log_apart),
    ("stream: from any index on", stream),
    ("stream: names do not mix", stream_names),
    ("stream: all of a run's, each with its length", streams),
    ("many runs at once: who has messages, how far they are", many),
    ("program: kept once", program),
    ("program: gone when no run has it", drop_program),
    ("expired: what has ended and may go", expired),
    ("meta: replaced", meta),
    ("meta: swapped by one of many", swap_meta),
    ("size: grows or is not known", size),
];

fn log_from(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![events(&claim, 3, 5), events(&claim, 8, 1), events(&claim, 9, 3)]);
    let firsts = |from| -> Vec<u64> {
        let chunks = world.log(&id("a"), from, usize::MAX).expect("works");
        assert!(chunks.iter().all(|one| *one == chunk(one.first, one.count)), "{chunks:?}");
        chunks.iter().map(|chunk| chunk.first).collect()
    };
    for (from, wanted) in [
        (0, &[1, 3, 8, 9][..]),
        (1, &[1, 3, 8, 9]),
        (2, &[1, 3, 8, 9]),
        (3, &[3, 8, 9]),
        (7, &[3, 8, 9]),
        (8, &[8, 9]),
        (9, &[9]),
        (11, &[9]),
        (12, &[]),
        (u64::MAX, &[]),
    ] {
        assert_eq!(firsts(from), wanted, "from {from}");
    }
    assert_eq!(log(&*world, &id("nobody")), []);
}

fn log_limit(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    let of = |first, bytes| {
        let events = Chunk { first, count: 2, bytes: vec![first as u8; bytes] };
        commit(Commit { events: Some(events), ..turn(&claim) })
    };
    write_all(&*world, vec![of(3, 100), of(5, 50), of(7, 0), of(9, 1)]);
    for (from, limit, wanted) in
        [(3, 0, 1), (3, 99, 1), (3, 100, 1), (3, 149, 1), (3, 150, 3), (3, 151, 4), (4, 1000, 4), (6, 0, 1), (9, 0, 1)]
    {
        let chunks = world.log(&id("a"), from, limit).expect("works");
        assert_eq!(chunks.len(), wanted, "from {from}, at most {limit} bytes");
    }
}

fn log_tail(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    assert_eq!(world.log_tail(&id("a")).expect("works"), Some(chunk(1, 2)));
    write_all(&*world, vec![events(&claim, 3, 300), events(&claim, 303, 1)]);
    assert_eq!(world.log_tail(&id("a")).expect("works"), Some(chunk(303, 1)));
    assert_eq!(world.log_tail(&id("nobody")).expect("works"), None);
}

fn log_apart(subject: &Subject<'_>) {
    let world = (subject.make)();
    let names = ["a", "aa", "b", "a/b", "A"];
    let claims: Vec<_> = names.iter().map(|name| held(&*world, row(name), &holder("h"))).collect();
    for (at, claim) in claims.iter().enumerate() {
        write_all(&*world, vec![events(claim, 3, at as u32 + 1), entry(claim, "s", claim.run.as_str().as_bytes())]);
    }
    for (at, claim) in claims.iter().enumerate() {
        assert_eq!(log(&*world, &claim.run), [chunk(1, 2), chunk(3, at as u32 + 1)]);
        assert_eq!(world.stream(&claim.run, "s", 0, 9).expect("works"), [claim.run.as_str().as_bytes()]);
    }
}

fn stream(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    for at in 0..300_u32 {
        write_all(&*world, vec![entry(&claim, "out", &at.to_be_bytes())]);
    }
    for (from, limit, wanted) in
        [(0, usize::MAX, 0..300), (0, 3, 0..3), (255, 3, 255..258), (299, 9, 299..300), (300, 9, 0..0), (0, 0, 0..0)]
    {
        let wanted: Vec<_> = wanted.map(|at: u32| at.to_be_bytes().to_vec()).collect();
        assert_eq!(world.stream(&id("a"), "out", from, limit).expect("works"), wanted, "{from}, {limit}");
    }
    assert_eq!(world.stream(&id("a"), "out", u64::MAX, 9).expect("works"), Vec::<Vec<u8>>::new());
    // The count goes on in another claim.
    write_all(&*world, vec![release(&claim)]);
    let claim = claim_one(&*world, &holder("h"), 0);
    write_all(&*world, vec![entry(&claim, "out", b"last")]);
    assert_eq!(world.stream(&id("a"), "out", 300, 9).expect("works"), [b"last"]);
}

fn stream_names(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    let long = "x".repeat(1000);
    let names = ["", "a", "ab", "a\0", "a\0b", "ä/ö ü", &long];
    let append = |text: &str| names.iter().map(|name| ((*name).into(), format!("{text}{name}").into_bytes())).collect();
    write_all(&*world, vec![commit(Commit { append: append("1"), ..turn(&claim) })]);
    write_all(&*world, vec![commit(Commit { append: append("2"), ..turn(&claim) })]);
    for name in names {
        let wanted = [format!("1{name}").into_bytes(), format!("2{name}").into_bytes()];
        assert_eq!(world.stream(&id("a"), name, 0, 9).expect("works"), wanted, "{name:?}");
    }
    assert_eq!(world.stream(&id("a"), "b", 0, 9).expect("works"), Vec::<Vec<u8>>::new());
    undamaged(&*world);
}

fn streams(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    let of = |name: &str| -> Vec<(String, u64)> { world.streams(&id(name)).expect("works") };
    assert_eq!((of("a"), of("nobody")), (vec![], vec![]));
    let long = "x".repeat(1000);
    let names = [("", 1), ("a", 300), ("ab", 2), ("a\0", 3), ("ä/ö ü", 1), ("b", 2), (&long, 2)];
    for (name, count) in names {
        let append = (0..count).map(|at: u32| (name.into(), at.to_be_bytes().to_vec())).collect();
        write_all(&*world, vec![commit(Commit { append, ..turn(&a) })]);
    }
    write_all(&*world, vec![entry(&b, "other", b"x")]);
    let mut wanted = names.map(|(name, count)| (name.to_owned(), u64::from(count)));
    wanted.sort_unstable();
    assert_eq!(of("a"), wanted);
    assert_eq!(of("b"), [("other".to_owned(), 1)]);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(of("a").len(), 7, "they outlive the run's end");
    write_all(&*world, vec![delete(&id("a"))]);
    assert_eq!(of("a"), []);
}

fn many(subject: &Subject<'_>) {
    let world = (subject.make)();
    let [a, b] = ["a", "b"].map(|name| held(&*world, row(name), &holder("h")));
    let send = |name: &str| Write::Send(NewMessage { run: id(name), at: 20, urgent: false, bytes: b"m".to_vec() });
    let append = vec![("log".into(), b"1".to_vec()), ("out".into(), b"2".to_vec()), ("log".into(), b"3".to_vec())];
    let shows = commit(Commit { append, ..turn(&a) });
    write_all(&*world, vec![events(&b, 3, 5), shows, send("a"), send("b"), send("b")]);
    let unread = |asked: &[(&str, u64)]| {
        let asked: Vec<_> = asked.iter().map(|(name, after)| (id(name), *after)).collect();
        let mut found = world.unread(&asked).expect("works");
        found.sort();
        found
    };
    assert_eq!(unread(&[]), []);
    assert_eq!(unread(&[("b", 0), ("a", 0), ("nobody", 0)]), [id("a"), id("b")]);
    assert_eq!(unread(&[("a", 1), ("b", 1)]), [id("b")]);
    assert_eq!(unread(&[("a", u64::MAX), ("b", 2)]), []);
    let standings = world.standings(&[id("a"), id("nobody"), id("b")]).expect("works");
    let counts = |of: &[(&str, u64)]| of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>();
    let standing = |last_seq, streams| Some(Standing { status: Status::Pending, last_seq, streams });
    assert_eq!(standings, [standing(2, counts(&[("log", 2), ("out", 1)])), None, standing(7, Vec::new())]);
}

fn program(subject: &Subject<'_>) {
    let world = (subject.make)();
    let [one, two] = ["1", "2"].map(|text| Version::of([("flow", text)]));
    assert_eq!(world.program(&one).expect("works"), None);
    world.put_program(&one, b"text").expect("works");
    world.put_program(&one, b"other").expect("works");
    world.put_program(&two, b"").expect("works");
    assert_eq!(world.program(&one).expect("works"), Some(b"text".to_vec()));
    assert_eq!(world.program(&two).expect("works"), Some(vec![]));
}

fn drop_program(subject: &Subject<'_>) {
    let world = (subject.make)();
    let versions = ["1", "2", "3", "4"].map(|text| Version::of([("flow", text)]));
    let [one, two, three, four] = &versions;
    versions.iter().for_each(|version| world.put_program(version, b"text").expect("works"));
    let left = |world: &dyn World| {
        let found = world.programs().expect("works");
        let has = |version| found.contains(version);
        assert_eq!(found.len(), versions.iter().filter(|version| has(version)).count(), "{found:?}");
        versions.each_ref().map(has)
    };
    let of = |name: &str, version: &Version| Row { version: version.clone(), ..row(name) };
    let a = held(&*world, of("a", one), &holder("h"));
    write_all(&*world, vec![new(of("b", two), None)]);
    assert_eq!(left(&*world), [true; 4]);
    let drop = |version| world.drop_program(version).expect("works");
    assert_eq!(versions.each_ref().map(drop), [false, false, true, true]);
    assert_eq!(left(&*world), [true, true, false, false]);
    assert_eq!(world.program(three).expect("works"), None);
    assert!(drop(three), "it is gone already");
    // A run that moves on leaves its version; one that ended still has it.
    write_all(&*world, vec![becomes(&a, |row| row.version = four.clone())]);
    assert_eq!((drop(one), drop(four)), (true, false));
    write_all(&*world, vec![becomes(&a, |row| (row.status, row.version) = (Status::Failed, four.clone()))]);
    assert!(!drop(four));
    write_all(&*world, vec![delete(&id("a"))]);
    assert!(drop(four));
    // One whose name only begins the same.
    let long = "d".repeat(300);
    let [long, longer] = [Version::from_digest(&long), Version::from_digest(&format!("{long}x"))];
    world.put_program(&long, b"1").expect("works");
    world.put_program(&longer, b"2").expect("works");
    write_all(&*world, vec![new(of("long", &longer), None)]);
    assert_eq!((drop(&longer), drop(&long)), (false, true));
    // Gone and back.
    world.put_program(one, b"again").expect("works");
    assert_eq!(world.program(one).expect("works"), Some(b"again".to_vec()));
    undamaged(&*world);
}

fn expired(subject: &Subject<'_>) {
    let world = (subject.make)();
    let of = |now, limit| -> Vec<String> {
        world.expired(now, limit).expect("works").iter().map(ToString::to_string).collect()
    };
    let over = |name: &str, purge_at| Row { status: Status::Completed, purge_at, ..row(name) };
    write_all(
        &*world,
        vec![
            new(over("d", Some(30)), None),
            new(over("b", Some(20)), None),
            new(over("c", Some(20)), None),
            new(over("never", None), None),
            new(over("last", Some(u64::MAX)), None),
            new(Row { purge_at: Some(1), ..row("alive") }, None),
        ],
    );
    assert_eq!((of(19, 9), of(20, 9), of(30, 2)), (vec![], vec!["b".into(), "c".into()], vec!["b".into(), "c".into()]));
    assert_eq!(of(u64::MAX, 9), ["b", "c", "d", "last"]);
    assert_eq!(of(u64::MAX, 0), [""; 0]);
    let alive = world.claim_run(&id("alive"), &holder("h"), 0).expect("works").expect("free");
    write_all(&*world, vec![becomes(&alive, |row| row.purge_at = Some(7))]);
    assert_eq!(of(19, 9), [""; 0], "it has not ended");
    let ends = |row: &mut Row| (row.status, row.purge_at, row.workflow) = (Status::Failed, Some(5), "other".into());
    write_all(&*world, vec![becomes(&alive, ends)]);
    assert_eq!((of(4, 9), of(5, 9)), (vec![], vec!["alive".into()]));
    let with = Create {
        row: over("created", Some(6)),
        events: chunk(1, 2),
        claim: None,
        hooks: Vec::new(),
        messages: Vec::new(),
    };
    let by = held(&*world, row("by"), &holder("h"));
    write_all(&*world, vec![commit(Commit { create: vec![with], ..turn(&by) })]);
    assert_eq!(of(6, 9), ["alive", "created"]);
    write_all(&*world, ["alive", "created", "b"].map(|name| delete(&id(name))).into());
    assert_eq!(of(30, 9), ["c", "d"]);
    undamaged(&*world);
}

fn meta(subject: &Subject<'_>) {
    let world = (subject.make)();
    assert_eq!(world.meta("k").expect("works"), None);
    for value in [&b"one"[..], b"", b"two"] {
        world.put_meta("k", value).expect("works");
        assert_eq!(world.meta("k").expect("works"), Some(value.to_vec()));
    }
    world.remove_meta("k").expect("works");
    assert_eq!(world.meta("k").expect("works"), None);
    world.put_meta("k", b"two").expect("works");
    assert_eq!(world.meta("").expect("works"), None);
    world.put_meta("", b"x").expect("works");
    assert_eq!(world.meta("k").expect("works"), Some(b"two".to_vec()));
    undamaged(&*world);
}

fn swap_meta(subject: &Subject<'_>) {
    let world = (subject.make)();
    let read = |key: &str| world.meta(key).expect("works");
    let swap = |before: Option<&[u8]>, after: &[u8]| world.swap_meta("k\\", before, after).expect("works");
    assert!(!swap(Some(b"one"), b"two"), "there is nothing");
    assert!(!swap(Some(b""), b"two"), "nothing is not an empty value");
    assert!(swap(None, b"one"));
    assert!(!swap(None, b"two") && !swap(Some(b"other"), b"two"));
    assert!(swap(Some(b"one"), b"") && swap(Some(b""), b"0"));
    assert_eq!(read("k\\"), Some(b"0".to_vec()));
    let keys = ["gone", "k\\", "", "k\\"].map(str::to_owned);
    let zero = Some(b"0".to_vec());
    assert_eq!(world.metas(&keys).expect("works"), [None, zero.clone(), None, zero]);
    // Counted up by many at a time, none of which counts over another one.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    loop {
                        let before = read("k\\").expect("it is there");
                        let number: u64 = String::from_utf8_lossy(&before).parse().expect("a number");
                        if swap(Some(&before), (number + 1).to_string().as_bytes()) {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(read("k\\"), Some(b"100".to_vec()));
    undamaged(&*world);
}

fn size(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    // Nothing that can be compressed.
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for _ in 0..8 {
        let bytes: Vec<u8> = (0..1 << 20).map(|_| byte()).collect();
        write_all(&*world, vec![entry(&claim, "out", &bytes)]);
    }
    if let Some(bytes) = world.size().expect("works").stored {
        assert!(bytes >= 1 << 20, "{bytes} bytes after 8 MiB were written");
    }
}
