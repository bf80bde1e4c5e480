//! That no question walks through a large table: the server tells the plan of every statement, those inside of functions too.

use std::collections::BTreeSet;

use crate::common::*;
use durhai_core::Status;
use durhai_world::{Commit, NewMessage, Query, Row, World, Write};
use durhai_world_postgres::PgWorld;

/// So often each is asked: from the sixth time on the server may take a plan that knows no parameters.
const TIMES: u64 = 8;

const SETTINGS: [&str; 5] = [
    "fsync=off",
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_nested_statements=on",
    "jit=off",
];

/// Half of the runs have ended; the others sleep, each tenth with a message.
const FILL: &str = "
    insert into plans.name (text) select 'w' || n from generate_series(1, 20) n;
    insert into plans.run (key, id, workflow, version, status, created_at, wake_at, ended_at, purge_at, parent, rest)
      select n, 'r' || n, 1 + n % 10, 11 + n % 10, case when n % 2 = 0 then 4 else 2 end, n, case when n % 2 = 1 then 1000000 + n end,
        case when n % 2 = 0 then n end, case when n % 2 = 0 then 2000000 + n end, case when n % 3 = 0 then 'r' || (n - 1) end, null
      from generate_series(1, 100000) n;
    insert into plans.head (key, due, last_message, admission)
      select key, case when key % 10 = 1 then 0 else wake_at end, (key % 10 = 1)::int, 2 from plans.run where status = 2;
    update plans.run set limit_key = 'l' || key % 50, limit_size = 10, rank = 0 where status = 2 and key % 5 = 0;
    update plans.head h set admission = (case when r.key % 3 = 0 then 2 else 1 end), due = null from plans.run r where r.key = h.key and r.limit_key is not null;
    insert into plans.waiting select r.limit_key, 0, h.key from plans.head h join plans.run r using (key) where h.admission = 1;
    insert into plans.run_limit select limit_key, 10, count(*) filter (where h.admission = 2), count(*) from plans.head h join plans.run r using (key)
      where limit_key is not null group by 1;
    insert into plans.message select key, 1, 5, false, 'm' from plans.head where last_message = 1;
    insert into plans.chunk select n, 1, 1, 'event 1' from generate_series(1, 100000) n;
    insert into plans.entry select n, 'out', 0, 'e' from generate_series(1, 100000) n;
    insert into plans.value select n, 'v', 'e' from generate_series(1, 100000) n;
    insert into plans.tag select decode(md5((n % 1000)::text), 'hex'), n from generate_series(1, 100000) n;
    insert into plans.hook select 't' || key, key, 'i' from plans.head;
    insert into plans.reserved select 'o' || key, key, 1 from plans.head;
    insert into plans.run_count select workflow, version, status, 0, count(*) from plans.run group by 1, 2, 3;
    select setval('plans.run_key', 100000);
    analyze;
";

const LARGE: [&str; 9] = ["run", "head", "chunk", "message", "entry", "value", "tag", "hook", "reserved"];

#[test]
fn nothing_walks_through_all_runs() {
    let Some(cluster) = cluster(&SETTINGS) else { return };
    let world = PgWorld::open(&cluster.url("plans")).expect("opens");
    sql(&cluster, FILL);
    let from = cluster.log().len();
    let me = holder("me");
    for time in 0..TIMES {
        ask_everything(&world, &me, time);
    }
    let log = cluster.log()[from..].to_owned();
    let plans: Vec<&str> = log.split("LOG:  duration:").filter(|part| part.contains("plan:")).collect();
    assert!(plans.len() > 200, "the server told {} plans", plans.len());
    let walks = |plan: &str| {
        LARGE.iter().any(|table| {
            plan.lines().any(|line| {
                line.contains(&format!("Seq Scan on {table} ")) || line.contains(&format!("Seq Scan on plans.{table} "))
            })
        })
    };
    let statement = |plan: &&str| {
        plan.split("CONTEXT").next().unwrap_or_default().split_once("plan:").map(|(_, plan)| plan.to_owned())
    };
    let found: BTreeSet<String> = plans.iter().filter(|plan| walks(plan)).filter_map(statement).collect();
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{} plans walk through a large table:\n{}", found.len(), found.join("\n"));
}

fn ask_everything(world: &PgWorld, me: &durhai_world::Holder, time: u64) {
    assert!(world.renew(me, 0).expect("works").alive);
    world.next_wake().expect("works");
    let mut claims = world.claim(me, 10, 20).expect("works");
    assert_eq!(claims.len(), 20);
    // Nothing of what is there is due, but for messages.
    assert!(claims.iter().all(|claim| claim.last_seq == 1));
    let sleeps = id(&format!("r{}", 1001 + 2 * time + 1 - (1001 + 2 * time + 1) % 2 + 1));
    claims.extend(world.claim_run(&sleeps, me, 10).expect("works"));
    let mut batch = Vec::new();
    for (number, claim) in claims.iter().enumerate() {
        let taken = Commit { inbox_taken: Some(1), ..Commit::new(claim.run.clone(), claim.fence) };
        let ended = Row { status: Status::Completed, wake_at: None, ended_at: Some(5), ..claim.row.clone() };
        batch.extend(match number % 4 {
            0 => vec![turn(claim, 2), turn(claim, 3)],
            1 => vec![
                full_turn(claim, 2),
                Write::Commit(Box::new(taken)),
                Write::Release { run: claim.run.clone(), fence: claim.fence },
            ],
            2 => vec![Write::Commit(Box::new(Commit {
                row: Some(ended),
                leave: Some("left".into()),
                ..with_event(claim)
            }))],
            _ => vec![Write::Send(NewMessage {
                run: claim.run.clone(),
                at: 5,
                urgent: number == 3,
                bytes: b"m".to_vec(),
            })],
        });
    }
    batch.push(new(&format!("new-{time}"), Some(me)));
    batch.push(Write::Delete { run: id(&format!("r{}", 50_000 + 2 * time)) });
    for answer in world.write(batch).expect("works") {
        answer.expect("accepted");
    }
    let (run, runs) = (id("r777"), [id("r777"), id("r778"), id("nobody")]);
    world.reserve("token", &claims[0].run, claims[0].fence).expect("works");
    world.hook("token").expect("works");
    world.row(&run).expect("works");
    world.log(&run, 1, 1_000).expect("works");
    world.log_tail(&run).expect("works");
    world.inbox(&run, 0, 10).expect("works");
    world.stream(&run, "out", 0, 10).expect("works");
    world.streams(&run).expect("works");
    world.values(&run).expect("works");
    world.waits(&run).expect("works");
    world.queue(&run, 5).expect("works");
    world.standings(&runs).expect("works");
    world.snapshot(&runs).expect("works");
    world.unread(&[(run.clone(), 0), (id("r11"), 0)]).expect("works");
    world.run_counts().expect("works");
    world.expired(2_000_100, 10).expect("works");
    world.programs().expect("works");
    world.drop_program(&durhai_core::Version::of([("flow", "none")])).expect("works");
    let few = || Query { limit: 10, ..Query::default() };
    let queries = [
        few(),
        Query { status: vec![Status::Waiting], ..few() },
        Query { status: vec![Status::Failed], ..few() },
        Query { workflow: Some("w3".into()), ..few() },
        Query { parent: Some(id("r2")), ..few() },
        Query { tags: [("k".to_owned(), "v".to_owned())].into(), ..few() },
        Query { cursor: Some("50000".into()), ..few() },
    ];
    for query in queries {
        world.list(&query).expect("works");
    }
}

fn with_event(claim: &durhai_world::Claim) -> Commit {
    let Write::Commit(commit) = turn(claim, 2) else { unreachable!("it is a commit") };
    *commit
}

/// What is written waits for the disk, and hosts look again and again.
#[test]
fn a_look_that_finds_nothing_writes_nothing() {
    let Some(cluster) = cluster(&["fsync=off", "autovacuum=off"]) else { return };
    let world = PgWorld::open(&cluster.url("idle")).expect("opens");
    let me = holder("me");
    assert!(world.renew(&me, 0).expect("works").alive);
    assert!(world.duty("look", &me).expect("works"));
    // Transactions that write have numbers.
    let next = || sql(&cluster, "select pg_snapshot_xmax(pg_current_snapshot())");
    let before = next();
    for _ in 0..TIMES {
        assert!(world.claim(&me, 10, 20).expect("works").is_empty());
        assert_eq!(world.next_wake().expect("works"), None);
        assert!(world.duty("look", &me).expect("works"));
    }
    assert_eq!(next(), before);
}
