//! Moves with a crash before and after every write.

use durhai::Status;
use durhai_testkit::Fault;
use durhai_world::Query;
use serde_json::json;

use super::*;

const OLD: &str = "let a = use_step(\"a\", 1);\nlet b = parallel([|| use_step(\"b\", 2), || wait_for(\"x\")]);\n[a, b]";
const NEW: &str = "const WORKFLOW = #{ on_reload: \"upgrade\" };\nlet a = use_step(\"a\", 1);\nlet b = parallel([|| use_step(\"b\", 2), || wait_for(\"x\")]);\nuse_step(\"c\", 3);\n[a, b]";

/// Two runs, one of them evicted, are moved by a save. The host dies at that write, the next one ends the work. How many
/// writes the first one made.
async fn once(fault: Fault) -> u64 {
    let what = format!("{fault:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("order.rhai");
    std::fs::write(&path, OLD).unwrap();
    let test = test_host(folder.path());
    let pulse = &test.pulse;
    let host = |fault: Fault| {
        let (connection, doubles) = (Arc::new(test.connect(fault)), test.doubles());
        (connection.clone(), doubles.clone(), test.builder_on(connection).steps(doubles.source()))
    };
    // Both stand in the middle: `b` is under way, `x` has not come.
    let (_, doubles, builder) = host(Fault::Never);
    let first = builder.start().await.unwrap();
    for id in ["one", "two"] {
        first.run("order").id(id).start().await.unwrap();
        pulse.until(|| doubles.end(&format!("{id}/1"), None).then_some(()), || id).await;
        pulse.until(|| doubles.has(&format!("{id}/2.1.1")).then_some(()), || id).await;
    }
    let old = serving(&first, "order");
    first.shutdown().await;

    std::fs::write(&path, NEW).unwrap();
    let (connection, _, builder) = host(fault);
    let mut writes = 0;
    if let Ok(second) = builder.start().await {
        // It fails where the world does.
        if second.reload().await.is_ok() && !connection.is_down() {
            let new = serving(&second, "order");
            let list = second.list(Query { version: Some(new), ..Query::default() }).await;
            assert!(connection.is_down() || list.unwrap().runs.len() == 2, "{what}");
        }
        writes = connection.writes();
        connection.crash();
        second.shutdown().await;
    }
    test.world.crash();

    let (_, doubles, builder) = host(Fault::Never);
    let last = builder.start().await.unwrap();
    last.reload().await.unwrap();
    let new = serving(&last, "order");
    assert_ne!(new, old, "{what}");
    for id in ["one", "two"] {
        let run = last.get(id).await.unwrap();
        run.signal("x", &9).await.unwrap();
        pulse.until(|| doubles.end(&format!("{id}/2.1.1"), None).then_some(()), || (what.clone(), id)).await;
        // Moved, so it has the third step.
        pulse.until(|| doubles.end(&format!("{id}/3"), None).then_some(()), || (what.clone(), id)).await;
        assert_eq!(run.output::<Value>().await.unwrap(), json!([1, [2, 9]]), "{what}");
        assert_eq!(run.status().await.unwrap(), Status::Completed);
        assert_eq!(versions_in(&test.world, run.id()), [old.clone(), new.clone()], "{what}: moved once");
    }
    assert!(doubles.begun().iter().all(|(key, _)| !key.ends_with("/1")), "{what}: what was done was made again");
    last.shutdown().await;
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_and_after_every_write() {
    let writes = once(Fault::Never).await;
    assert!(writes >= 3, "{writes} writes");
    for write in 1..=writes + 1 {
        once(Fault::Before(write)).await;
        once(Fault::After(write)).await;
    }
}
