//! Concurrency limits: which runs are admitted, which wait, and which is next.

use std::sync::Arc;

use durhai_core::Status;
use parking_lot::Mutex;

use super::tools::*;
use super::{Cases, Subject};
use crate::{Admission, Claim, Commit, Concurrency, Create, Creation, Notice, Queue, Row, World, Write, Written};

pub const CASES: Cases = &[
    ("concurrency: at most so many are admitted", limit),
    ("concurrency: the best goes first, then the oldest", order),
    ("concurrency: those who wait are not due, whatever they get", waiting_is_quiet),
    ("concurrency: one that is to start later comes when it is due", later),
    ("concurrency: asleep, parked or given back is still admitted", stays),
    ("concurrency: the limit that was handed over last counts", limits),
    ("concurrency: claim_run takes one that waits, not admitted", claimed_unadmitted),
    ("concurrency: one whose turn comes while it is held", turn_comes_while_held),
    ("concurrency: the place goes to the run that continues", handed_over),
    ("concurrency: later rows cannot change it", kept),
    ("concurrency: created with a commit", within_commit),
    ("concurrency: how a run stands in the queue", stands),
    ("concurrency: watchers hear of the runs that are admitted", heard),
    ("concurrency: another process counts on", reopened),
];

fn at(name: &str, key: &str, limit: u32, priority: i32) -> Row {
    Row { concurrency: Some(Concurrency { key: key.into(), limit, priority }), ..row(name) }
}

fn made(row: Row) -> Create {
    Create { row, events: chunk(1, 2), claim: None, hooks: Vec::new(), messages: Vec::new() }
}

fn due(world: &dyn World) -> Vec<String> {
    claimed(world, &holder("h"), 50, 100)
}

fn take(world: &dyn World, name: &str) -> Claim {
    world.claim_run(&id(name), &holder("h"), 50).expect("works").expect("free")
}

/// What a claim of this run looks like to a host.
fn claims(world: &dyn World, now: u64) -> Vec<Claim> {
    world.claim(&holder("h"), now, 100).expect("works")
}

fn limit(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 2, 0), &holder("h"));
    assert!(a.admitted);
    write_all(&*world, vec![new(at("b", "g", 2, 0), None)]);
    // With a claim and without: the limit is reached.
    assert_eq!(write(&*world, new(at("c", "g", 2, 0), Some(&holder("h")))), Ok(Written::Created(None)));
    assert_eq!(write(&*world, new(at("d", "g", 2, 0), None)), Ok(Written::Created(None)));
    let waits = |name: &str| world.waits(&id(name)).expect("works");
    assert_eq!(["a", "b", "c", "d", "nobody"].map(waits), [false, false, true, true, false]);
    // Other limits, and runs without one, are not concerned.
    assert!(held(&*world, at("x", "", 1, 0), &holder("h")).admitted);
    assert!(held(&*world, at("y", "gg", 1, 0), &holder("h")).admitted);
    assert!(held(&*world, row("z"), &holder("h")).admitted);
    let claims = claims(&*world, 50);
    assert_eq!(claims.iter().map(|claim| claim.run.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(claims[0].admitted);
    assert_eq!(world.next_wake().expect("works"), None);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(world.next_wake().expect("works"), Some(0));
    assert_eq!(["c", "d"].map(waits), [false, true]);
    assert_eq!(due(&*world), ["c"]);
    write_all(&*world, vec![ends(&claims[0])]);
    assert_eq!(due(&*world), ["d"]);
    // One that ends at its creation never comes.
    write_all(&*world, vec![new(Row { status: Status::Failed, ..at("e", "g", 2, 0) }, None), delete(&id("e"))]);
    undamaged(&*world);
}

fn order(subject: &Subject<'_>) {
    let world = (subject.make)();
    let mut admitted = held(&*world, at("first", "g", 1, 0), &holder("h"));
    for (name, priority) in
        [("low", -1), ("a", 0), ("high", 5), ("b", 0), ("lowest", i32::MIN), ("top", i32::MAX), ("high2", 5)]
    {
        write_all(&*world, vec![new(at(name, "g", 1, priority), None)]);
    }
    for wanted in ["top", "high", "high2", "a", "b", "low", "lowest"] {
        write_all(&*world, vec![ends(&admitted)]);
        admitted = claim_one(&*world, &holder("h"), 50);
        assert_eq!(admitted.run.as_str(), wanted);
    }
    write_all(&*world, vec![ends(&admitted)]);
    assert_eq!(due(&*world), [""; 0]);
    undamaged(&*world);
}

fn waiting_is_quiet(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, vec![new(at("b", "g", 1, 0), None), send(&id("b"), b"1")]);
    assert_eq!(world.next_wake().expect("works"), None);
    assert_eq!(due(&*world), [""; 0]);
    let other = Commit { send: vec![message(&id("b"), b"2")], ..turn(&a) };
    write_all(&*world, vec![commit(other)]);
    assert_eq!(due(&*world), [""; 0]);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(due(&*world), ["b"]);
    assert_eq!(messages(&*world, &id("b")), [(1, b"1".to_vec()), (2, b"2".to_vec())]);
    undamaged(&*world);
}

fn later(subject: &Subject<'_>) {
    let world = (subject.make)();
    let later = |name, wake_at| Row { wake_at, ..at(name, "g", 1, 9) };
    write_all(&*world, vec![new(later("late", Some(40)), None), new(later("never", None), None)]);
    // It keeps no place free, and pushes no other run aside.
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    assert_eq!(world.next_wake().expect("works"), Some(40));
    assert_eq!(claimed(&*world, &holder("h"), 39, 9), [""; 0]);
    // A host that only looks at it before does not make it arrive.
    let early = world.claim_run(&id("late"), &holder("h"), 39).expect("works").expect("free");
    assert!(!early.admitted);
    write_all(&*world, vec![release(&early)]);
    write_all(&*world, vec![new(at("b", "g", 1, 0), None)]);
    assert_eq!(world.next_wake().expect("works"), Some(40));
    assert_eq!(claimed(&*world, &holder("h"), 40, 9), [""; 0]);
    assert_eq!(world.next_wake().expect("works"), None, "it waits now");
    write_all(&*world, vec![ends(&a)]);
    let late = claim_one(&*world, &holder("h"), 40);
    assert_eq!(late.run.as_str(), "late");
    write_all(&*world, vec![ends(&late)]);
    let b = claim_one(&*world, &holder("h"), 40);
    assert_eq!(b.run.as_str(), "b");
    // At the moment itself it is due, and a claim makes it arrive.
    write_all(&*world, vec![new(Row { wake_at: Some(40), ..at("exact", "e", 1, 0) }, None)]);
    let exact = world.claim_run(&id("exact"), &holder("h"), 40).expect("works").expect("free");
    assert!(exact.admitted);
    // A message makes it due, and with that it arrives.
    write_all(&*world, vec![send(&id("never"), b"x")]);
    assert_eq!(due(&*world), [""; 0]);
    write_all(&*world, vec![ends(&b)]);
    assert_eq!(due(&*world), ["never"]);
    // Among many of which most must wait, as many as are wanted are found.
    let mut batch: Vec<Write> =
        (0..30).map(|n| new(Row { wake_at: Some(60), ..at(&format!("m{n}"), "m", 1, 0) }, None)).collect();
    batch.extend((0..3).map(|n| new(Row { wake_at: Some(61), ..row(&format!("r{n}")) }, None)));
    write_all(&*world, batch);
    assert_eq!(claimed(&*world, &holder("h"), 70, 0), [""; 0]);
    assert_eq!(claimed(&*world, &holder("h"), 70, 3), ["m0", "r0", "r1"]);
    assert_eq!(claimed(&*world, &holder("h"), 70, 3), ["r2"]);
    undamaged(&*world);
}

fn stays(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, vec![new(at("b", "g", 1, 0), None), release(&a)]);
    let a = claim_one(&*world, &holder("h"), 50);
    assert_eq!((a.run.as_str(), a.admitted), ("a", true));
    let sleeps = |row: &mut Row| (row.status, row.wake_at) = (Status::Waiting, Some(90));
    write_all(&*world, vec![becomes(&a, sleeps), release(&a)]);
    assert_eq!(due(&*world), [""; 0]);
    let a = world.claim_run(&id("a"), &holder("h"), 50).expect("works").expect("free");
    assert!(a.admitted, "it is admitted whether due or not");
    let parks = |row: &mut Row| (row.status, row.wake_at) = (Status::Parked, None);
    write_all(&*world, vec![becomes(&a, parks), release(&a)]);
    assert_eq!(due(&*world), [""; 0]);
    let a = take(&*world, "a");
    assert!(a.admitted);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(due(&*world), ["b"]);
    undamaged(&*world);
}

fn limits(subject: &Subject<'_>) {
    let world = (subject.make)();
    // Of a key that no run has: nothing to change.
    world.set_limit("g", 9).expect("works");
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, (0..6).map(|n| new(at(&format!("w{n}"), "g", 1, 0), None)).collect());
    assert_eq!(due(&*world), [""; 0]);
    world.set_limit("other", 9).expect("works");
    world.set_limit("g", 3).expect("works");
    assert_eq!(due(&*world), ["w0", "w1"]);
    // A run brings a limit, too: for all, and those that wait longer are first.
    write_all(&*world, vec![new(at("x", "g", 4, 0), None)]);
    assert_eq!(due(&*world), ["w2"]);
    // One that shrinks takes no place away; there is room when enough have ended.
    world.set_limit("g", 0).expect("works");
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(due(&*world), [""; 0]);
    // A later run with the highest priority and a higher limit goes before.
    write_all(&*world, vec![new(at("y", "g", 4, 1), None)]);
    assert_eq!(due(&*world), ["y"]);
    // When all have ended the limit is forgotten.
    let b = held(&*world, at("b", "once", 1, 0), &holder("h"));
    world.set_limit("once", 5).expect("works");
    write_all(&*world, vec![ends(&b)]);
    world.set_limit("once", 5).expect("works");
    write_all(&*world, vec![new(at("c", "once", 1, 0), None), new(at("d", "once", 1, 0), None)]);
    assert_eq!(due(&*world), ["c"]);
    // It is there with its first run, arrived or not.
    write_all(&*world, vec![new(Row { wake_at: Some(80), ..at("e", "slow", 1, 0) }, None)]);
    write_all(&*world, vec![new(Row { wake_at: Some(80), ..at("f", "slow", 1, 0) }, None)]);
    world.set_limit("slow", 2).expect("works");
    assert_eq!(claimed(&*world, &holder("h"), 80, 9), ["e", "f"]);
    undamaged(&*world);
}

fn claimed_unadmitted(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, ["b", "c", "d"].map(|name| new(at(name, "g", 1, 0), None)).into());
    let b = take(&*world, "b");
    assert!(!b.admitted);
    assert_eq!(world.claim_run(&id("b"), &holder("i"), 50).expect("works"), None, "it is held");
    // Given back it waits on, at its old place.
    write_all(&*world, vec![send(&id("b"), b"x"), events(&b, 3, 1), release(&b)]);
    assert_eq!((due(&*world), world.next_wake().expect("works")), (vec![], None));
    // Ended it makes no room for others, as it had none.
    let c = take(&*world, "c");
    write_all(&*world, vec![ends(&c)]);
    assert_eq!(due(&*world), [""; 0]);
    write_all(&*world, vec![ends(&a)]);
    let b = claim_one(&*world, &holder("h"), 50);
    assert_eq!((b.run.as_str(), b.admitted, b.last_seq), ("b", true, 3));
    write_all(&*world, vec![ends(&b)]);
    assert_eq!(due(&*world), ["d"]);
    undamaged(&*world);
}

fn turn_comes_while_held(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, vec![new(at("b", "g", 1, 0), None), new(at("c", "g", 1, 0), None)]);
    let b = take(&*world, "b");
    write_all(&*world, vec![ends(&a)]);
    assert_eq!((due(&*world), world.next_wake().expect("works")), (vec![], None), "the place is b's");
    write_all(&*world, vec![release(&b)]);
    assert_eq!(world.next_wake().expect("works"), Some(0));
    let b = claim_one(&*world, &holder("h"), 50);
    assert_eq!((b.run.as_str(), b.admitted), ("b", true));
    // The same, and it ends instead: the place is free again.
    let c = take(&*world, "c");
    assert!(!c.admitted);
    write_all(&*world, vec![ends(&b), new(at("d", "g", 1, 0), None), ends(&c)]);
    assert_eq!(due(&*world), ["d"]);
    undamaged(&*world);
}

fn handed_over(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, vec![new(at("w", "g", 1, 9), None)]);
    let continues = |claim: &Claim, create: Vec<Create>| {
        let row = Some(Row { status: Status::Continued, ..claim.row.clone() });
        write(&*world, commit(Commit { row, create, ..turn(claim) })).map(|written| match written {
            Written::Committed(all) => all,
            other => panic!("{other:?}"),
        })
    };
    let claimed_now = |row: Row| Create { claim: Some(holder("h")), ..made(row) };
    // The first that arrives: not one under another limit, not one that comes later, not one that exists.
    let all = continues(
        &a,
        vec![
            made(at("other", "o", 1, 0)),
            made(Row { wake_at: Some(500), ..at("later", "g", 1, 0) }),
            made(at("w", "g", 1, 0)),
            claimed_now(at("a2", "g", 1, -5)),
            claimed_now(at("a3", "g", 1, 100)),
        ],
    );
    let all = all.expect("accepted");
    let [Creation::Waits, Creation::Waits, Creation::Exists, Creation::Claimed(a2), Creation::Waits] = &all[..] else {
        panic!("{all:?}")
    };
    assert!(a2.admitted);
    assert_eq!(due(&*world), ["other"]);
    // A full queue stays as it is, even where more are admitted than the limit says now.
    world.set_limit("g", 2).expect("works");
    assert_eq!(due(&*world), ["a3"]);
    let all = continues(a2, vec![made(at("a4", "g", 1, 0))]).expect("accepted");
    assert_eq!(all, [Creation::Waits]);
    let a4 = claim_one(&*world, &holder("h"), 50);
    assert_eq!(a4.run.as_str(), "a4");
    // One that waits has no place to hand over.
    let w = take(&*world, "w");
    assert!(!w.admitted);
    continues(&w, vec![made(at("w2", "g", 1, 50))]).expect("accepted");
    assert_eq!(due(&*world), [""; 0]);
    // A commit that ends nothing hands nothing over.
    let more = Commit { create: vec![made(at("more", "g", 1, 0))], ..turn(&a4) };
    write_all(&*world, vec![commit(more)]);
    assert_eq!(due(&*world), [""; 0]);
    undamaged(&*world);
}

fn kept(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    write_all(&*world, vec![new(at("w", "g", 1, 0), None)]);
    let other = Some(Concurrency { key: "other".into(), limit: 7, priority: 7 });
    write_all(
        &*world,
        vec![becomes(&a, |row| row.concurrency = None), becomes(&b, |row| row.concurrency = other.clone())],
    );
    assert_eq!(world.row(&id("a")).expect("works").expect("there"), at("a", "g", 1, 0));
    assert_eq!(world.row(&id("b")).expect("works").expect("there").concurrency, None);
    write_all(&*world, vec![becomes(&a, |row| (row.status, row.concurrency) = (Status::Failed, other))]);
    assert_eq!(due(&*world), ["w"]);
    undamaged(&*world);
}

fn within_commit(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let with_claim = |row: Row| Create { claim: Some(holder("h")), ..made(row) };
    let create = vec![
        with_claim(at("b", "g", 1, 0)),
        with_claim(at("c", "g", 1, 0)),
        made(at("d", "g", 1, 1)),
        with_claim(at("e", "g", 3, 0)),
    ];
    let written = write_all(&*world, vec![commit(Commit { create, ..turn(&a) })]);
    let Written::Committed(all) = &written[0] else { panic!("{written:?}") };
    // With the fourth there is room for three: the two that wait with the higher priority and the earlier creation.
    let [Creation::Claimed(b), Creation::Waits, Creation::Waits, Creation::Waits] = &all[..] else { panic!("{all:?}") };
    assert_eq!((b.run.as_str(), b.admitted), ("b", true));
    assert_eq!(due(&*world), ["c", "d"]);
    // Ended and created in one batch.
    let late = Commit { create: vec![with_claim(at("f", "g", 3, -1))], ..turn(&a) };
    write_all(&*world, vec![ends(b), commit(late)]);
    assert_eq!(due(&*world), ["e"]);
    undamaged(&*world);
}

fn heard(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, at("a", "g", 1, 0), &holder("h"));
    write_all(&*world, ["w1", "w2"].map(|name| new(at(name, "g", 1, 0), None)).into());
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let ear = heard.clone();
    world.watch(Arc::new(move |notice| ear.lock().push(notice)));
    let wait = || {
        // A hint may come late, from another thread.
        for _ in 0..500 {
            if std::mem::take(&mut *heard.lock()).contains(&Notice::Due) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no notice said that a run is due");
    };
    world.set_limit("g", 2).expect("works");
    wait();
    assert_eq!(due(&*world), ["w1"]);
    write_all(&*world, vec![ends(&a)]);
    wait();
    assert_eq!(due(&*world), ["w2"]);
}

fn stands(subject: &Subject<'_>) {
    let world = (subject.make)();
    let queue = |name: &str, most: usize| world.queue(&id(name), most).expect("works");
    let a = held(&*world, at("a", "g", 2, 0), &holder("h"));
    write_all(&*world, ["b", "c", "d"].map(|name| new(at(name, "g", 2, 0), None)).into());
    write_all(&*world, vec![new(at("e", "g", 2, 5), None), new(at("x", "other", 1, 0), None), new(row("free"), None)]);
    write_all(&*world, vec![new(Row { wake_at: Some(80), ..at("later", "g", 2, 9) }, None)]);
    let of = |admission, ahead| Queue {
        key: "g".into(),
        limit: 2,
        admission,
        ahead,
        waiting: 3,
        admitted: 2,
        holders: vec![id("a"), id("b")],
    };
    // The higher priority goes first, then the older one.
    assert_eq!(queue("e", 9), Some(of(Admission::Waiting, 0)));
    assert_eq!(queue("c", 9), Some(of(Admission::Waiting, 1)));
    assert_eq!(queue("d", 9), Some(of(Admission::Waiting, 2)));
    assert_eq!(queue("b", 9), Some(of(Admission::Admitted, 0)));
    assert_eq!(queue("later", 9), Some(of(Admission::NotArrived, 0)));
    assert_eq!(queue("d", 1), Some(Queue { holders: vec![id("a")], ..of(Admission::Waiting, 2) }));
    assert_eq!((queue("free", 9), queue("nobody", 9)), (None, None));
    // It changes with those that come and go, held or not.
    let claimed = take(&*world, "d");
    assert_eq!(queue("d", 9).map(|queue| queue.ahead), Some(2));
    write_all(&*world, vec![release(&claimed), ends(&a)]);
    let now = |admission, ahead| Queue { waiting: 2, holders: vec![id("b"), id("e")], ..of(admission, ahead) };
    assert_eq!((queue("a", 9), queue("e", 9)), (None, Some(now(Admission::Admitted, 0))));
    assert_eq!((queue("c", 9), queue("d", 9)), (Some(now(Admission::Waiting, 0)), Some(now(Admission::Waiting, 1))));
    world.set_limit("g", 3).expect("works");
    assert_eq!(
        queue("d", 9),
        Some(Queue {
            limit: 3,
            waiting: 1,
            admitted: 3,
            holders: ["b", "c", "e"].map(id).into(),
            ..of(Admission::Waiting, 0)
        })
    );
    if let Some(reopen) = subject.reopen {
        let before = ["b", "c", "d", "e", "x"].map(|name| queue(name, 9));
        let world = reopen(world);
        assert_eq!(["b", "c", "d", "e", "x"].map(|name| world.queue(&id(name), 9).expect("works")), before);
    }
}

fn reopened(subject: &Subject<'_>) {
    let Some(reopen) = subject.reopen else { return };
    let mut world = (subject.make)();
    let a = held(&*world, at("a", "g", 2, 0), &holder("h"));
    held(&*world, at("b", "g", 2, 0), &holder("h"));
    write_all(&*world, ["w1", "w2", "w3"].map(|name| new(at(name, "g", 2, 0), None)).into());
    write_all(&*world, vec![new(at("best", "g", 2, 1), None), ends(&a)]);
    let w1 = take(&*world, "w1");
    assert!(!w1.admitted);
    for _ in 0..2 {
        world = reopen(world);
        undamaged(&*world);
    }
    if !subject.leases {
        let claims = claims(&*world, 50);
        let found: Vec<_> = claims.iter().map(|claim| (claim.run.as_str(), claim.tries)).collect();
        assert_eq!(found, [("b", 1), ("best", 0)]);
        write_all(&*world, vec![ends(&claims[0])]);
        let w1 = claim_one(&*world, &holder("i"), 50);
        assert_eq!((w1.run.as_str(), w1.tries), ("w1", 1));
        world.set_limit("g", 3).expect("works");
        assert_eq!(due(&*world), ["w2"]);
    }
    undamaged(&*world);
}
