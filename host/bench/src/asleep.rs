//! A database full of runs that sleep: what they take, and what hosts that look for work pay for them.

use std::time::{Duration, Instant};

use durhai::postgres::{Floor, PgWorld};
use durhai::{Host, World};
use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Create, Holder, Row, Write};

use crate::figures::{Figures, Unit, median, micros, once, repeated};
use crate::hosts;

/// New runs in a batch.
const BATCH: usize = 1_000;

/// Bytes of the log of one.
const LOG: usize = 300;

/// Looks for work that find none.
const LOOKS: usize = 300;

/// Runs that are due, and those that a host claims at a time.
const DUE: usize = 20_000;
const CLAIMS: usize = 256;

/// Hosts that have nothing to do, and for how long.
const IDLE: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Never, for a bench.
const LATER: u64 = 1 << 50;

/// So many runs asleep, and then others that are due.
pub fn sleepers(url: &str, count: usize) -> anyhow::Result<Figures> {
    let world = PgWorld::open(url)?;
    let mark = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros());
    let holder = Holder { name: format!("bench-{mark}").into(), lease: 3_600_000 };
    anyhow::ensure!(world.renew(&holder, 0)?.alive, "this host is dead before it begins");
    anyhow::ensure!(
        world.claim(&holder, 1, 1)?.is_empty(),
        "runs are due in this schema: give the bench one of its own"
    );
    let stored = |world: &PgWorld| anyhow::Ok(world.size()?.stored.unwrap_or(0));
    let (before, began) = (stored(&world)?, Instant::now());
    create(&world, &format!("asleep-{mark}"), count, LATER)?;
    let made = began.elapsed();
    let bytes = stored(&world)?.saturating_sub(before) as f64 / count as f64;
    let timed = |ask: &dyn Fn() -> anyhow::Result<()>| {
        let time = |_| {
            let began = Instant::now();
            ask().map(|()| began.elapsed())
        };
        (0..LOOKS).map(time).collect::<anyhow::Result<Vec<_>>>()
    };
    let claims = timed(&|| {
        anyhow::ensure!(world.claim(&holder, 1, CLAIMS)?.is_empty(), "a run was due");
        Ok(())
    })?;
    let wakes = timed(&|| Ok(world.next_wake().map(drop)?))?;
    let mut floor = Floor::begin(url)?;
    let trip = median(floor.round_trips(LOOKS)?);
    floor.end()?;
    create(&world, &format!("due-{mark}"), DUE, 0)?;
    let (began, mut claimed) = (Instant::now(), 0);
    while claimed < DUE {
        let found = world.claim(&holder, 1, CLAIMS)?.len();
        anyhow::ensure!(found > 0, "{claimed} of {DUE} runs were claimed");
        claimed += found;
    }
    let rate = DUE as f64 / began.elapsed().as_secs_f64();
    let ratio = median(claims.clone()).as_secs_f64() / trip.as_secs_f64();
    let us = |times: Vec<Duration>| times.into_iter().map(micros).collect();
    Ok(vec![
        once("asleep", count as f64, Unit::Count, "runs that sleep"),
        once("asleep_make_s", made.as_secs_f64(), Unit::Seconds, "their creation by one host"),
        once("asleep_bytes_per_run", bytes, Unit::Bytes, "tables and indexes of each, with a log of 300 bytes"),
        repeated("claim_of_nothing_p50_us", us(claims), Unit::Microseconds, "a look for work that finds none"),
        once("claim_of_nothing_to_round_trip", ratio, Unit::Ratio, "that, divided by select 1 beside it"),
        repeated("next_wake_p50_us", us(wakes), Unit::Microseconds, "when the first of them wakes"),
        once("claims_per_s", rate, Unit::PerSecond, format!("{DUE} runs that are due, claimed by one host")),
    ])
}

fn create(world: &PgWorld, name: &str, count: usize, wake_at: u64) -> anyhow::Result<()> {
    let version = Version::of([("sleep", "1")]);
    let new = |number: usize| -> anyhow::Result<Write> {
        let row = Row {
            run: RunId::new(format!("{name}-{number}")).map_err(|error| anyhow::anyhow!("{error}"))?,
            workflow: "sleep".into(),
            version: version.clone(),
            status: Status::Waiting,
            tags: Default::default(),
            parent: None,
            created_at: 1,
            started_at: Some(1),
            ended_at: None,
            wake_at: Some(wake_at),
            note: serde_json::Value::Null,
            purge_at: None,
            concurrency: None,
        };
        let events = Chunk { first: 1, count: 3, bytes: vec![7; LOG] };
        Ok(Write::Create(Box::new(Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() })))
    };
    let mut from = 0;
    while from < count {
        let until = count.min(from + BATCH);
        for written in world.write((from..until).map(new).collect::<anyhow::Result<_>>()?)? {
            written?;
        }
        from = until;
    }
    Ok(())
}

/// Hosts that have nothing to do.
pub async fn idle(url: &str) -> anyhow::Result<Figures> {
    let mut all: Vec<Host> = Vec::new();
    for _ in 0..IDLE {
        let world = tokio::task::block_in_place(|| PgWorld::open(url))?;
        all.push(hosts::workflows().world(world).start().await?);
    }
    let transactions = || tokio::task::block_in_place(|| anyhow::Ok(Floor::begin(url)?.transactions()?));
    // What they do when they start is over, and the server has counted it.
    tokio::time::sleep(IDLE_FOR / 2).await;
    let before = transactions()?;
    tokio::time::sleep(IDLE_FOR).await;
    let made = transactions()?.saturating_sub(before);
    for host in all {
        host.shutdown().await;
    }
    let rate = made as f64 / IDLE_FOR.as_secs_f64() / IDLE as f64;
    let meaning =
        format!("transactions of each of {IDLE} hosts that have nothing to do, their leases those of durhai serve");
    Ok(vec![once("idle_transactions_per_s", rate, Unit::PerSecond, meaning)])
}
