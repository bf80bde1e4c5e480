//! Several processes on one database, and connections and servers that go away in the middle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::common::*;
use crate::proxy::Proxy;
use durhai_world::{NewMessage, Notice, Refused, World, Write, Written};
use durhai_world_postgres::PgWorld;

/// How long something that must happen may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn heard(world: &PgWorld) -> mpsc::Receiver<Notice> {
    let (tx, rx) = mpsc::channel();
    world.watch(Arc::new(move |notice| drop(tx.send(notice))));
    rx
}

fn wait_for(heard: &mpsc::Receiver<Notice>, notice: &Notice) {
    while heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody told of {notice:?}")) != *notice {}
}

/// The first host of the address takes connections and never says a word, as a machine behind a firewall does, or one that stands still.
#[test]
fn the_next_host_of_the_address_is_tried() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it has one").port();
    let url = cluster.url("next").replace("127.0.0.1:", &format!("127.0.0.1:{port},127.0.0.1:"));
    let world = PgWorld::open(&format!("{url}&connect_timeout=1")).expect("the second answers");
    held(&world, "a", &holder("me"));
    assert!(world.row(&id("a")).expect("works").is_some());
}

#[test]
fn hosts_hear_of_messages_and_of_what_is_due() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let open = || PgWorld::open(&cluster.url("news")).expect("opens");
    let (one, other) = (open(), open());
    let me = holder("me");
    held(&one, "a", &me);
    held(&one, "parent", &me);
    let news = heard(&one);
    // Until the first process listens, nothing can be told to it.
    while sql(
        &cluster,
        "select count(*) from pg_stat_activity where query like '%listen durhai%' or query like '%pg_notify%'",
    )
    .trim()
        == "0"
    {
        std::thread::yield_now();
    }
    let sent = NewMessage { run: id("a"), at: 5, urgent: false, bytes: b"hello".to_vec() };
    loop {
        assert!(matches!(other.write(vec![Write::Send(sent.clone())]).expect("works")[0], Ok(Written::Sent(_))));
        // A listener that was not there yet heard nothing of the first.
        match news.recv_timeout(Duration::from_secs(1)) {
            Ok(Notice::Message(run)) if run == id("a") => break,
            _ => {}
        }
    }
    // A process that claims nothing tells those that do.
    other.write(vec![new("b", None)]).expect("works");
    wait_for(&news, &Notice::Due);
    assert_eq!(one.claim(&me, 100, 9).expect("works").len(), 0, "b waits for nothing");
    // With a turn of another run, too.
    let you = holder("you");
    let child = held(&other, "child", &you);
    let mut commit = durhai_world::Commit::new(child.run.clone(), child.fence);
    commit.send.push(NewMessage { run: id("parent"), at: 5, urgent: false, bytes: b"done".to_vec() });
    other.write(vec![Write::Commit(Box::new(commit))]).expect("works")[0].as_ref().expect("accepted");
    wait_for(&news, &Notice::Message(id("parent")));
}

#[test]
fn a_host_that_was_buried_writes_nothing_more() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let open = || PgWorld::open(&cluster.url("buried")).expect("opens");
    let (one, other) = (open(), open());
    let (me, you) = (holder("me"), holder("you"));
    let (a, b) = (held(&one, "a", &me), held(&one, "b", &me));
    one.write(vec![turn(&a, 2), full_turn(&b, 2)]).expect("works");
    assert!(other.renew(&you, 0).expect("works").alive);
    // What it holds is not free yet.
    sql(&cluster, "select buried.die_1(id)::text from buried.host where label like 'process%' and id = 1");
    // It does not know. What is none of its claims goes through all the same.
    let batch = vec![turn(&a, 3), full_turn(&b, 3), new("c", Some(&me)), turn(&a, 4)];
    let answers = one.write(batch).expect("works");
    let fenced = |name| Err(Refused::Fenced(id(name)));
    assert_eq!(answers, [fenced("a"), fenced("b"), Ok(Written::Created(None)), fenced("a")]);
    assert_log(&other, &id("a"), 2);
    assert!(!one.renew(&me, 0).expect("works").alive);
    assert!(other.renew(&you, 0).expect("works").alive, "this frees what the dead host held");
    assert!(one.claim(&me, 100, 9).expect("works").is_empty());
    // Under its next name it goes on.
    let anew = holder("anew");
    assert!(one.renew(&anew, 0).expect("works").alive);
    let claim = one.claim_run(&id("a"), &anew, 100).expect("works").expect("free");
    assert_eq!((claim.tries, claim.last_seq), (1, 2));
    one.write(vec![turn(&claim, 3)]).expect("works")[0].as_ref().expect("accepted");
    assert_log(&other, &id("a"), 3);
    let mut damage = Vec::new();
    one.verify(&mut |line| damage.push(line)).expect("works");
    assert_eq!(damage, [""; 0]);
}

#[test]
fn a_process_that_ends_frees_what_it_had() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let open = || PgWorld::open(&cluster.url("ends")).expect("opens");
    let (one, other) = (open(), open());
    held(&one, "a", &holder("me"));
    let you = holder("you");
    assert_eq!(other.claim_run(&id("a"), &you, 0).expect("works"), None);
    drop(one);
    assert!(other.claim_run(&id("a"), &you, 0).expect("works").is_some());
}

/// Writes turns of many runs, plain and not, until it is told to end; each acknowledged turn must be there once.
fn writes_through(cluster: &str, trouble: impl FnOnce(&AtomicU64)) {
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let world = PgWorld::open(cluster).expect("opens");
    let me = holder("me");
    let claims: Vec<_> = (0..8).map(|number| held(&world, &format!("run-{number}"), &me)).collect();
    let ends = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut ends = vec![1_u64; claims.len()];
            let mut round = 0_usize;
            while !done.load(Ordering::SeqCst) {
                round += 1;
                let mut batch = Vec::new();
                for (number, claim) in
                    claims.iter().enumerate().filter(|(number, _)| !(number + round).is_multiple_of(3))
                {
                    ends[number] += 1;
                    let full = round.is_multiple_of(5) && number.is_multiple_of(2);
                    batch.push(if full { full_turn(claim, ends[number]) } else { turn(claim, ends[number]) });
                }
                batch.push(new(&format!("other-{round}"), None));
                let count = batch.len() as u64;
                for answer in world.write(batch).expect("the world waits for its server") {
                    answer.expect("accepted, and once");
                }
                written.fetch_add(count, Ordering::SeqCst);
            }
            (ends, round)
        });
        trouble(&written);
        done.store(true, Ordering::SeqCst);
        writer.join().expect("the writer ends")
    });
    let (ends, rounds) = ends;
    for (claim, end) in claims.iter().zip(ends) {
        assert_log(&world, &claim.run, end);
    }
    let counts: u64 = world.run_counts().expect("works").iter().map(|count| count.runs).sum();
    assert_eq!(counts, (claims.len() + rounds) as u64, "each run was created once");
    let mut damage = Vec::new();
    world.verify(&mut |line| damage.push(line)).expect("works");
    assert_eq!(damage, [""; 0]);
}

fn wait_until(written: &AtomicU64, count: u64) {
    let began = std::time::Instant::now();
    while written.load(Ordering::SeqCst) < count {
        assert!(began.elapsed() < PATIENCE, "{} writes, expected {count}", written.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nearly all answers that are lost here are to batches: those were committed, and must not be again.
#[test]
fn a_batch_whose_answer_is_lost_is_committed_once() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let proxy = Proxy::start(cluster.port());
    writes_through(&proxy.url(&cluster.url("lost"), cluster.port()), |written| {
        for _ in 0..60 {
            wait_until(written, written.load(Ordering::SeqCst) + 7);
            proxy.swallow();
            while !proxy.has_swallowed() {
                std::thread::yield_now();
            }
        }
        wait_until(written, written.load(Ordering::SeqCst) + 20);
    });
}

#[test]
fn a_batch_is_committed_once_whatever_becomes_of_its_connection() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    writes_through(&cluster.url("cut"), |written| {
        for cut in 1..=40 {
            wait_until(written, written.load(Ordering::SeqCst) + 10 + cut % 7);
            sql(&cluster, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'durhai'");
        }
    });
}

#[test]
fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(mut cluster) = cluster(&[]) else { return };
    let url = cluster.url("killed");
    writes_through(&url, |written| {
        for kill in 1..=3 {
            wait_until(written, written.load(Ordering::SeqCst) + 100 * kill);
            cluster.kill().expect("it ends");
            cluster.begin().expect("it starts again");
        }
        wait_until(written, written.load(Ordering::SeqCst) + 100);
    });
}
