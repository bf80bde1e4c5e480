//! Two that have the same store open and use it at once, as hosts of two processes do.

use std::sync::atomic::{AtomicUsize, Ordering};

use durhai_core::{Status, Version};

use super::tools::*;
use super::{Cases, Subject};
use crate::{Commit, Concurrency, Count, Holder, HookChange, Query, Refused, Row, World, Write, Written};

pub const CASES: Cases = &[
    ("shared: what one has written the other one reads", read_at_once),
    ("shared: a run is at one of them", one_holder),
    ("shared: a late batch of a dead holder is refused as a whole", late_batch),
    ("shared: a dead holder's runs keep their places", death_within_a_limit),
    ("shared: messages between them come in one order", sends),
    ("shared: names that one gave numbers are those of the other", names),
    ("shared: one queue under a limit", one_queue),
    ("shared: a token is one run's", tokens),
    ("shared: a duty goes over when its holder leaves", duty_goes_over),
    ("shared: both at once", at_once),
];

type Both = (Box<dyn World>, Box<dyn World>);

fn both(subject: &Subject<'_>) -> Option<Both> {
    let second = subject.second?;
    let first = (subject.make)();
    let second = second();
    Some((first, second))
}

/// Two holders, each alive in the eyes of the other at this moment.
fn see_each_other((one, other): &Both, at: u64) -> (Holder, Holder) {
    let (h, i) = (holder("h"), holder("i"));
    for _ in 0..2 {
        assert!(one.renew(&h, at).expect("works").alive);
        assert!(other.renew(&i, at).expect("works").alive);
    }
    (h, i)
}

fn read_at_once(subject: &Subject<'_>) {
    let Some((one, other)) = both(subject) else { return };
    let a = held(&*one, Row { tags: [("k".to_owned(), "v".to_owned())].into(), ..row("a") }, &holder("h"));
    let full = Commit {
        events: Some(chunk(3, 1)),
        append: vec![("out".into(), b"x".to_vec())],
        values: vec![("v".into(), Some(b"1".to_vec()))],
        hooks: vec![HookChange::Open { token: "t".into(), info: b"i".to_vec() }],
        meta: vec![("m".into(), Some(b"2".to_vec()))],
        ..turn(&a)
    };
    write_all(&*one, vec![commit(full), send(&id("a"), b"m")]);
    one.put_program(&a.row.version, b"text").expect("works");
    for world in [&one, &other] {
        assert_eq!(log(&**world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
        assert_eq!(world.row(&id("a")).expect("works").as_ref(), Some(&a.row));
        assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("works"), [b"x"]);
        assert_eq!(world.values(&id("a")).expect("works"), [("v".to_owned(), b"1".to_vec())]);
        assert_eq!(world.hook("t").expect("works").expect("open").run, id("a"));
        assert_eq!(world.meta("m").expect("works"), Some(b"2".to_vec()));
        assert_eq!(messages(&**world, &id("a")), [(1, b"m".to_vec())]);
        assert_eq!(world.program(&a.row.version).expect("works"), Some(b"text".to_vec()));
        let tagged = Query { tags: a.row.tags.clone(), ..Query::default() };
        assert_eq!(world.list(&tagged).expect("works").rows, std::slice::from_ref(&a.row));
    }
    // What one of them keeps in memory of the run is not what counts.
    write_all(&*one, vec![events(&a, 4, 1), ends(&a)]);
    assert_eq!(write(&*other, send(&id("a"), b"late")), Err(Refused::Terminal(id("a"), Status::Completed)));
    assert_eq!(write(&*other, delete(&id("a"))), Ok(Written::Deleted));
    assert_eq!(one.row(&id("a")).expect("works"), None);
    undamaged(&*one);
    undamaged(&*other);
}

fn one_holder(subject: &Subject<'_>) {
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let first = held(&**one, row("a"), &h);
    assert_eq!(other.claim_run(&id("a"), &i, 100).expect("works"), None);
    assert_eq!(claimed(&**other, &i, 100, 9), [""; 0]);
    write_all(&**one, vec![events(&first, 3, 1), release(&first)]);
    let second = claim_one(&**other, &i, 100);
    assert_eq!((second.last_seq, second.tries), (3, 0));
    assert_eq!(write(&**one, events(&first, 4, 1)), Err(Refused::Fenced(id("a"))));
    write_all(&**other, vec![events(&second, 4, 1), events(&second, 5, 1), release(&second)]);
    // And back: the one that had it before knows nothing of it any more.
    let third = claim_one(&**one, &h, 100);
    assert_eq!(third.last_seq, 5);
    assert_eq!(write(&**other, events(&second, 6, 1)), Err(Refused::Fenced(id("a"))));
    write_all(&**one, vec![events(&third, 6, 1)]);
    let firsts: Vec<u64> = log(&**other, &id("a")).iter().map(|chunk| chunk.first).collect();
    assert_eq!(firsts, [1, 3, 4, 5, 6]);
    undamaged(&**other);
}

fn late_batch(subject: &Subject<'_>) {
    let Some(both) = both(subject).filter(|_| subject.leases) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let (a, b) = (held(&**one, row("a"), &h), held(&**one, row("b"), &h));
    let theirs = held(&**other, row("theirs"), &i);
    write_all(&**one, vec![events(&a, 3, 1)]);
    let after = 100 + LEASE + 2;
    assert!(other.renew(&i, after).expect("works").alive);
    let taken = other.claim(&i, after, 9).expect("works");
    let tries: Vec<_> = taken.iter().map(|claim| (claim.run.as_str(), claim.tries, claim.last_seq)).collect();
    assert_eq!(tries, [("a", 1, 3), ("b", 1, 2)]);
    write_all(&**other, taken.iter().map(|claim| events(claim, claim.last_seq + 1, 1)).collect());
    // It does not know yet. What is none of its claims goes through.
    let late = vec![
        events(&a, 4, 1),
        entry(&b, "out", b"late"),
        new(row("c"), Some(&h)),
        send(&theirs.run, b"m"),
        events(&a, 5, 1),
        release(&b),
        events(&theirs, 3, 1),
    ];
    let fenced = |name: &str| Err(Refused::Fenced(id(name)));
    let written = one.write(late).expect("works");
    let own = written[6].clone();
    let expected =
        [fenced("a"), fenced("b"), Ok(Written::Created(None)), Ok(Written::Sent(1)), fenced("a"), fenced("b")];
    assert_eq!(written[..6], expected);
    // That claim lives, whoever writes for it.
    assert_eq!(own, Ok(Written::Committed(Vec::new())));
    assert!(!one.renew(&h, after).expect("works").alive);
    assert_eq!(claimed(&**one, &h, after, 9), [""; 0]);
    assert_eq!(one.claim_run(&id("c"), &h, after).expect("works"), None);
    // Under another name it goes on.
    let anew = holder("anew");
    assert!(one.renew(&anew, after).expect("works").alive);
    assert_eq!(claimed(&**one, &anew, after, 9), ["c"]);
    let firsts = |name: &str| -> Vec<u64> { log(&**one, &id(name)).iter().map(|chunk| chunk.first).collect() };
    assert_eq!((firsts("a"), firsts("b")), (vec![1, 3, 4], vec![1, 3]));
    assert_eq!(one.stream(&id("b"), "out", 0, 9).expect("works"), Vec::<Vec<u8>>::new());
    undamaged(&**one);
    undamaged(&**other);
}

fn limited(name: &str, limit: u32) -> Row {
    Row { concurrency: Some(Concurrency { key: "g".into(), limit, priority: 0 }), ..row(name) }
}

fn death_within_a_limit(subject: &Subject<'_>) {
    let Some(both) = both(subject).filter(|_| subject.leases) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let a = held(&**one, limited("a", 1), &h);
    assert_eq!(write(&**other, new(limited("b", 1), Some(&i))), Ok(Written::Created(None)));
    let after = 100 + LEASE + 2;
    assert!(other.renew(&i, after).expect("works").alive);
    // It is admitted still, and no other one is.
    let again = claim_one(&**other, &i, after);
    assert_eq!((again.run.as_str(), again.tries, again.admitted), ("a", 1, true));
    assert_eq!(write(&**one, ends(&a)), Err(Refused::Fenced(id("a"))));
    assert!(other.waits(&id("b")).expect("works"));
    write_all(&**other, vec![ends(&again)]);
    assert_eq!(claim_one(&**other, &i, after).run, id("b"));
    undamaged(&**one);
}

fn sends(subject: &Subject<'_>) {
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let (a, b) = (held(&**one, row("a"), &h), held(&**other, row("b"), &i));
    for index in 1..=6_u64 {
        let from = if index % 2 == 0 { one } else { other };
        assert_eq!(write(&**from, send(&id("a"), &[index as u8])), Ok(Written::Sent(index)));
    }
    write_all(&**one, vec![commit(Commit { inbox_taken: Some(4), ..turn(&a) })]);
    // With a turn of the other one's run, and with its end.
    write_all(&**other, vec![commit(Commit { send: vec![message(&id("a"), &[7])], ..turn(&b) })]);
    write_all(&**one, vec![send(&id("b"), b"left"), send(&id("b"), b"over")]);
    let row = Row { status: Status::Completed, ..b.row.clone() };
    write_all(&**other, vec![commit(Commit { row: Some(row), forward: Some(id("a")), ..turn(&b) })]);
    let expected = [(5, vec![5]), (6, vec![6]), (7, vec![7]), (8, b"left".to_vec()), (9, b"over".to_vec())];
    assert_eq!(messages(&**one, &id("a")), expected);
    assert_eq!(messages(&**other, &id("a")), expected);
    // It is due for them once it is given back, for both.
    let sleeps = |row: &mut Row| row.wake_at = None;
    write_all(&**one, vec![becomes(&a, sleeps), release(&a)]);
    assert_eq!(other.next_wake().expect("works"), Some(0));
    assert_eq!(claimed(&**other, &i, 100, 9), ["a"]);
    undamaged(&**one);
}

fn names(subject: &Subject<'_>) {
    let Some((one, other)) = both(subject) else { return };
    let of = |name: &str, workflow: &str, version: &str| Row {
        workflow: workflow.into(),
        version: Version::of([("flow", version)]),
        ..row(name)
    };
    write_all(&*other, vec![new(of("a", "first", "1"), None)]);
    write_all(&*one, vec![new(of("b", "second", "2"), None), new(of("c", "first", "1"), None)]);
    write_all(&*other, vec![new(of("d", "second", "1"), None)]);
    for world in [&one, &other] {
        let in_first = Query { workflow: Some("first".into()), ..Query::default() };
        let found: Vec<_> = world.list(&in_first).expect("works").rows.into_iter().map(|row| row.run).collect();
        assert_eq!(found, [id("c"), id("a")]);
        let counts: Vec<_> = world.run_counts().expect("works");
        let count = |workflow: &str, version: &str, runs| Count {
            workflow: workflow.into(),
            version: Version::of([("flow", version)]),
            status: Status::Pending,
            runs,
        };
        let mut expected = vec![count("first", "1", 2), count("second", "1", 1), count("second", "2", 1)];
        expected.sort_unstable();
        assert_eq!(counts, expected);
    }
    let second = Version::of([("flow", "2")]);
    one.put_program(&second, b"text").expect("works");
    assert!(!other.drop_program(&second).expect("works"), "a run of it is there");
    let claim = other.claim_run(&id("b"), &holder("i"), 0).expect("works").expect("free");
    write_all(&*other, vec![ends(&claim), delete(&id("b"))]);
    assert!(other.drop_program(&second).expect("works"));
    assert_eq!(one.program(&second).expect("works"), None);
    // A version that the first one knows of, and that nobody has any more.
    write_all(&*one, vec![new(of("e", "second", "2"), None)]);
    one.put_program(&second, b"text").expect("works");
    assert_eq!(other.program(&second).expect("works"), Some(b"text".to_vec()));
    assert_eq!(other.row(&id("e")).expect("works").expect("there").version, second);
    undamaged(&*one);
}

fn one_queue(subject: &Subject<'_>) {
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let a = held(&**one, limited("a", 2), &h);
    let b = held(&**other, limited("b", 2), &i);
    write_all(&**one, vec![new(limited("c", 2), None)]);
    write_all(&**other, vec![new(limited("d", 2), None), new(limited("e", 2), None)]);
    assert_eq!(claimed(&**one, &h, 100, 9), [""; 0]);
    write_all(&**other, vec![ends(&b)]);
    assert_eq!(claimed(&**one, &h, 100, 9), ["c"]);
    write_all(&**one, vec![ends(&a)]);
    assert_eq!(claimed(&**other, &i, 100, 9), ["d"]);
    one.set_limit("g", 3).expect("works");
    assert_eq!(claimed(&**other, &i, 100, 9), ["e"]);
    let queue = one.queue(&id("d"), 9).expect("works").expect("limited");
    assert_eq!((queue.limit, queue.admitted, queue.waiting), (3, 3, 0));
    undamaged(&**other);
}

fn tokens(subject: &Subject<'_>) {
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    let (a, b) = (held(&**one, row("a"), &h), held(&**other, row("b"), &i));
    let open = |claim, token: &str| {
        let hooks = vec![HookChange::Open { token: token.into(), info: Vec::new() }];
        commit(Commit { hooks, ..turn(claim) })
    };
    assert_eq!(one.reserve("t", &a.run, a.fence).expect("works"), None);
    assert_eq!(other.reserve("t", &b.run, b.fence).expect("works"), Some(id("a")));
    write_all(&**one, vec![open(&a, "t")]);
    assert_eq!(other.reserve("t", &b.run, b.fence).expect("works"), Some(id("a")));
    write_all(&**one, vec![ends(&a)]);
    assert_eq!(other.reserve("t", &b.run, b.fence).expect("works"), None);
    write_all(&**other, vec![open(&b, "t")]);
    assert_eq!(one.hook("t").expect("works").expect("open").run, id("b"));
    undamaged(&**one);
}

fn duty_goes_over(subject: &Subject<'_>) {
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let (one, other) = &both;
    assert!(one.duty("look", &h).expect("works"));
    assert!(!other.duty("look", &i).expect("works"));
    assert!(one.duty("look", &h).expect("works"));
    one.leave(&h).expect("works");
    assert!(other.duty("look", &i).expect("works"));
}

/// Each writes turns of runs of its own, sends to those of the other, and creates runs that the other one creates, too.
fn at_once(subject: &Subject<'_>) {
    const RUNS: usize = 4;
    const ROUNDS: u64 = 40;
    let Some(both) = both(subject) else { return };
    let (h, i) = see_each_other(&both, 100);
    let created = AtomicUsize::new(0);
    let claims = |world: &dyn World, name: &str, by: &Holder| -> Vec<_> {
        (0..RUNS).map(|number| held(world, row(&format!("{name}{number}")), by)).collect()
    };
    let sides = [(&*both.0, claims(&*both.0, "h", &h), "i"), (&*both.1, claims(&*both.1, "i", &i), "h")];
    std::thread::scope(|scope| {
        for (world, claims, theirs) in &sides {
            let created = &created;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mut batch: Vec<Write> = claims.iter().map(|claim| events(claim, 3 + round, 1)).collect();
                    batch.push(entry(&claims[0], "out", &round.to_be_bytes()));
                    batch.push(send(&id(&format!("{theirs}{}", round as usize % RUNS)), b"m"));
                    batch.push(new(row(&format!("new{round}")), None));
                    let written = world.write(batch).expect("works");
                    for (at, one) in written.into_iter().enumerate() {
                        match one {
                            Ok(Written::Created(None)) => drop(created.fetch_add(1, Ordering::SeqCst)),
                            Err(Refused::Exists(_)) if at == RUNS + 2 => {}
                            other => {
                                drop(other.unwrap_or_else(|refused| panic!("round {round}, write {at}: {refused}")))
                            }
                        }
                    }
                }
            });
        }
    });
    assert_eq!(created.into_inner() as u64, ROUNDS, "each name is one run's");
    let (one, other) = &both;
    for (name, reader) in [("h", other), ("i", one)] {
        for number in 0..RUNS {
            let run = id(&format!("{name}{number}"));
            let firsts: Vec<u64> = log(&**reader, &run).iter().map(|chunk| chunk.first).collect();
            assert_eq!(firsts, [1].into_iter().chain(3..3 + ROUNDS).collect::<Vec<_>>());
            let indexes: Vec<u64> = messages(&**reader, &run).iter().map(|message| message.0).collect();
            assert_eq!(indexes, (1..=ROUNDS / RUNS as u64).collect::<Vec<_>>());
        }
    }
    undamaged(&**one);
}
