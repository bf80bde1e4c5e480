//! The file itself: what is in it, and every way in which it can be wrong.

use durhai::archive::{ExportOptions, Exported};
use durhai::logs::ReplayOptions;
use durhai::{EventBody, Status};
use serde_json::json;

use super::{exported, test_host};

#[tokio::test]
async fn everything_is_in_it_and_it_replays_without_its_store() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("parent").id("p").tag("k", "v").start().await.unwrap();
    test.rests().await;
    let live = exported(&run, ExportOptions { children: true, tokens: false }).await;
    let file = Exported::read(&live[..]).unwrap();
    assert_eq!((file.header.run.as_str(), file.runs.len(), file.texts.len()), ("p", 2, 2));
    let parent = file.run(None).unwrap();
    assert_eq!(parent.row.status, Status::Waiting);
    assert_eq!(parent.logs[0].message, "begun");
    assert_eq!(parent.outputs["other"][0].value, 2);
    assert_eq!(parent.state["seen"], json!({ "n": 1 }));
    assert_eq!(parent.events.len() as u64, run.view().await.unwrap().events);
    // Its events stand there as every view shows them.
    let text = String::from_utf8(live.clone()).unwrap();
    let events = run.events(1, 1000).await.unwrap();
    for event in events.iter().filter(|event| !matches!(event.body, EventBody::HookOpened { .. })) {
        assert!(text.lines().any(|line| line == serde_json::to_string(event).unwrap()), "{event:?}");
    }
    // The token is nowhere.
    let token = events.iter().find_map(|event| match &event.body {
        EventBody::HookOpened { token, .. } => Some(token.clone()),
        _ => None,
    });
    let token = token.unwrap();
    assert!(!text.contains(&token));
    let shown = exported(&run, ExportOptions { children: false, tokens: true }).await;
    assert_eq!(String::from_utf8(shown).unwrap().matches(&token).count(), 4, "the event twice, the line, the hook");
    // Another host, that has none of it, runs it again.
    let other = test_host().start().await;
    let script = file.texts[&parent.row.version].clone();
    let replayed = other.replay_log(parent.events.clone(), script, ReplayOptions::default(), None).await.unwrap();
    assert_eq!((replayed.status, replayed.divergence), (Status::Waiting, None));
    run.signal("go", &1).await.unwrap();
    run.wait().await.unwrap();
    let over = exported(&run, ExportOptions::default()).await;
    let file = Exported::read(&over[..]).unwrap();
    assert_eq!((file.runs.len(), file.runs[0].row.status), (1, Status::Completed));
    let unknown = host.get("nobody").await.unwrap_err();
    assert!(unknown.to_string().contains("nobody"));
    other.shutdown().await;
    host.shutdown().await;
}

/// Each line is changed, left out, doubled; the file is cut off after every byte of its end.
#[tokio::test]
async fn every_mistake_is_found_with_its_line() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("parent").id("p").start().await.unwrap();
    test.rests().await;
    let bytes = exported(&run, ExportOptions { children: true, tokens: false }).await;
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let read = |lines: &[&str]| Exported::read((lines.join("\n") + "\n").as_bytes());
    assert!(read(&lines).is_ok());
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        assert!(read(&without).is_err(), "without line {}: {}", at + 1, lines[at]);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert!(read(&doubled).is_err(), "line {} twice", at + 1);
        let mut broken = lines.clone();
        let half = &lines[at][..lines[at].len() / 2];
        broken[at] = half;
        let error = read(&broken).unwrap_err();
        assert_eq!(error.line, at as u64 + 1, "{error}: {half}");
    }
    for keep in (text.len() - 200..text.len() - 1).chain([0, 1, 100]) {
        let error = Exported::read(&text.as_bytes()[..keep]).unwrap_err();
        assert!(error.line > 0 && !error.why.is_empty());
    }
    // The line feed behind the last line says nothing.
    assert!(Exported::read(&text.as_bytes()[..text.len() - 1]).is_ok());
    for (from, to, wanted) in [
        ("\"durhai_export\":1", "\"durhai_export\":2", "use a newer one"),
        ("\"durhai_export\":1", "\"durhai_backup\":1", "--backup"),
        ("\"durhai_export\":1", "\"x\":1", "durhai export RUN"),
        ("use_step(\\\"echo\\\", input.n) + 1", "use_step(\\\"echo\\\", input.n) + 2", "SHA-256"),
        ("\"seq\":3,", "\"seq\":4,", "event 3 is missing"),
        ("\"type\":\"step_completed\"", "\"type\":\"step_exploded\"", "is no type of event"),
        ("\"message\":\"begun\"", "\"message\":\"begin\"", "SHA-256"),
        ("\"type\":\"log\",\"index\":0", "\"type\":\"log\",\"index\":5", "entry 5"),
        ("\"status\":\"waiting\"", "\"status\":\"completed\"", "has not ended"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Exported::read(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.why.contains(wanted), "{from} -> {to}: {error}");
    }
    host.shutdown().await;
}
