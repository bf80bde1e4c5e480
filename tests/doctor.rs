//! What the doctor sees, and what a repair makes of it.

use std::sync::Arc;

use durhai::archive::repair;
use durhai::world::Record;
use durhai::{MemoryWorld, RunId, Status, World};
use durhai_testkit::TestHost;

const PARENT: &str = r#"
    emit(1);
    let a = use_step("echo", 1);
    print("a");
    let b = run_workflow("child", 2);
    let h = hook();
    let c = wait_for("go");
    a + b + c
"#;

fn test_host() -> TestHost {
    TestHost::new().workers(1).echo().workflow("parent", PARENT).workflow("child", "use_step(\"echo\", input)")
}

fn records(world: &dyn World) -> Vec<Record> {
    let mut records = Vec::new();
    world
        .copy(&mut |record| {
            records.push(record);
            Ok(())
        })
        .unwrap();
    records
}

fn restored(records: Vec<Record>) -> Arc<MemoryWorld> {
    let world = MemoryWorld::new();
    let mut records = records.into_iter();
    world.restore(&mut || Ok(records.next())).unwrap();
    Arc::new(world)
}

/// A world with a run that waits for a signal, its child that has ended, and a run that has ended.
async fn sample() -> Vec<Record> {
    let test = test_host();
    let host = test.start().await;
    let over = host.run("child").id("over").input(&5).start().await.unwrap();
    assert_eq!(over.output::<i64>().await.unwrap(), 5);
    host.run("parent").id("live").start().await.unwrap();
    test.rests().await;
    host.shutdown().await;
    assert_eq!(host_findings(&test.world).await, [""; 0]);
    records(&*test.world)
}

async fn host_findings(world: &Arc<MemoryWorld>) -> Vec<String> {
    let host = test_host().builder_on(world.clone()).adopt(false).start().await.unwrap();
    let diagnosis = host.doctor().await.unwrap();
    host.shutdown().await;
    diagnosis.findings.into_iter().map(|damage| format!("{:?}: {}", damage.run, damage.what)).collect()
}

fn number_of(records: &[Record], name: &str) -> u64 {
    let found = records.iter().find(|record| record.run().is_some_and(|run| run.as_str() == name));
    found.and_then(Record::number).unwrap()
}

/// Changes the row of a run.
fn row(records: &mut [Record], name: &str, change: impl FnOnce(&mut durhai::world::Row)) {
    for record in records {
        if let Record::Run { value: Some(row), .. } = record
            && row.run.as_str() == name
        {
            return change(row);
        }
    }
    panic!("no run {name}");
}

/// Changes the text of one event in the log of a run.
fn event(records: &mut [Record], name: &str, from: &str, to: &str) {
    let number = number_of(records, name);
    for record in records {
        if let Record::Log { number: of, value: Some(bytes), .. } = record
            && *of == number
            && let Ok(text) = String::from_utf8(bytes.clone())
            && text.contains(from)
        {
            *bytes = text.replacen(from, to, 1).into_bytes();
            return;
        }
    }
    panic!("no {from} in {name}");
}

type Break = fn(&mut Vec<Record>);

/// What is broken, what the doctor must say, and the status of `live` after the repair.
const CASES: &[(&str, Break, &str, Status)] = &[
    (
        "a row that has ended",
        |all| row(all, "live", |row| row.status = Status::Completed),
        "its log has no end",
        Status::Parked,
    ),
    (
        "a row that has not ended",
        |all| row(all, "over", |row| row.status = Status::Waiting),
        "its row says waiting, its log completed",
        Status::Waiting,
    ),
    ("a workflow", |all| row(all, "live", |row| row.workflow = "x".into()), "workflow \"x\"", Status::Waiting),
    ("a parent", |all| row(all, "live:2", |row| row.parent = None), "its parent is none", Status::Waiting),
    (
        "tags",
        |all| row(all, "over", |row| drop(row.tags.insert("a".into(), "b".into()))),
        "other tags",
        Status::Waiting,
    ),
    (
        "asleep for ever",
        |all| {
            row(all, "live", |row| {
                row.status = Status::Running;
                row.wake_at = None;
            })
        },
        "never be taken up",
        Status::Running,
    ),
    (
        "an event",
        |all| event(all, "live", "\"type\":\"step_completed\"", "\"type\":\"step_exploded\""),
        "is no type of event",
        Status::Parked,
    ),
    (
        "an illegal event",
        |all| event(all, "live", "\"type\":\"child_started\"", "\"type\":\"run_started\""),
        "a run starts once",
        Status::Parked,
    ),
    (
        "an entry",
        |all| {
            for record in all.iter_mut() {
                if let Record::Entry { value: Some(bytes), stream, .. } = record
                    && stream == "log"
                {
                    bytes.truncate(3);
                }
            }
        },
        "cannot be read",
        Status::Waiting,
    ),
    (
        "an orphaned hook",
        |all| {
            let number = number_of(all, "over");
            all.push(Record::Hook { token: "x".into(), number, value: Some(b"{}".to_vec()) });
        },
        "the hook \"x\" is open",
        Status::Waiting,
    ),
    (
        "a lost hook",
        |all| all.retain(|record| !matches!(record, Record::Hook { .. })),
        "nobody can reach it",
        Status::Waiting,
    ),
    (
        "a letter that nobody knows",
        |all| {
            let number = number_of(all, "live");
            all.push(Record::Message { number, index: 99, at: 1, urgent: false, value: Some(b"?".to_vec()) });
        },
        "of no kind",
        Status::Waiting,
    ),
    (
        "a text",
        |all| {
            for record in all.iter_mut() {
                if let Record::Program { value: Some(bytes), .. } = record {
                    bytes.truncate(9);
                }
            }
        },
        "cannot be read",
        Status::Waiting,
    ),
    (
        "a lost text",
        |all| all.retain(|record| !matches!(record, Record::Program { .. })),
        "the text of its version",
        Status::Waiting,
    ),
    (
        "a changed text",
        |all| {
            for record in all.iter_mut() {
                if let Record::Program { value: Some(bytes), .. } = record {
                    *bytes = String::from_utf8(bytes.clone()).unwrap().replace("echo", "acho").into_bytes();
                }
            }
        },
        "has the digest",
        Status::Waiting,
    ),
    (
        "a pointer",
        |all| all.push(Record::Meta { key: "chain/live".into(), value: Some(b"live+2".to_vec()) }),
        "leads to run live+2",
        Status::Waiting,
    ),
];

#[tokio::test]
async fn damage_is_seen_and_mended() {
    let sound = sample().await;
    for (what, damage, wanted, status) in CASES {
        let mut records = sound.clone();
        damage(&mut records);
        let damaged = restored(records);
        let to = Arc::new(MemoryWorld::new());
        let mut aside = Vec::new();
        let repaired = repair(&*damaged, &*to, &mut aside).unwrap();
        let said: Vec<_> = repaired.findings.iter().map(|damage| damage.what.as_str()).collect();
        assert!(said.iter().any(|said| said.contains(wanted)), "{what}: {said:#?}");
        let live = to.row(&RunId::new("live").unwrap()).unwrap();
        assert_eq!(live.as_ref().map(|row| row.status), Some(*status), "{what}: {said:#?} {live:#?}");
        assert_eq!(repaired.runs, 3, "{what}");
        // Nothing went without a word: what is not in the new world stands in the file.
        let text = String::from_utf8(aside).unwrap();
        assert_eq!(text.lines().count() as u64, repaired.set_aside + 2, "{what}: {text}");
        // What can be mended is.
        let left: Vec<_> = host_findings(&to).await;
        let hopeless = repaired.findings.iter().filter(|damage| !damage.mendable).count();
        assert!(left.len() <= hopeless, "{what}: {left:#?} {said:#?}");
        if *status == Status::Waiting && hopeless == 0 {
            let host = test_host().builder_on(to.clone()).start().await.unwrap();
            let run = host.get("live").await.unwrap();
            run.signal("go", &4).await.unwrap();
            assert_eq!(run.output::<i64>().await.unwrap(), 7, "{what}");
            host.shutdown().await;
        }
    }
}

#[tokio::test]
async fn the_sound_part_of_a_damaged_log_stays_and_goes_on() {
    let mut records = sample().await;
    event(&mut records, "live", "\"type\":\"child_completed\"", "\"type\":\"x\"");
    let damaged = restored(records);
    let found = host_findings(&damaged).await;
    assert!(found.iter().any(|line| line.contains("live") && line.contains("are sound")), "{found:#?}");
    let to = Arc::new(MemoryWorld::new());
    let mut aside = Vec::new();
    repair(&*damaged, &*to, &mut aside).unwrap();
    assert!(String::from_utf8(aside).unwrap().contains("\\\"type\\\":\\\"x\\\""), "what was cut off is there to read");
    let host = test_host().builder_on(to).start().await.unwrap();
    let run = host.get("live").await.unwrap();
    let view = run.view().await.unwrap();
    assert_eq!(view.status, Status::Parked);
    assert!(view.reason.unwrap().contains("its log was damaged"));
    // The child has ended: its result is looked up, not made again.
    run.unpark().await.unwrap();
    run.signal("go", &4).await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 7);
    assert_eq!(host.doctor().await.unwrap().findings, []);
    host.shutdown().await;
}

#[tokio::test]
async fn nothing_is_found_while_runs_go_on() {
    let host = test_host().start().await;
    for n in 0..40 {
        let run = host.run("parent").id(format!("r{n}")).start().await.unwrap();
        run.signal("go", &1).await.unwrap();
        if n % 4 == 0 {
            let diagnosis = host.doctor().await.unwrap();
            assert_eq!(diagnosis.findings, []);
            assert!(diagnosis.runs >= n && diagnosis.events > 0);
        }
    }
    host.shutdown().await;
}

/// Whatever is done to the entries of a store: a repair makes a sound one, and what is whole goes on.
#[cfg(feature = "sled")]
#[tokio::test]
async fn stores_that_are_damaged_anyhow() {
    let given = std::env::var("DURHAI_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let sound = sample().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (mut whole, mut seen) = (0, 0);
    for seed in given.map_or(0..40, |seed| seed..seed + 1) {
        println!("DURHAI_SEED={seed}");
        let path = folder.path().join(seed.to_string());
        let world = durhai::SledWorld::open(&path).unwrap();
        let mut all = sound.clone().into_iter();
        world.restore(&mut || Ok(all.next())).unwrap();
        drop(world);
        let what = damage(&path, seed);
        let damaged = durhai::SledWorld::open(&path).unwrap();
        let to = durhai::SledWorld::open(folder.path().join(format!("{seed}-new"))).unwrap();
        let mut aside = Vec::new();
        let repaired = repair(&damaged, &to, &mut aside).unwrap();
        // A bit within a payload, or a counter that says nothing, is as good as another.
        seen += u32::from(!repaired.findings.is_empty());
        let mut left = Vec::new();
        to.verify(&mut |line| left.push(line)).unwrap();
        assert_eq!(left, [""; 0], "{seed}: {what}");
        let host = test_host().builder_on(Arc::new(to)).start().await.unwrap();
        let hopeless = repaired.findings.iter().filter(|damage| !damage.mendable).count();
        let findings = host.doctor().await.unwrap().findings;
        assert!(findings.len() <= hopeless, "{seed}: {what}: {findings:#?}\n{:#?}", repaired.findings);
        if let Ok(run) = host.get("live").await {
            let status = run.status().await.unwrap();
            if status == Status::Parked {
                run.unpark().await.unwrap();
            }
            // With another bit in a payload it may have failed meanwhile.
            if hopeless == 0 && !status.is_terminal() && run.signal("go", &4).await.is_ok() {
                let output = tokio::time::timeout(std::time::Duration::from_secs(20), run.output::<i64>()).await;
                whole += u32::from(matches!(output, Ok(Ok(7))));
            }
        }
        host.shutdown().await;
    }
    assert!((whole > 15 && seen > 30) || given.is_some(), "{whole} whole, {seen} seen, of 40");
}

/// The entries of a closed store, as its format is documented.
#[cfg(feature = "sled")]
#[path = "../host/world-sled/tests/common/raw.rs"]
#[expect(dead_code, reason = "the tests of the store use the rest")]
mod raw;

/// Removes, shortens or changes some entries of a closed store.
#[cfg(feature = "sled")]
fn damage(path: &std::path::Path, seed: u64) -> String {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut below = move |limit: usize| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (bits ^ (bits >> 31)) as usize % limit
    };
    let mut done = String::new();
    raw::change(path, |entries| {
        let keys: Vec<_> = entries.keys().filter(|key| !b"!m".contains(&key[0])).cloned().collect();
        for _ in 0..1 + below(2) {
            let key = &keys[below(keys.len())];
            let value = entries.get(key).cloned().unwrap_or_default();
            let how = below(3);
            match how {
                1 if value.len() > 4 => drop(entries.insert(key.clone(), value[..below(value.len() - 1)].to_vec())),
                2 if value.len() > 20 => {
                    let mut value = value;
                    let at = 8 + below(value.len() - 8);
                    value[at] ^= 1 << below(7);
                    entries.insert(key.clone(), value);
                }
                _ => drop(entries.remove(key)),
            }
            done += &format!("{how} to {:?} ", String::from_utf8_lossy(key));
        }
    });
    done
}
