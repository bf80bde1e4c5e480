//! Several `durhai serve` on one database, through kills, stops and deaths of the server: every run ends once, and no step is
//! without its effect.
//!
//! `DURHAI_SEED` makes the same choices again (not the same timing), `DURHAI_CHAOS_SECONDS` says for how long.

mod hosts;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use durhai_world::conformance::Dice;
use durhai_world_postgres::cluster::Cluster;
use hosts::{Host, durhai};
use serde_json::Value;

/// How long others wait before they take a host for dead.
const LEASE: Duration = Duration::from_secs(2);

/// Hosts that serve.
const HOSTS: usize = 3;

/// Runs that are started in a round, with their children.
const PARENTS: usize = 12;
const CHILDREN: usize = 6;

/// Steps of each child.
const STEPS: usize = 6;

/// How long everything that is under way may take to end, once nothing is disturbed any more.
const PATIENCE: Duration = Duration::from_secs(240);

const PARENT: &str = r#"
    let all = [];
    for i in 0..input { all.push(|| run_workflow("child", #{ parent: 1 }, #{ id: `${run_id()}-${i}` })); }
    let ended = parallel(all);
    let word = wait_for("go", #{ timeout: "1 hour" });
    use_step("mark.mark", #{ run: run_id(), step: "told", file: "FILE" });
    ended.len()
"#;

const CHILD: &str = r#"
    let done = 0;
    for i in 0..STEPS {
        use_step("mark.mark", #{ run: run_id(), step: `s${i}`, file: "FILE" });
        done += 1;
        if i % 3 == 1 { sleep("150ms"); }
    }
    try { use_step("mark.mark", #{ run: run_id(), step: "once", file: "FILE" }, #{ once: true }); }
    catch (error) { if error.kind != "interrupted" { throw error; } }
    emit(done);
    done
"#;

const MARK: &str = r#"
fn mark(input) {
    file::append(input.file, input.run + " " + input.step + "\n");
    1
}
"#;

#[test]
fn every_run_ends_once_whatever_happens_to_its_hosts() {
    let Some(mut cluster) = Cluster::start(&[]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let seed = number("DURHAI_SEED")
        .unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64);
    let lasts = Duration::from_secs(number("DURHAI_CHAOS_SECONDS").unwrap_or(30));
    eprintln!("DURHAI_SEED={seed}, for {} s", lasts.as_secs());
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    write_scripts(folder.path(), &journal);
    let url = cluster.url("chaos");
    let mut hosts: Vec<Host> = (0..HOSTS).map(|number| Host::start(folder.path(), number, &url, LEASE)).collect();
    let mut dice = Dice(seed);
    let began = Instant::now();
    let mut parents = Vec::new();
    let mut told = Vec::new();
    while began.elapsed() < lasts {
        for _ in 0..PARENTS / 4 {
            let id = format!("p{}", parents.len());
            durhai(folder.path(), &url, &["start", "parent", "--id", &id, "--input", &CHILDREN.to_string()]);
            parents.push(id);
        }
        // Some are told while their children still go on.
        for id in parents.iter().skip(told.len()).take(dice.below(4) as usize) {
            durhai(folder.path(), &url, &["signal", id, "go", "1"]);
            told.push(id.clone());
        }
        let host = dice.below(HOSTS as u64) as usize;
        match dice.below(8) {
            0..3 => hosts[host].kill_and_start_again(),
            3..5 => hosts[host].stop_for(LEASE.mul_f64(dice.below(25) as f64 / 10.0)),
            5 => {
                cluster.kill().expect("it ends");
                std::thread::sleep(Duration::from_millis(dice.below(3_000)));
                cluster.begin().expect("it starts again");
            }
            _ => std::thread::sleep(Duration::from_millis(dice.below(1_500))),
        }
    }
    for id in parents.iter().skip(told.len()) {
        durhai(folder.path(), &url, &["signal", id, "go", "1"]);
    }
    for host in &mut hosts {
        host.is_up();
    }
    let runs = all_have_ended(folder.path(), &url, &parents, &hosts);
    let marks = marks(&journal);
    for (run, workflow) in &runs {
        match workflow.as_str() {
            "parent" => assert!(marks.contains_key(&(run.clone(), "told".into())), "{run} ended without its step"),
            _ => {
                for step in 0..STEPS {
                    assert!(
                        marks.contains_key(&(run.clone(), format!("s{step}"))),
                        "step {step} of {run} has no effect"
                    );
                }
                let once = marks.get(&(run.clone(), "once".into())).copied().unwrap_or(0);
                assert!(once <= 1, "a step of {run} that is made once was made {once} times");
            }
        }
    }
    assert_eq!(runs.len(), parents.len() * (CHILDREN + 1), "every run that was started, and no other");
    let found = durhai(folder.path(), &url, &["doctor", "--json"]);
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["findings"], serde_json::json!([]), "what the doctor says");
    let (again, effects) = (marks.values().map(|count| count - 1).sum::<u64>(), marks.len());
    eprintln!("{} runs ended; {effects} effects, {again} made again", runs.len());
}

fn write_scripts(folder: &Path, journal: &Path) {
    let scripts = folder.join("scripts");
    std::fs::create_dir_all(scripts.join("steps")).expect("a folder");
    let text =
        |script: &str| script.replace("FILE", &journal.display().to_string()).replace("STEPS", &STEPS.to_string());
    std::fs::write(scripts.join("parent.rhai"), text(PARENT)).expect("written");
    std::fs::write(scripts.join("child.rhai"), text(CHILD)).expect("written");
    std::fs::write(scripts.join("steps/mark.rhai"), MARK).expect("written");
}

/// Waits until all runs have ended, and that well: each with its workflow.
fn all_have_ended(folder: &Path, url: &str, parents: &[String], hosts: &[Host]) -> BTreeMap<String, String> {
    let began = Instant::now();
    loop {
        let listed = durhai(folder, url, &["list", "--all", "--json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let runs = listed["runs"].as_array().expect("runs");
        let open: Vec<&Value> = runs.iter().filter(|run| run["status"] != "completed").collect();
        let started = runs.iter().filter(|run| run["workflow"] == "parent").count();
        if open.is_empty() && started == parents.len() {
            let text = |run: &Value, name: &str| run[name].as_str().expect("a text").to_owned();
            return runs.iter().map(|run| (text(run, "id"), text(run, "workflow"))).collect();
        }
        let hopeless = open.iter().any(|run| matches!(run["status"].as_str(), Some("failed" | "parked" | "cancelled")));
        if hopeless || began.elapsed() > PATIENCE {
            let said: Vec<String> = hosts.iter().map(Host::said).collect();
            panic!(
                "{} of {} runs have not ended well, the first: {:#}\n{}",
                open.len(),
                runs.len(),
                open[0],
                said.join("\n---\n")
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// How often each step of each run had its effect.
fn marks(journal: &Path) -> BTreeMap<(String, String), u64> {
    let mut marks = BTreeMap::new();
    for line in std::fs::read_to_string(journal).expect("a journal").lines() {
        let (run, step) = line.split_once(' ').unwrap_or_else(|| panic!("a line of the journal is {line:?}"));
        *marks.entry((run.to_owned(), step.to_owned())).or_default() += 1;
    }
    marks
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
