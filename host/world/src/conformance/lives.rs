//! Creating, committing, sending, ending, deleting: what is accepted, what is refused, and that nothing of a refused
//! write is stored.

use std::sync::Arc;

use durhai_core::Status;
use parking_lot::Mutex;

use super::tools::*;
use super::{Cases, Subject};
use crate::{Chunk, Commit, Create, Notice, Refused, Row, World, Write, Written};

pub const CASES: Cases = &[
    ("create: row, log and claim", create),
    ("create: a name is taken once", create_twice),
    ("create: a log begins at 1", create_sequence),
    ("create: an ended run is not claimed", create_ended),
    ("commit: sequence is checked", commit_sequence),
    ("commit: fence is checked", commit_fence),
    ("commit: nothing of a refused one is stored", commit_refused),
    ("commit: nothing in it changes nothing", commit_empty),
    ("commit: an ended run takes nothing", commit_ended),
    ("batch: a refusal in the middle stops nothing", batch_refusal),
    ("batch: many writes of one run see each other", batch_of_one_run),
    ("batch: an empty one", batch_empty),
    ("send: messages are numbered and kept in order", send_order),
    ("send: taken messages are gone and numbers go on", send_taken),
    ("send: unknown and ended runs", send_refused),
    ("delete: only what has ended, and all of it", delete_all),
    ("watch: messages and due runs", watch),
    ("large values", large),
];

fn create(subject: &Subject<'_>) {
    let world = (subject.make)();
    let mut wanted = row("a");
    wanted.tags.insert("color".into(), "blue".into());
    wanted.parent = Some(id("p"));
    wanted.note = serde_json::json!({ "why": "test" });
    let claim = held(&*world, wanted.clone(), &holder("h"));
    assert_eq!((&claim.run, &claim.row, claim.last_seq, claim.tries), (&wanted.run, &wanted, 2, 0));
    assert_eq!(world.row(&wanted.run).expect("row"), Some(wanted.clone()));
    assert_eq!(log(&*world, &wanted.run), [chunk(1, 2)]);
    assert_eq!(write(&*world, events(&claim, 3, 1)), Ok(Written::Committed(vec![])));
    assert_eq!(write(&*world, new(row("b"), None)), Ok(Written::Created(None)));
    assert_eq!(claimed(&*world, &holder("h"), 0, 9), ["b"]);
    undamaged(&*world);
}

fn create_twice(subject: &Subject<'_>) {
    let world = (subject.make)();
    let first = Row { workflow: "one".into(), ..row("a") };
    write_all(&*world, vec![new(first.clone(), None)]);
    let second = Row { workflow: "two".into(), ..row("a") };
    let exists = |row: &Row| Err(Refused::Exists(Box::new(row.clone())));
    assert_eq!(write(&*world, new(second.clone(), None)), exists(&first));
    let claim = claim_one(&*world, &holder("h"), 0);
    assert_eq!(write(&*world, new(second.clone(), Some(&holder("i")))), exists(&first));
    write_all(&*world, vec![ends(&claim)]);
    let ended = Row { status: Status::Completed, wake_at: None, ..first };
    assert_eq!(write(&*world, new(second.clone(), None)), exists(&ended));
    let both = world.write(vec![new(row("b"), None), new(row("b"), None)]).expect("works");
    assert_eq!(both, [Ok(Written::Created(None)), exists(&row("b"))]);
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2)]);
    undamaged(&*world);
}

fn create_sequence(subject: &Subject<'_>) {
    let world = (subject.make)();
    let late = Create { row: row("a"), events: chunk(2, 1), claim: None, hooks: Vec::new(), messages: Vec::new() };
    let refused = Refused::Sequence { run: id("a"), expected: 2, found: 0 };
    assert_eq!(write(&*world, Write::Create(Box::new(late))), Err(refused));
    assert_eq!(world.row(&id("a")).expect("row"), None);
    assert_eq!(log(&*world, &id("a")), []);
}

fn create_ended(subject: &Subject<'_>) {
    let world = (subject.make)();
    let ended = Row { status: Status::Failed, ..row("a") };
    assert_eq!(write(&*world, new(ended, Some(&holder("h")))), Ok(Written::Created(None)));
    assert_eq!(world.row(&id("a")).expect("row").expect("there").wake_at, None);
    assert_eq!(claimed(&*world, &holder("h"), 99, 9), [""; 0]);
    undamaged(&*world);
}

fn commit_sequence(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    for first in [0, 1, 2, 4, u64::MAX] {
        let refused = Refused::Sequence { run: id("a"), expected: first, found: 2 };
        assert_eq!(write(&*world, events(&claim, first, 1)), Err(refused), "{first}");
    }
    write_all(&*world, vec![events(&claim, 3, 5), events(&claim, 8, 1)]);
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 5), chunk(8, 1)]);
}

fn commit_fence(subject: &Subject<'_>) {
    let world = (subject.make)();
    let first = held(&*world, row("a"), &holder("h"));
    let fenced = || Err(Refused::Fenced(id("a")));
    for fence in [0, first.fence + 1, u64::MAX] {
        let mut other = first.clone();
        other.fence = fence;
        assert_eq!(write(&*world, events(&other, 3, 1)), fenced(), "{fence}");
        assert_eq!(write(&*world, release(&other)), fenced(), "{fence}");
    }
    write_all(&*world, vec![release(&first)]);
    assert_eq!(write(&*world, events(&first, 3, 1)), fenced(), "released");
    assert_eq!(write(&*world, release(&first)), fenced(), "released twice");
    let second = claim_one(&*world, &holder("h"), 0);
    assert!(second.fence > first.fence, "{} > {}", second.fence, first.fence);
    assert_eq!(write(&*world, events(&first, 3, 1)), fenced(), "claimed again");
    assert_eq!(write(&*world, events(&second, 3, 1)), Ok(Written::Committed(vec![])));
    let mut ghost = second.clone();
    ghost.run = id("ghost");
    assert_eq!(write(&*world, events(&ghost, 1, 1)), Err(Refused::Unknown(id("ghost"))));
    assert_eq!(write(&*world, release(&ghost)), Err(Refused::Unknown(id("ghost"))));
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
}

fn commit_refused(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![send(&id("a"), b"1"), send(&id("a"), b"2")]);
    let full = |fence: u64, first: u64| {
        commit(Commit {
            fence,
            events: Some(chunk(first, 1)),
            row: Some(Row { status: Status::Running, workflow: "other".into(), wake_at: None, ..row("a") }),
            inbox_taken: Some(2),
            append: vec![("out".into(), b"x".to_vec())],
            progress: true,
            ..turn(&claim)
        })
    };
    assert!(matches!(write(&*world, full(claim.fence + 1, 3)), Err(Refused::Fenced(_))));
    assert!(matches!(write(&*world, full(claim.fence, 4)), Err(Refused::Sequence { .. })));
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2)]);
    assert_eq!(world.row(&id("a")).expect("row"), Some(row("a")));
    assert_eq!(messages(&*world, &id("a")), [(1, b"1".to_vec()), (2, b"2".to_vec())]);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), Vec::<Vec<u8>>::new());
    assert_eq!(write(&*world, full(claim.fence, 3)), Ok(Written::Committed(vec![])));
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
    assert_eq!(world.row(&id("a")).expect("row").expect("there").workflow, "other");
    assert_eq!(messages(&*world, &id("a")), []);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), [b"x"]);
    undamaged(&*world);
}

fn commit_empty(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    let none = Commit { events: Some(Chunk { first: 3, count: 0, bytes: vec![] }), ..turn(&claim) };
    let written = write_all(&*world, vec![commit(turn(&claim)), commit(none), events(&claim, 3, 1)]);
    assert_eq!(written, [Written::Committed(vec![]), Written::Committed(vec![]), Written::Committed(vec![])]);
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
    let bare = Commit { events: Some(Chunk { first: 4, count: 1, bytes: vec![] }), ..turn(&claim) };
    write_all(&*world, vec![commit(bare), entry(&claim, "", b""), send(&id("a"), b"")]);
    assert_eq!(world.log_tail(&id("a")).expect("tail"), Some(Chunk { first: 4, count: 1, bytes: vec![] }));
    assert_eq!(world.stream(&id("a"), "", 0, 9).expect("stream"), [b""]);
    assert_eq!(messages(&*world, &id("a")), [(1, vec![])]);
    undamaged(&*world);
}

fn commit_ended(subject: &Subject<'_>) {
    for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
        let world = (subject.make)();
        let claim = held(&*world, row("a"), &holder("h"));
        write_all(&*world, vec![send(&id("a"), b"late")]);
        let last = commit(Commit {
            events: Some(chunk(3, 1)),
            row: Some(Row { status, wake_at: Some(5), ended_at: Some(9), ..row("a") }),
            append: vec![("out".into(), b"end".to_vec())],
            ..turn(&claim)
        });
        write_all(&*world, vec![last]);
        let ended = || Err(Refused::Terminal(id("a"), status));
        assert_eq!(write(&*world, events(&claim, 4, 1)), ended());
        assert_eq!(write(&*world, release(&claim)), ended());
        assert_eq!(write(&*world, send(&id("a"), b"too late")), ended());
        assert_eq!(messages(&*world, &id("a")), []);
        assert_eq!(claimed(&*world, &holder("h"), u64::MAX, 9), [""; 0]);
        assert_eq!(world.claim_run(&id("a"), &holder("h"), 0).expect("works"), None);
        assert_eq!(world.next_wake().expect("works"), None);
        let row = world.row(&id("a")).expect("row").expect("there");
        assert_eq!((row.status, row.wake_at, row.ended_at), (status, None, Some(9)));
        assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1)]);
        assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), [b"end"]);
        undamaged(&*world);
    }
}

fn batch_refusal(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    let written = world.write(vec![
        events(&a, 3, 1),
        events(&b, 9, 1),
        send(&id("nobody"), b"x"),
        events(&a, 4, 2),
        delete(&id("b")),
        new(row("a"), None),
        send(&id("b"), b"x"),
        events(&b, 3, 1),
    ]);
    let written = written.expect("works");
    assert_eq!(
        written,
        [
            Ok(Written::Committed(vec![])),
            Err(Refused::Sequence { run: id("b"), expected: 9, found: 2 }),
            Err(Refused::Unknown(id("nobody"))),
            Ok(Written::Committed(vec![])),
            Err(Refused::NotTerminal(id("b"), Status::Pending)),
            Err(Refused::Exists(Box::new(row("a")))),
            Ok(Written::Sent(1)),
            Ok(Written::Committed(vec![])),
        ]
    );
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 1), chunk(4, 2)]);
    assert_eq!(log(&*world, &id("b")), [chunk(1, 2), chunk(3, 1)]);
    undamaged(&*world);
}

fn batch_of_one_run(subject: &Subject<'_>) {
    let world = (subject.make)();
    let written = world.write(vec![new(row("a"), None), send(&id("a"), b"1"), send(&id("a"), b"2")]).expect("works");
    assert_eq!(written, [Ok(Written::Created(None)), Ok(Written::Sent(1)), Ok(Written::Sent(2))]);
    let claim = claim_one(&*world, &holder("h"), 0);
    let written = world.write(vec![
        entry(&claim, "out", b"0"),
        events(&claim, 3, 1),
        commit(Commit { inbox_taken: Some(1), ..turn(&claim) }),
        becomes(&claim, |row| row.status = Status::Running),
        entry(&claim, "out", b"1"),
        becomes(&claim, |row| row.status = Status::Waiting),
        release(&claim),
        events(&claim, 4, 1),
        send(&id("a"), b"3"),
    ]);
    let mut wanted = vec![Ok(Written::Committed(vec![])); 6];
    wanted.extend([Ok(Written::Released), Err(Refused::Fenced(id("a"))), Ok(Written::Sent(3))]);
    assert_eq!(written.expect("works"), wanted);
    assert_eq!(messages(&*world, &id("a")), [(2, b"2".to_vec()), (3, b"3".to_vec())]);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), [b"0", b"1"]);
    undamaged(&*world);
    let claim = claim_one(&*world, &holder("h"), 0);
    assert_eq!((claim.last_seq, claim.row.status), (3, Status::Waiting));
    let written = world.write(vec![
        events(&claim, 4, 1),
        entry(&claim, "out", b"2"),
        ends(&claim),
        send(&id("a"), b"4"),
        delete(&id("a")),
        send(&id("a"), b"5"),
        new(Row { workflow: "again".into(), ..row("a") }, None),
        send(&id("a"), b"6"),
    ]);
    assert_eq!(
        written.expect("works"),
        [
            Ok(Written::Committed(vec![])),
            Ok(Written::Committed(vec![])),
            Ok(Written::Committed(vec![])),
            Err(Refused::Terminal(id("a"), Status::Completed)),
            Ok(Written::Deleted),
            Err(Refused::Unknown(id("a"))),
            Ok(Written::Created(None)),
            Ok(Written::Sent(1)),
        ]
    );
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2)]);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), Vec::<Vec<u8>>::new());
    assert_eq!(world.row(&id("a")).expect("row").expect("there").workflow, "again");
    undamaged(&*world);
}

fn batch_empty(subject: &Subject<'_>) {
    let world = (subject.make)();
    assert_eq!(world.write(Vec::new()).expect("works"), []);
}

fn send_order(subject: &Subject<'_>) {
    let world = (subject.make)();
    write_all(&*world, vec![new(row("a"), None), new(row("b"), None)]);
    for index in 1..=12_u64 {
        assert_eq!(write(&*world, send(&id("a"), &[index as u8])), Ok(Written::Sent(index)));
    }
    assert_eq!(write(&*world, send(&id("b"), b"b")), Ok(Written::Sent(1)));
    let indexes = |after, limit| -> Vec<u64> {
        let messages = world.inbox(&id("a"), after, limit).expect("works");
        assert!(
            messages.iter().all(|message| message.at == 77 && message.bytes == [message.index as u8]),
            "{messages:?}"
        );
        messages.iter().map(|message| message.index).collect()
    };
    assert_eq!(indexes(0, usize::MAX), (1..=12).collect::<Vec<_>>());
    assert_eq!(indexes(3, 2), [4, 5]);
    assert_eq!(indexes(11, 9), [12]);
    assert_eq!(indexes(12, 9), [0; 0]);
    assert_eq!(indexes(u64::MAX, 9), [0; 0]);
    assert_eq!(indexes(0, 0), [0; 0]);
    assert_eq!(messages(&*world, &id("nobody")), []);
}

fn send_taken(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    let take = |claim, taken| commit(Commit { inbox_taken: Some(taken), ..turn(claim) });
    write_all(&*world, (0..5).map(|_| send(&id("a"), b"x")).collect());
    write_all(&*world, vec![take(&claim, 2)]);
    assert_eq!(messages(&*world, &id("a")).iter().map(|message| message.0).collect::<Vec<_>>(), [3, 4, 5]);
    write_all(&*world, vec![take(&claim, 1), take(&claim, 0)]);
    assert_eq!(messages(&*world, &id("a")).len(), 3);
    write_all(&*world, vec![take(&claim, 5), release(&claim)]);
    assert_eq!(messages(&*world, &id("a")), []);
    // The count goes on although nothing is left to count from.
    assert_eq!(write(&*world, send(&id("a"), b"y")), Ok(Written::Sent(6)));
    let claim = claim_one(&*world, &holder("h"), 0);
    write_all(&*world, vec![take(&claim, u64::MAX)]);
    assert_eq!(messages(&*world, &id("a")), []);
    assert_eq!(write(&*world, send(&id("a"), b"z")), Ok(Written::Sent(7)));
    undamaged(&*world);
}

fn send_refused(subject: &Subject<'_>) {
    let world = (subject.make)();
    assert_eq!(write(&*world, send(&id("a"), b"x")), Err(Refused::Unknown(id("a"))));
    let claim = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![ends(&claim)]);
    assert_eq!(write(&*world, send(&id("a"), b"x")), Err(Refused::Terminal(id("a"), Status::Completed)));
}

fn delete_all(subject: &Subject<'_>) {
    let world = (subject.make)();
    assert_eq!(write(&*world, delete(&id("a"))), Err(Refused::Unknown(id("a"))));
    let mut tagged = row("a");
    tagged.tags.insert("color".into(), "blue".into());
    tagged.parent = Some(id("p"));
    let claim = held(&*world, tagged.clone(), &holder("h"));
    held(&*world, row("neighbour"), &holder("h"));
    assert_eq!(write(&*world, delete(&id("a"))), Err(Refused::NotTerminal(id("a"), Status::Pending)));
    write_all(&*world, (0..2500).map(|at| events(&claim, 3 + at, 1)).collect());
    write_all(&*world, vec![entry(&claim, "out", b"x"), send(&id("a"), b"x"), ends(&claim)]);
    assert_eq!(write(&*world, delete(&id("a"))), Ok(Written::Deleted));
    assert_eq!(world.row(&id("a")).expect("row"), None);
    assert_eq!(log(&*world, &id("a")), []);
    assert_eq!(world.log_tail(&id("a")).expect("tail"), None);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), Vec::<Vec<u8>>::new());
    let all = world.list(&Default::default()).expect("works").rows;
    assert_eq!(all.iter().map(|row| row.run.as_str()).collect::<Vec<_>>(), ["neighbour"]);
    assert_eq!(log(&*world, &id("neighbour")), [chunk(1, 2)]);
    // The name is free again, and nothing of the old one comes back.
    assert_eq!(write(&*world, delete(&id("a"))), Err(Refused::Unknown(id("a"))));
    assert_eq!(write(&*world, events(&claim, 2503, 1)), Err(Refused::Unknown(id("a"))));
    let again = held(&*world, row("a"), &holder("h"));
    assert_eq!((again.last_seq, again.tries), (2, 0));
    write_all(&*world, vec![entry(&again, "out", b"new")]);
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2)]);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("stream"), [b"new"]);
    assert_eq!(write(&*world, send(&id("a"), b"x")), Ok(Written::Sent(1)));
    undamaged(&*world);
}

fn watch(subject: &Subject<'_>) {
    let world = (subject.make)();
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let ear = heard.clone();
    world.watch(Arc::new(move |notice| ear.lock().push(notice)));
    let wait_for = |notice: Notice| {
        // A hint may come late, from another thread.
        for _ in 0..500 {
            if std::mem::take(&mut *heard.lock()).contains(&notice) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{notice:?} was not heard");
    };
    write_all(&*world, vec![new(row("a"), None)]);
    wait_for(Notice::Due);
    let claim = claim_one(&*world, &holder("h"), 0);
    write_all(&*world, vec![send(&id("a"), b"x")]);
    wait_for(Notice::Message(id("a")));
    write_all(&*world, vec![release(&claim)]);
    wait_for(Notice::Due);
}

fn large(subject: &Subject<'_>) {
    let world = (subject.make)();
    let big = |seed: u8| -> Vec<u8> { (0..2 << 20).map(|at: u32| (at >> 3) as u8 ^ at as u8 ^ seed).collect() };
    let events = Chunk { first: 1, count: 1, bytes: big(1) };
    let create = Create { row: row("a"), events, claim: Some(holder("h")), hooks: Vec::new(), messages: Vec::new() };
    let Ok(Written::Created(Some(claim))) = write(&*world, Write::Create(Box::new(create))) else { panic!("no claim") };
    let second = Commit { events: Some(Chunk { first: 2, count: 7, bytes: big(2) }), ..turn(&claim) };
    write_all(&*world, vec![commit(second), entry(&claim, "out", &big(3)), send(&id("a"), &big(4))]);
    world.put_meta("big", &big(5)).expect("works");
    world.put_program(&row("a").version, &big(6)).expect("works");
    let check = |world: &dyn World| {
        let chunks = log(world, &id("a"));
        assert!(chunks.len() == 2 && chunks[0].bytes == big(1) && chunks[1].bytes == big(2), "the log");
        assert!(world.log_tail(&id("a")).expect("tail").expect("there").bytes == big(2), "the tail");
        assert!(world.stream(&id("a"), "out", 0, 9).expect("stream") == [big(3)], "the stream");
        assert!(messages(world, &id("a")) == [(1, big(4))], "the inbox");
        assert!(world.meta("big").expect("meta") == Some(big(5)), "the named value");
        assert!(world.program(&row("a").version).expect("program") == Some(big(6)), "the program");
        undamaged(world);
    };
    check(&*world);
    if let Some(reopen) = subject.reopen {
        check(&*reopen(world));
    }
}
