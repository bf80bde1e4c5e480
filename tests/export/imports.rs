//! Runs that come from files.

use durhai::archive::{ExportOptions, ImportOptions};
use durhai::logs::ReplayOptions;
use durhai::{HostError, Query, Status, Value};
use durhai_testkit::Fault;
use serde_json::json;

use super::{exported, test_host};

const ALL: ExportOptions = ExportOptions { children: true, tokens: false };

#[tokio::test]
async fn a_live_run_is_parked_goes_on_when_told_and_ends_as_it_would_have() {
    let (here, there) = (test_host(), test_host());
    let host = here.start().await;
    let run = host.run("parent").id("p").start().await.unwrap();
    here.rests().await;
    let file = exported(&run, ALL).await;
    run.signal("go", &1).await.unwrap();
    let wanted: Value = run.output().await.unwrap();

    let other = there.start().await;
    let options = ImportOptions { id: Some("new".into()), file: "p.ndjson".into(), ..ImportOptions::default() };
    let imported = other.import(std::io::Cursor::new(file.clone()), options.clone()).await.unwrap();
    assert_eq!(imported.notes, [""; 0]);
    let names: Vec<_> = imported.runs.iter().map(|run| run.as_str()).collect();
    assert_eq!(names, ["new", "new:1"]);
    let new = other.get("new").await.unwrap();
    let view = new.view().await.unwrap();
    assert_eq!(view.status, Status::Parked);
    let reason = view.reason.unwrap();
    assert!(reason.contains("p.ndjson") && reason.contains("unpark new"), "{reason}");
    let origin = view.origin.unwrap();
    assert_eq!((origin.run.as_str(), origin.file.as_deref()), ("p", Some("p.ndjson")));
    assert_eq!(view.state, json!({ "seen": { "n": 1 } }));
    assert_eq!(new.emitted("default", 0, 10).await.unwrap().len(), 1);
    assert_eq!(new.logs(0, 10).await.unwrap()[0].line.message, "begun");
    let child = other.get("new:1").await.unwrap().view().await.unwrap();
    assert_eq!((child.status, child.parent.unwrap().as_str()), (Status::Completed, "new"));
    let replayed = new.replay(ReplayOptions::default()).await.unwrap();
    assert_eq!((replayed.status, replayed.divergence), (Status::Waiting, None));
    // Twice under one name cannot be.
    let taken = other.import(std::io::Cursor::new(file.clone()), options).await.unwrap_err();
    assert!(matches!(&taken, HostError::Conflict(text) if text.contains("new already")), "{taken}");
    // It did nothing by itself; now it may, with the same random numbers.
    new.signal("go", &1).await.unwrap();
    assert_eq!(new.status().await.unwrap(), Status::Parked);
    new.unpark().await.unwrap();
    assert_eq!(new.output::<Value>().await.unwrap(), wanted);
    assert_eq!(new.emitted("default", 0, 10).await.unwrap().len(), 2);
    // At once, under a name that is made up.
    let go = ImportOptions { go: true, ..ImportOptions::default() };
    let imported = other.import(std::io::Cursor::new(file.clone()), go).await.unwrap();
    assert!(imported.parked.is_empty());
    let going = other.get(imported.run.as_str()).await.unwrap();
    there.rests().await;
    going.signal("go", &1).await.unwrap();
    assert_eq!(going.output::<Value>().await.unwrap(), wanted);
    // As it was.
    let as_is = ImportOptions { as_is: true, ..ImportOptions::default() };
    other.import(std::io::Cursor::new(file), as_is).await.unwrap();
    let same = other.get("p").await.unwrap();
    assert_eq!(same.view().await.unwrap().origin, None);
    same.unpark().await.unwrap();
    same.signal("go", &1).await.unwrap();
    assert_eq!(same.output::<Value>().await.unwrap(), wanted);
    assert_eq!(other.doctor().await.unwrap().findings, []);
    other.shutdown().await;
    host.shutdown().await;
}

#[tokio::test]
async fn an_ended_run_is_as_it_ended() {
    let host = test_host().start().await;
    let run = host.run("parent").id("p").start().await.unwrap();
    run.signal("go", &1).await.unwrap();
    let before = run.wait().await.unwrap();
    let file = exported(&run, ExportOptions::default()).await;
    host.shutdown().await;
    let other = test_host().start().await;
    let imported = other.import(std::io::Cursor::new(file), ImportOptions::default()).await.unwrap();
    assert!(imported.parked.is_empty());
    let after = other.get(imported.run.as_str()).await.unwrap();
    let view = after.view().await.unwrap();
    assert_eq!((view.status, view.output, view.ended_at), (Status::Completed, before.output, before.ended_at));
    assert_eq!(after.replay(ReplayOptions::default()).await.unwrap().divergence, None);
    assert_eq!(other.doctor().await.unwrap().findings, []);
    other.shutdown().await;
}

/// The host dies before or after each write of an import: the next one finds all of it, or nothing.
#[tokio::test]
async fn an_import_that_is_cut_off_leaves_nothing() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("parent").id("p").start().await.unwrap();
    test.rests().await;
    let file = exported(&run, ALL).await;
    host.shutdown().await;
    let mut cut = 0;
    for write in 1.. {
        let mut struck = false;
        for fault in [Fault::Before(write), Fault::After(write)] {
            let test = test_host();
            let (connection, first) = test.start_with(fault).await;
            let options = ImportOptions { id: Some("new".into()), go: true, ..ImportOptions::default() };
            let done = first.import(std::io::Cursor::new(file.clone()), options.clone()).await;
            struck |= connection.struck();
            connection.crash();
            test.bury(&first).await;
            let second = test.start().await;
            let runs = second.list(Query::default()).await.unwrap().runs;
            assert!(runs.is_empty() || runs.len() == 2, "{fault:?}: {runs:#?}");
            if runs.is_empty() {
                assert!(done.is_err(), "{fault:?}");
                cut += 1;
                second.import(std::io::Cursor::new(file.clone()), options).await.unwrap();
            }
            let run = second.get("new").await.unwrap();
            if run.status().await.unwrap() == Status::Parked {
                run.unpark().await.unwrap();
            }
            run.signal("go", &1).await.unwrap();
            let output: Value = run.output().await.unwrap();
            assert_eq!(output[4], 1, "{fault:?}");
            assert_eq!(second.doctor().await.unwrap().findings, [], "{fault:?}");
            second.shutdown().await;
        }
        if !struck {
            break;
        }
    }
    assert!(cut > 6, "{cut}");
}

#[tokio::test]
async fn a_wrong_file_changes_nothing() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("parent").id("p").start().await.unwrap();
    test.rests().await;
    let text = String::from_utf8(exported(&run, ALL).await).unwrap();
    host.shutdown().await;
    let other = test_host().start().await;
    for wrong in
        [text.replacen("\"seq\":3,", "\"seq\":9,", 1), text[..text.len() / 2].to_owned(), "{}\n".into(), String::new()]
    {
        let error = other.import(std::io::Cursor::new(wrong.into_bytes()), ImportOptions::default()).await.unwrap_err();
        assert!(matches!(&error, HostError::Invalid(text) if text.starts_with("line ")), "{error}");
    }
    let bad = ImportOptions { id: Some("a b".into()), ..ImportOptions::default() };
    assert!(matches!(other.import(std::io::Cursor::new(text.into_bytes()), bad).await, Err(HostError::Invalid(_))));
    assert!(other.list(Query::default()).await.unwrap().runs.is_empty());
    other.shutdown().await;
}
