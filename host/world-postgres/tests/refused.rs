//! Writes that the database cannot take: each is refused alone, whatever comes with it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use durhai::{Host, Status};
use durhai_world::{Chunk, Claim, Commit, Concurrency, Create, HookChange, NewMessage, Refused, World, Write, Written};
use durhai_world_postgres::PgWorld;

/// Good writes around each that is not.
const GOOD: usize = 50;

/// What an operator may have told the tables, beside what the server has for limits.
const RULES: &str = "
    alter table refused.chunk add check (octet_length(bytes) < 1000);
    alter table refused.message add check (octet_length(bytes) < 1000);
    alter table refused.run add check (rest not like '%poison%');
    create function refused.trigger() returns trigger language plpgsql as $$ begin raise exception 'no entries of three bytes' using errcode = 'AB001'; end $$;
    create trigger no_three before insert on refused.entry for each row when (octet_length(new.bytes) = 3) execute function refused.trigger();
";

fn commit(claim: &Claim, change: impl FnOnce(&mut Commit)) -> Write {
    let mut commit = Commit::new(claim.run.clone(), claim.fence);
    change(&mut commit);
    Write::Commit(Box::new(commit))
}

fn create(name: &str, change: impl FnOnce(&mut Create)) -> Write {
    let Write::Create(mut create) = new(name, None) else { unreachable!("it is a new run") };
    change(&mut create);
    Write::Create(create)
}

/// Longer than an index takes, and no shorter when it is compressed.
fn long_name() -> String {
    (0..3_000_u32).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 13) as u8 % 26)).collect()
}

/// Each way in which a write may not fit, with a word of why.
fn impossible(claim: &Claim) -> Vec<(&'static str, Write)> {
    let events = |count, bytes| Some(Chunk { first: 2, count, bytes });
    let mut ended = claim.row.clone();
    ended.status = durhai_core::Status::Completed;
    let mut noted = claim.row.clone();
    noted.note = "poison".into();
    let message = NewMessage { run: claim.run.clone(), at: 5, urgent: false, bytes: vec![7; 1_000] };
    vec![
        ("check constraint", commit(claim, |turn| turn.events = events(1, vec![7; 1_000]))),
        ("out of range", commit(claim, |turn| turn.events = events(u32::MAX, b"e".to_vec()))),
        (
            "check constraint",
            commit(claim, |turn| {
                turn.events = events(1, b"e".to_vec());
                turn.row = Some(noted);
            }),
        ),
        ("check constraint", commit(claim, |turn| turn.send.push(message.clone()))),
        ("check constraint", Write::Send(message)),
        ("no entries of three bytes", commit(claim, |turn| turn.append.push(("out".into(), b"bad".to_vec())))),
        ("check constraint", create("bad", |new| new.events.bytes = vec![7; 1_000])),
        ("check constraint", create("bad", |new| new.row.note = "poison".into())),
        ("check constraint", create("bad", |new| new.messages.push(vec![7; 1_000]))),
        ("at most 2000", create("bad", |new| new.row.workflow = long_name())),
        ("at most 2000", create("bad", |new| new.row.version = durhai_core::Version::from_digest(&long_name()))),
        ("at most 2000", create("bad", |new| new.hooks.push((long_name().into(), Vec::new())))),
        (
            "at most 2000",
            create("bad", |new| new.row.concurrency = Some(Concurrency { key: long_name(), limit: 1, priority: 0 })),
        ),
        ("at most 2000", commit(claim, |turn| turn.append.push((long_name().into(), Vec::new())))),
        ("at most 2000", commit(claim, |turn| turn.values.push((long_name().into(), Some(Vec::new()))))),
        ("at most 2000", commit(claim, |turn| turn.meta.push((long_name(), Some(Vec::new()))))),
        (
            "at most 2000",
            commit(claim, |turn| turn.hooks.push(HookChange::Open { token: long_name().into(), info: Vec::new() })),
        ),
        (
            "at most 2000",
            commit(claim, |turn| {
                turn.row = Some(ended);
                turn.leave = Some(long_name().into());
            }),
        ),
        // Its pages are never touched.
        ("expected at most", commit(claim, |turn| turn.events = events(1, vec![0; 300 << 20]))),
    ]
}

/// Writes of all kinds, of runs of their own.
fn good(claims: &[Claim], seq: u64, round: usize) -> Vec<Write> {
    let write = |(at, claim): (usize, &Claim)| match at % 5 {
        0 | 1 => turn(claim, seq),
        2 => full_turn(claim, seq),
        3 => new(&format!("new-{round}-{at}"), None),
        _ => Write::Send(NewMessage { run: claim.run.clone(), at: 5, urgent: false, bytes: b"m".to_vec() }),
    };
    claims.iter().enumerate().map(write).collect()
}

/// What was written behind a turn that was refused counts on it, also where it has no events: that it has dealt with a message, say, which the
/// refused turn had recorded.
#[test]
fn nothing_goes_through_behind_a_turn_that_is_refused() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let world = PgWorld::open(&cluster.url("refused")).expect("opens");
    let me = holder("me");
    for (name, apart) in [("together", false), ("apart", true)] {
        let (claim, other) = (held(&world, name, &me), held(&world, &format!("other-{name}"), &me));
        if name == "together" {
            sql(&cluster, RULES);
        }
        let message = || Write::Send(NewMessage { run: claim.run.clone(), at: 5, urgent: false, bytes: b"m".to_vec() });
        world.write(vec![message(), message()]).expect("works");
        let events = |bytes| Some(Chunk { first: 2, count: 1, bytes });
        let batch = vec![
            commit(&claim, |turn| (turn.events, turn.inbox_taken) = (events(vec![7; 1_000]), Some(1))),
            turn(&other, 2),
            commit(&claim, |turn| turn.inbox_taken = Some(2)),
            Write::Release { run: claim.run.clone(), fence: claim.fence },
            turn(&other, 3),
        ];
        let answers = match apart {
            false => world.write(batch).expect("works"),
            true => batch.into_iter().flat_map(|write| world.write(vec![write]).expect("works")).collect(),
        };
        let fenced =
            |answer: &Result<Written, Refused>| matches!(answer, Err(Refused::Fenced(run)) if *run == claim.run);
        assert!(matches!(&answers[0], Err(Refused::Invalid { .. })), "{answers:?}");
        assert!(answers[1].is_ok() && fenced(&answers[2]) && fenced(&answers[3]) && answers[4].is_ok(), "{answers:?}");
        assert_eq!(world.inbox(&claim.run, 0, 10).expect("works").len(), 2, "nothing was lost");
        // What becomes of the run is said, and it is given back.
        let parked = commit(&claim, |turn| turn.row = Some(claim.row.clone()));
        let release = Write::Release { run: claim.run.clone(), fence: claim.fence };
        assert!(world.write(vec![parked, release]).expect("works").iter().all(Result::is_ok));
    }
}

#[test]
fn a_write_that_the_database_cannot_take_is_refused_alone() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let world = PgWorld::open(&cluster.url("refused")).expect("opens");
    let me = holder("me");
    let claims: Vec<Claim> = (0..GOOD).map(|number| held(&world, &format!("run-{number}"), &me)).collect();
    sql(&cluster, RULES);
    let rounds = impossible(&claims[0]).len();
    for round in 0..rounds {
        let bad = held(&world, &format!("bad-{round}"), &me);
        let (why, write) = impossible(&bad).swap_remove(round);
        let run = match &write {
            Write::Create(create) => create.row.run.clone(),
            _ => bad.run.clone(),
        };
        let mut batch = good(&claims, 2 + round as u64, round);
        let place = round * 7 % GOOD;
        batch.insert(place, write);
        for (at, answer) in world.write(batch).expect("the world goes on").into_iter().enumerate() {
            match answer {
                Err(Refused::Invalid { run: named, why: said }) if at == place => {
                    assert!(named == run && said.contains(why), "round {round}: {named}: {said}, expected {why}");
                }
                answer if at == place => panic!("round {round}: {answer:?}, expected a refusal for {why}"),
                answer => drop(answer.unwrap_or_else(|refused| panic!("round {round}, write {at}: {refused}"))),
            }
        }
        // Nothing of it is there, and what is right of the same run still fits, once it was said what becomes of the run.
        assert_log(&world, &bad.run, 1);
        let said = commit(&bad, |turn| turn.row = Some(bad.row.clone()));
        assert!(matches!(world.write(vec![said, turn(&bad, 2)]).expect("works")[1], Ok(Written::Committed(_))));
    }
    let ends = 1 + rounds as u64;
    for claim in claims.iter().enumerate().filter(|(at, _)| at % 5 < 3).map(|(_, claim)| claim) {
        assert_log(&world, &claim.run, ends);
    }
    assert_eq!(world.row(&id("bad")).expect("works"), None);
    assert_eq!(sql(&cluster, "select count(*), bool_or(dead) from refused.host"), "1|f", "it is the same host");
    let mut damage = Vec::new();
    world.verify(&mut |line| damage.push(line)).expect("works");
    assert_eq!(damage, [""; 0]);
}

/// Several of them in one batch, and several writes of one run behind one that is refused.
#[test]
fn what_follows_a_refused_write_of_the_same_run_is_refused() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let world = PgWorld::open(&cluster.url("refused")).expect("opens");
    let me = holder("me");
    let claims: Vec<Claim> = (0..8).map(|number| held(&world, &format!("run-{number}"), &me)).collect();
    sql(&cluster, RULES);
    let large =
        |claim: &Claim| commit(claim, |turn| turn.events = Some(Chunk { first: 2, count: 1, bytes: vec![7; 1_000] }));
    let mut batch: Vec<Write> = claims.iter().map(|claim| turn(claim, 2)).collect();
    batch[1] = large(&claims[1]);
    batch[6] = large(&claims[6]);
    batch.extend(claims.iter().map(|claim| turn(claim, 3)));
    let answers = world.write(batch).expect("the world goes on");
    for (at, answer) in answers.iter().enumerate() {
        let (run, bad) = (&claims[at % 8].run, [1, 6].contains(&(at % 8)));
        match answer {
            Ok(_) => assert!(!bad, "write {at}"),
            Err(Refused::Invalid { run: named, .. }) => assert!(bad && at < 8 && named == run, "write {at}"),
            Err(Refused::Fenced(named)) => assert!(bad && at >= 8 && named == run, "write {at}"),
            Err(other) => panic!("write {at}: {other}"),
        }
    }
    claims
        .iter()
        .enumerate()
        .for_each(|(at, claim)| assert_log(&world, &claim.run, if [1, 6].contains(&at) { 1 } else { 3 }));
}

/// The run is parked, which says why, and its host goes on with the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_goes_on_when_the_database_refuses_a_turn() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let url = cluster.url("refused");
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&url)).expect("opens"));
    sql(&cluster, RULES);
    let text = r#"let x = use_step("letters", input); x.len()"#;
    let builder = Host::builder().shared_world(world).workflow("w", text);
    let host = builder
        .step("letters", |_, count: usize| async move { Ok::<_, durhai::StepError>("x".repeat(count)) })
        .start()
        .await;
    let host = host.expect("it starts");
    let mut runs = Vec::new();
    for number in 0..10 {
        // The result of this one is more than a row of the log may have.
        let input = if number == 5 { 2_000 } else { 2 };
        let run = host.run("w").id(format!("r{number}")).input(&input).start().await.expect("it starts");
        runs.push(run);
    }
    let bad = runs.remove(5);
    for run in runs {
        let output: i64 =
            tokio::time::timeout(Duration::from_secs(120), run.output()).await.expect("it ends").expect("and well");
        assert_eq!(output, 2);
    }
    let said = tokio::time::timeout(Duration::from_secs(120), bad.output::<i64>()).await.expect("it is told");
    let said = said.expect_err("it is parked").to_string();
    assert!(said.contains("r5") && said.contains("check constraint"), "{said}");
    assert_eq!(bad.status().await.expect("it is there"), Status::Parked);
    host.shutdown().await;
}
