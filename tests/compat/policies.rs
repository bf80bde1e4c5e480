//! What `on_reload` decides.

use durhai::{HostError, Status};
use serde_json::json;

use super::*;

fn text(policy: &str, body: &str) -> String {
    format!("const WORKFLOW = #{{ on_reload: \"{policy}\" }};\n{body}")
}

const OLD: &str =
    "let a = use_step(\"reserve\", input);\nwait_for(\"go\");\nlet b = use_step(\"charge\", a);\nwait_for(\"on\");\nb";
/// Fits those that have not charged.
const NEW: &str =
    "let a = use_step(\"reserve\", input);\nwait_for(\"go\");\nlet b = use_step(\"bill\", a);\nwait_for(\"on\");\n[b]";

struct Setup {
    folder: tempfile::TempDir,
    test: TestHost,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("order.rhai"), OLD).unwrap();
        let (test, _) = with_journal(folder.path());
        Setup { folder, test }
    }

    async fn host(&self) -> Host {
        self.test.start().await
    }

    fn save(&self, text: &str) {
        std::fs::write(self.folder.path().join("order.rhai"), text).unwrap();
    }

    /// Two runs: `early` waits for the first signal, `late` for the second.
    async fn two(&self, host: &Host) {
        for id in ["early", "late"] {
            host.run("order").id(id).input(&3).start().await.unwrap();
        }
        self.test.rests().await;
        host.get("late").await.unwrap().signal("go", &()).await.unwrap();
        self.test.rests().await;
        rest_of(host, "late", 7).await;
    }

    fn versions(&self, run: &str) -> usize {
        versions_in(&self.test.world, &RunId::new(run).unwrap()).len()
    }
}

/// Until the log of a run has so many events.
async fn rest_of(host: &Host, run: &str, count: usize) {
    while host.get(run).await.unwrap().events(1, 1_000).await.unwrap().len() < count {
        tokio::task::yield_now().await;
    }
}

async fn end(host: &Host, run: &str) -> Value {
    let run = host.get(run).await.unwrap();
    run.signal("go", &()).await.unwrap();
    run.signal("on", &()).await.unwrap();
    run.output().await.unwrap()
}

#[tokio::test]
async fn pin_serves_at_once_and_leaves_the_runs_where_they_are() {
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    let old = serving(&host, "order");
    setup.save(&text("pin", NEW));
    let reports = host.reload().await.unwrap();
    let report = compat_report(&reports);
    assert_eq!((report.live, report.compatible, report.diverging, report.moved), (2, 1, 1, 0));
    assert_eq!((report.policy.as_str(), report.served), ("pin", true));
    let shown = report.to_string();
    assert!(shown.starts_with("order: 2 live runs: 1 can move, 1 diverges, first at order.rhai:4"), "{shown}");
    assert!(shown.contains("recorded use_step(\"charge\") with 3 at 3:9: let b = use_step(\"charge\", a);"), "{shown}");
    assert!(shown.contains("asked    use_step(\"bill\") with 3 at 4:9: let b = use_step(\"bill\", a);"), "{shown}");
    assert!(matches!(reports.last(), Some(Report::Loaded { .. })), "{reports:?}");
    assert_eq!(host.compat_report("order").await.unwrap().as_ref(), Some(report));
    let versions = host.versions("order").await.unwrap();
    let counts: Vec<_> = versions.iter().map(|v| (v.version == old, v.serving, v.live, v.runs, v.bytes > 0)).collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.contains(&(true, false, 2, 2, true)) && counts.contains(&(false, true, 0, 0, true)), "{counts:?}");
    let list = host.workflow_list().await.unwrap();
    assert_eq!((list[0].live.len(), list[0].live[0].runs, list[0].live[0].serving), (1, 2, false));
    // What starts now has the new text.
    host.run("order").id("fresh").input(&3).start().await.unwrap();
    assert_eq!(
        (end(&host, "fresh").await, end(&host, "early").await, end(&host, "late").await),
        (json!([3]), json!(3), json!(3))
    );
    assert_eq!((setup.versions("early"), setup.versions("late")), (1, 1));
    host.shutdown().await;
}

#[tokio::test]
async fn upgrade_moves_those_that_fit() {
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    setup.save(&text("upgrade", NEW));
    let reports = host.reload().await.unwrap();
    let report = compat_report(&reports);
    assert_eq!((report.live, report.compatible, report.diverging, report.moved, report.served), (2, 1, 1, 1, true));
    assert_eq!((setup.versions("early"), setup.versions("late")), (2, 1));
    assert_eq!(host.get("early").await.unwrap().view().await.unwrap().version, serving(&host, "order"));
    assert_eq!((end(&host, "early").await, end(&host, "late").await), (json!([3]), json!(3)));
    host.shutdown().await;
}

#[tokio::test]
async fn refuse_lets_the_old_version_serve_until_the_run_in_its_way_has_ended() {
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    let old = serving(&host, "order");
    setup.save(&text("refuse", NEW));
    let reports = host.reload().await.unwrap();
    assert!(!compat_report(&reports).served);
    assert!(matches!(reports.last(), Some(Report::Broken { error, .. }) if error.contains("late")), "{reports:?}");
    assert_eq!(serving(&host, "order"), old);
    let error = host.workflows()[0].error.clone().unwrap();
    assert!(error.contains("order: 2 live runs: 1 can move, 1 diverges"), "{error}");
    // Nothing has changed: it is not looked at again, and old starts go on.
    assert_eq!(host.reload().await.unwrap(), []);
    host.run("order").id("meanwhile").input(&1).start().await.unwrap();
    assert_eq!(end(&host, "late").await, json!(3));
    // Those that are left fit.
    let reports = host.reload().await.unwrap();
    let report = compat_report(&reports);
    assert_eq!((report.live, report.compatible, report.served, report.moved), (2, 2, true, 0));
    assert_ne!(serving(&host, "order"), old);
    assert_eq!(host.workflows()[0].error, None);
    // A text that goes back to what serves is not checked.
    setup.save(&text("refuse", "use_step(\"mail\")"));
    assert!(!compat_report(&host.reload().await.unwrap()).served);
    setup.save(&text("refuse", NEW));
    assert!(host.workflows()[0].error.is_some());
    let reports = host.reload().await.unwrap();
    assert!(matches!(reports.as_slice(), [Report::Loaded { .. }]), "{reports:?}");
    assert_eq!(host.workflows()[0].error, None);
    host.shutdown().await;
}

#[tokio::test]
async fn a_text_that_changed_while_the_host_was_down_is_checked_too() {
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    let old = serving(&host, "order");
    host.shutdown().await;
    setup.save(&text("refuse", NEW));
    let host = setup.host().await;
    assert_eq!(serving(&host, "order"), old, "what served goes on serving");
    host.reload().await.unwrap();
    assert_eq!(serving(&host, "order"), old);
    assert!(!host.compat_report("order").await.unwrap().unwrap().served);
    host.shutdown().await;
    setup.save(&text("upgrade", NEW));
    let host = setup.host().await;
    host.reload().await.unwrap();
    assert_ne!(serving(&host, "order"), old);
    assert_eq!((setup.versions("early"), setup.versions("late")), (2, 1));
    assert_eq!(end(&host, "early").await, json!([3]));
    host.shutdown().await;
}

#[tokio::test]
async fn another_standard_library_is_another_version() {
    // The same text under another digest: what a host with an older library has left.
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    let now = serving(&host, "order");
    host.shutdown().await;
    let older = Version::from_digest(&"0".repeat(64));
    let text = setup.test.world.program(&now).unwrap().unwrap();
    setup.test.world.put_program(&older, &text).unwrap();
    setup.test.world.put_meta("serving/order", older.as_str().as_bytes()).unwrap();
    let host = setup.host().await;
    host.reload().await.unwrap();
    let report = host.compat_report("order").await.unwrap().unwrap();
    assert_eq!((report.from, report.to), (Some(older), now));
    assert_eq!((report.live, report.compatible), (2, 2));
    host.shutdown().await;
}

#[tokio::test]
async fn a_run_that_diverged_goes_on_when_a_text_fits_again() {
    let setup = Setup::new();
    let host = setup.host().await;
    setup.two(&host).await;
    host.shutdown().await;
    // Its row is set to a text that does not fit: it parks.
    std::fs::write(setup.folder.path().join("order.rhai"), text("pin", NEW)).unwrap();
    let host = setup.host().await;
    host.reload().await.unwrap();
    let to = serving(&host, "order");
    host.shutdown().await;
    let late = RunId::new("late").unwrap();
    super::edits::force(&setup.test.world, &late, &to);
    let host = setup.host().await;
    let run = host.get("late").await.unwrap();
    run.signal("on", &()).await.unwrap();
    while run.status().await.unwrap() != Status::Parked {
        tokio::task::yield_now().await;
    }
    let shown = run.view().await.unwrap().reason.unwrap();
    assert!(shown.starts_with("diverged") && shown.contains("use_step(\"bill\")"), "{shown}");
    // By hand to a text that does not fit: it stays parked. A new text that fits: it goes on by itself.
    let same = run.migrate(None, false).await.unwrap();
    assert!(!same.moved && !same.verdict.is_compatible(), "{same:?}");
    assert_eq!(run.status().await.unwrap(), Status::Parked);
    setup.save(&text("upgrade", &OLD.replace("\nb", "\n[b, b]")));
    let reports = host.reload().await.unwrap();
    assert_eq!((compat_report(&reports).compatible, compat_report(&reports).moved), (2, 2));
    assert_eq!(run.output::<Value>().await.unwrap(), json!([3, 3]));
    let ended = run.migrate(None, false).await.unwrap_err();
    assert!(matches!(&ended, HostError::Conflict(text) if text.contains("completed")), "{ended}");
    host.shutdown().await;
}
