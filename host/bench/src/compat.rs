//! The logs of live runs against a new text, on the store on disk.

use std::time::Duration;

use durhai::versions::MigrateReport;
use durhai::{Host, Query, SledWorld, Status};

use crate::hosts::add;

/// 20 events: created, started, nine steps.
const OLD: &str = r#"let x = 0; for i in 0..9 { x = use_step("add", x); } wait_for("go"); x"#;
const NEW: &str = r#"let x = 0; for i in 0..9 { x = use_step("add", x); } wait_for("go"); -x"#;

pub async fn check(host: &Host, count: u64) -> MigrateReport {
    let query = Query { workflow: Some("w".into()), ..Query::default() };
    let report = host.migrate(query, None, true).await.expect("the host answers");
    assert_eq!((report.live, report.compatible), (count, count));
    report
}

/// A host with so many runs of the old text that wait; the new one serves.
pub async fn waiting(count: u64) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).expect("a folder");
    std::fs::write(scripts.join("w.rhai"), OLD).expect("a script");
    let host = Host::builder()
        .world(SledWorld::open(folder.path().join("store")).expect("a store"))
        .workflows(&scripts)
        .watch(false)
        .step("add", add)
        .start()
        .await
        .expect("a host");
    for n in 0..count {
        host.run("w").id(format!("run-{n}")).start().await.expect("a run");
    }
    let busy = || Query { status: vec![Status::Running, Status::Pending], limit: 1, ..Query::default() };
    while !host.list(busy()).await.expect("a list").runs.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(scripts.join("w.rhai"), NEW).expect("a script");
    host.reload().await.expect("it is looked at");
    (folder, host)
}
