//! Whole worlds as files, taken while runs go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai::{MemoryWorld, Query, Status, StepContext, StepError, Value, World};
use durhai_testkit::TestHost;

use super::Page;

/// Steps, a child with its letter, signals both ways, a hook, state and streams; the output says whether all came once.
const BUSY: &str = r#"
    let sum = 0;
    for i in 0..input.rounds {
        sum += use_step("add", #{ n: i });
        emit(i);
        set_state("at", i);
        if i % 3 == 0 { sum += run_workflow("busy_child", i); }
        if i % 4 == 0 { sleep(0.001); }
    }
    let hook = hook();
    hook.close();
    sum
"#;

const CHILD: &str = r#"use_step("add", #{ n: input })"#;

fn test_host() -> TestHost {
    TestHost::new()
        .step("add", |_: StepContext, input: Value| async move {
            tokio::task::yield_now().await;
            Ok::<_, StepError>(input["n"].as_i64().unwrap_or(0) + 1)
        })
        .workflow("busy", BUSY)
        .workflow("busy_child", CHILD)
}

fn wanted(rounds: i64) -> i64 {
    (0..rounds).map(|i| i + 1 + if i % 3 == 0 { i + 1 } else { 0 }).sum()
}

const RUNS: i64 = 12;

/// Backups at random moments of a busy world, each brought back and run on: every run there ends as it should, with all it
/// showed, and the world is sound.
async fn backups_of(world: Arc<dyn World>, empty: impl Fn() -> Arc<dyn World>, seed: u64) {
    println!("DURHAI_SEED={seed}");
    let test = test_host();
    let host = test.builder_on(world).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let input = serde_json::json!({ "rounds": 4 + n });
        runs.push(host.run("busy").id(format!("r{n}")).input(&input).start().await.unwrap());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let ticking = tokio::spawn({
        let (clock, stop) = (test.clock.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                clock.advance(1);
                tokio::task::yield_now().await;
            }
        }
    });
    let mut files = Vec::new();
    let mut dice = seed;
    for _ in 0..6 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..dice >> 57 {
            tokio::task::yield_now().await;
        }
        let page = Page::default();
        let summary = host.backup(page.clone()).await.unwrap();
        assert!(summary.runs >= RUNS as u64, "{summary:?}");
        files.push(page.bytes());
    }
    for (n, run) in (0..).zip(&runs) {
        assert_eq!(run.output::<i64>().await.unwrap(), wanted(4 + n), "backups are in nobody's way");
    }
    host.shutdown().await;
    let mut unfinished = 0;
    for (at, file) in files.into_iter().enumerate() {
        let world = empty();
        let summary = durhai::archive::restore(&*world, &file[..]).unwrap();
        assert!(summary.runs >= RUNS as u64);
        let mut damage = Vec::new();
        world.verify(&mut |line| damage.push(line)).unwrap();
        assert_eq!(damage, [""; 0], "seed {seed}, backup {at}");
        let host = test.builder_on(world).start().await.unwrap();
        for n in 0..RUNS {
            let run = host.get(&format!("r{n}")).await.unwrap();
            unfinished += u32::from(run.status().await.unwrap() != Status::Completed);
            let what = format!("seed {seed}, backup {at}, run {n}");
            assert_eq!(run.output::<i64>().await.expect(&what), wanted(4 + n), "{what}");
            let emitted = run.emitted("default", 0, 1000).await.unwrap();
            let values: Vec<_> = emitted.iter().map(|entry| entry.value.as_i64().unwrap()).collect();
            assert_eq!(values, (0..4 + n).collect::<Vec<_>>(), "{what}");
        }
        let all = host.list(Query { limit: 1000, ..Query::default() }).await.unwrap().runs;
        let mut by_status: HashMap<Status, usize> = HashMap::new();
        all.iter().for_each(|run| *by_status.entry(run.status).or_default() += 1);
        assert_eq!(by_status.keys().collect::<Vec<_>>(), [&Status::Completed], "{by_status:?}");
        assert_eq!(host.doctor().await.unwrap().findings, [], "seed {seed}, backup {at}");
        host.shutdown().await;
    }
    stop.store(true, Ordering::SeqCst);
    ticking.await.unwrap();
    println!("{unfinished} runs went on in another world");
}

fn seed() -> u64 {
    let given = std::env::var("DURHAI_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| std::process::id().into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    backups_of(Arc::new(MemoryWorld::new()), || Arc::new(MemoryWorld::new()), seed()).await;
}

#[cfg(feature = "sled")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_disk() {
    let folder = tempfile::TempDir::new().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    let empty = || -> Arc<dyn World> {
        let name = count.fetch_add(1, Ordering::SeqCst).to_string();
        Arc::new(durhai::SledWorld::open(folder.path().join(name)).unwrap())
    };
    backups_of(empty(), &empty, seed()).await;
}

#[cfg(feature = "sled")]
#[tokio::test]
async fn a_backup_that_is_cut_off_or_changed_is_not_opened() {
    let host = test_host().start().await;
    let run = host.run("busy").id("r").input(&serde_json::json!({ "rounds": 0 })).start().await.unwrap();
    run.wait().await.unwrap();
    let page = Page::default();
    host.backup(page.clone()).await.unwrap();
    host.shutdown().await;
    let file = String::from_utf8(page.bytes()).unwrap();
    for (wrong, wanted) in [
        (file[..file.len() / 2].to_owned(), "line"),
        (file.replacen("rounds", "sounds", 1), "SHA-256"),
        (file.replacen("\"durhai_backup\":1", "\"durhai_backup\":7", 1), "newer"),
        (file.replacen("\"durhai_backup\":1", "\"durhai_export\":1", 1), "durhai import FILE"),
        ("x\n".into(), "no backup"),
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let world = durhai::SledWorld::open(folder.path()).unwrap();
        let error = durhai::archive::restore(&world, wrong.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        drop(world);
        if let Err(error) = durhai::SledWorld::open(folder.path()) {
            assert!(error.to_string().contains("cut off"), "{error}");
        } else {
            assert!(!error.to_string().contains("SHA-256"), "half a backup opens");
        }
    }
    // A world that has something takes no backup.
    let folder = tempfile::TempDir::new().unwrap();
    let world = durhai::SledWorld::open(folder.path()).unwrap();
    durhai::archive::restore(&world, file.as_bytes()).unwrap();
    let again = durhai::archive::restore(&world, file.as_bytes()).unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    // One of any kind goes into one of any other.
    let memory = MemoryWorld::new();
    durhai::archive::restore(&memory, file.as_bytes()).unwrap();
    assert_eq!(memory.row(run.id()).unwrap(), world.row(run.id()).unwrap());
}
