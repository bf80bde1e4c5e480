//! Runs that have ended go when their time is over, or when somebody says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::clock::Clock;
use durhai::view::Purge;
use durhai::{Host, HostError, Millis, Query, RunId, SledWorld, Status, StepContext, StepError, Value, Version, World};
use durhai_core::event::Created;
use durhai_core::{Event, EventBody, wire};
use durhai_testkit::{PATIENCE, TestHost};
use durhai_world::{Chunk, Create, NewMessage, Row, Write};
use parking_lot::Mutex;
use serde_json::json;

const DAY: Millis = 86_400_000;

/// Nothing tells that a run is gone: look again and again.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn ids(world: &dyn World) -> Vec<String> {
    let page = world.list(&Query { limit: 1_000, ..Query::default() }).unwrap();
    let mut ids: Vec<_> = page.rows.iter().map(|row| row.run.to_string()).collect();
    ids.sort();
    ids
}

fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_header_retains_goes_with_all_it_left() {
    let test = TestHost::new().echo();
    let (world, clock) = (&test.world, &test.clock);
    let build = |parent: &str| {
        test.builder()
            .workflow("parent", parent)
            .workflow("child", "start_workflow(\"grandchild\", 1, #{ id: \"grandchild\" }); use_step(\"echo\", input)")
            .workflow("grandchild", "wait_for(\"never\")")
            .workflow("long", "const WORKFLOW = #{ retain: \"30 days\" }; 1")
            .workflow("ever", "2")
    };
    let script = r#"
        const WORKFLOW = #{ retain: "2 days" };
        print("a line"); emit(1); set_state("a", 1);
        run_workflow("child", 7, #{ id: "child" })
    "#;
    let hosted = build(script).start().await.unwrap();
    let old = hosted.workflows().into_iter().find(|workflow| workflow.name == "parent").unwrap().version.unwrap();
    for (workflow, name) in [("parent", "parent"), ("long", "long"), ("ever", "ever")] {
        hosted.run(workflow).id(name).start().await.unwrap().output::<i64>().await.unwrap();
    }
    hosted.shutdown().await;
    // Another text serves now; the old one has its run.
    let hosted = build("const WORKFLOW = #{ retain: \"2 days\" }; 8").start().await.unwrap();
    clock.advance(2 * DAY - 1);
    clock.advance(0);
    assert_eq!(hosted.get("parent").await.unwrap().output::<i64>().await.unwrap(), 7);
    assert_eq!(world.streams(&id("parent")).unwrap().len(), 2);

    clock.advance(1);
    until("the parent is gone", || world.row(&id("parent")).unwrap().is_none()).await;
    assert_eq!(ids(&**world), ["ever", "grandchild", "long"], "its child went with it, one that lives did not");
    for gone in ["parent", "child"] {
        let gone = id(gone);
        assert!(world.log(&gone, 1, 1_000).unwrap().is_empty());
        assert!(world.streams(&gone).unwrap().is_empty() && world.values(&gone).unwrap().is_empty());
    }
    assert!(matches!(hosted.get("parent").await, Err(HostError::NotFound(_))));

    // Its text is of no use from now on; it goes at one of the next looks.
    let began = Instant::now();
    while world.program(&old).unwrap().is_some() {
        assert!(began.elapsed() < PATIENCE);
        clock.advance(20_000);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.programs().unwrap().len(), 5, "those that serve stay");
    clock.advance(30 * DAY);
    until("the long one is gone", || world.row(&id("long")).unwrap().is_none()).await;
    assert_eq!(ids(&**world), ["ever", "grandchild"]);
    assert_eq!(hosted.doctor().await.unwrap().findings, []);
    hosted.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_with_its_pointer() {
    let test = TestHost::new().echo();
    let (world, clock) = (&test.world, &test.clock);
    let hosted = test
        .builder()
        .workflow(
            "count",
            "const WORKFLOW = #{ retain: \"1 day\" }; if input < 3 { continue_as_new(input + 1); } input",
        )
        .start()
        .await
        .unwrap();
    let run = hosted.run("count").id("c").input(&1).start().await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 3);
    assert_eq!(ids(&**world).len(), 3);
    assert!(world.meta("chain/c").unwrap().is_some());
    clock.advance(DAY);
    until("all are gone", || ids(&**world).is_empty() && world.meta("chain/c").unwrap().is_none()).await;
    // The name is free again.
    let run = hosted.run("count").id("c").input(&2).start().await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 3);
    let last = ids(&**world).into_iter().find(|id| id != "c").unwrap();
    hosted.get(&last).await.unwrap().delete().await.unwrap();
    assert_eq!((ids(&**world), world.meta("chain/c").unwrap()), (vec!["c".to_owned()], None));
    hosted.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_takes_what_fits_and_nothing_that_lives() {
    let test = TestHost::new().echo();
    let (world, clock) = (&test.world, &test.clock);
    let hosted = test
        .builder()
        .workflow("good", "1")
        .workflow("bad", "throw \"no\"")
        .workflow("waiting", "wait_for(\"go\")")
        .workflow("parent", "run_workflow(\"good\", (), #{ id: `${run_id()}-child` }); wait_for(\"go\")")
        .start()
        .await
        .unwrap();
    let start = clock.now();
    for day in 0..3 {
        for workflow in ["good", "bad"] {
            hosted.run(workflow).id(format!("{workflow}-{day}")).start().await.unwrap().wait().await.unwrap();
        }
        clock.advance(DAY);
    }
    let waiting = hosted.run("waiting").id("waiting").start().await.unwrap();
    let every = |status: &[Status]| Purge { status: status.to_vec(), ..Purge::default() };
    for status in [Status::Waiting, Status::Parked, Status::Pending, Status::Running] {
        let error = hosted.purge(every(&[Status::Failed, status])).await.unwrap_err();
        assert!(matches!(&error, HostError::Invalid(text) if text.contains(&status.to_string())), "{error}");
    }
    assert_eq!(ids(&**world).len(), 7);
    let error = waiting.delete().await.unwrap_err();
    assert!(matches!(error, HostError::Conflict(_)), "{error}");

    let aged = Purge { ended_before: Some(start + DAY), ..Purge::default() };
    assert_eq!(hosted.purge(aged.clone()).await.unwrap().runs, 2);
    assert_eq!(hosted.purge(aged).await.unwrap().runs, 0);
    assert_eq!(ids(&**world), ["bad-1", "bad-2", "good-1", "good-2", "waiting"]);
    let both = Purge {
        ended_before: Some(start + 2 * DAY),
        status: vec![Status::Failed, Status::Cancelled],
        ..Purge::default()
    };
    assert_eq!(hosted.purge(both).await.unwrap().runs, 1);
    assert_eq!(ids(&**world), ["bad-2", "good-1", "good-2", "waiting"]);
    let of = Purge { workflow: Some("good".into()), ..Purge::default() };
    assert_eq!(hosted.purge(of).await.unwrap().runs, 2);
    assert_eq!(ids(&**world), ["bad-2", "waiting"]);

    // A child that has ended may go before the run that waits for a signal next; that goes on.
    let parent = hosted.run("parent").id("p").start().await.unwrap();
    until("the child has ended and its parent knows", || {
        let ended = |row: Row| row.status == Status::Completed;
        world.row(&id("p-child")).unwrap().is_some_and(ended)
            && world.row(&id("p")).unwrap().is_some_and(|row| row.status == Status::Waiting && row.wake_at.is_none())
            && world.inbox(&id("p"), 0, 1).unwrap().is_empty()
    })
    .await;
    assert_eq!(hosted.purge(Purge::default()).await.unwrap().runs, 2);
    assert_eq!(ids(&**world), ["p", "waiting"]);
    for run in [&parent, &waiting] {
        run.signal("go", &5).await.unwrap();
        assert_eq!(run.output::<i64>().await.unwrap(), 5);
    }
    assert_eq!(hosted.purge(Purge::default()).await.unwrap().runs, 2);
    assert_eq!(ids(&**world), Vec::<String>::new());
    hosted.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_drops_texts_that_nothing_refers_to() {
    let test = TestHost::new().echo();
    let world = &test.world;
    for n in 0..4 {
        let hosted = test.builder().workflow("w", format!("wait_for(\"go\"); {n}")).start().await.unwrap();
        let run = hosted.run("w").id(format!("r-{n}")).start().await.unwrap();
        if n != 1 {
            run.signal("go", &()).await.unwrap();
            assert_eq!(run.output::<i64>().await.unwrap(), n);
        }
        hosted.shutdown().await;
    }
    assert_eq!(world.programs().unwrap().len(), 4);
    let hosted = test.builder().workflow("w", "wait_for(\"go\"); 3").start().await.unwrap();
    let purged = hosted.purge(Purge::default()).await.unwrap();
    assert_eq!((purged.runs, purged.texts), (3, 2), "one serves, one has a run that lives");
    let run = hosted.get("r-1").await.unwrap();
    run.signal("go", &()).await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    hosted.shutdown().await;
}

/// A parent that has not read that its child has ended would start the child again if it were gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_child_is_read_before_it_goes() {
    let test = TestHost::new().echo();
    let (world, clock) = (&test.world, &test.clock);
    let mut parent = old("parent", None);
    parent.row.status = Status::Waiting;
    parent.row.ended_at = None;
    let mut child = old("child", Some(clock.now()));
    child.row.parent = Some(id("parent"));
    let letter = Write::Send(NewMessage { run: id("parent"), at: 1, urgent: false, bytes: b"{}".to_vec() });
    let writes = vec![Write::Create(Box::new(parent)), Write::Create(Box::new(child)), letter];
    assert!(world.write(writes).unwrap().iter().all(Result::is_ok));
    create(&**world, (0..600).map(|n| format!("old-{n}")), Some(clock.now()));

    let idle = test.builder().adopt(false).start().await.unwrap();
    let error = idle.get("child").await.unwrap().delete().await.unwrap_err();
    assert!(matches!(&error, HostError::Conflict(text) if text.contains("has not taken note")), "{error}");
    assert_eq!(idle.purge(Purge::default()).await.unwrap().runs, 600);
    assert_eq!(ids(&**world), ["child", "parent"]);
    idle.shutdown().await;
}

/// Small runs that ended long ago, without running them.
fn create(world: &dyn World, names: impl Iterator<Item = String>, purge_at: Option<Millis>) {
    let writes: Vec<_> = names.map(|name| Write::Create(Box::new(old(&name, purge_at)))).collect();
    for batch in writes.chunks(1_000) {
        world.write(batch.to_vec()).unwrap().into_iter().for_each(|result| drop(result.unwrap()));
    }
}

fn old(name: &str, purge_at: Option<Millis>) -> Create {
    let version = Version::from_digest(&"0".repeat(64));
    let run = id(name);
    let created = Created::new(run.clone(), "old", version.clone(), json!({ "text": "x".repeat(200) }));
    let event = |seq, body| Event { seq, at: 1, step_id: None, site: None, body };
    let events = [
        event(1, EventBody::RunCreated(Box::new(created))),
        event(2, EventBody::RunStarted { again: None }),
        event(3, EventBody::RunCompleted { output: json!(name).into() }),
    ];
    let row = Row {
        run,
        workflow: "old".into(),
        version,
        status: Status::Completed,
        tags: BTreeMap::new(),
        parent: None,
        created_at: 1,
        started_at: Some(1),
        ended_at: Some(1),
        wake_at: None,
        note: Value::Null,
        purge_at,
        concurrency: None,
    };
    Create {
        row,
        events: Chunk { first: 1, count: 3, bytes: wire::encode(&events) },
        claim: None,
        hooks: Vec::new(),
        messages: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_go_while_one_goes_on() {
    const RUNS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let world: Arc<dyn World> = Arc::new(SledWorld::open(folder.path()).unwrap());
    create(&*world, (0..RUNS).map(|n| format!("old-{n}")), Some(2));
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let began = Instant::now();
    let hosted = Host::builder()
        .shared_world(world.clone())
        .workers(1)
        .workflow("steps", "for i in 0..200 { use_step(\"note\", i); } \"done\"")
        .step("note", move |_: StepContext, _: i64| {
            noted.lock().push(Instant::now());
            async { Ok::<_, StepError>(()) }
        })
        .start()
        .await
        .unwrap();
    let run = hosted.run("steps").id("steps").start().await.unwrap();
    assert_eq!(run.output::<String>().await.unwrap(), "done");
    let finished = began.elapsed();
    until("all are gone", || world.expired(2, 1).unwrap().is_empty()).await;
    let gone = began.elapsed();
    let times = std::mem::take(&mut *times.lock());
    let slowest = times.windows(2).map(|two| two[1] - two[0]).max().unwrap();
    println!("{RUNS} runs purged in {gone:.1?}; 200 steps in {finished:.1?}, the slowest took {slowest:.1?}");
    assert_eq!(ids(&*world), ["steps"]);
    assert_eq!(hosted.doctor().await.unwrap().findings, []);
    hosted.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_room_of_what_is_gone_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let world: Arc<dyn World> = Arc::new(SledWorld::open(folder.path()).unwrap());
    let hosted = Host::builder().shared_world(world.clone()).workers(1).start().await.unwrap();
    let mut sizes = Vec::new();
    for round in 0..5 {
        create(&*world, (0..8_000).map(|n| format!("old-{round}-{n}")), None);
        let purged = hosted.purge(Purge { workflow: Some("old".into()), ..Purge::default() }).await.unwrap();
        assert_eq!(purged.runs, 8_000);
        sizes.push(world.size().unwrap().stored.unwrap());
    }
    println!("bytes after each round: {sizes:?}");
    // The file grows by whole segments; were nothing used again, it would be five times as large.
    assert!(sizes[4] <= 2 * sizes[0], "{sizes:?}");
    hosted.shutdown().await;
}
