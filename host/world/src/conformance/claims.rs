//! Who may have a run, and when.

use durhai_core::Status;

use super::tools::*;
use super::{Cases, Dice, Subject};
use crate::{Commit, Creation, MemoryWorld, Places, Refused, Row, World, Write, Written};

pub const CASES: Cases = &[
    ("claim: earliest first, up to the limit, nothing twice", order),
    ("claim: what is not due is left", not_due),
    ("claim: a message wakes", message_wakes),
    ("claim: messages of a held run count when it is given back", messages_while_held),
    ("claim: a row's wake_at counts when the run is given back", wake_at_while_held),
    ("claim: a clean release is no try", release_is_no_try),
    ("claim_run: due or not, but not held, ended or unknown", claim_run),
    ("next_wake: the earliest of those nobody holds", next_wake),
    ("leases: a claim ends with its lease", leases),
    ("leases: renew keeps everything a holder has", renew),
    ("leases: a holder that is late dies as a whole and for good", dies_as_a_whole),
    ("leases: one holder at a time has a duty", duties),
    ("leases: holders share the places of a limit", places),
    ("leases: never more places than there are", random_places),
    ("death: what was held is claimed again with one more try", death),
    ("death: progress starts the tries again", progress),
    ("reopen: everything is still there", reopen),
];

fn order(subject: &Subject<'_>) {
    let world = (subject.make)();
    let at = |name: &str, wake_at| new(Row { wake_at: Some(wake_at), ..row(name) }, None);
    write_all(&*world, vec![at("e", 50), at("c", 30), at("d", 40), at("a", 0), at("f", 60), at("b", 20)]);
    assert_eq!(claimed(&*world, &holder("h"), 55, 0), [""; 0]);
    assert_eq!(claimed(&*world, &holder("h"), 55, 2), ["a", "b"]);
    write_all(&*world, vec![at("late", 10), at("g", 50)]);
    assert_eq!(claimed(&*world, &holder("i"), 55, 3), ["late", "c", "d"]);
    assert_eq!(claimed(&*world, &holder("h"), 55, 9), ["e", "g"]);
    assert_eq!(claimed(&*world, &holder("h"), 55, 9), [""; 0]);
    assert_eq!(claimed(&*world, &holder("h"), 60, 9), ["f"]);
    // The same moment: as they were created, whatever their names.
    write_all(&*world, vec![at("z", 70), at("y", 70), at("x", 70)]);
    assert_eq!(claimed(&*world, &holder("h"), 70, 2), ["z", "y"]);
    undamaged(&*world);
}

fn not_due(subject: &Subject<'_>) {
    let world = (subject.make)();
    held(&*world, row("held"), &holder("h"));
    let done = held(&*world, row("done"), &holder("h"));
    write_all(
        &*world,
        vec![
            ends(&done),
            new(Row { wake_at: Some(100), ..row("later") }, None),
            new(Row { wake_at: Some(u64::MAX), ..row("never") }, None),
            new(Row { wake_at: None, status: Status::Parked, ..row("parked") }, None),
        ],
    );
    assert_eq!(claimed(&*world, &holder("i"), 99, 9), [""; 0]);
    assert_eq!(claimed(&*world, &holder("i"), 100, 9), ["later"]);
    // A clock that goes back takes nothing early.
    write_all(&*world, vec![new(Row { wake_at: Some(100), ..row("other") }, None)]);
    assert_eq!(claimed(&*world, &holder("i"), 50, 9), [""; 0]);
    assert_eq!(claimed(&*world, &holder("i"), 100, 9), ["other"]);
    // A parked run waits for an operator: messages for it are kept, and do not wake it.
    write_all(&*world, vec![send(&id("parked"), b"1")]);
    assert_eq!(world.next_wake().expect("works"), Some(u64::MAX));
    assert_eq!(claimed(&*world, &holder("i"), 100, 9), [""; 0]);
    let claim = world.claim_run(&id("parked"), &holder("i"), 100).expect("works").expect("nobody holds it");
    let freed = Row { status: Status::Pending, wake_at: None, ..claim.row.clone() };
    write_all(&*world, vec![commit(Commit { row: Some(freed), ..turn(&claim) }), release(&claim)]);
    assert_eq!(claimed(&*world, &holder("i"), 100, 9), ["parked"]);
    undamaged(&*world);
}

fn message_wakes(subject: &Subject<'_>) {
    let world = (subject.make)();
    write_all(
        &*world,
        vec![
            new(Row { wake_at: None, ..row("silent") }, None),
            new(Row { wake_at: Some(500), status: Status::Waiting, ..row("asleep") }, None),
            new(Row { wake_at: Some(3), ..row("soon") }, None),
        ],
    );
    assert_eq!(world.next_wake().expect("works"), Some(3));
    write_all(&*world, vec![send(&id("asleep"), b"1"), send(&id("silent"), b"1"), send(&id("silent"), b"2")]);
    assert_eq!(world.next_wake().expect("works"), Some(0));
    assert_eq!(claimed(&*world, &holder("h"), 5, 9), ["silent", "asleep", "soon"]);
    undamaged(&*world);
}

fn messages_while_held(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, Row { wake_at: None, ..row("a") }, &holder("h"));
    write_all(&*world, vec![send(&id("a"), b"1"), send(&id("a"), b"2")]);
    assert_eq!(world.next_wake().expect("works"), None);
    assert_eq!(claimed(&*world, &holder("i"), 5, 9), [""; 0]);
    let one = Commit { inbox_taken: Some(1), ..turn(&claim) };
    write_all(&*world, vec![commit(one), release(&claim)]);
    assert_eq!(world.next_wake().expect("works"), Some(0));
    let claim = claim_one(&*world, &holder("i"), 5);
    let two = Commit { inbox_taken: Some(2), ..turn(&claim) };
    write_all(&*world, vec![commit(two), release(&claim)]);
    assert_eq!(world.next_wake().expect("works"), None);
    assert_eq!(claimed(&*world, &holder("i"), 5, 9), [""; 0]);
    undamaged(&*world);
}

fn wake_at_while_held(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    let sleeps = |claim: &crate::Claim, until| becomes(claim, |row| row.wake_at = until);
    write_all(&*world, vec![sleeps(&claim, Some(700)), sleeps(&claim, Some(300)), release(&claim)]);
    assert_eq!(world.next_wake().expect("works"), Some(300));
    assert_eq!(claimed(&*world, &holder("h"), 299, 9), [""; 0]);
    let claim = claim_one(&*world, &holder("h"), 300);
    assert_eq!(claim.row.wake_at, Some(300));
    write_all(&*world, vec![sleeps(&claim, None), release(&claim)]);
    assert_eq!(world.next_wake().expect("works"), None);
    assert_eq!(claimed(&*world, &holder("h"), u64::MAX, 9), [""; 0]);
    let claim = world.claim_run(&id("a"), &holder("h"), 0).expect("works").expect("free");
    write_all(&*world, vec![release(&claim), send(&id("a"), b"x")]);
    claim_one(&*world, &holder("h"), 0);
    undamaged(&*world);
}

fn release_is_no_try(subject: &Subject<'_>) {
    let world = (subject.make)();
    let mut claim = held(&*world, row("a"), &holder("h"));
    for _ in 0..3 {
        assert_eq!(write(&*world, release(&claim)), Ok(Written::Released));
        claim = claim_one(&*world, &holder("h"), 0);
        assert_eq!(claim.tries, 0);
    }
}

fn claim_run(subject: &Subject<'_>) {
    let world = (subject.make)();
    let take = |name: &str| world.claim_run(&id(name), &holder("h"), 5).expect("works");
    assert_eq!(take("nobody"), None);
    write_all(&*world, vec![new(Row { wake_at: Some(900), ..row("later") }, None)]);
    let claim = take("later").expect("free");
    assert_eq!((claim.last_seq, claim.row.wake_at), (2, Some(900)));
    assert_eq!(take("later"), None);
    assert_eq!(claimed(&*world, &holder("i"), 999, 9), [""; 0]);
    assert_eq!(world.next_wake().expect("works"), None);
    assert_eq!(write(&*world, events(&claim, 3, 1)), Ok(Written::Committed(vec![])));
    write_all(&*world, vec![ends(&claim)]);
    assert_eq!(take("later"), None);
    undamaged(&*world);
}

fn next_wake(subject: &Subject<'_>) {
    let world = (subject.make)();
    let next = || world.next_wake().expect("works");
    assert_eq!(next(), None);
    write_all(&*world, vec![new(Row { wake_at: Some(900), ..row("c") }, None)]);
    assert_eq!(next(), Some(900));
    let claim = held(&*world, Row { wake_at: Some(100), ..row("a") }, &holder("h"));
    assert_eq!(next(), Some(900));
    write_all(&*world, vec![new(Row { wake_at: Some(500), ..row("b") }, None)]);
    assert_eq!(next(), Some(500));
    write_all(&*world, vec![release(&claim)]);
    assert_eq!(next(), Some(100));
    assert_eq!(claimed(&*world, &holder("h"), 600, 9), ["a", "b"]);
    assert_eq!(next(), Some(900));
}

fn leases(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    write_all(&*world, vec![new(Row { wake_at: Some(20), ..row("a") }, None)]);
    let first = claim_one(&*world, &holder("h"), 100);
    assert_eq!(claimed(&*world, &holder("i"), 100 + LEASE, 9), [""; 0]);
    assert_eq!(world.claim_run(&id("a"), &holder("i"), 100 + LEASE).expect("works"), None);
    // The holder is late but no host has taken its place.
    assert_eq!(write(&*world, events(&first, 3, 1)), Ok(Written::Committed(vec![])));
    let second = claim_one(&*world, &holder("i"), 101 + LEASE);
    assert!(second.fence > first.fence);
    assert_eq!((second.tries, second.last_seq), (1, 3));
    assert_eq!(write(&*world, events(&first, 4, 1)), Err(Refused::Fenced(id("a"))));
    assert_eq!(write(&*world, release(&first)), Err(Refused::Fenced(id("a"))));
    assert_eq!(write(&*world, events(&second, 4, 1)), Ok(Written::Committed(vec![])));
    let third = world.claim_run(&id("a"), &holder("j"), 102 + 2 * LEASE).expect("works").expect("free");
    assert_eq!(third.tries, 2);
    // At creation the lease counts from the row's time.
    held(&*world, Row { created_at: 5000, ..row("b") }, &holder("k"));
    assert_eq!(world.claim_run(&id("b"), &holder("i"), 5000 + LEASE).expect("works"), None);
    assert!(world.claim_run(&id("b"), &holder("l"), 5001 + LEASE).expect("works").is_some());
}

/// Also what no other holder has taken since; also a holder that has nothing.
fn dies_as_a_whole(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    let renewed = |name: &str, now| world.renew(&holder(name), now).expect("works").alive;
    write_all(
        &*world,
        vec![
            new(row("a"), None),
            new(row("b"), None),
            new(Row { wake_at: Some(9000), status: Status::Waiting, ..row("c") }, None),
        ],
    );
    let claims = world.claim(&holder("late"), 100, 9).expect("works");
    assert_eq!(claims.len(), 2);
    let c = world.claim_run(&id("c"), &holder("late"), 100).expect("works").expect("free");
    assert!(renewed("idle", 100) && renewed("other", 100));
    assert!(renewed("other", 100 + LEASE));
    assert!(renewed("late", 100 + LEASE), "nobody has looked when it was late");
    assert!(renewed("other", 101 + LEASE), "this ends the one that has nothing");
    assert!(!renewed("idle", 102 + LEASE));
    assert_eq!(write(&*world, events(&claims[0], 3, 1)), Ok(Written::Committed(vec![])));
    // Its lease ends; the one that looks asks for one run.
    let now = 102 + 2 * LEASE;
    let taken = world.claim_run(&id("a"), &holder("other"), now).expect("works").expect("free");
    assert_eq!((taken.tries, taken.last_seq), (1, 3));
    assert!(!renewed("late", now));
    for claim in claims.iter().chain([&c]) {
        let fenced = Err(Refused::Fenced(claim.run.clone()));
        assert_eq!(write(&*world, events(claim, claim.last_seq + 1, 1)), fenced);
        assert_eq!(write(&*world, release(claim)), fenced);
        assert_eq!(world.reserve("token", &claim.run, claim.fence).expect("works"), None);
    }
    // It gets nothing any more, and what it creates waits for another.
    assert_eq!(claimed(&*world, &holder("late"), now, 9), [""; 0]);
    assert_eq!(world.claim_run(&id("c"), &holder("late"), now).expect("works"), None);
    assert_eq!(
        write(&*world, new(Row { created_at: now, ..row("d") }, Some(&holder("late")))),
        Ok(Written::Created(None))
    );
    let started = new(Row { created_at: now, ..row("e") }, Some(&holder("late")));
    let Write::Create(create) = started else { unreachable!("it is made above") };
    let parent = Commit { create: vec![*create], ..turn(&taken) };
    assert_eq!(write(&*world, commit(parent)), Ok(Written::Committed(vec![Creation::Waits])));
    assert_eq!(claimed(&*world, &holder("other"), now, 9), ["b", "d", "e"]);
    // A message for what is free wakes it.
    write_all(&*world, vec![send(&id("c"), b"1")]);
    let c = claim_one(&*world, &holder("other"), now);
    assert_eq!((c.run.as_str(), c.tries), ("c", 1));
    undamaged(&*world);
}

fn renew(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    write_all(&*world, vec![new(row("a"), None), new(row("b"), None), new(row("c"), None)]);
    assert_eq!(claimed(&*world, &holder("h"), 0, 2), ["a", "b"]);
    assert_eq!(claimed(&*world, &holder("i"), 0, 9), ["c"]);
    world.renew(&holder("h"), 900).expect("works");
    assert_eq!(claimed(&*world, &holder("j"), 901 + LEASE - 1, 9), ["c"]);
    assert_eq!(claimed(&*world, &holder("j"), 901 + LEASE, 9), ["a", "b"]);
}

fn duties(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    let has = |name: &str, holder_name: &str| world.duty(name, &holder(holder_name)).expect("works");
    for name in ["h", "i"] {
        assert!(world.renew(&holder(name), 100).expect("works").alive);
    }
    assert!(has("clean", "h") && !has("clean", "i") && has("look", "i") && has("clean", "h") && !has("look", "h"));
    // Several at a time; what is not asked for any more is for another one.
    let several = |names: &[&str], holder_name: &str| {
        let names: Vec<_> = names.iter().map(|name| format!("s/{name}")).collect();
        world.duties("s/", &names, &holder(holder_name)).expect("works")
    };
    assert_eq!(several(&["a", "b\0\\"], "h"), [true, true]);
    assert_eq!(several(&["b\0\\", "c"], "i"), [false, true]);
    assert_eq!((several(&[], "j"), several(&["b\0\\"], "h")), (vec![], vec![true]));
    assert_eq!(several(&["a", "b\0\\", "c"], "i"), [true, false, true]);
    assert!(has("clean", "h") && !has("clean", "i"), "what has another name stays");
    assert!(world.renew(&holder("i"), 101 + LEASE).expect("works").alive);
    assert!(!has("clean", "h"), "it is dead");
    assert!(has("clean", "i") && has("look", "i"));
}

fn places(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    let ask = |name: &str, most: u32, wanted: u32| {
        let Places { held, share } = world.places("l", &holder(name), most, wanted).expect("works");
        (held, share)
    };
    for name in ["h", "i", "j"] {
        assert!(world.renew(&holder(name), 100).expect("works").alive);
    }
    // One alone gets all, and keeps it; another one that waits is heard of, and gets what becomes free.
    assert_eq!((ask("h", 4, 9), ask("h", 4, 9)), ((4, 4), (4, 4)));
    assert_eq!(ask("i", 4, 9), (0, 0));
    assert_eq!(ask("h", 4, 9), (4, 2));
    assert_eq!(ask("h", 4, 3), (3, 2));
    assert_eq!((ask("i", 4, 9), ask("h", 4, 2)), ((1, 1), (2, 2)));
    assert_eq!((ask("i", 4, 9), ask("i", 4, 2)), ((2, 2), (2, 2)));
    // Nobody waits any more: the one that could use more gets what is free, and no more than that.
    assert_eq!((ask("i", 4, 1), ask("h", 4, 9), ask("i", 4, 1)), ((1, 1), (3, 3), (1, 1)));
    // Other limits are other places; a smaller limit takes nothing away.
    assert_eq!(world.places("other", &holder("i"), 2, 1).expect("works"), Places { held: 1, share: 1 });
    assert_eq!((ask("h", 1, 9), ask("h", 1, 0), ask("i", 1, 0)), ((3, 3), (0, 0), (0, 0)));
    // More holders than places: the first that waits comes first, and each gives its place back.
    assert_eq!((ask("h", 1, 2), ask("i", 1, 2), ask("j", 1, 2)), ((1, 1), (0, 0), (0, 0)));
    assert_eq!((ask("h", 1, 2), ask("h", 1, 0)), ((1, 0), (0, 0)));
    assert_eq!((ask("j", 1, 2), ask("h", 1, 2), ask("i", 1, 2)), ((0, 0), (0, 0), (1, 0)));
    // The dead have none, and get none.
    assert!(world.renew(&holder("j"), 101 + LEASE).expect("works").alive);
    assert_eq!((ask("j", 1, 1), ask("i", 1, 1), ask("h", 1, 1)), ((1, 1), (0, 0), (0, 0)));
    world.leave(&holder("j")).expect("works");
    let next = holder("k");
    assert!(world.renew(&next, 102 + LEASE).expect("works").alive);
    assert_eq!(world.places("l", &next, 1, 1).expect("works"), Places { held: 1, share: 1 });
}

/// Whatever holders ask for: the places are enough, and a holder loses none that it did not give back.
fn random_places(subject: &Subject<'_>) {
    if !subject.leases {
        return;
    }
    let world = (subject.make)();
    let mut dice = Dice(7);
    let names = ["h", "i", "j", "k"];
    for name in names {
        assert!(world.renew(&holder(name), 100).expect("works").alive);
    }
    let (mut held, most) = ([0u32; 4], 5);
    let specification = MemoryWorld::new();
    for step in 0..300 {
        let who = dice.below(4) as usize;
        let wanted = dice.below(8) as u32;
        let asked = |world: &dyn World| world.places("l", &holder(names[who]), most, wanted).expect("works");
        let places = asked(&*world);
        assert_eq!(places, asked(&specification), "step {step}");
        assert!(places.held >= held[who].min(wanted) && places.held <= wanted, "step {step}: {places:?}");
        held[who] = places.held;
        assert!(held.iter().sum::<u32>() <= most && places.share <= places.held, "step {step}: {held:?}");
    }
}

/// Makes the death of a holder known to the world, and says what time it is then.
fn dies(subject: &Subject<'_>, world: Box<dyn World>, now: &mut u64) -> Option<Box<dyn World>> {
    if subject.leases {
        *now += LEASE + 1;
        return Some(world);
    }
    Some((subject.reopen?)(world))
}

fn death(subject: &Subject<'_>) {
    let mut now = 20;
    let world = (subject.make)();
    let created = held(&*world, row("a"), &holder("h0"));
    held(&*world, Row { wake_at: Some(1 << 40), ..row("asleep") }, &holder("h0"));
    let given = held(&*world, row("given-back"), &holder("h0"));
    let over = held(&*world, row("over"), &holder("h0"));
    write_all(&*world, vec![release(&given), ends(&over)]);
    let Some(mut world) = dies(subject, world, &mut now) else { return };
    let mut fence = created.fence;
    for tries in 1..=6 {
        let me = holder(&format!("h{tries}"));
        let claims = world.claim(&me, now, 9).expect("works");
        let found: Vec<_> = claims.iter().map(|claim| (claim.run.as_str(), claim.tries)).collect();
        assert_eq!(found, [("a", tries), ("given-back", tries - 1)]);
        assert!(claims[0].fence > fence);
        fence = claims[0].fence;
        // Committing alone is no progress.
        let seq = claims[0].last_seq + 1;
        write_all(&*world, vec![events(&claims[0], seq, 1)]);
        let Some(next) = dies(subject, world, &mut now) else { return };
        world = next;
    }
    let asleep = world.claim_run(&id("asleep"), &holder("h9"), now).expect("works").expect("free");
    assert_eq!(asleep.tries, 1);
    undamaged(&*world);
}

fn progress(subject: &Subject<'_>) {
    let mut now = 20;
    let world = (subject.make)();
    held(&*world, row("a"), &holder("h0"));
    let Some(world) = dies(subject, world, &mut now) else { return };
    let claim = claim_one(&*world, &holder("h1"), now);
    assert_eq!(claim.tries, 1);
    write_all(&*world, vec![release(&claim)]);
    let claim = claim_one(&*world, &holder("h2"), now);
    assert_eq!(claim.tries, 1, "a release leaves the tries");
    write_all(&*world, vec![commit(Commit { progress: true, ..turn(&claim) })]);
    let Some(world) = dies(subject, world, &mut now) else { return };
    let claim = claim_one(&*world, &holder("h3"), now);
    assert_eq!(claim.tries, 1, "one death since the progress");
    write_all(&*world, vec![commit(Commit { progress: true, ..turn(&claim) }), release(&claim)]);
    assert_eq!(claim_one(&*world, &holder("h4"), now).tries, 0);
    undamaged(&*world);
}

fn reopen(subject: &Subject<'_>) {
    let Some(reopen) = subject.reopen else { return };
    let world = (subject.make)();
    let claim = held(&*world, Row { wake_at: Some(40), ..row("a") }, &holder("h"));
    write_all(
        &*world,
        vec![
            events(&claim, 3, 4),
            entry(&claim, "out", b"0"),
            send(&id("a"), b"1"),
            send(&id("a"), b"2"),
            commit(Commit { inbox_taken: Some(2), ..turn(&claim) }),
            becomes(&claim, |row| row.status = Status::Waiting),
            release(&claim),
        ],
    );
    world.put_meta("k", b"v").expect("works");
    let world = reopen(world);
    assert_eq!(world.meta("k").expect("works"), Some(b"v".to_vec()));
    assert_eq!(log(&*world, &id("a")), [chunk(1, 2), chunk(3, 4)]);
    assert_eq!(world.next_wake().expect("works"), Some(40));
    assert_eq!(write(&*world, send(&id("a"), b"3")), Ok(Written::Sent(3)));
    let again = claim_one(&*world, &holder("i"), 0);
    assert!(again.fence > claim.fence, "{} > {}", again.fence, claim.fence);
    assert_eq!((again.tries, again.last_seq, again.row.status), (0, 6, Status::Waiting));
    write_all(&*world, vec![events(&again, 7, 1), entry(&again, "out", b"1")]);
    assert_eq!(world.stream(&id("a"), "out", 0, 9).expect("works"), [b"0", b"1"]);
    undamaged(&*world);
}
