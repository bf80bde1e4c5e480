//! Hooks: whose a token is, open or reserved.

use super::tools::*;
use super::{Cases, Subject};
use durhai_core::Status;

use crate::{Claim, Commit, Create, Creation, Hook, HookChange, Refused, Row, World, Write, Written};

pub const CASES: Cases = &[
    ("hook: open, changed, closed", hook),
    ("hook: one run at a time has a token", one_owner),
    ("hook: a reservation ends with its claim", reservations),
    ("hook: open from the creation of its run, or there is no run", created),
    ("hook: another process has what was open, not what was reserved", reopened),
];

fn opens(token: &str, info: &[u8]) -> HookChange {
    HookChange::Open { token: token.into(), info: info.to_vec() }
}

fn closes(token: &str) -> HookChange {
    HookChange::Close { token: token.into() }
}

fn change(world: &dyn World, claim: &Claim, hooks: Vec<HookChange>) {
    write_all(world, vec![commit(Commit { hooks, ..turn(claim) })]);
}

fn owner(world: &dyn World, token: &str) -> Option<(String, Vec<u8>)> {
    world.hook(token).expect("works").map(|Hook { run, info }| (run.to_string(), info))
}

fn hook(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    assert_eq!(owner(&*world, "t"), None);
    change(&*world, &a, vec![opens("t", b"1"), opens("", b""), opens("t/ä", b"2")]);
    assert_eq!(owner(&*world, "t"), Some(("a".into(), b"1".to_vec())));
    assert_eq!(owner(&*world, ""), Some(("a".into(), vec![])));
    change(&*world, &a, vec![opens("t", b"new"), closes(""), closes("never")]);
    assert_eq!((owner(&*world, "t"), owner(&*world, "")), (Some(("a".into(), b"new".to_vec())), None));
    change(&*world, &a, vec![closes("t"), opens("t", b"again"), opens("short", b""), closes("short")]);
    assert_eq!((owner(&*world, "t"), owner(&*world, "short")), (Some(("a".into(), b"again".to_vec())), None));
    // It stays open while no host holds the run; the end of the run closes all.
    write_all(&*world, vec![release(&a)]);
    let a = claim_one(&*world, &holder("h"), 50);
    assert_eq!(owner(&*world, "t/ä"), Some(("a".into(), b"2".to_vec())));
    change(&*world, &a, vec![closes("t/ä")]);
    assert_eq!(owner(&*world, "t/ä"), None);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!(owner(&*world, "t"), None);
    undamaged(&*world);
    // And nothing of it comes back with the name.
    write_all(&*world, vec![delete(&id("a"))]);
    held(&*world, row("a"), &holder("h"));
    assert_eq!(owner(&*world, "t"), None);
}

fn one_owner(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    let reserve = |claim: &Claim| world.reserve("t", &claim.run, claim.fence).expect("works");
    assert_eq!((reserve(&a), reserve(&a), reserve(&b)), (None, None, Some(id("a"))));
    assert_eq!(owner(&*world, "t"), None, "only reserved");
    // Without asking: the other keeps it, reserved or open.
    change(&*world, &b, vec![opens("t", b"b"), closes("t")]);
    assert_eq!((owner(&*world, "t"), reserve(&b)), (None, Some(id("a"))));
    change(&*world, &a, vec![opens("t", b"a")]);
    change(&*world, &b, vec![opens("t", b"b")]);
    change(&*world, &b, vec![closes("t")]);
    assert_eq!(owner(&*world, "t"), Some(("a".into(), b"a".to_vec())));
    assert_eq!((reserve(&b), reserve(&a)), (Some(id("a")), None));
    // That was reserved again, for the next time: closing the open one leaves it so.
    change(&*world, &a, vec![closes("t")]);
    assert_eq!((owner(&*world, "t"), reserve(&b)), (None, Some(id("a"))));
    change(&*world, &a, vec![closes("t")]);
    assert_eq!(reserve(&b), None);
    // What one commit closes and the next opens, in one batch.
    change(&*world, &b, vec![opens("t", b"b")]);
    let to = |claim: &Claim, hooks| commit(Commit { hooks, ..turn(claim) });
    write_all(&*world, vec![to(&b, vec![closes("t")]), to(&a, vec![opens("t", b"a")]), to(&b, vec![opens("t", b"b")])]);
    assert_eq!(owner(&*world, "t"), Some(("a".into(), b"a".to_vec())));
    // A lost claim reserves nothing, and is told nothing.
    let lost = Claim { fence: a.fence + 7, ..a.clone() };
    assert_eq!(reserve(&lost), None);
    let nobody = Claim { run: id("nobody"), ..a.clone() };
    assert_eq!(reserve(&nobody), None);
    write_all(&*world, vec![ends(&a)]);
    assert_eq!((reserve(&a), reserve(&b)), (None, None));
    undamaged(&*world);
}

fn reservations(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    let reserve = |claim: &Claim, token: &str| world.reserve(token, &claim.run, claim.fence).expect("works");
    assert_eq!((reserve(&a, "1"), reserve(&a, "2"), reserve(&b, "2")), (None, None, Some(id("a"))));
    change(&*world, &a, vec![opens("1", b"")]);
    write_all(&*world, vec![release(&a)]);
    assert_eq!((reserve(&b, "1"), reserve(&b, "2")), (Some(id("a")), None));
    let a = claim_one(&*world, &holder("h"), 50);
    assert_eq!((reserve(&a, "1"), reserve(&a, "2"), reserve(&a, "3")), (None, Some(id("b")), None));
    write_all(&*world, vec![ends(&b)]);
    assert_eq!(reserve(&a, "2"), None);
    if subject.leases {
        // Another host takes the run over.
        let late = world.claim_run(&id("a"), &holder("i"), 51 + LEASE).expect("works").expect("free");
        let c = held(&*world, row("c"), &holder("j"));
        assert_eq!((reserve(&c, "1"), reserve(&c, "3"), reserve(&late, "2")), (Some(id("a")), None, None));
    }
    undamaged(&*world);
}

fn created(subject: &Subject<'_>) {
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    let with = |name: &str, claim: bool, tokens: &[&str]| Create {
        row: row(name),
        events: chunk(1, 2),
        claim: claim.then(|| holder("h")),
        hooks: tokens.iter().map(|token| ((*token).into(), name.as_bytes().to_vec())).collect(),
        messages: Vec::new(),
    };
    let make = |create: Create| world.write(vec![Write::Create(Box::new(create))]).expect("works").remove(0);
    // No host has begun it, and it has them.
    assert_eq!(make(with("b", false, &["1", "2"])), Ok(Written::Created(None)));
    assert_eq!(owner(&*world, "1"), Some(("b".into(), b"b".to_vec())));
    assert_eq!(world.reserve("2", &a.run, a.fence).expect("works"), Some(id("b")));
    // All or nothing, also where a token is only reserved.
    assert_eq!(world.reserve("3", &a.run, a.fence).expect("works"), None);
    for (name, tokens, taken, whose) in [("c", ["4", "1"], "1", "b"), ("d", ["3", "5"], "3", "a")] {
        let refused = Refused::Token { token: taken.into(), run: id(whose) };
        assert_eq!(make(with(name, true, &tokens)), Err(refused));
        assert_eq!(
            (world.row(&id(name)).expect("works"), owner(&*world, "4"), owner(&*world, "5")),
            (None, None, None)
        );
    }
    // The name comes first.
    assert!(matches!(make(with("b", false, &["1"])), Err(Refused::Exists(_))));
    // With a commit of another run, and two in one batch.
    let create = vec![with("e", false, &["6"]), with("f", false, &["6"]), with("g", true, &["7"])];
    let batch = vec![commit(Commit { create, ..turn(&a) }), Write::Create(Box::new(with("h", false, &["7", "8"])))];
    let written = world.write(batch).expect("works");
    let Ok(Written::Committed(made)) = &written[0] else { panic!("{written:?}") };
    let [Creation::Waits, Creation::Exists, Creation::Claimed(g)] = &made[..] else { panic!("{made:?}") };
    assert_eq!(written[1], Err(Refused::Token { token: "7".into(), run: id("g") }));
    assert_eq!((owner(&*world, "6"), owner(&*world, "8")), (Some(("e".into(), b"e".to_vec())), None));
    // They are hooks like others: changed, closed, and gone with the run.
    change(&*world, g, vec![opens("7", b"new"), opens("9", b"")]);
    assert_eq!(owner(&*world, "7"), Some(("g".into(), b"new".to_vec())));
    write_all(&*world, vec![ends(g)]);
    assert_eq!((owner(&*world, "7"), owner(&*world, "9")), (None, None));
    let b = world.claim_run(&id("b"), &holder("h"), 50).expect("works").expect("free");
    change(&*world, &b, vec![closes("1")]);
    write_all(&*world, vec![ends(&b)]);
    assert_eq!((owner(&*world, "1"), owner(&*world, "2")), (None, None));
    // What has ended opens none.
    let over = with("over", false, &["1"]);
    let over = Create { row: Row { status: Status::Failed, ..over.row.clone() }, ..over };
    assert_eq!((make(over), owner(&*world, "1")), (Ok(Written::Created(None)), None));
    undamaged(&*world);
}

fn reopened(subject: &Subject<'_>) {
    let Some(reopen) = subject.reopen else { return };
    let world = (subject.make)();
    let a = held(&*world, row("a"), &holder("h"));
    world.reserve("kept", &a.run, a.fence).expect("works");
    let one = Commit {
        values: vec![("v".into(), Some(b"1".to_vec()))],
        hooks: vec![opens("t", b"info"), opens("u", b"")],
        create: vec![Create {
            row: row("b"),
            events: chunk(1, 2),
            claim: None,
            hooks: Vec::new(),
            messages: Vec::new(),
        }],
        send: vec![message(&id("b"), b"x")],
        meta: vec![("m".into(), Some(b"2".to_vec()))],
        ..turn(&a)
    };
    write_all(&*world, vec![commit(one)]);
    let world = reopen(world);
    assert_eq!(owner(&*world, "t"), Some(("a".into(), b"info".to_vec())));
    assert_eq!(world.values(&id("a")).expect("works"), [("v".to_owned(), b"1".to_vec())]);
    assert_eq!(messages(&*world, &id("b")), [(1, b"x".to_vec())]);
    assert_eq!(world.meta("m").expect("works"), Some(b"2".to_vec()));
    if !subject.leases {
        let claims = world.claim(&holder("i"), 50, 9).expect("works");
        let [a, b] = &claims[..] else { panic!("{claims:?}") };
        assert_eq!(world.reserve("kept", &b.run, b.fence).expect("works"), None);
        assert_eq!(world.reserve("t", &b.run, b.fence).expect("works"), Some(id("a")));
        change(&*world, a, vec![closes("u")]);
        write_all(&*world, vec![ends(a)]);
        assert_eq!((owner(&*world, "t"), owner(&*world, "u")), (None, None));
    }
    undamaged(&*world);
}
