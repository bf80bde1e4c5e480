//! Scripts that mean harm, beside others: the process lives, with little memory, and the others come to their end.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::folder::{Folder, Going};

/// They hold more than they may, each in its own way.
const HOARDERS: [(&str, &str, &str); 6] = [
    (
        "closures",
        "let held = []; loop { let text = \"\"; text.pad(1_000_000, 'x'); held.push(|| text); }",
        "run_memory",
    ),
    (
        "caught",
        "let held = []; loop { try { let items = []; items.pad(20_000, 1); held.push(|| items); } catch { } }",
        "run_memory",
    ),
    (
        "tasks",
        "let work = []; for i in 0..200 { work.push(|| { let text = \"\"; text.pad(1_000_000, 'x'); sleep(\"1h\"); text }); } \
         parallel(work)",
        "run_memory",
    ),
    ("calls", "fn f(n) { let text = \"\"; text.pad(4_000_000, 'x'); [n].map(|x| f(x + 1)) } f(0)", "run_memory"),
    ("chain", "let a = 1; loop { let b = a; a = || b; }", "closures"),
    ("parts", "let s = \"\"; s.pad(8_000_000, ','); try { s.split(',') } catch { } s.replace(\",\", s)", "string"),
];

/// They go on and on, with operations that are as long as can be.
const SPINNERS: [(&str, &str); 6] = [
    ("nest", "loop { let a = 1; for i in 0..16_000 { a = #{ k: a }; } }"),
    ("copy", "fn f(x) { 1 } let a = []; a.pad(40_000, #{ k: 1 }); loop { f(a); }"),
    ("measure", "let a = []; a.pad(40_000, [1]); loop { a.len(); }"),
    ("search", "let s = \"\"; s.pad(8_000_000, 'x'); loop { s.index_of(\"y\", -3); }"),
    ("compare", "let a = []; a.pad(40_000, [1]); let b = a; loop { a == b; }"),
    ("order", "let a = []; for i in 0..90_000 { a.push(i); } loop { a.sort(|x, y| y - x); }"),
];

/// A host that may map so many gigabytes: the stacks of fibers are mapped, and touched as far as they are used.
fn serve_within(folder: &Folder, gigabytes: u64, args: &[&str]) -> Going {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -v \"$0\" && exec \"$@\"",
        &(gigabytes << 20).to_string(),
        env!("CARGO_BIN_EXE_durhai"),
    ]);
    command.args(["serve", "--json", "--listen", "127.0.0.1:0"]).args(args).current_dir(folder.path());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut going = Going { child, lines };
    going.json(|line| line["event"] == "serving");
    going
}

#[test]
fn hostile_scripts_end_and_the_others_go_on() {
    let folder = Folder::new();
    for (name, text, _) in HOARDERS {
        folder.script(name, text);
    }
    for (name, text) in SPINNERS {
        folder.script(name, text);
    }
    folder.script("good", "let sum = 0; for i in 0..5 { sum += use_step(\"t.echo\", i); sleep(0.02); } sum");
    let gigabytes = if cfg!(debug_assertions) { 40 } else { 10 };
    let mut host = serve_within(&folder, gigabytes, &["--script-memory", "256M", "--run-memory", "64M"]);

    for (name, _) in SPINNERS {
        folder.durhai(&["start", name, "--id", name]).is(0);
    }
    for (name, ..) in HOARDERS {
        folder.durhai(&["start", name, "--id", name]).is(0);
    }
    let good: Vec<_> = (0..20).map(|n| format!("good-{n}")).collect();
    for id in &good {
        folder.durhai(&["start", "good", "--id", id]).is(0);
    }
    let mut open: BTreeSet<String> = good.into_iter().chain(HOARDERS.map(|(name, ..)| name.into())).collect();
    while !open.is_empty() {
        let line = host.json(|line| line["event"] == "run" && line["status"] != "running");
        let (run, status) = (line["run"].as_str().expect("a run"), &line["status"]);
        if open.contains(run) && ["completed", "failed"].contains(&status.as_str().unwrap_or_default()) {
            assert_eq!(*status == "completed", run.starts_with("good"), "{line}");
            open.remove(run);
        }
    }
    for (name, _, limit) in HOARDERS {
        let error = folder.durhai(&["show", name, "--json"]).is(0).json()["error"].clone();
        assert_eq!(error["kind"], "limit", "{name}: {error}");
        // What all hold together may be too much before one alone holds too much.
        let limits = if limit == "run_memory" { &["run_memory", "script_memory"][..] } else { &[limit] };
        let message = error["message"].as_str().expect("a text");
        assert!(limits.iter().any(|limit| message.contains(&format!("`{limit}`"))), "{name}: {error}");
    }
    // What was held, at the most.
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.child.id())).expect("it lives");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.expect("a peak") < 1 << 20, "{peak:?} KB");
}
