//! A store that does not answer for a while: nobody is parked for it, nothing is called damaged, and whoever asks is told
//! to ask again.

use durhai::versions::CompatVerdict;
use durhai::{HostError, RunError, RunId, Status, Value, World, WorldError};
use durhai_testkit::{Fault, ReadFault, TestHost};
use durhai_world::{Chunk, Create, Row, Write};
use serde_json::json;

const SCRIPT: &str = r#"let a = use_step("echo", 1); sleep("1h"); let b = wait_for("go"); use_step("echo", [a, b])"#;

/// More than a host asks for again without letting go: twice over.
const LONG: u64 = 12;

fn test_host() -> TestHost {
    TestHost::new().workers(1).echo().workflow("w", SCRIPT)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_read_for_a_while_is_taken_up_later() {
    for what in ["log", "program", "inbox"] {
        let test = test_host();
        let first = test.start().await;
        let run = first.run("w").id("r").start().await.unwrap();
        test.rests().await;
        run.signal("go", &2).await.unwrap();
        first.shutdown().await;
        // Its texts are not those of the folder: they have to be read.
        let test = test.workflow("w", "1");
        let (connection, second) = test.start_with(Fault::Never).await;
        connection.fail_reads(ReadFault::Next(what, LONG));
        test.clock.advance(3_600_000);
        let output = loop {
            let run = second.get("r").await.unwrap();
            match run.output::<Value>().await {
                // The one who asks is told the same.
                Err(RunError::Host(HostError::World(WorldError::Unavailable(_)))) => {}
                output => break output,
            }
        };
        assert!(matches!(&output, Ok(output) if *output == json!([1, 2])), "{what}: {output:?}");
        second.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_meanwhile_gives_the_run_back() {
    let test = test_host();
    let first = test.start().await;
    let run = first.run("w").id("r").start().await.unwrap();
    test.rests().await;
    run.signal("go", &2).await.unwrap();
    first.shutdown().await;
    let (connection, second) = test.start_with(Fault::Never).await;
    connection.fail_reads(ReadFault::Next("log", u64::MAX));
    let before = connection.reads();
    test.clock.advance(3_600_000);
    while connection.reads() < before + LONG {
        tokio::task::yield_now().await;
    }
    second.shutdown().await;
    assert_eq!(test.world.row(&RunId::new("r").unwrap()).unwrap().unwrap().status, Status::Waiting);
    // Nobody's lease has to run out for it.
    let third = test.start().await;
    assert_eq!(third.get("r").await.unwrap().output::<Value>().await.unwrap(), json!([1, 2]));
    third.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_whether_it_is_damage() {
    let test = test_host();
    let world = &test.world;
    let (connection, host) = test.start_with(Fault::Never).await;
    let run = host.run("w").id("r").start().await.unwrap();
    test.rests().await;
    let unavailable = |error: &HostError| matches!(error, HostError::World(WorldError::Unavailable(_)));
    connection.fail_reads(ReadFault::Next("log", 5));
    assert!(unavailable(&run.events(1, 9).await.unwrap_err()));
    assert_eq!(run.events(1, 9).await.unwrap().len(), 5);
    connection.fail_reads(ReadFault::Next("log", 5));
    assert!(unavailable(&run.replay(Default::default()).await.unwrap_err()));
    connection.fail_reads(ReadFault::Next("log", 5));
    assert!(unavailable(&run.suspensions().await.unwrap_err()));
    connection.fail_reads(ReadFault::Next("row", 5));
    assert!(unavailable(&run.status().await.unwrap_err()));
    connection.fail_reads(ReadFault::Next("log", 5));
    let moved = run.migrate(None, true).await;
    assert!(matches!(&moved, Err(error) if unavailable(error)), "{moved:?}");
    assert_eq!(run.migrate(None, true).await.unwrap().verdict, CompatVerdict::Compatible);
    // What cannot be events is damage, and an operator must look.
    let row = Row {
        run: RunId::new("torn").unwrap(),
        wake_at: Some(0),
        started_at: Some(1),
        ..world.row(run.id()).unwrap().unwrap()
    };
    let events = Chunk { first: 1, count: 1, bytes: vec![1, b'{', b'\n'] };
    let create = Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() };
    world.write(vec![Write::Create(Box::new(create))]).unwrap().remove(0).unwrap();
    let torn = host.get("torn").await.unwrap();
    assert!(
        matches!(torn.events(1, 9).await, Err(HostError::World(WorldError::Corrupt(text))) if text.contains("damaged log"))
    );
    let parked = loop {
        let row = world.row(torn.id()).unwrap().unwrap();
        if row.status == Status::Parked {
            break row;
        }
        tokio::task::yield_now().await;
    };
    assert!(parked.note["reason"].as_str().is_some_and(|why| why.contains("damaged log")), "{parked:?}");
    host.shutdown().await;
}
