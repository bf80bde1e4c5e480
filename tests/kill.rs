//! The binary, killed with SIGKILL at moments drawn from a seed, again and again; then left alone. Its output is that of a
//! run nobody disturbed, and the journal that its steps keep shows each of them often enough and not too often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use durhai::Value;
use durhai_testkit::Rng;
use serde_json::json;
use tempfile::TempDir;

const SCRIPT: &str = r#"
let path = input.path;
let sum = 0;
for i in 0..40 { sum += use_step("t.note", #{ path: path, line: `loop ${i}`, n: i }); }
let flaky = use_step("t.flaky", #{ path: path, line: "flaky", n: 3 }, #{ retry: #{ initial: "5ms" } });
let wide = foreach([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], |x| {
    let a = use_step("t.note", #{ path: path, line: `wide ${x}`, n: x });
    sleep("2ms");
    a + use_step("t.note", #{ path: path, line: `wider ${x}`, n: x })
}, #{ concurrency: 3 });
for i in 0..30 {
    try { use_step("t.note", #{ path: path, line: `single ${i}`, n: 1 }, #{ once: true }); } catch (e) { if e.kind != "interrupted" { throw e; } }
}
let first = race([|| { sleep("5ms"); "short" }, || { sleep("1h"); "long" }]);
let list = [1, 2, 3, 4, 5, 6];
list.shuffle();
print("nearly done");
#{ sum: sum, flaky: flaky, wide: wide, first: first, list: list, uuid: uuid() }
"#;

const STEPS: &str = r#"
fn note(input) { file::append(input.path, input.line + "\n"); input.n }
fn flaky(input) {
    let before = file::read(input.path);
    file::append(input.path, input.line + "\n");
    if !before.contains("flaky") { throw "not yet"; }
    input.n
}
"#;

/// The binary that belongs to these tests. `cargo test --workspace` has made it; else it is made now.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // This is target/debug/deps/tests-…
        let own = std::env::current_exe().expect("a test binary");
        let built = own.parent().and_then(Path::parent).expect("a target folder").join("durhai");
        let newest = newest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("host"));
        let is_current = built.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| time > newest);
        if !is_current {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "-q", "-p", "durhai-cli"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            if !cfg!(debug_assertions) {
                cargo.arg("--release");
            }
            assert!(cargo.status().expect("cargo runs").success(), "the binary does not build");
        }
        built
    })
}

/// When a source file was written last.
fn newest(folder: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            newest = newest.max(self::newest(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            newest = newest.max(entry.metadata().and_then(|meta| meta.modified()).expect("a time"));
        }
    }
    newest
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(TempDir::new().expect("a folder"));
        std::fs::create_dir_all(place.0.path().join("scripts/steps")).expect("a folder");
        std::fs::write(place.0.path().join("scripts/flow.rhai"), SCRIPT).expect("a file");
        std::fs::write(place.0.path().join("scripts/steps/t.rhai"), STEPS).expect("a file");
        place
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("DURHAI_DATA").env("NO_COLOR", "1");
        command
    }

    fn run(&self) -> Command {
        let input = json!({ "path": self.journal() }).to_string();
        self.command(&["run", "flow", "--id", "x", "--input", &input, "--allow-read=.", "--allow-write=."])
    }

    /// Runs it to the end: its output.
    fn finish(&self) -> Value {
        let done = self.run().output().expect("it starts");
        assert!(done.status.success(), "{done:?}");
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }

    fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// Lines of the journal with their number.
    fn notes(&self) -> BTreeMap<String, u32> {
        let mut notes = BTreeMap::new();
        for line in std::fs::read_to_string(self.journal()).unwrap_or_default().lines() {
            *notes.entry(line.to_owned()).or_default() += 1;
        }
        notes
    }

    fn events(&self) -> Vec<Value> {
        let shown = self.command(&["events", "x", "--json"]).output().expect("it starts");
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8_lossy(&shown.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

#[test]
fn killed_again_and_again_it_comes_to_the_same() {
    let calm = Place::new();
    let wanted = calm.finish();
    assert_eq!(wanted["sum"], 780);
    let once = calm.notes();

    let seed = std::env::var("DURHAI_SEED").map_or(1, |text| text.parse().expect("a number"));
    let mut kills = 0;
    for seed in seed..seed + 4 {
        println!("DURHAI_SEED={seed}");
        kills += one(seed, &wanted, &once);
    }
    println!("{kills} kills");
    assert!(kills >= 10, "only {kills} kills hit it");
}

/// One run, killed until it comes to its end.
fn one(seed: u64, wanted: &Value, once: &BTreeMap<String, u32>) -> u32 {
    let mut rng = Rng::new(seed);
    let place = Place::new();
    let mut kills = 0;
    while kills < 60 {
        let mut child = place.run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // Some die while they start, some in the middle of everything; each gets a little more time, so that it comes to
        // an end on a machine of any speed.
        std::thread::sleep(Duration::from_millis(rng.below(60 + 6 * u64::from(kills))));
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("dead");
        kills += 1;
    }
    assert_eq!(place.finish(), *wanted, "after {kills} kills");
    assert_eq!(place.finish(), *wanted, "asked once more");

    let (notes, events) = (place.notes(), place.events());
    let mut started: BTreeMap<&str, u32> = BTreeMap::new();
    let mut completed: BTreeMap<&str, u32> = BTreeMap::new();
    let mut lines: BTreeMap<&str, &str> = BTreeMap::new();
    for event in &events {
        let Some(id) = event["step_id"].as_str() else { continue };
        match event["type"].as_str() {
            Some("step_started") => {
                *started.entry(id).or_default() += 1;
                if let Some(line) = event["input"]["line"].as_str() {
                    lines.insert(id, line);
                }
            }
            Some("step_completed") => *completed.entry(id).or_default() += 1,
            _ => {}
        }
    }
    assert_eq!(lines.len(), once.len());
    for (id, line) in lines {
        let times = notes.get(line).copied().unwrap_or(0);
        let completed = completed.get(id).copied().unwrap_or(0);
        if line.starts_with("single") {
            assert!(times <= 1, "{line} may be made once only, and was {times} times");
            assert!(completed == 0 || times == 1, "{line} completed and left no trace");
        } else {
            assert!(times >= 1 && completed == 1, "{line}: {times} times made, {completed} times completed");
            assert!(times <= started[id], "{line}: made {times} times, {} recorded before", started[id]);
        }
    }
    assert!(notes.keys().all(|line| once.contains_key(line)), "{notes:?}");
    let logs = place.command(&["logs", "x", "--json"]).output().expect("it starts");
    let nearly = String::from_utf8_lossy(&logs.stdout).matches("nearly done").count();
    assert_eq!(nearly, 1, "what is printed is printed once");
    let doctor = place.command(&["doctor"]).output().expect("it starts");
    assert!(doctor.status.success(), "{doctor:?}");
    kills
}
