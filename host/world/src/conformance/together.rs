//! What one commit changes besides its run: other runs, messages, values; all of it or nothing.

use std::sync::Arc;

use durhai_core::{RunId, Status};
use parking_lot::Mutex;

use super::tools::*;
use super::{Cases, Subject};
use crate::{Claim, Commit, Create, Creation, HookChange, NewMessage, Notice, Refused, Row, World, Written};

pub const CASES: Cases = &[
    ("commit: runs it creates", create),
    ("commit: a run it creates must begin at 1", create_sequence),
    ("commit: messages it sends", send),
    ("commit: messages that are forwarded", forward),
    ("commit: messages that are left behind", leave),
    ("create: with messages in its inbox", with_messages),
    ("commit: values of the run", values),
    ("commit: named values of the host", meta),
    ("commit: nothing of a refused one is stored, whatever is in it", refused),
    ("commit: others hear of it", heard),
];

fn made(name: &str, claim: bool) -> Create {
    Create {
        row: row(name),
        events: chunk(1, 2),
        claim: claim.then(|| holder("h")),
        hooks: Vec::new(),
        messages: Vec::new(),
    }
}

fn committed(world: &dyn World, one: Commit) -> Vec<Creation> {
    match write(world, commit(one)) {
        Ok(Written::Committed(all)) => all,
        other => panic!("{other:?}"),
    }
}

fn create(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![new(Row { workflow: "old".into(), ..row("taken") }, None)]);
    let mut tagged = made("d", false);
    tagged.row.tags.insert("k".into(), "v".into());
    tagged.row.parent = Some(id("a"));
    let ended = Create { row: Row { status: Status::Failed, ..row("over") }, ..made("over", true) };
    let create = vec![
        made("b", true),
        made("taken", true),
        made("b", false),
        made("a", true),
        made("c", false),
        tagged.clone(),
        ended,
    ];
    let all = committed(&*world, Commit { create, events: Some(chunk(3, 1)), ..turn(&a) });
    let [Creation::Claimed(b), rest @ ..] = &all[..] else { panic!("{all:?}") };
    use Creation::{Exists, Waits};
    assert_eq!(rest, [Exists, Exists, Exists, Waits, Waits, Waits]);
    assert_eq!((b.run.as_str(), b.last_seq, b.tries, b.admitted, &b.row), ("b", 2, 0, true, &row("b")));
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
    assert_eq!(log(&*world, &id("b")), [chunk(1, 2)]);
    assert_eq!(world.row(&id("taken")).expect("works").expect("there").workflow, "old");
    assert_eq!(world.row(&id("d")).expect("works"), Some(tagged.row));
    assert_eq!(world.row(&id("over")).expect("works").expect("there").wake_at, None);
    let query = crate::Query { parent: Some(id("a")), ..Default::default() };
    assert_eq!(world.list(&query).expect("works").rows.len(), 1);
    write_all(&*world, vec![events(b, 3, 1)]);
    assert_eq!(claimed(&*world, &holder("h"), 50, 9), ["taken", "c", "d"]);
    undamaged(&*world);
}

fn create_sequence(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let late = Create { events: chunk(2, 1), ..made("c", false) };
    let one = Commit { create: vec![made("b", false), late], events: Some(chunk(3, 1)), ..turn(&a) };
    let refused = Refused::Sequence { run: id("c"), expected: 2, found: 0 };
    assert_eq!(write(&*world, commit(one)), Err(refused));
    assert_eq!(world.row(&id("b")).expect("works"), None);
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2)]);
    undamaged(&*world);
}

fn send(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![new(Row { wake_at: None, ..row("b") }, None)]);
    let over = held(&*world, row("over"), &holder("h"));
    write_all(&*world, vec![ends(&over)]);
    let to = |name: &str, text: &[u8]| NewMessage { at: 5, ..message(&id(name), text) };
    let send = vec![to("b", b"1"), to("nobody", b"x"), to("new", b"2"), to("over", b"x"), to("a", b"3"), to("b", b"4")];
    let create = vec![Create { row: Row { wake_at: None, ..row("new") }, ..made("new", false) }];
    committed(&*world, Commit { send, create, ..turn(&a) });
    assert_eq!(messages(&*world, &id("b")), [(1, b"1".to_vec()), (2, b"4".to_vec())]);
    assert_eq!(messages(&*world, &id("new")), [(1, b"2".to_vec())]);
    assert_eq!(messages(&*world, &id("a")), [(1, b"3".to_vec())]);
    assert_eq!(world.inbox(&id("b"), 0, 1).expect("works")[0].at, 5);
    assert_eq!(claimed(&*world, &holder("h"), 50, 9), ["b", "new"]);
    // What is taken with the same commit was there before.
    committed(&*world, Commit { inbox_taken: Some(9), send: vec![to("a", b"5")], ..turn(&a) });
    assert_eq!(messages(&*world, &id("a")), [(2, b"5".to_vec())]);
    // From a run that ends, and to itself then.
    let last = Row { status: Status::Completed, ..row("a") };
    committed(&*world, Commit { row: Some(last), send: vec![to("a", b"6"), to("b", b"7")], ..turn(&a) });
    assert_eq!((messages(&*world, &id("a")), messages(&*world, &id("b")).len()), (vec![], 3));
    undamaged(&*world);
}

fn with_messages(subject: &Subject<'_>) {
    let world = (subject.make)();
    let with = |name: &str, claim: bool| Create { messages: vec![b"1".to_vec(), b"2".to_vec()], ..made(name, claim) };
    let make = |create: Create| write(&*world, crate::Write::Create(Box::new(create)));
    let Ok(Written::Created(Some(a))) = make(with("a", true)) else { panic!("it is claimed") };
    assert_eq!(make(with("b", false)), Ok(Written::Created(None)));
    write_all(&*world, vec![crate::Write::Send(message(&id("a"), b"3")), crate::Write::Send(message(&id("b"), b"3"))]);
    let all = [(1, b"1".to_vec()), (2, b"2".to_vec()), (3, b"3".to_vec())];
    assert_eq!((messages(&*world, &id("a")), messages(&*world, &id("b"))), (all.to_vec(), all.to_vec()));
    // They are messages like others, also for the host that claims the run later.
    committed(&*world, Commit { inbox_taken: Some(2), ..turn(&a) });
    assert_eq!(messages(&*world, &id("a")), all[2..]);
    let b = world.claim_run(&id("b"), &holder("h"), 50).expect("works").expect("free");
    committed(&*world, Commit { inbox_taken: Some(1), ..turn(&b) });
    assert_eq!(messages(&*world, &id("b")), all[1..]);
    // One that has ended takes none.
    let over = with("over", false);
    make(Create { row: Row { status: Status::Failed, ..over.row.clone() }, ..over }).expect("it is created");
    assert_eq!(messages(&*world, &id("over")), []);
    undamaged(&*world);
}

fn leave(subject: &Subject<'_>) {
    let world = (subject.make)();
    let message = |name: &str, text: &[u8]| crate::Write::Send(message(&id(name), text));
    let left = |name: &str| world.stream(&id(name), "left", 0, 9).expect("works");
    let a = held(&*world, row("a"), &holder("h"));
    write_all(&*world, (1..=4).map(|n| message("a", &[n])).collect());
    // Without an end nothing moves.
    committed(&*world, Commit { leave: Some("left".into()), ..turn(&a) });
    assert_eq!((messages(&*world, &id("a")).len(), left("a").len()), (4, 0));
    // Sent in the same batch, behind what the run puts into that stream itself, without what it takes.
    let last = Commit {
        row: Some(Row { status: Status::Failed, ..a.row.clone() }),
        inbox_taken: Some(2),
        append: vec![("left".into(), b"own".to_vec())],
        leave: Some("left".into()),
        ..turn(&a)
    };
    write_all(&*world, vec![message("a", &[5]), commit(last)]);
    assert_eq!(left("a"), [b"own".to_vec(), vec![3], vec![4], vec![5]]);
    assert_eq!(messages(&*world, &id("a")), []);
    // Who goes on with them gets them, and nothing is left.
    let b = held(&*world, row("b"), &holder("h"));
    write_all(&*world, vec![message("b", b"1"), new(Row { wake_at: None, ..row("heir") }, None)]);
    let row = Some(Row { status: Status::Continued, ..b.row.clone() });
    committed(&*world, Commit { row, forward: Some(id("heir")), leave: Some("left".into()), ..turn(&b) });
    assert_eq!((left("b").len(), messages(&*world, &id("heir"))), (0, vec![(1, b"1".to_vec())]));
    assert!(world.streams(&id("b")).expect("works").is_empty(), "a stream without entries");
    undamaged(&*world);
}

fn forward(subject: &Subject<'_>) {
    let world = (subject.make)();
    let message = |name: &str, at, text: &[u8]| crate::Write::Send(NewMessage { at, ..message(&id(name), text) });
    let ends_for = |claim: &Claim, heir: &str| Commit {
        row: Some(Row { status: Status::Continued, ..claim.row.clone() }),
        forward: Some(id(heir)),
        ..turn(claim)
    };
    let a = held(&*world, row("a"), &holder("h"));
    write_all(&*world, (1..=4).map(|at| message("a", at * 10, &[at as u8])).collect());
    // Without an end nothing moves.
    committed(&*world, Commit { forward: Some(id("b")), create: vec![made("b", false)], ..turn(&a) });
    assert_eq!((messages(&*world, &id("a")).len(), messages(&*world, &id("b")).len()), (4, 0));
    write_all(&*world, vec![message("b", 1, b"own")]);
    // Sent in the same batch, taken with the same commit, to a run of the same commit.
    let last = Commit {
        inbox_taken: Some(2),
        create: vec![Create { row: Row { wake_at: None, ..row("c") }, ..made("c", false) }],
        send: vec![NewMessage { at: 99, ..super::tools::message(&id("c"), b"sent") }],
        ..ends_for(&a, "c")
    };
    write_all(&*world, vec![message("a", 50, &[5]), commit(last)]);
    let found = world.inbox(&id("c"), 0, 9).expect("works");
    let found: Vec<_> = found.into_iter().map(|message| (message.index, message.at, message.bytes)).collect();
    assert_eq!(found, [(1, 30, vec![3]), (2, 40, vec![4]), (3, 50, vec![5]), (4, 99, b"sent".to_vec())]);
    assert_eq!(messages(&*world, &id("a")), []);
    assert_eq!(claimed(&*world, &holder("h"), 50, 9), ["b", "c"]);
    // Behind what is there; and to one that is not there, has ended, or is the run itself.
    let c = Claim { run: id("c"), ..a.clone() };
    assert!(matches!(write(&*world, commit(ends_for(&c, "b"))), Err(Refused::Fenced(_))));
    assert_eq!(messages(&*world, &id("b")).len(), 1, "nothing of a refused one");
    for (name, heir, wanted) in [("x", "b", 2), ("y", "nobody", 2), ("z", "a", 2), ("self", "self", 2)] {
        let claim = held(&*world, row(name), &holder("h"));
        write_all(&*world, vec![message(name, 7, b"late"), commit(ends_for(&claim, heir))]);
        assert_eq!(messages(&*world, &id("b")).len(), wanted, "{name}");
        assert_eq!(messages(&*world, &id(name)), []);
    }
    undamaged(&*world);
}

fn values(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    let set = |claim: &Claim, values: &[(&str, Option<&str>)]| {
        let values = values.iter().map(|(name, value)| ((*name).into(), value.map(|text| text.into()))).collect();
        committed(&*world, Commit { values, ..turn(claim) });
    };
    let all = |run: &RunId| -> Vec<(String, String)> {
        let values = world.values(run).expect("works");
        values.into_iter().map(|(name, value)| (name, String::from_utf8(value).expect("a text"))).collect()
    };
    let texts = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    set(&a, &[("b", Some("1")), ("", Some("")), ("ä/ü\0", Some("2")), ("ab", Some("3")), ("none", None)]);
    set(&b, &[("b", Some("other"))]);
    assert_eq!(all(&id("a")), texts(&[("", ""), ("ab", "3"), ("b", "1"), ("ä/ü\0", "2")]));
    set(&a, &[("b", Some("x")), ("b", Some("4")), ("", None), ("ab", Some("5")), ("ab", None)]);
    assert_eq!(all(&id("a")), texts(&[("b", "4"), ("ä/ü\0", "2")]));
    assert_eq!(all(&id("b")), texts(&[("b", "other")]));
    // They outlive the run's end, not the run.
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(all(&id("a")).len(), 2);
    write_all(&*world, vec![delete(&id("a"))]);
    assert_eq!(all(&id("a")), []);
    held(&*world, row("a"), &holder("h"));
    assert_eq!(all(&id("a")), []);
    assert_eq!(all(&id("nobody")), []);
    undamaged(&*world);
}

fn meta(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    world.put_meta("old", b"1").expect("works");
    let set = |meta: Vec<(&str, Option<&str>)>| {
        let meta = meta.into_iter().map(|(key, value)| (key.to_owned(), value.map(|text| text.into()))).collect();
        committed(&*world, Commit { meta, ..turn(&a) });
    };
    let get = |key: &str| world.meta(key).expect("works");
    set(vec![("old", None), ("k", Some("2")), ("none", None)]);
    assert_eq!((get("old"), get("k"), get("none")), (None, Some(b"2".to_vec()), None));
    set(vec![("k", Some("3")), ("k", Some("4"))]);
    assert_eq!(get("k"), Some(b"4".to_vec()));
    world.remove_meta("k").expect("works");
    world.remove_meta("k").expect("works");
    assert_eq!(get("k"), None);
    undamaged(&*world);
}

/// Everything that a commit can bring.
fn full(claim: &Claim, first: u64) -> Commit {
    Commit {
        events: Some(chunk(first, 1)),
        row: Some(Row { status: Status::Completed, purge_at: Some(1), ..row("a") }),
        values: vec![("v".into(), Some(b"v".to_vec()))],
        hooks: vec![HookChange::Open { token: "t".into(), info: vec![1] }],
        create: vec![made("b", true)],
        send: vec![message(&id("other"), b"x")],
        forward: Some(id("other")),
        meta: vec![("m".into(), Some(b"m".to_vec()))],
        ..turn(claim)
    }
}

fn refused(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    held(&*world, row("other"), &holder("h"));
    write_all(&*world, vec![super::tools::send(&id("a"), b"message")]);
    let fenced = Claim { fence: a.fence + 1, ..a.clone() };
    assert!(matches!(write(&*world, commit(full(&fenced, 3))), Err(Refused::Fenced(_))));
    assert!(matches!(write(&*world, commit(full(&a, 4))), Err(Refused::Sequence { .. })));
    let nobody = Claim { run: id("nobody"), ..a.clone() };
    assert!(matches!(write(&*world, commit(full(&nobody, 3))), Err(Refused::Unknown(_))));
    let seen = |world: &dyn World| {
        (
            world.row(&id("b")).expect("works").is_some(),
            world.values(&id("a")).expect("works").len(),
            world.hook("t").expect("works").is_some(),
            messages(world, &id("other")).len(),
            messages(world, &id("a")).len(),
            world.meta("m").expect("works").is_some(),
            world.expired(99, 9).expect("works").len(),
        )
    };
    assert_eq!(seen(&*world), (false, 0, false, 0, 1, false, 0));
    let all = committed(&*world, full(&a, 3));
    assert!(matches!(&all[..], [Creation::Claimed(_)]), "{all:?}");
    // The hook was open for no time: the run ended with the same commit.
    assert_eq!(seen(&*world), (true, 1, false, 2, 0, true, 1));
    assert!(matches!(write(&*world, commit(full(&a, 4))), Err(Refused::Terminal(..))));
    assert_eq!(seen(&*world), (true, 1, false, 2, 0, true, 1));
    undamaged(&*world);
}

fn heard(subject: &Subject<'_>) {
    let world = (subject.make)();
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let ear = heard.clone();
    let a = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![new(Row { wake_at: None, ..row("b") }, None), super::tools::send(&id("a"), b"x")]);
    world.watch(Arc::new(move |notice| ear.lock().push(notice)));
    let wait_for = |wanted: &[Notice]| {
        // A hint may come late, from another thread.
        for _ in 0..500 {
            let mut heard = heard.lock();
            if wanted.iter().all(|one| heard.contains(one)) {
                return heard.clear();
            }
            drop(heard);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{wanted:?} was not heard");
    };
    committed(&*world, Commit { send: vec![message(&id("b"), b"")], ..turn(&a) });
    wait_for(&[Notice::Message(id("b")), Notice::Due]);
    committed(&*world, Commit { create: vec![made("c", false)], ..turn(&a) });
    wait_for(&[Notice::Due]);
    let last = Some(Row { status: Status::Failed, ..row("a") });
    committed(&*world, Commit { row: last, forward: Some(id("c")), ..turn(&a) });
    wait_for(&[Notice::Message(id("c")), Notice::Due]);
}
