//! The table of edits: each against a run stopped at each of its events. The verdict is checked by moving the run and
//! running it on, and where it does not fit by forcing it.

use std::collections::HashSet;

use durhai::versions::CompatVerdict;
use durhai::{Event, EventBody, Failure, Host, MemoryWorld, Millis, Query, RunError, Status, World};
use durhai_testkit::events;
use durhai_world::{Commit, Holder, Row, Write};
use serde_json::json;

use super::*;

const BASE: &str = r#"import "lib/money" as money;
// One order.
let reserved = use_step("reserve", input);
let price = use_step("price", reserved + 1);
if price > 100 {
    use_step("review", price);
}
if price < 100 {
    use_step("small", price);
}
for i in 0..2 {
    use_step("pack", i);
}
sleep("1h");
let paid = use_step("charge", money::cents(price));
use_step("mail", paid);
paid
"#;

const MONEY: &str = "fn cents(n) { n * 100 }\n";

/// What a run comes to that is stopped at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Fits,
    Diverges,
    Fails,
}

struct Edit {
    name: &'static str,
    file: &'static str,
    /// In the base text, and what stands there instead.
    change: (&'static str, &'static str),
    /// The event from which on runs diverge: `step_started 7`.
    diverges: Option<&'static str>,
    /// The event at which runs would fail at once.
    fails: Option<&'static str>,
    /// Where the first divergence shows.
    place: &'static str,
    output: i64,
}

fn edits() -> Vec<Edit> {
    let edit = |name, change, diverges, place| Edit {
        name,
        file: "order.rhai",
        change,
        diverges,
        fails: None,
        place,
        output: 600,
    };
    vec![
        edit("comment changed", ("// One order.", "// An order,\n// and nothing else."), None, ""),
        edit("step renamed", ("\"charge\"", "\"bill\""), Some("step_started 7"), "order.rhai:15"),
        edit(
            "step added at the end",
            ("use_step(\"mail\", paid);", "use_step(\"mail\", paid); use_step(\"archive\");"),
            None,
            "",
        ),
        edit(
            "step added in the middle",
            ("if price > 100", "use_step(\"audit\", 1);\nif price > 100"),
            Some("step_started 3"),
            "order.rhai:5",
        ),
        edit(
            "step added in a branch not taken",
            ("use_step(\"review\", price);", "use_step(\"review\", price); use_step(\"audit\");"),
            None,
            "",
        ),
        edit(
            "step added in a branch taken",
            ("use_step(\"small\", price);", "use_step(\"small\", price); use_step(\"extra\");"),
            Some("step_started 4"),
            "order.rhai:9",
        ),
        edit(
            "order swapped",
            (
                "let reserved = use_step(\"reserve\", input);\nlet price = use_step(\"price\", reserved + 1);",
                "let price = use_step(\"price\", input + 1);\nlet reserved = use_step(\"reserve\", input);",
            ),
            Some("step_started 1"),
            "order.rhai:3",
        ),
        edit(
            "input changed",
            ("money::cents(price))", "money::cents(price) + 1)"),
            Some("step_started 7"),
            "order.rhai:15",
        )
        .output(601),
        edit("loop longer", ("0..2", "0..3"), Some("timer_started 6"), "order.rhai:12"),
        edit("loop shorter", ("0..2", "0..1"), Some("step_started 5"), "order.rhai:14"),
        Edit {
            file: "lib/money.rhai",
            ..edit("helper changed", ("n * 100", "n * 1000"), Some("step_started 7"), "order.rhai:15").output(6_000)
        },
        Edit { file: "lib/money.rhai", ..edit("helper written otherwise", ("n * 100", "100 * n"), None, "") },
        edit("sleep lengthened", ("sleep(\"1h\")", "sleep(\"2 days\")"), None, ""),
        edit(
            "task added",
            ("let paid", "let side = task(|| use_step(\"side\", 1));\nside.join();\nlet paid"),
            Some("step_started 7"),
            "order.rhai:15",
        ),
        Edit {
            fails: Some("step_completed 7"),
            ..edit(
                "error introduced",
                ("use_step(\"mail\", paid);", "paid.nothing();\nuse_step(\"mail\", paid);"),
                Some("step_started 8"),
                "order.rhai:16",
            )
        },
        edit("text changed by itself after the end", ("\npaid\n", "\npaid + 1\n"), None, "").output(601),
    ]
}

impl Edit {
    fn output(self, output: i64) -> Self {
        Edit { output, ..self }
    }

    fn cell(&self, log: &[Event], seq: usize) -> Cell {
        let at = |wanted: Option<&str>| {
            let found = wanted.map(|wanted| log.iter().position(|event| label(event) == wanted));
            found.map(|found| found.unwrap_or_else(|| panic!("{}: no such event", self.name)) + 1)
        };
        if at(self.diverges).is_some_and(|from| seq >= from) {
            return Cell::Diverges;
        }
        match at(self.fails) {
            Some(fails) if fails == seq => Cell::Fails,
            _ => Cell::Fits,
        }
    }
}

fn label(event: &Event) -> String {
    match &event.step_id {
        Some(id) => format!("{} {id}", event.body.name()),
        None => event.body.name().into(),
    }
}

/// The log of a run of the base text from its start to its end.
async fn whole_log(folder: &Path) -> Vec<Event> {
    let (test, _) = with_journal(folder);
    let host = test.start().await;
    let run = host.run("order").id("whole").input(&5).start().await.unwrap();
    test.until(Millis::MAX).await;
    assert_eq!(run.output::<i64>().await.unwrap(), 600);
    host.shutdown().await;
    test.log(run.id())
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edit_against_a_run_stopped_at_every_event() {
    for edit in edits() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "order.rhai", BASE);
        write(folder.path(), "lib/money.rhai", MONEY);
        let log = whole_log(folder.path()).await;
        let (test, journal) = with_journal(folder.path());
        let world = &test.world;
        // One that takes nothing up: the runs stay where they are.
        let still = test.builder().adopt(false).start().await.unwrap();
        let runs: Vec<_> =
            (1..log.len()).map(|seq| (seq, stopped_at(world, &log, seq, &format!("at-{seq}")))).collect();
        let base = serving(&still, "order");

        let text = if edit.file == "order.rhai" { BASE } else { MONEY };
        assert!(text.contains(edit.change.0), "{}", edit.name);
        write(folder.path(), edit.file, &text.replacen(edit.change.0, edit.change.1, 1));
        let reports = still.reload().await.unwrap();
        let report = compat_report(&reports);
        assert_eq!(report.live as usize, runs.len(), "{}", edit.name);
        assert!(report.served, "{}: live runs stay on their text, and it serves", edit.name);
        assert_eq!(report.place_of_first(), edit.place, "{}\n{report}", edit.name);
        let to = serving(&still, "order");
        assert_ne!(to, base);

        // The verdicts, of all runs at once and one by one.
        for (seq, run) in &runs {
            let (cell, what) =
                (edit.cell(&log, *seq), format!("{} at event {seq} ({})", edit.name, label(&log[seq - 1])));
            let named = report.runs.iter().find(|misfit| misfit.run == *run).map(|misfit| &misfit.verdict);
            let dry = still.get(run.as_str()).await.unwrap().migrate(None, true).await.unwrap();
            assert!(!dry.moved);
            for verdict in [named.unwrap_or(&CompatVerdict::Compatible), &dry.verdict] {
                let found = match verdict {
                    CompatVerdict::Compatible => Cell::Fits,
                    CompatVerdict::Diverges { divergence } => {
                        assert!(divergence.recorded.is_some() || divergence.asked.is_some(), "{what}");
                        for side in
                            divergence.recorded.iter().chain(&divergence.asked).filter(|side| !side.site.is_empty())
                        {
                            assert!(!side.source.is_empty(), "{what}: the line is quoted: {divergence}");
                        }
                        Cell::Diverges
                    }
                    CompatVerdict::Fails { error } => {
                        assert_eq!(error.place.as_ref().unwrap().line, 16, "{what}");
                        Cell::Fails
                    }
                    CompatVerdict::Unreadable { reason } => panic!("{what}: {reason}"),
                };
                assert_eq!(found, cell, "{what}: {verdict}");
            }
        }
        assert_eq!(world_events(world, &runs), (1..log.len()).collect::<Vec<_>>(), "nothing was written");
        assert!(journal.lock().is_empty(), "nothing was started");

        // Those that fit move, the others do not.
        let moved =
            still.migrate(Query { workflow: Some("order".into()), ..Query::default() }, None, false).await.unwrap();
        assert_eq!((moved.moved, moved.compatible), (report.compatible, report.compatible), "{}", edit.name);
        still.shutdown().await;
        for (seq, run) in &runs {
            let fits = edit.cell(&log, *seq) == Cell::Fits;
            let wanted = if fits { vec![base.clone(), to.clone()] } else { vec![base.clone()] };
            assert_eq!(versions_in(world, run), wanted, "{} at event {seq}", edit.name);
            if !fits {
                force(world, run, &to);
            }
        }

        // All go on: those that moved end well, the forced ones come to what was said.
        let host = test.start().await;
        test.until(Millis::MAX).await;
        for (seq, run) in &runs {
            let what = format!("{} at event {seq} ({})", edit.name, label(&log[seq - 1]));
            ended(&host, run, &edit, edit.cell(&log, *seq), &what).await;
            let log = &log[..*seq];
            let done: HashSet<_> = log
                .iter()
                .filter(|event| matches!(event.body, EventBody::StepCompleted { .. }))
                .map(|event| format!("{run}/{}", event.step_id.as_ref().unwrap()))
                .collect();
            for (key, name, _) in journal.lock().iter() {
                assert!(!done.contains(key), "{what}: {name} was made again");
            }
        }
        host.shutdown().await;
    }
}

async fn ended(host: &Host, run: &RunId, edit: &Edit, cell: Cell, what: &str) {
    let handle = host.get(run.as_str()).await.unwrap();
    match cell {
        // It could move; the error comes when it gets there.
        Cell::Fits if edit.fails.is_some() => failed(&handle, what).await,
        Cell::Fits => {
            assert_eq!(
                handle.output::<i64>().await.unwrap_or_else(|error| panic!("{what}: {error}")),
                edit.output,
                "{what}"
            );
            let replayed = handle.replay(durhai::logs::ReplayOptions::default()).await.unwrap();
            assert_eq!((replayed.status, replayed.divergence), (Status::Completed, None), "{what}");
        }
        Cell::Diverges => {
            let error = handle.output::<i64>().await.unwrap_err();
            let RunError::Parked(_, reason) = &error else { panic!("{what}: {error}") };
            assert!(reason.starts_with("diverged"), "{what}: {reason}");
        }
        Cell::Fails => failed(&handle, what).await,
    }
}

async fn failed(run: &durhai::Run, what: &str) {
    let error = run.output::<i64>().await.unwrap_err();
    let RunError::Failed(_, failure) = error else { panic!("{what}: {error}") };
    let Failure { kind, message, place, .. } = *failure;
    assert_eq!((kind, place.unwrap().line), (durhai::FailureKind::Script, 16), "{what}: {message}");
}

/// The number of events in the log of each run.
fn world_events(world: &MemoryWorld, runs: &[(usize, RunId)]) -> Vec<usize> {
    runs.iter().map(|(_, run)| events(world, run).len()).collect()
}

/// Gives a run a version that it was not moved to.
pub(super) fn force(world: &MemoryWorld, run: &RunId, to: &Version) {
    let holder = Holder { name: "force".into(), lease: 1_000 };
    let claim = world.claim_run(run, &holder, 0).unwrap().expect("nobody holds it");
    let mut commit = Commit::new(run.clone(), claim.fence);
    commit.row = Some(Row { version: to.clone(), ..claim.row });
    let release = Write::Release { run: run.clone(), fence: claim.fence };
    for written in world.write(vec![Write::Commit(Box::new(commit)), release]).unwrap() {
        written.unwrap();
    }
}

trait First {
    fn place_of_first(&self) -> &str;
}

impl First for CompatReport {
    fn place_of_first(&self) -> &str {
        self.first.as_ref().map_or("", |first| &first.place)
    }
}

#[test]
fn a_version_is_that_of_the_last_move_before() {
    let (a, b, c) = (Version::from_digest("a"), Version::from_digest("b"), Version::from_digest("c"));
    let created = durhai_core::event::Created::new(RunId::new("r").unwrap(), "order", a.clone(), json!(1));
    let bodies = [
        EventBody::RunCreated(Box::new(created)),
        EventBody::RunStarted { again: None },
        EventBody::RunMigrated { from: a.clone(), to: b.clone() },
        EventBody::CancelRequested { reason: String::new(), timeout: false },
        EventBody::RunMigrated { from: b.clone(), to: c.clone() },
    ];
    let event = |(seq, body)| Event { seq, at: 1, step_id: None, site: None, body };
    let log: Vec<_> = (1..).zip(bodies).map(event).collect();
    let at: Vec<_> = (1..=6).map(|seq| durhai_core::replay::version_at(&log, seq).cloned().unwrap()).collect();
    assert_eq!(at, [a.clone(), a, b.clone(), b, c.clone(), c]);
    assert_eq!(durhai_core::replay::version_at(&log[1..2], 2), None);
}
