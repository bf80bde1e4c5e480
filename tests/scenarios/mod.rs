//! Scenarios: a script, what happens outside, and the log that must come of it, as Markdown in this folder. Each is
//! gone through undisturbed; with every wait evicted; with a crash before and after each write; and every prefix of its log is
//! replayed. `DURHAI_BLESS=1` writes what comes out into the files.

mod driver;
mod file;
pub mod replayer;
pub mod show;

use driver::{Outcome, Trouble, drive};
use durhai_testkit::{Fault, Notices, ReadFault};
pub use file::Scenario;
use replayer::Replayers;

const QUIET: Trouble =
    Trouble { fault: Fault::Never, evict: false, notices: Notices::Prompt, reads: ReadFault::Never, far: false };

/// The log of a script, with what happens outside named in its comments: `// outside: ok 1`.
pub async fn log_of(name: &str, script: &str) -> Vec<durhai::Event> {
    let outside = script.lines().filter_map(|line| line.strip_prefix("// outside: ")).map(ToOwned::to_owned).collect();
    let scenario = file::Scenario::new(name, script, outside);
    drive(&scenario, &Replayers::new(&scenario.scripts), QUIET).await.events
}

/// How a scenario ends, undisturbed.
pub async fn end_of(scenario: &Scenario) -> String {
    drive(scenario, &Replayers::new(&scenario.scripts), QUIET).await.ended
}

const FILES: [&str; 12] = [
    "cancellation",
    "children",
    "continuing",
    "header",
    "hooks",
    "people",
    "scripts",
    "signals",
    "state",
    "steps",
    "tasks",
    "timers",
];

/// Every read of every scenario fails the first time; and, one at a time, some of them chosen by a fixed rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_once_changes_nothing() {
    let mut chosen = 0_u64;
    for scenario in FILES.into_iter().flat_map(|name| file::read(name).scenarios) {
        let replayers = Replayers::new(&scenario.scripts);
        let plain = drive(&scenario, &replayers, QUIET).await;
        let all = drive(&scenario, &replayers, Trouble { reads: ReadFault::EveryFirst, ..QUIET }).await;
        assert_eq!(all.result, plain.result, "{}: every read fails once", scenario.title);
        assert!(all.failed_reads > 0, "{}", scenario.title);
        chosen += 7;
        if !chosen.is_multiple_of(3) {
            continue;
        }
        let reads = ReadFault::Once(1 + chosen % plain.reads);
        let one = drive(&scenario, &replayers, Trouble { reads, evict: true, ..QUIET }).await;
        assert_eq!(one.result, plain.result, "{}: {reads:?}", scenario.title);
    }
}

/// The world is behind a network: other threads ask it for the workers, which come to the same. With every wait evicted, and with a
/// crash at some of the writes, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_behind_a_network_changes_nothing() {
    let mut chosen = 0_u64;
    for scenario in FILES.into_iter().flat_map(|name| file::read(name).scenarios) {
        let title = &scenario.title;
        let replayers = Replayers::new(&scenario.scripts);
        let far = drive(&scenario, &replayers, Trouble { far: true, ..QUIET }).await;
        assert_eq!(far.result, scenario.expected, "{title}");
        let evicted = Trouble { far: true, evict: true, notices: Notices::Late, ..QUIET };
        assert_eq!(drive(&scenario, &replayers, evicted).await.result, scenario.expected, "{title}: evicted");
        let reads = Trouble { far: true, reads: ReadFault::EveryFirst, ..QUIET };
        assert_eq!(drive(&scenario, &replayers, reads).await.result, scenario.expected, "{title}: reads fail once");
        chosen += 5;
        if scenario.undisturbed_only {
            continue;
        }
        for fault in [Fault::Before(1 + chosen % far.writes), Fault::After(1 + (chosen + 1) % far.writes)] {
            let crashed = drive(&scenario, &replayers, Trouble { far: true, fault, ..QUIET }).await;
            agree(&far, &crashed, &format!("{title}: crash {fault:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps() {
    check("steps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers() {
    check("timers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals() {
    check("signals").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks() {
    check("tasks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation() {
    check("cancellation").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts() {
    check("scripts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children() {
    check("children").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks() {
    check("hooks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people() {
    check("people").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state() {
    check("state").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuing() {
    check("continuing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header() {
    check("header").await;
}

#[test]
fn every_file_is_checked() {
    let names = std::fs::read_dir(file::folder()).expect("a folder").flatten();
    let mut names: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(".md") && name != "README.md");
    names.sort();
    assert_eq!(names, FILES.map(|name| format!("{name}.md")));
}

async fn check(name: &str) {
    let file = file::read(name);
    if std::env::var_os("DURHAI_BLESS").is_some() {
        let mut results = Vec::new();
        for scenario in &file.scenarios {
            results.push(drive(scenario, &Replayers::new(&scenario.scripts), QUIET).await.result);
        }
        return file::bless(&file, &results);
    }
    for scenario in &file.scenarios {
        let title = format!("{name}.md: {}", scenario.title);
        let replayers = Replayers::new(&scenario.scripts);
        let plain = drive(scenario, &replayers, QUIET).await;
        assert_eq!(plain.result, scenario.expected, "{title}\n{}\n", plain.result);
        every_prefix(&replayers, &plain, &title);

        let evicted = drive(scenario, &replayers, Trouble { evict: true, notices: Notices::Twice, ..QUIET }).await;
        assert_eq!(evicted.result, plain.result, "{title}: evicted whenever it waits");
        if !scenario.undisturbed_only {
            for write in 1..=plain.writes {
                for (at, fault) in [Fault::Before(write), Fault::After(write)].into_iter().enumerate() {
                    let notices = if (write + at as u64).is_multiple_of(2) { Notices::Late } else { Notices::Prompt };
                    let crashed = drive(scenario, &replayers, Trouble { fault, notices, ..QUIET }).await;
                    agree(&plain, &crashed, &format!("{title}: crash {fault:?}"));
                    every_prefix(&replayers, &crashed, &format!("{title}: crash {fault:?}"));
                }
            }
        }
    }
}

fn every_prefix(replayers: &Replayers, outcome: &Outcome, what: &str) {
    for (workflow, log) in &outcome.logs {
        replayers.of(workflow).every_prefix(log, &format!("{what}: {workflow}"));
    }
}

/// A crash costs attempts and nothing else.
fn agree(plain: &Outcome, crashed: &Outcome, what: &str) {
    // How much is written at once is a matter of luck, so there may have been fewer writes this time.
    assert!(crashed.crashes > 0 || crashed.writes < plain.writes, "{what}: it did not crash");
    assert_eq!(crashed.end, plain.end, "{what}");
    assert_eq!(crashed.lines, plain.lines, "{what}");
}
