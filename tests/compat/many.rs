//! Many runs that are checked against a save.

use super::*;

const TEXT: &str = "const WORKFLOW = #{ on_reload: \"upgrade\" };\nlet n = 0;\nfor i in 0..3 { n += use_step(\"pack\", i); }\nwait_for(\"go\");\nn";

/// Half of them in memory, half at rest in the world.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_runs_move() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("order.rhai"), TEXT).unwrap();
    let (test, journal) = with_journal(folder.path());
    let host = test.builder().max_live_runs(500).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..1_000 {
        runs.push(host.run("order").id(format!("run-{n}")).start().await.unwrap());
    }
    test.rests().await;
    std::fs::write(folder.path().join("order.rhai"), TEXT.replace("\nn", "\n-n")).unwrap();
    let reports = host.reload().await.unwrap();
    let report = compat_report(&reports);
    assert_eq!((report.live, report.compatible, report.moved), (1_000, 1_000, 1_000), "{report}");
    for run in &runs {
        run.signal("go", &()).await.unwrap();
    }
    for run in &runs {
        assert_eq!(run.output::<i64>().await.unwrap(), -3);
        assert_eq!(versions_in(&test.world, run.id()).len(), 2);
    }
    assert_eq!(journal.lock().len(), 3_000, "no step was made again");
    host.shutdown().await;
}

/// A save while live runs are checked: what was saved last counts, and the one before never serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_save_takes_the_place_of_the_one_being_checked() {
    let folder = tempfile::tempdir().unwrap();
    let pin = TEXT.replace("upgrade", "pin");
    std::fs::write(folder.path().join("order.rhai"), &pin).unwrap();
    let (test, _) = with_journal(folder.path());
    let host = test.start().await;
    for n in 0..300 {
        host.run("order").id(format!("run-{n}")).start().await.unwrap();
    }
    test.rests().await;
    // It spins: a check that is not stopped takes very long.
    let spins =
        pin.replace("\nn", "\nlet x = 0; while x < 100_000_000 { x += 1; }\nn").replace("wait_for(\"go\");", "");
    std::fs::write(folder.path().join("order.rhai"), spins).unwrap();
    let first = tokio::spawn({
        let host = host.clone();
        async move { host.reload().await }
    });
    tokio::task::yield_now().await;
    std::fs::write(folder.path().join("order.rhai"), pin.replace("\nn", "\nn + 1")).unwrap();
    let reports = host.reload().await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(reports.iter().filter(|report| matches!(report, Report::Loaded { .. })).count(), 1, "{reports:?}");
    assert_eq!(compat_report(&reports).compatible, 300);
    let versions = host.versions("order").await.unwrap();
    assert_eq!(versions.iter().filter(|version| version.serving).count(), 1);
    assert_eq!(versions[0].version, compat_report(&reports).to);
    host.shutdown().await;
}

/// The look that a host takes as it comes up may meet a save already: the embedder that asks next hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_look_met_is_told_to_the_first_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("order.rhai"), TEXT).unwrap();
    let (test, _) = with_journal(folder.path());
    let host = test.start().await;
    host.run("order").id("one").start().await.unwrap();
    let before = serving(&host, "order");
    std::fs::write(folder.path().join("order.rhai"), TEXT.replace("\nn", "\n-n")).unwrap();
    // Mostly it is the first look that meets it. On a busy machine that look was before, and then the one asked for does.
    for _ in 0..100 {
        if serving(&host, "order") != before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let reports = host.reload().await.unwrap();
    assert_eq!(compat_report(&reports).live, 1);
    assert!(host.reload().await.unwrap().is_empty(), "nothing is told twice");
    host.shutdown().await;
}
