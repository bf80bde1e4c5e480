//! What is taken out of a world, and what can be made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai_core::{Status, Version};

use super::tools::{
    becomes, claim_one, claimed, commit, delete, ends, entry, held, holder, id, log, messages, new, release, row, send,
    send_urgent, turn, undamaged, write, write_all,
};
use super::{Cases, Subject};
use crate::{Commit, Concurrency, HookChange, Query, Record, Row, Snapshot, World, WorldError};

pub const CASES: Cases = &[
    ("a snapshot shows a run as it is", snapshots),
    ("a copy makes the same world", same_world),
    ("what was copied goes on", goes_on),
    ("a copy among writers is one moment", one_moment),
    ("a copy ends when nobody wants it", given_up),
    ("a world that is not empty takes no copy", not_empty),
    ("later records count", later_records),
];

fn copied(world: &dyn World) -> Vec<Record> {
    let mut records = Vec::new();
    world
        .copy(&mut |record| {
            records.push(record);
            Ok(())
        })
        .expect("the world works");
    records
}

fn restored(subject: &Subject<'_>, records: Vec<Record>) -> Box<dyn World> {
    let world = (subject.make)();
    let mut records = records.into_iter();
    world.restore(&mut || Ok(records.next())).expect("restored");
    undamaged(&*world);
    world
}

/// What a reader of all there is sees.
#[derive(Debug, PartialEq)]
struct Seen {
    runs: Vec<Option<Snapshot>>,
    logs: Vec<Vec<crate::Chunk>>,
    entries: Vec<Vec<Vec<u8>>>,
    waits: Vec<bool>,
    metas: Vec<Option<Vec<u8>>>,
    programs: Vec<Version>,
    expired: Vec<durhai_core::RunId>,
    next_wake: Option<u64>,
    counts: Vec<crate::Count>,
}

fn seen(world: &dyn World) -> Seen {
    let rows = world.list(&Query { limit: 1000, ..Query::default() }).expect("works").rows;
    let runs: Vec<_> = rows.into_iter().map(|row| row.run).collect();
    let of_streams = |run| {
        let streams = world.streams(run).expect("works");
        streams.into_iter().flat_map(|(name, _)| world.stream(run, &name, 0, 1000).expect("works")).collect()
    };
    let mut programs = world.programs().expect("works");
    programs.sort_unstable();
    Seen {
        logs: runs.iter().map(|run| log(world, run)).collect(),
        entries: runs.iter().map(of_streams).collect(),
        waits: runs.iter().map(|run| world.waits(run).expect("works")).collect(),
        metas: ["a", "b", "gone"].map(|key| world.meta(key).expect("works")).into(),
        expired: world.expired(u64::MAX, 1000).expect("works"),
        next_wake: world.next_wake().expect("works"),
        counts: world.run_counts().expect("works"),
        runs: world.snapshot(&runs).expect("works"),
        programs,
    }
}

/// A bit of everything; every run is given back.
fn filled(world: &dyn World) {
    let by = holder("one");
    let version = Version::of([("flow", "1")]);
    world.put_program(&version, b"texts").expect("works");
    world.put_meta("a", b"1").expect("works");
    world.put_meta("b", &[0xff, 0]).expect("works");
    world.put_meta("gone", b"x").expect("works");
    world.remove_meta("gone").expect("works");
    let first = held(world, Row { tags: [("k".to_owned(), "v".to_owned())].into(), ..row("first") }, &by);
    for name in ["t1", "t2"] {
        assert_eq!(world.reserve(name, &first.run, first.fence).expect("works"), None);
    }
    let open = |token: &str| HookChange::Open { token: token.into(), info: token.as_bytes().to_vec() };
    write_all(
        world,
        vec![
            super::tools::events(&first, 3, 5),
            entry(&first, "log", b"line"),
            entry(&first, "out/a", &[0xfe]),
            entry(&first, "out/a", b"2"),
            commit(Commit {
                values: vec![("state/x".into(), Some(b"1".to_vec())), ("state/y".into(), Some(b"2".to_vec()))],
                hooks: vec![open("t1"), open("t2"), HookChange::Close { token: "t2".into() }],
                ..turn(&first)
            }),
            commit(Commit { values: vec![("state/y".into(), None)], ..turn(&first) }),
            send(&first.run, b"one"),
            send(&first.run, &[1, 2, 0xff]),
            commit(Commit { inbox_taken: Some(1), ..turn(&first) }),
            release(&first),
        ],
    );
    let over = held(world, Row { purge_at: Some(7), parent: Some(id("first")), ..row("over") }, &by);
    write_all(world, vec![ends(&over)]);
    let removed = held(world, row("removed"), &by);
    write_all(world, vec![entry(&removed, "s", b"x"), ends(&removed), delete(&removed.run)]);
    let later = held(world, row("later"), &by);
    let asleep = |row: &mut Row| {
        row.wake_at = Some(500);
        row.status = Status::Waiting;
    };
    write_all(world, vec![becomes(&later, asleep), release(&later)]);
    let parked = held(world, row("parked"), &by);
    let park = |row: &mut Row| {
        row.wake_at = None;
        row.status = Status::Parked;
    };
    write_all(world, vec![becomes(&parked, park), send(&parked.run, b"waits"), release(&parked)]);
    for (name, priority) in [("in", 0), ("waits", 0), ("first of those", 9)] {
        let concurrency = Some(Concurrency { key: "gate".into(), limit: 1, priority });
        write_all(world, vec![new(Row { concurrency, ..row(&name.replace(' ', "-")) }, None)]);
    }
    write_all(world, vec![send(&id("waits"), b"1"), send_urgent(&id("parked"), b"2")]);
    write_all(world, vec![new(Row { wake_at: Some(900), ..row("delayed") }, None), send(&id("delayed"), b"1")]);
}

fn snapshots(subject: &Subject<'_>) {
    let world = (subject.make)();
    filled(&*world);
    let found = world.snapshot(&[id("first"), id("nobody"), id("over")]).expect("works");
    let [Some(first), None, Some(over)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(Some(&first.row), world.row(&id("first")).expect("works").as_ref());
    assert_eq!(first.last_seq, 7);
    assert_eq!(first.streams, [("log".to_owned(), 1), ("out/a".to_owned(), 2)]);
    assert_eq!(first.values, [("state/x".to_owned(), b"1".to_vec())]);
    assert_eq!(first.hooks, [("t1".to_owned(), b"t1".to_vec())]);
    let waiting: Vec<_> =
        first.messages.iter().map(|message| (message.index, message.at, &message.bytes[..])).collect();
    assert_eq!(waiting, [(2, 77, &[1, 2, 0xff][..])]);
    assert!(over.messages.is_empty() && over.hooks.is_empty() && over.row.status == Status::Completed);
}

fn same_world(subject: &Subject<'_>) {
    let world = (subject.make)();
    filled(&*world);
    let (before, records) = (seen(&*world), copied(&*world));
    drop(world);
    let again = restored(subject, records.clone());
    assert_eq!(seen(&*again), before);
    let sorted = |records: Vec<Record>| {
        let mut texts: Vec<_> = records.iter().map(|record| serde_json::to_string(record).expect("JSON")).collect();
        texts.sort_unstable();
        texts
    };
    let copy = copied(&*again);
    drop(again);
    // Numbers may differ, not how many records there are.
    assert_eq!(copy.len(), records.len(), "{:#?}\n{:#?}", sorted(copy), sorted(records));
}

fn goes_on(subject: &Subject<'_>) {
    let world = (subject.make)();
    filled(&*world);
    let by = holder("two");
    let dead = held(&*world, row("held"), &by);
    assert_eq!(world.reserve("mine", &dead.run, dead.fence).expect("works"), None);
    let records = copied(&*world);
    drop(world);
    let world = restored(subject, records);
    // What was held is free, and nothing says that its holder died. It can be claimed, with a hook to be had.
    let names = claimed(&*world, &by, 100, 100);
    assert_eq!(names, ["first", "in", "held"]);
    drop(world);
    let world = (subject.make)();
    filled(&*world);
    let records = copied(&*world);
    drop(world);
    let world = restored(subject, records);
    let first = world.claim_run(&id("first"), &by, 100).expect("works").expect("free");
    assert_eq!((first.tries, first.last_seq, first.admitted), (0, 7, true));
    // The tokens, indexes and counters go on where they were.
    assert_eq!(world.hook("t1").expect("works").expect("open").run, id("first"));
    write_all(
        &*world,
        vec![super::tools::events(&first, 8, 1), entry(&first, "out/a", b"3"), send(&first.run, b"new")],
    );
    assert_eq!(messages(&*world, &first.run).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(world.stream(&first.run, "out/a", 2, 9).expect("works"), [b"3"]);
    write_all(&*world, vec![ends(&first)]);
    assert_eq!(world.hook("t1").expect("works"), None);
    // The queue: which run is admitted, and which is next.
    let admitted = claim_one(&*world, &by, 100);
    assert_eq!(admitted.run, id("in"));
    write_all(&*world, vec![ends(&admitted)]);
    let next = claim_one(&*world, &by, 100);
    assert_eq!(next.run, id("first-of-those"));
    // A new run is newer than all there were.
    write_all(&*world, vec![new(row("newest"), None)]);
    let newest = world.list(&Query { limit: 1, ..Query::default() }).expect("works").rows.remove(0);
    assert_eq!(newest.run, id("newest"));
    undamaged(&*world);
}

/// Each write changes several things; a copy has all of it or nothing.
fn one_moment(subject: &Subject<'_>) {
    let world: Arc<dyn World> = (subject.make)().into();
    let by = holder("one");
    let other = held(&*world, row("other"), &by);
    let claim = held(&*world, row("counter"), &by);
    // Something to walk through.
    for n in 0..40 {
        write_all(&*world, (0..20).map(|m| new(row(&format!("r{n}-{m}")), None)).collect());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (world, stop, claim, other) = (world.clone(), stop.clone(), claim.clone(), other.clone());
        move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                number += 1;
                let text = number.to_string().into_bytes();
                let all = Commit {
                    append: vec![("s".into(), text.clone())],
                    values: vec![("v".into(), Some(text.clone()))],
                    send: vec![super::tools::message(&other.run, &text)],
                    meta: vec![("a".into(), Some(text))],
                    ..turn(&claim)
                };
                let event = super::tools::events(&claim, number + 2, 1);
                write_all(&*world, vec![commit(Commit { events: event_of(event), ..all })]);
                if number.is_multiple_of(3) {
                    write_all(&*world, vec![commit(Commit { inbox_taken: Some(number), ..turn(&other) })]);
                }
            }
            number
        }
    });
    let copies: Vec<_> = (0..4).map(|_| copied(&*world)).collect();
    stop.store(true, Ordering::SeqCst);
    let written = writer.join().expect("the writer works");
    drop(world);
    let mut last = 0;
    for records in copies {
        let world = restored(subject, records);
        let number = match world.meta("a").expect("works") {
            Some(text) => String::from_utf8(text).expect("a text").parse::<u64>().expect("a number"),
            None => 0,
        };
        assert!((last..=written).contains(&number), "{number} of {written}, after {last}");
        last = number;
        let found = world.snapshot(&[id("counter"), id("other")]).expect("works");
        let [Some(counter), Some(other)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(counter.last_seq, number + 2);
        assert_eq!(log(&*world, &id("counter")).len() as u64, number + 1);
        if number > 0 {
            assert_eq!(counter.streams, [("s".to_owned(), number)]);
            assert_eq!(counter.values, [("v".to_owned(), number.to_string().into_bytes())]);
        }
        // Those that were taken are gone, be it all up to a third one or up to the one before.
        let first = other.messages.first().map_or(number + 1, |message| message.index);
        assert!(first > number.saturating_sub(3) / 3 * 3 && first <= number + 1, "{first} of {number}");
        assert_eq!(world.list(&Query { limit: 1000, ..Query::default() }).expect("works").rows.len(), 802);
    }
}

fn event_of(write: crate::Write) -> Option<crate::Chunk> {
    match write {
        crate::Write::Commit(commit) => commit.events,
        _ => None,
    }
}

fn given_up(subject: &Subject<'_>) {
    let world = (subject.make)();
    filled(&*world);
    let mut left = 3;
    let error = world.copy(&mut |_| {
        left -= 1;
        if left == 0 { Err(WorldError::Unavailable("enough".into())) } else { Ok(()) }
    });
    assert!(matches!(error, Err(WorldError::Unavailable(text)) if text == "enough"));
    // The next one is whole.
    let (before, records) = (seen(&*world), copied(&*world));
    drop(world);
    assert_eq!(seen(&*restored(subject, records)), before);
}

fn not_empty(subject: &Subject<'_>) {
    let world = (subject.make)();
    filled(&*world);
    let before = seen(&*world);
    let mut records = copied(&*world).into_iter();
    let error = world.restore(&mut || Ok(records.next())).expect_err("it is not empty");
    assert!(matches!(&error, WorldError::Invalid(text) if text.contains("empty")), "{error}");
    assert_eq!(seen(&*world), before);
}

fn later_records(subject: &Subject<'_>) {
    let run = |number, name: &str, status| {
        let row = Row { status, ..row(name) };
        Record::Run { number, value: Some(Box::new(row)) }
    };
    let message = |index, value: Option<&[u8]>| {
        let value = value.map(Into::into);
        Record::Message { number: 3, index, at: 0, urgent: false, value }
    };
    let records = vec![
        Record::Meta { key: "a".into(), value: Some(b"old".to_vec()) },
        run(3, "kept", Status::Running),
        message(1, Some(b"taken")),
        message(2, Some(b"waits")),
        run(4, "removed", Status::Completed),
        Record::Log { number: 4, first: 1, count: 1, value: Some(b"x".to_vec()) },
        Record::Entry { number: 4, stream: "s".into(), index: 0, value: Some(b"x".to_vec()) },
        Record::Hook { token: "t".into(), number: 3, value: Some(b"t".to_vec()) },
        Record::Hook { token: "of the removed".into(), number: 4, value: Some(b"t".to_vec()) },
        Record::Meta { key: "a".into(), value: Some(b"new".to_vec()) },
        run(3, "kept", Status::Waiting),
        message(1, None),
        Record::Taken { number: 3, value: 1 },
        Record::Hook { token: "t".into(), number: 0, value: None },
        Record::Run { number: 4, value: None },
        Record::Value { number: 9, name: "of nobody".into(), value: Some(b"x".to_vec()) },
    ];
    let world = restored(subject, records);
    assert_eq!(world.meta("a").expect("works").as_deref(), Some(&b"new"[..]));
    assert_eq!(world.row(&id("kept")).expect("works").expect("there").status, Status::Waiting);
    assert_eq!(messages(&*world, &id("kept")), [(2, b"waits".to_vec())]);
    for token in ["t", "of the removed"] {
        assert_eq!(world.hook(token).expect("works"), None);
    }
    assert_eq!(world.row(&id("removed")).expect("works"), None);
    assert!(write(&*world, new(row("removed"), None)).is_ok(), "its name is free");
    assert!(log(&*world, &id("kept")).is_empty());
}
