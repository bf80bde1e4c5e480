//! Runs that move while they live: nothing under way is lost, nothing is made twice.

use std::time::Duration;

use durhai::{HostBuilder, HostError, Query, Run, Status};
use durhai_testkit::{Ending, StepDoubles};
use serde_json::json;

use super::*;

/// One workflow `w`, whose steps wait.
struct Setup {
    folder: tempfile::TempDir,
    test: TestHost,
    doubles: Arc<StepDoubles>,
    host: Host,
}

impl Setup {
    async fn new(text: &str) -> Self {
        Setup::with(text, |builder| builder).await
    }

    async fn with(text: &str, change: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let test = test_host(folder.path());
        let doubles = test.doubles();
        save(folder.path(), text);
        let host = change(test.builder().steps(doubles.source())).start().await.unwrap();
        Setup { folder, test, doubles, host }
    }

    async fn start(&self, id: &str) -> Run {
        self.host.run("w").id(id).start().await.unwrap()
    }

    async fn enters(&self, step: &str) {
        self.test.pulse.until(|| self.doubles.has(step).then_some(()), || step.to_owned()).await;
    }

    /// The new text serves; runs stay where they are.
    async fn save(&self, text: &str) -> Version {
        save(self.folder.path(), text);
        let reports = self.host.reload().await.unwrap();
        assert!(matches!(reports.last(), Some(Report::Loaded { .. })), "{reports:?}");
        serving(&self.host, "w")
    }

    async fn move_it(&self, run: &Run) {
        let moved = run.migrate(None, false).await.unwrap();
        assert!(moved.moved, "{}", moved.verdict);
        assert_eq!(run.view().await.unwrap().version, serving(&self.host, "w"));
    }

    async fn until_status(&self, run: &Run, status: Status) {
        while run.status().await.unwrap() != status {
            tokio::task::yield_now().await;
        }
    }
}

fn save(folder: &Path, text: &str) {
    std::fs::write(folder.join("w.rhai"), text).unwrap();
}

#[tokio::test]
async fn attempts_go_on_and_are_not_made_again() {
    for options in ["#{}", "#{ once: true }"] {
        let text = |end: &str| {
            format!("let all = parallel([|| use_step(\"a\", 1, {options}), || use_step(\"b\", 2, {options})]);\n{end}")
        };
        let setup = Setup::new(&text("all")).await;
        let run = setup.start("r").await;
        setup.enters("r/1.1.1").await;
        setup.enters("r/1.2.1").await;
        setup.save(&text("use_step(\"after\", 3); [all, \"new\"]")).await;
        setup.move_it(&run).await;
        assert!(setup.doubles.end("1.1.1", None) && setup.doubles.end("1.2.1", None));
        setup.enters("r/2").await;
        // And again, with the next one under way.
        setup.save(&text("use_step(\"after\", 3); [all, \"newer\"]")).await;
        setup.move_it(&run).await;
        assert!(setup.doubles.end("2", None));
        assert_eq!(run.output::<Value>().await.unwrap(), json!([[1, 2], "newer"]));
        let mut begun = setup.doubles.begun();
        begun.sort();
        assert_eq!(begun, [("r/1.1.1".into(), 1), ("r/1.2.1".into(), 1), ("r/2".into(), 1)], "{options}");
        assert_eq!(versions_in(&setup.test.world, run.id()).len(), 3);
        setup.host.shutdown().await;
    }
}

#[tokio::test]
async fn a_wait_between_attempts_goes_on_and_the_new_text_decides_over_later_ones() {
    let text = |most: u32| {
        format!("use_step(\"a\", 1, #{{ retry: #{{ max_attempts: {most}, initial: \"1m\", jitter: 0.0 }} }})")
    };
    let setup = Setup::new(&text(2)).await;
    let run = setup.start("r").await;
    for attempt in 1..=3 {
        setup.enters("r/1").await;
        setup.doubles.end("1", Some(Ending::Error(StepError::retry("not yet"))));
        setup.until_retry(&run, attempt).await;
        if attempt == 1 {
            setup.save(&text(9)).await;
            setup.move_it(&run).await;
        }
        setup.test.clock.advance(600_000);
    }
    setup.enters("r/1").await;
    setup.doubles.end("1", None);
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    setup.host.shutdown().await;
}

impl Setup {
    async fn until_retry(&self, run: &Run, attempt: u32) {
        let waits = |event: &Event| matches!(&event.body, EventBody::StepRetrying { attempt: n, .. } if *n == attempt);
        while !run.events(1, 100).await.unwrap().iter().any(waits) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_goes_on_as_if_nothing_had_happened() {
    let setup = Setup::new("let a = use_step(\"a\", 1);\nlet b = use_step(\"b\", 2);\n[a, b]").await;
    let run = setup.start("r").await;
    setup.enters("r/1").await;
    setup.doubles.end("1", None);
    setup.enters("r/2").await;
    let before = run.events(1, 100).await.unwrap();
    setup.save("let a = use_step(\"other\", 1);\nlet b = use_step(\"b\", 2);\n[a, b]").await;
    let stays = run.migrate(None, false).await.unwrap();
    assert!(!stays.moved);
    assert_eq!(stays.place, "w.rhai:1");
    assert!(stays.verdict.to_string().contains("asked    use_step(\"other\")"), "{}", stays.verdict);
    assert_eq!(run.events(1, 100).await.unwrap(), before);
    setup.doubles.end("2", None);
    assert_eq!(run.output::<Value>().await.unwrap(), json!([1, 2]));
    assert_eq!(setup.doubles.begun().len(), 2);
    let ended = run.migrate(None, true).await.unwrap_err();
    assert!(matches!(&ended, HostError::Conflict(text) if text.contains("completed")), "{ended}");
    let unknown = run.migrate(Some(Version::from_digest("feed")), true).await.unwrap_err();
    assert!(matches!(unknown, HostError::Conflict(_)), "{unknown}");
    setup.host.shutdown().await;
}

#[tokio::test]
async fn the_new_text_may_want_more_at_once() {
    let setup = Setup::new("parallel([|| use_step(\"a\", 1), || wait_for(\"x\")])").await;
    let run = setup.start("r").await;
    setup.enters("r/1.1.1").await;
    setup
        .save(
            "set_state(\"text\", 2);\n\
             parallel([|| use_step(\"a\", 1), || wait_for(\"x\"), || use_step(\"c\", 3), || hook(#{ token: \"t\" }).wait()])",
        )
        .await;
    setup.move_it(&run).await;
    setup.enters("r/1.3.1").await;
    assert_eq!(run.view().await.unwrap().state, json!({ "text": 2 }));
    let log = run.events(1, 100).await.unwrap();
    let at = |wanted: fn(&EventBody) -> bool| log.iter().position(|event| wanted(&event.body)).unwrap();
    assert!(
        at(|body| matches!(body, EventBody::RunMigrated { .. }))
            < at(|body| matches!(body, EventBody::HookOpened { .. }))
    );
    setup.doubles.end("1.1.1", None);
    setup.doubles.end("1.3.1", None);
    run.signal("x", &2).await.unwrap();
    let payload = durhai::view::HookRequest { method: "POST".into(), body: json!(4), ..Default::default() };
    setup.host.deliver_hook("t", payload, None).await.unwrap();
    let output = run.output::<Value>().await.unwrap();
    assert_eq!((&output[0], &output[1], &output[2], &output[3]["body"]), (&json!(1), &json!(2), &json!(3), &json!(4)));
    // Each beginning of this log fits the version that served there.
    let log = run.events(1, 100).await.unwrap();
    let texts = [0, 1].map(|n| versions_in(&setup.test.world, run.id())[n].clone());
    for seq in 1..=log.len() {
        let version = durhai_core::replay::version_at(&log, seq as u64).unwrap();
        assert_eq!(
            *version == texts[1],
            seq > log.iter().position(|e| matches!(e.body, EventBody::RunMigrated { .. })).unwrap()
        );
        let bundle: durhai_engine::Bundle =
            serde_json::from_slice(&setup.test.world.program(version).unwrap().unwrap()).unwrap();
        let exec = crate::scenarios::replayer::Replayer::new("w", &bundle.source).replay(log[..seq].to_vec());
        let verdict = exec.replay().verdict();
        assert!(!matches!(verdict, Some(durhai_core::replay::Verdict::Diverged(_))), "up to {seq}: {verdict:?}");
    }
    setup.host.shutdown().await;
}

#[tokio::test]
async fn signals_that_come_meanwhile_are_neither_lost_nor_doubled() {
    const COUNT: usize = 60;
    let text =
        |name: &str| format!("let got = [];\nfor i in 0..{COUNT} {{ got.push(wait_for(\"n\")); }}\n[got, \"{name}\"]");
    let setup = Setup::new(&text("first")).await;
    let run = setup.start("r").await;
    let sender = {
        let run = run.clone();
        tokio::spawn(async move {
            for n in 0..COUNT {
                run.signal("n", &n).await.unwrap();
            }
        })
    };
    let mut moves = 0;
    for n in 0..12 {
        setup.save(&text(&format!("text {n}"))).await;
        match run.migrate(None, false).await {
            Ok(moved) if moved.moved => moves += 1,
            // It has ended.
            Ok(_) | Err(HostError::Conflict(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    sender.await.unwrap();
    let output = run.output::<Value>().await.unwrap();
    assert_eq!(output[0], json!((0..COUNT).collect::<Vec<_>>()));
    assert_eq!(versions_in(&setup.test.world, run.id()).len(), moves + 1);
    setup.host.shutdown().await;
}

#[tokio::test]
async fn children_that_run_are_waited_for_by_the_new_text() {
    let text = |end: &str| {
        format!("if input == () {{ let x = run_workflow(\"w\", 1); {end} }} else {{ use_step(\"a\", input) }}")
    };
    let setup = Setup::new(&text("x")).await;
    let run = setup.start("r").await;
    let child = run.id().child(&durhai::StepId::parse("1").unwrap());
    setup.enters(&format!("{child}/1")).await;
    setup.save(&text("[x]")).await;
    setup.move_it(&run).await;
    setup.doubles.end(&format!("{child}/1"), None);
    assert_eq!(run.output::<Value>().await.unwrap(), json!([1]));
    assert_eq!(setup.doubles.begun().len(), 1);
    setup.host.shutdown().await;
}

#[tokio::test]
async fn runs_that_nobody_holds_move_too() {
    let text = |end: &str| format!("const WORKFLOW = #{{ concurrency: #{{ limit: 2 }} }};\nsleep(\"1h\");\n{end}");
    let setup = Setup::with(&text("1"), |builder| builder.evict_after(Duration::from_millis(1))).await;
    let inside = setup.start("asleep").await;
    let delayed = setup.host.run("w").id("delayed").delay(Duration::from_secs(60)).start().await.unwrap();
    let parked = setup.start("parked").await;
    let waits = setup.start("waits").await;
    while setup.host.stats().evicted < 2 {
        setup.test.clock.advance(1);
        tokio::task::yield_now().await;
    }
    setup.save(&text("use_step(\"more\", 2)")).await;
    let all = || Query { workflow: Some("w".into()), ..Query::default() };
    let look = setup.host.migrate(all(), None, true).await.unwrap();
    assert_eq!((look.live, look.compatible, look.moved), (4, 4, 0));
    let moved = setup.host.migrate(all(), None, false).await.unwrap();
    assert_eq!((moved.live, moved.moved, moved.already), (4, 4, 0));
    let again = setup.host.migrate(all(), None, false).await.unwrap();
    assert_eq!((again.live, again.moved, again.already), (4, 0, 4));
    assert_eq!(waits.status().await.unwrap(), Status::Pending);
    for (run, id) in [(inside, "asleep/2"), (parked, "parked/2"), (delayed, "delayed/2"), (waits, "waits/2")] {
        while !setup.doubles.has(id) {
            setup.test.clock.advance(60_000);
            tokio::task::yield_now().await;
        }
        setup.doubles.end(id, None);
        assert_eq!(run.output::<i64>().await.unwrap(), 2);
        assert_eq!(versions_in(&setup.test.world, run.id()).len(), 2);
    }
    setup.host.shutdown().await;
}

#[tokio::test]
async fn a_run_parked_for_its_text_goes_on_with_another() {
    let setup = Setup::new("let a = use_step(\"a\", 1);\nuse_step(\"b\", 2);\na").await;
    let run = setup.start("r").await;
    setup.enters("r/1").await;
    setup.doubles.end("1", None);
    setup.enters("r/2").await;
    setup.host.shutdown().await;
    let bad = durhai_engine::Bundle::single("w", "use_step(\"z\")");
    setup.test.world.put_program(&bad.version(), &serde_json::to_vec(&bad).unwrap()).unwrap();
    super::edits::force(&setup.test.world, run.id(), &bad.version());
    let doubles = setup.test.doubles();
    let host = setup.test.builder().steps(doubles.source()).start().await.unwrap();
    let run = host.get("r").await.unwrap();
    setup.until_status(&run, Status::Parked).await;
    let moved = run.migrate(None, false).await.unwrap();
    assert!(moved.moved);
    setup.test.pulse.until(|| doubles.has("r/2").then_some(()), || "the second step").await;
    doubles.end("2", None);
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    host.shutdown().await;
}

#[tokio::test]
async fn a_run_that_moved_and_failed_is_tried_again_with_what_it_had_last() {
    let setup = Setup::new("let a = use_step(\"a\", 1);\nlet b = use_step(\"b\", 2, #{ retry: false });\n[a, b]").await;
    let run = setup.start("r").await;
    setup.enters("r/1").await;
    setup.doubles.end("1", None);
    setup.enters("r/2").await;
    setup.save("let a = use_step(\"a\", 1);\nlet b = use_step(\"b\", 2, #{ retry: false });\n[a, b, \"moved\"]").await;
    setup.move_it(&run).await;
    let moved = serving(&setup.host, "w");
    // What serves does not fit any more.
    setup.save("use_step(\"z\")").await;
    setup.doubles.end("2", Some(Ending::Error(StepError::fatal("no"))));
    run.output::<Value>().await.unwrap_err();
    let again = run.retry().await.unwrap();
    assert_eq!(again.view().await.unwrap().version, moved);
    // It has the keys of the run that failed.
    let twice = || setup.doubles.begun().iter().filter(|(key, _)| key == "r/2").count() == 2;
    setup.test.pulse.until(|| twice().then_some(()), || "r/2 again").await;
    setup.doubles.end("r/2", None);
    assert_eq!(again.output::<Value>().await.unwrap(), json!([1, 2, "moved"]));
    assert_eq!(setup.doubles.begun().iter().filter(|(key, _)| key.ends_with("/1")).count(), 1);
    setup.host.shutdown().await;
}
