//! Several `durhai serve` on one database, through kills, stops, failures of the network, edits and deaths of the server: every run
//! ends once, no step is without its effect, no host that is dead for the others goes on, no limit is passed, no second of a schedule is
//! missed when all is well.
//!
//! `DURHAI_SEED` makes the same choices again (not the same timing), `DURHAI_CHAOS_SECONDS` says for how long.

mod checker;
mod deaf;
mod hosts;
mod proxy;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use checker::Outages;
use durhai_world::conformance::Dice;
use durhai_world_postgres::cluster::Cluster;
use hosts::{Host, attempt, durhai};
use proxy::Network;
use scripts::{CHILDREN, STEPS};
use serde_json::Value;

/// How long others wait before they take a host for dead.
pub const LEASE: Duration = Duration::from_secs(2);

/// Hosts that serve.
const HOSTS: usize = 3;

/// How long everything that is under way may take to end, once nothing is disturbed any more.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long after something went wrong it may still be felt: others take over, connections are made anew, on a busy machine.
const FELT: Duration = Duration::from_secs(10);

/// A while in which nothing happens.
const QUIET: Duration = Duration::from_secs(6);

struct Chaos<'a> {
    folder: &'a Path,
    url: String,
    dice: Dice,
    hosts: Vec<Host>,
    outages: Outages,
    parents: Vec<String>,
    limited: u64,
    told: usize,
    edits: u64,
}

impl Chaos<'_> {
    fn durhai(&self, args: &[&str]) -> String {
        durhai(self.folder, &self.url, args)
    }

    /// What people ask for meanwhile.
    fn start_some(&mut self) {
        let id = format!("p{}", self.parents.len());
        self.durhai(&["start", "parent", "--id", &id, "--input", &CHILDREN.to_string()]);
        self.parents.push(id);
        for _ in 0..2 {
            let id = format!("l{}", self.limited);
            self.durhai(&["start", "limited", "--id", &id]);
            self.limited += 1;
        }
        // Some are told while their children still go on.
        for _ in 0..self.dice.below(3) {
            self.tell_next();
        }
    }

    fn tell_next(&mut self) {
        if let Some(id) = self.parents.get(self.told) {
            self.durhai(&["signal", id, "go", "1"]);
            self.told += 1;
        }
    }

    fn something_happens(&mut self, cluster: &mut Cluster) {
        let host = self.dice.below(HOSTS as u64) as usize;
        let from = SystemTime::now();
        match self.dice.below(10) {
            0..3 => self.hosts[host].kill_and_start_again(),
            3..5 => self.hosts[host].stop_for(LEASE.mul_f64(self.dice.below(25) as f64 / 10.0)),
            5 => {
                cluster.kill().expect("it ends");
                std::thread::sleep(Duration::from_millis(self.dice.below(3_000)));
                cluster.begin().expect("it starts again");
            }
            6..8 => {
                let network = self.dice.pick(&[Network::Cut, Network::HalfOpen, Network::BlackHole]);
                self.hosts[host].network(network);
                std::thread::sleep(LEASE.mul_f64(self.dice.below(20) as f64 / 10.0));
                self.hosts[host].network(Network::Works);
            }
            8 => {
                self.edits += 1;
                scripts::edit(self.folder, self.edits, STEPS);
                return;
            }
            _ => return std::thread::sleep(Duration::from_millis(self.dice.below(1_500))),
        }
        self.outages.add(from, SystemTime::now() + FELT);
    }

    fn all_is_well_again(&mut self) {
        let from = SystemTime::now();
        self.hosts.iter_mut().for_each(Host::is_up);
        self.outages.add(from, SystemTime::now() + FELT);
    }

    /// Posts to the hook of each run that has one, once it has.
    fn post_to_hooks(&self) {
        let began = Instant::now();
        let mut open: BTreeSet<&String> = self.parents.iter().collect();
        while !open.is_empty() {
            open.retain(|id| {
                let token = format!("hook-{id}");
                attempt(self.folder, &self.url, &["hook", &token, "2", "--id", id]).is_err()
            });
            if began.elapsed() > PATIENCE {
                panic!("{open:?} have no hook\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until all runs have ended, and that well: each with its workflow.
    fn all_have_ended(&self) -> BTreeMap<String, String> {
        let began = Instant::now();
        loop {
            let runs = self.runs();
            let open: Vec<&Value> = runs.iter().filter(|run| run["status"] != "completed").collect();
            let started = runs.iter().filter(|run| run["workflow"] == "parent").count();
            if open.is_empty() && started == self.parents.len() {
                let text = |run: &Value, name: &str| run[name].as_str().expect("a text").to_owned();
                return runs.iter().map(|run| (text(run, "id"), text(run, "workflow"))).collect();
            }
            let bad = |run: &&Value| matches!(run["status"].as_str(), Some("failed" | "parked" | "cancelled"));
            if open.iter().any(bad) || began.elapsed() > PATIENCE {
                let first = open.iter().find(|run| bad(run)).or(open.first());
                panic!("{} of {} runs have not ended well, one is {first:#?}\n{}", open.len(), runs.len(), self.said());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn runs(&self) -> Vec<Value> {
        let listed = self.durhai(&["list", "--all", "--json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        listed["runs"].as_array().expect("runs").clone()
    }

    fn said(&self) -> String {
        self.hosts.iter().map(Host::said).collect::<Vec<_>>().join("\n---\n")
    }
}

#[test]
fn every_run_ends_once_whatever_happens_to_its_hosts() {
    let Some(mut cluster) = Cluster::start(&["max_connections=200"]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let seed = number("DURHAI_SEED")
        .unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64);
    let lasts = Duration::from_secs(number("DURHAI_CHAOS_SECONDS").unwrap_or(30));
    eprintln!("DURHAI_SEED={seed}, for {} s", lasts.as_secs());
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    scripts::write(folder.path(), &journal, STEPS);
    let url = cluster.url("chaos");
    let began = SystemTime::now();
    let start = |number| Host::start(folder.path(), number, &url, cluster.port(), LEASE);
    let mut chaos = Chaos {
        folder: folder.path(),
        hosts: (0..HOSTS).map(start).collect(),
        url: url.clone(),
        dice: Dice(seed),
        outages: Outages::default(),
        parents: Vec::new(),
        limited: 0,
        told: 0,
        edits: 0,
    };
    chaos.outages.add(began, SystemTime::now() + FELT);
    let began = Instant::now();
    while began.elapsed() < lasts {
        chaos.start_some();
        chaos.something_happens(&mut cluster);
    }
    while chaos.told < chaos.parents.len() {
        chaos.tell_next();
    }
    chaos.all_is_well_again();
    chaos.post_to_hooks();
    std::thread::sleep(FELT + QUIET);
    chaos.durhai(&["schedules", "pause", "tick"]);
    let runs = chaos.all_have_ended();
    let marks = checker::read(&journal);
    let mut wrong = Vec::new();
    checker::effects(&marks, &runs, &mut wrong);
    checker::fences(&marks, &mut wrong);
    checker::limits(&marks, &mut wrong);
    let ticks: Vec<u64> = runs.keys().filter_map(|run| moment(run)).collect();
    checker::ticks(&ticks, &chaos.outages, &mut wrong);
    let expected = chaos.parents.len() * (CHILDREN + 1) + chaos.limited as usize + ticks.len();
    if runs.len() != expected {
        wrong.push(format!("there are {} runs, {expected} were started", runs.len()));
    }
    let found: Value = serde_json::from_str(&chaos.durhai(&["doctor", "--json"])).expect("JSON");
    if found["findings"] != serde_json::json!([]) {
        wrong.push(format!("the doctor says {:#}", found["findings"]));
    }
    assert!(wrong.is_empty(), "DURHAI_SEED={seed}: {}\n{}", wrong.join("\n"), chaos.said());
    let counts = checker::counts(&marks);
    let again: u64 = counts.values().map(|count| count - 1).sum();
    eprintln!(
        "{} runs ended, {} of them of a schedule; {} effects, {again} made again; {} edits",
        runs.len(),
        ticks.len(),
        counts.len(),
        chaos.edits
    );
}

/// When the schedule was due that a run is named after, in seconds since 1970.
fn moment(run: &str) -> Option<u64> {
    let at: jiff::Timestamp = run.strip_prefix("tick@")?.parse().expect("a moment");
    u64::try_from(at.as_second()).ok()
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
