//! Every workflow in `scripts/`, run as its README says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai::{EventBody, Host, MemoryWorld, Run, RunView, Status, Value, World};
use durhai_steps::{BuiltinSteps, PathGrant, Permissions, RhaiSteps};
use serde_json::json;

/// A scripts folder, and a folder to write to that goes away.
struct Place {
    out: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place { out: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> &Path {
        self.out.path()
    }

    async fn host(&self, world: Arc<dyn World>) -> Host {
        let permissions = Permissions {
            read: PathGrant::paths([scripts(), self.out().into()]).unwrap(),
            write: PathGrant::paths([self.out()]).unwrap(),
            ..Permissions::none()
        };
        Host::builder()
            .shared_world(world)
            .workflows(scripts())
            .watch(false)
            .steps(Arc::new(RhaiSteps::open(scripts(), permissions.clone())))
            .steps(Arc::new(BuiltinSteps::new(permissions)))
            .start()
            .await
            .unwrap()
    }

    /// Puts the folders in for `OUT` and `SCRIPTS`.
    fn fill(&self, value: &Value) -> Value {
        let text = value.to_string();
        let text = text.replace("OUT", self.out().to_str().unwrap()).replace("SCRIPTS", scripts().to_str().unwrap());
        serde_json::from_str(&text).unwrap()
    }

    async fn run(&self, workflow: &str, id: &str, input: &Value, signals: &[(&str, Value)]) -> RunView {
        let host = self.host(Arc::new(MemoryWorld::new())).await;
        let run = start(&host, workflow, id, &self.fill(input)).await;
        for (name, payload) in signals {
            run.signal(name, payload).await.unwrap();
        }
        let view = run.wait().await.unwrap();
        host.shutdown().await;
        view
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").canonicalize().unwrap()
}

async fn start(host: &Host, workflow: &str, id: &str, input: &Value) -> Run {
    host.run(workflow).id(id).input(input).start().await.unwrap()
}

/// Workflow, input, signals sent at once, output.
type Row = (&'static str, Value, Vec<(&'static str, Value)>, Value);

fn table() -> Vec<Row> {
    let mugs = |card: &str| json!({ "items": [{ "sku": "mug", "count": 2, "cents": 1_250 }], "card": card });
    let chair = |cents: i64| json!({ "what": "a chair", "cents": cents, "chain": ["ben", "ada"], "remind_after": "5ms", "reminders": 1 });
    let ann = |broke: Value| json!({ "customer": "ann", "cents": 900, "months": 3, "month": "5ms", "dunning": ["1ms", "2ms"], "broke": broke });
    vec![
        (
            "order",
            mugs("4242"),
            vec![],
            json!({ "status": "shipped", "cents": 2_500, "payment": "pay-order/2", "parcel": "parcel-3" }),
        ),
        ("order", mugs("0002"), vec![], json!({ "status": "declined", "cents": 2_500 })),
        ("approval", chair(4_999), vec![], json!({ "ok": true, "by": "nobody", "asked": 0 })),
        (
            "approval",
            chair(5_000),
            vec![("decision", json!({ "by": "ben", "ok": true, "note": "fine" }))],
            json!({ "ok": true, "by": "ben", "note": "fine", "asked": 1 }),
        ),
        (
            "approval",
            chair(5_000),
            vec![],
            json!({ "ok": false, "by": "nobody", "note": "nobody answered", "asked": 4 }),
        ),
        (
            "cleanup",
            json!({ "folder": "OUT/backups", "keep": 2, "dry_run": true }),
            vec![],
            json!({ "would_remove": ["db-2026-01-01.sql", "db-2026-01-02.sql"] }),
        ),
        (
            "cleanup",
            json!({ "folder": "OUT/backups", "keep": 2 }),
            vec![],
            json!({ "removed": ["db-2026-01-01.sql", "db-2026-01-02.sql"], "failed": [], "freed": 8 }),
        ),
        (
            "wordcount",
            json!({ "folder": "OUT/texts", "ending": ".txt", "top": 3 }),
            vec![],
            json!({ "files": 2, "words": 9, "different": 5, "top": [
                { "word": "rose", "count": 3 }, { "word": "a", "count": 2 }, { "word": "is", "count": 2 },
            ] }),
        ),
        (
            "mailing",
            json!({ "list": "SCRIPTS/data/recipients.csv", "outbox": "OUT/outbox", "pause": "5ms", "batch": 10 }),
            vec![],
            json!({ "sent": 22, "failed": ["imre", "tara"], "batches": 3 }),
        ),
        (
            "quote",
            json!({ "article": "mug", "patience": "1 hour", "north": "1 day", "south": "1ms" }),
            vec![],
            json!({ "supplier": "south", "cents": 1_930 }),
        ),
        (
            "quote",
            json!({ "article": "mug", "patience": "10ms", "north": "1 day", "south": "1 day" }),
            vec![],
            json!({ "supplier": "list", "cents": 1_900 }),
        ),
        ("subscription", ann(json!({})), vec![], json!({ "ended": "done", "months": 3, "collected": 2_700 })),
        ("subscription", ann(json!({ "2": 2 })), vec![], json!({ "ended": "done", "months": 3, "collected": 2_700 })),
        ("subscription", ann(json!({ "2": 3 })), vec![], json!({ "ended": "unpaid", "months": 1, "collected": 900 })),
        (
            "subscription",
            ann(json!({})),
            vec![("cancel", json!(true))],
            json!({ "ended": "cancelled", "months": 1, "collected": 900 }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_does_what_it_says() {
    for (workflow, input, signals, output) in table() {
        let place = Place::new();
        for (file, text) in [
            ("backups/db-2026-01-01.sql", "one\n"),
            ("backups/db-2026-01-02.sql", "two\n"),
            ("backups/db-2026-01-03.sql", "three\n"),
            ("backups/db-2026-01-04.sql", "four\n"),
            ("backups/logs-2026-01-01.gz", "logs\n"),
            ("backups/README", "stays\n"),
            ("texts/a.txt", "A rose is a rose, is ..."),
            ("texts/b.txt", "the ROSE blooms"),
            ("texts/c.md", "not this one"),
        ] {
            let path = place.out().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let view = place.run(workflow, workflow, &input, &signals).await;
        assert_eq!(view.output, place.fill(&output), "{workflow} {input}: {:?} {:?}", view.status, view.error);
        let backups = fs::read_dir(place.out().join("backups")).unwrap().count();
        assert_eq!(backups, 6 - output["removed"].as_array().map_or(0, Vec::len));
        if workflow == "mailing" {
            let letter = fs::read_to_string(place.out().join("outbox/ada.txt")).unwrap();
            assert_eq!(letter, "To: ada@example.org\n\nDear Ada in Aarhus,\n\nplease pay 12.50 euros.\n");
            assert_eq!(fs::read_dir(place.out().join("outbox")).unwrap().count(), 22);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fails_is_undone_and_fails() {
    let place = Place::new();
    let world = Arc::new(MemoryWorld::new());
    let host = place.host(world).await;
    let input = json!({ "items": [{ "sku": "piano", "count": 1, "cents": 90_000 }], "card": "4242" });
    let run = start(&host, "order", "order", &input).await;
    let view = run.wait().await.unwrap();
    assert_eq!(view.status, Status::Failed);
    assert_eq!(view.error.unwrap().data["reason"], "freight");
    let logs: Vec<_> = run.logs(0, 100).await.unwrap().into_iter().map(|entry| entry.line.message).collect();
    let wanted =
        ["undoing 2 steps: nobody carries a piano", "refunded 90000 cents of pay-order/2", "released 1 × piano"];
    assert_eq!(logs, wanted);
    host.shutdown().await;
}

const ZONES: usize = 312;

fn zones(approval: &str) -> Value {
    json!({ "data": "SCRIPTS/data", "out": "OUT", "approval": approval })
}

/// The report, after a look at the journal: one line for each zone, no key twice.
fn report(place: &Place, id: &str) -> String {
    let journal = fs::read_to_string(place.out().join(format!("zones-{id}.journal"))).unwrap();
    let columns = |n: usize| -> BTreeSet<_> { journal.lines().filter_map(|line| line.split(' ').nth(n)).collect() };
    assert_eq!(journal.lines().count(), ZONES);
    assert_eq!(columns(0).len(), ZONES);
    assert_eq!(columns(1).len(), ZONES);
    assert!(columns(0).iter().all(|key| key.starts_with(&format!("{id}/"))));
    fs::read_to_string(place.out().join("zones.md")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_atlas_is_written_with_and_without_an_approval() {
    let place = Place::new();
    let view = place.run("zones", "alone", &zones("1ms"), &[]).await;
    let nobody = "Nobody looked at this report before it was written.";
    assert_eq!(view.output["approval"], nobody, "{:?}", view.error);
    assert_eq!(view.output["zones"], ZONES);
    assert_eq!(view.output["regions"], 9);
    let alone = report(&place, "alone");
    assert_eq!(view.output["bytes"], alone.len());
    for line in [
        "312 zones in 9 regions and 247 countries. Nobody looked at this report before it was written.",
        "| Africa | 19 | Africa/Tunis | Africa/Johannesburg | Africa/Cairo (1612 km) |",
        "| Johannesburg | South Africa, Lesotho, Eswatini (Swaziland) | -26.2500 | 28.0000 | +01:52 | Africa/Maputo, 459 km |  |",
        "## Pacific",
    ] {
        assert!(alone.lines().any(|found| found == line), "{line}");
    }

    let view = place.run("zones", "asked", &zones("1 day"), &[("approved", json!({ "by": "ann" }))]).await;
    assert_eq!(view.output["approval"], "Approved by ann.");
    assert_eq!(report(&place, "asked"), alone.replace(nobody, "Approved by ann."));

    let no = [("approved", json!({ "ok": false, "by": "bob" }))];
    let view = place.run("zones", "refused", &zones("1 day"), &no).await;
    assert_eq!(view.error.unwrap().message, "the report was turned down");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_atlas_is_the_same_however_often_the_host_stops() {
    let calm = Place::new();
    calm.run("zones", "atlas", &zones("1ms"), &[]).await;

    let place = Place::new();
    let world: Arc<dyn World> = Arc::new(MemoryWorld::new());
    // Steps completed by one host before the next one takes over.
    for patience in [1, 40, 100, 100] {
        let host = place.host(world.clone()).await;
        let mut commits = host.commits();
        start(&host, "zones", "atlas", &place.fill(&zones("1ms"))).await;
        let mut completed = 0;
        while completed < patience {
            // The last of them may have been before we listened.
            let Ok(commit) = commits.recv().await else { break };
            completed +=
                commit.events.iter().filter(|event| matches!(event.body, EventBody::StepCompleted { .. })).count();
        }
        host.shutdown().await;
    }
    let host = place.host(world).await;
    let run = start(&host, "zones", "atlas", &place.fill(&zones("1ms"))).await;
    assert_eq!(run.wait().await.unwrap().status, Status::Completed);
    assert_eq!(report(&place, "atlas"), report(&calm, "atlas"));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_fails_the_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::builder()
        .workflow("peek", r#"use_step("file.read", #{ path: "/etc/passwd" })"#)
        .workflow("typo", r#"use_step("file.read", #{ path: "x", encoding: "utf-8" })"#)
        .workflow("text", r#"use_step("file.read", "x")"#)
        .workflow("name", r#"use_step("env.get", "HOME")"#)
        .workflow("program", r#"use_step("exec.run", "git status")"#)
        .steps(Arc::new(BuiltinSteps::new(Permissions {
            read: PathGrant::paths([folder.path()]).unwrap(),
            ..Default::default()
        })))
        .start()
        .await
        .unwrap();
    for (workflow, wanted) in [
        ("text", "does not fit: invalid type: string \"x\", expected a map like #{ path: \"…\" }"),
        ("name", "does not fit: invalid type: string \"HOME\", expected a map like #{ name: \"HOME\" }"),
        ("program", "expected a map like #{ program: \"git\", args: [\"status\"] }"),
        ("peek", "reading /etc/passwd is not allowed: grant it with --allow-read=/etc/passwd"),
        ("typo", "the input of file.read does not fit: unknown field `encoding`, expected `path`"),
    ] {
        let view = host.run(workflow).start().await.unwrap().wait().await.unwrap();
        let error = view.error.unwrap();
        assert!(error.message.contains(wanted), "{error}");
        assert_eq!(error.attempts, 1);
    }
    host.shutdown().await;
}

/// The README shows a script: the one in `examples/`, and it does what the README says.
#[tokio::test]
async fn the_script_of_the_readme_runs() {
    let root = scripts().join("..");
    let script = fs::read_to_string(root.join("examples/report.rhai")).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains(&format!("```rhai\n{script}```")), "the README shows examples/report.rhai as it is");

    let place = Place::new();
    for (name, text) in [("a.txt", "one two three"), ("b.txt", "four")] {
        fs::write(place.out().join(name), text).unwrap();
    }
    let report = place.out().join("report.txt");
    let script = script.replace("out/report.txt", report.to_str().unwrap());
    let folder = PathGrant::paths([place.out()]).unwrap();
    let permissions = Permissions { read: folder.clone(), write: folder, ..Permissions::none() };
    let host = Host::builder()
        .workflow("report", script)
        .steps(Arc::new(BuiltinSteps::new(permissions)))
        .start()
        .await
        .unwrap();
    let input = place.fill(&json!({ "files": ["OUT/a.txt", "OUT/b.txt"] }));
    let run = start(&host, "report", "first", &input).await;
    run.signal("approved", &json!({ "by": "ann" })).await.unwrap();
    assert_eq!(run.output::<Value>().await.unwrap(), json!({ "total": 4, "by": "ann" }));
    let expected = input["files"].as_array().unwrap().iter().zip([3, 1]);
    let expected: Vec<_> = expected.map(|(path, words)| format!("{words}  {}", path.as_str().unwrap())).collect();
    assert_eq!(fs::read_to_string(report).unwrap(), expected.join("\n"));
    host.shutdown().await;
}
