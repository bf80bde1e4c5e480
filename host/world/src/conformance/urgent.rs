//! Messages to runs that have not begun: most wait with the run, an urgent one does not.

use durhai_core::{Millis, Status};

use super::tools::*;
use super::{Cases, Subject};
use crate::{Claim, Commit, Concurrency, Create, NewMessage, Record, Row, World};

pub const CASES: Cases = &[
    ("urgent: other messages leave a run that has not begun", others_wait),
    ("urgent: every message wakes a run that has begun", begun),
    ("urgent: due at once, before the moment and before it is admitted", at_once),
    ("urgent: dealt with or taken, the run is where it was", dealt_with),
    ("urgent: of a commit, and handed over to a successor", sent_along),
    ("urgent: to a run that is held, or parked", held_or_parked),
    ("urgent: earliest first, and the others take their turns", among_others),
    ("urgent: another process and a copy know", kept),
];

fn delayed(name: &str, until: Millis) -> Row {
    Row { wake_at: Some(until), ..row(name) }
}

fn limited(row: Row) -> Row {
    Row { concurrency: Some(Concurrency { key: "g".into(), limit: 1, priority: 0 }), ..row }
}

/// One admitted, and one that waits.
fn full(world: &dyn World) -> Claim {
    let admitted = held(world, limited(row("inside")), &holder("h"));
    write_all(world, vec![new(limited(row("waits")), None)]);
    admitted
}

fn due(world: &dyn World, now: Millis) -> Vec<String> {
    claimed(world, &holder("h"), now, 100)
}

fn wakes(world: &dyn World) -> Option<Millis> {
    world.next_wake().expect("works")
}

fn urgent(world: &dyn World, run: &str) -> Vec<bool> {
    world.inbox(&id(run), 0, 9).expect("works").iter().map(|message| message.urgent).collect()
}

fn waits(world: &dyn World, run: &str) -> bool {
    world.waits(&id(run)).expect("works")
}

fn others_wait(subject: &Subject<'_>) {
    let world = (subject.make)();
    let admitted = full(&*world);
    write_all(&*world, vec![new(delayed("later", 40), None), new(limited(delayed("limited", 60)), None)]);
    for name in ["later", "limited", "waits"] {
        write_all(&*world, vec![send(&id(name), b"1"), send(&id(name), b"2")]);
    }
    assert_eq!((due(&*world, 39), wakes(&*world)), (vec![], Some(40)));
    // A look at it before changes nothing, and may not begin it.
    for name in ["later", "limited", "waits"] {
        let claim = world.claim_run(&id(name), &holder("h"), 39).expect("works").expect("free");
        assert!(!claim.admitted, "{name}");
        write_all(&*world, vec![release(&claim)]);
    }
    assert_eq!((due(&*world, 39), wakes(&*world)), (vec![], Some(40)));
    let later = claim_one(&*world, &holder("h"), 40);
    assert_eq!((later.run.as_str(), later.admitted), ("later", true));
    assert_eq!(messages(&*world, &id("later")), [(1, b"1".to_vec()), (2, b"2".to_vec())], "they are there");
    assert_eq!(wakes(&*world), Some(60));
    write_all(&*world, vec![ends(&admitted)]);
    let waits = claim_one(&*world, &holder("h"), 50);
    assert_eq!((waits.run.as_str(), waits.admitted, messages(&*world, &waits.run).len()), ("waits", true, 2));
    write_all(&*world, vec![ends(&waits)]);
    assert_eq!(due(&*world, 60), ["limited"]);
    undamaged(&*world);
}

fn begun(subject: &Subject<'_>) {
    let world = (subject.make)();
    // Asleep for long, without and with a concurrency limit, with a moment of its own and without.
    for (name, has_limit, status) in
        [("a", false, Status::Waiting), ("b", true, Status::Suspended), ("c", false, Status::Running)]
    {
        let made = if has_limit { limited(row(name)) } else { row(name) };
        let claim = held(&*world, made, &holder("h"));
        let sleeps = |row: &mut Row| (row.status, row.wake_at) = (status, Some(500));
        write_all(&*world, vec![becomes(&claim, sleeps), release(&claim)]);
    }
    write_all(&*world, vec![new(Row { wake_at: None, ..row("d") }, None)]);
    assert_eq!((due(&*world, 50), wakes(&*world)), (vec![], Some(500)));
    write_all(&*world, ["a", "b", "c", "d"].map(|name| send(&id(name), b"x")).into());
    assert_eq!(wakes(&*world), Some(0));
    let claims = world.claim(&holder("h"), 50, 9).expect("works");
    let found: Vec<_> = claims.iter().map(|claim| (claim.run.as_str(), claim.admitted)).collect();
    assert_eq!(found, [("a", true), ("b", true), ("c", true), ("d", true)]);
    undamaged(&*world);
}

fn at_once(subject: &Subject<'_>) {
    let world = (subject.make)();
    let admitted = full(&*world);
    write_all(&*world, vec![new(delayed("later", 400), None), new(limited(delayed("limited", 400)), None)]);
    let names = ["later", "limited", "waits"];
    for name in names {
        write_all(&*world, vec![send(&id(name), b"1"), send_urgent(&id(name), b"2"), send(&id(name), b"3")]);
        assert_eq!(wakes(&*world), Some(0), "{name}");
        let claim = claim_one(&*world, &holder("h"), 50);
        assert_eq!((claim.run.as_str(), claim.admitted), (name, false));
        assert_eq!(urgent(&*world, name), [false, true, false]);
        assert_eq!(waits(&*world, name), name == "waits", "it did not arrive at its limit by that");
        // Looked at and given back, it is still so.
        write_all(&*world, vec![release(&claim)]);
        let claim = world.claim_run(&id(name), &holder("h"), 50).expect("works").expect("free");
        assert!(!claim.admitted);
        assert_eq!(waits(&*world, name), name == "waits");
        write_all(&*world, vec![ends(&claim)]);
        assert_eq!(messages(&*world, &id(name)), []);
    }
    assert_eq!((due(&*world, 500), wakes(&*world)), (vec![], None));
    // The queue is as it was.
    write_all(&*world, vec![new(limited(row("next")), None)]);
    assert_eq!(due(&*world, 50), [""; 0]);
    write_all(&*world, vec![ends(&admitted)]);
    assert_eq!(due(&*world, 50), ["next"]);
    // Due by itself, too: it arrives at its limit like any other, and may begin where there is room.
    write_all(&*world, vec![new(delayed("past", 40), None), send_urgent(&id("past"), b"x")]);
    assert!(claim_one(&*world, &holder("h"), 40).admitted);
    write_all(&*world, vec![new(limited(delayed("comes", 40)), None), send_urgent(&id("comes"), b"x")]);
    let comes = claim_one(&*world, &holder("h"), 40);
    assert_eq!((comes.admitted, waits(&*world, "comes")), (false, true));
    undamaged(&*world);
}

fn dealt_with(subject: &Subject<'_>) {
    let world = (subject.make)();
    full(&*world);
    write_all(&*world, vec![new(delayed("later", 400), None)]);
    for name in ["later", "waits"] {
        write_all(&*world, (0..3).map(|_| send_urgent(&id(name), b"x")).chain([send(&id(name), b"y")]).collect());
        for (taken, still) in [(1, true), (2, true), (3, false)] {
            let claim = world.claim_run(&id(name), &holder("h"), 50).expect("works").expect("free");
            let take = Commit { inbox_taken: Some(taken), ..turn(&claim) };
            write_all(&*world, vec![commit(take), release(&claim)]);
            assert_eq!(wakes(&*world) == Some(0), still, "{name}: {taken} of them are taken");
        }
        assert_eq!(due(&*world, 50), [""; 0]);
        assert_eq!(messages(&*world, &id(name)), [(4, b"y".to_vec())]);
        write_all(&*world, vec![send(&id(name), b"z")]);
        assert_eq!(due(&*world, 50), [""; 0]);
    }
    assert_eq!(wakes(&*world), Some(400));
    assert_eq!(due(&*world, 400), ["later"]);
    undamaged(&*world);
}

fn sent_along(subject: &Subject<'_>) {
    let world = (subject.make)();
    let admitted = full(&*world);
    let parent = held(&*world, row("parent"), &holder("h"));
    let create = |row: Row| Create { row, events: chunk(1, 1), claim: None, hooks: Vec::new(), messages: Vec::new() };
    // The parent's last word to the children it has, one of which is made with the same commit.
    let to = |name: &str| NewMessage { urgent: true, ..message(&id(name), b"end") };
    let last = Commit {
        row: Some(Row { status: Status::Cancelled, ..parent.row.clone() }),
        create: vec![create(delayed("child", 400))],
        send: vec![to("waits"), to("child"), message(&id("inside"), b"x")],
        ..turn(&parent)
    };
    write_all(&*world, vec![commit(last)]);
    let claims = world.claim(&holder("h"), 50, 9).expect("works");
    let found: Vec<_> = claims.iter().map(|claim| (claim.run.as_str(), claim.admitted)).collect();
    assert_eq!(found, [("waits", false), ("child", false)]);
    write_all(&*world, claims.iter().map(ends).collect());
    // What was urgent for a run is so for the one it becomes.
    write_all(&*world, vec![send(&id("inside"), b"1"), send_urgent(&id("inside"), b"2")]);
    let next = Commit {
        row: Some(Row { status: Status::Continued, ..admitted.row.clone() }),
        create: vec![create(delayed("next", 400))],
        forward: Some(id("next")),
        ..turn(&admitted)
    };
    write_all(&*world, vec![commit(next)]);
    assert_eq!(urgent(&*world, "next"), [false, false, true]);
    assert_eq!(due(&*world, 50), ["next"]);
    undamaged(&*world);
}

fn held_or_parked(subject: &Subject<'_>) {
    let world = (subject.make)();
    write_all(&*world, vec![new(delayed("later", 400), None)]);
    let claim = world.claim_run(&id("later"), &holder("h"), 50).expect("works").expect("free");
    write_all(&*world, vec![send_urgent(&id("later"), b"x")]);
    assert_eq!((due(&*world, 50), wakes(&*world)), (vec![], None));
    write_all(&*world, vec![release(&claim)]);
    assert_eq!(wakes(&*world), Some(0));
    let claim = claim_one(&*world, &holder("h"), 50);
    // An operator must help a parked one, whatever callers want of it.
    let parks = |row: &mut Row| (row.status, row.wake_at) = (Status::Parked, None);
    write_all(&*world, vec![becomes(&claim, parks), release(&claim), send_urgent(&id("later"), b"y")]);
    assert_eq!((due(&*world, 50), wakes(&*world)), (vec![], None));
    let claim = world.claim_run(&id("later"), &holder("h"), 50).expect("works").expect("free");
    let freed = |row: &mut Row| (row.status, row.wake_at) = (Status::Pending, Some(400));
    write_all(&*world, vec![becomes(&claim, freed), release(&claim)]);
    let claim = claim_one(&*world, &holder("h"), 50);
    assert!(!claim.admitted);
    // A claim at creation is for one that may begin.
    let now = held(&*world, delayed("now", 400), &holder("h"));
    assert!(now.admitted);
    undamaged(&*world);
}

fn among_others(subject: &Subject<'_>) {
    let world = (subject.make)();
    let admitted = full(&*world);
    let mut batch: Vec<_> = (0..4).map(|n| new(limited(row(&format!("w{n}"))), None)).collect();
    batch.push(new(delayed("soon", 5), None));
    batch.push(send_urgent(&id("w2"), b"x"));
    batch.push(send_urgent(&id("w1"), b"x"));
    write_all(&*world, batch);
    // Its turn comes while it is held to be ended: the place is free again with its end.
    let w1 = world.claim_run(&id("w1"), &holder("h"), 50).expect("works").expect("free");
    assert_eq!(due(&*world, 50), ["w2", "soon"]);
    write_all(&*world, vec![ends(&admitted)]);
    let waits = claim_one(&*world, &holder("h"), 50);
    assert_eq!(waits.run.as_str(), "waits");
    write_all(&*world, vec![ends(&waits)]);
    let w0 = claim_one(&*world, &holder("h"), 50);
    assert_eq!((w0.run.as_str(), w0.admitted), ("w0", true));
    write_all(&*world, vec![ends(&w0)]);
    assert_eq!(due(&*world, 50), [""; 0], "the place is that of w1");
    write_all(&*world, vec![ends(&w1)]);
    assert_eq!(due(&*world, 50), [""; 0], "and then that of w2");
    undamaged(&*world);
}

fn kept(subject: &Subject<'_>) {
    let mut world = (subject.make)();
    full(&*world);
    write_all(&*world, vec![new(delayed("later", 400), None), new(delayed("other", 300), None)]);
    write_all(&*world, vec![send_urgent(&id("waits"), b"x"), send(&id("waits"), b"y"), send(&id("other"), b"z")]);
    write_all(&*world, vec![send_urgent(&id("later"), b"x"), send_urgent(&id("later"), b"y")]);
    let later = world.claim_run(&id("later"), &holder("h"), 50).expect("works").expect("free");
    write_all(&*world, vec![commit(Commit { inbox_taken: Some(1), ..turn(&later) }), release(&later)]);
    let mut records = Vec::new();
    let mut take = |record: Record| {
        records.push(record);
        Ok(())
    };
    world.copy(&mut take).expect("works");
    if let Some(reopen) = subject.reopen {
        world = reopen(world);
    }
    look_at_kept(&*world);
    drop(world);
    let world = (subject.make)();
    // Through JSON, as a backup has it.
    let texts = records.iter().map(|record| serde_json::to_string(record).expect("JSON"));
    let mut texts = texts.collect::<Vec<_>>().into_iter();
    let mut next = || Ok(texts.next().map(|text| serde_json::from_str(&text).expect("a record")));
    world.restore(&mut next).expect("works");
    look_at_kept(&*world);
}

fn look_at_kept(world: &dyn World) {
    undamaged(world);
    assert_eq!((urgent(world, "waits"), urgent(world, "later")), (vec![true, false], vec![true]));
    assert_eq!(urgent(world, "other"), [false]);
    let claims = world.claim(&holder("i"), 50, 9).expect("works");
    let found = claims.iter().filter(|claim| claim.run.as_str() != "inside");
    let found: Vec<_> = found.map(|claim| (claim.run.as_str(), claim.admitted)).collect();
    assert_eq!(found, [("waits", false), ("later", false)]);
    write_all(world, claims.iter().map(ends).collect());
    undamaged(world);
}
