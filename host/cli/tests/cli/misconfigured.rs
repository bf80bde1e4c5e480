//! What an operator has set wrongly costs no run its life: it is told at load, waited for, and goes on when it is mended.

use std::fs;
use std::time::Duration;

use crate::folder::Folder;

/// Until the log of a run says this.
fn logged(folder: &Folder, run: &str, part: &str) {
    for _ in 0..600 {
        if folder.durhai(&["logs", run]).is(0).stdout.contains(part) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the log of {run} never says {part:?}: {:?}", folder.durhai(&["logs", run]));
}

#[test]
fn a_secret_that_is_not_set_is_told_at_load_and_waited_for() {
    let folder = Folder::new();
    let settings = "[secrets]\nfirst = { env = \"NO_SUCH_KEY\" }\nsecond = { file = \"key.txt\" }\n";
    fs::write(folder.path().join("scripts/durhai.toml"), settings).expect("written");
    folder.script(
        "steps/pay",
        "fn first(input) { secret(\"first\").len() }\nfn second(input) { secret(\"second\").len() }",
    );
    folder.script("pay", "use_step(\"pay.\" + input, 1, #{ retry: false })");
    let checked = folder.durhai(&["check", "scripts/pay.rhai"]);
    let (mut serving, _) = folder.serve(&[]);
    for part in [
        "durhai.toml:2: the secret \"first\" is not there: NO_SUCH_KEY",
        "durhai.toml:3: the secret \"second\" cannot be read",
    ] {
        assert!(checked.stderr.contains(part), "no {part:?} in {checked:?}");
    }
    for (id, input) in [("a", "\"first\""), ("b", "\"second\"")] {
        folder.durhai(&["start", "pay", "--id", id, "--input", input]).is(0);
        logged(&folder, id, "the attempt waits");
    }
    // A file is followed; a variable comes with the next host.
    fs::write(folder.path().join("scripts/key.txt"), "sesame-open").expect("written");
    serving.json(|line| line["run"] == "b" && line["status"] == "completed");
    serving.signal("-TERM");
    let mut stderr = String::new();
    let pipe = serving.child.stderr.take();
    let _ = pipe.map(|mut pipe| std::io::Read::read_to_string(&mut pipe, &mut stderr));
    serving.child.wait().expect("it ends");
    assert!(stderr.contains("warning: ") && stderr.contains("durhai.toml:2: the secret \"first\""), "{stderr}");
    let mut command = folder.command(&["run", "pay", "--id", "a", "-q"]);
    let ended = command.env("NO_SUCH_KEY", "another-secret").output().expect("it starts");
    assert!(ended.status.success() && ended.stdout == b"14\n", "{ended:?}");
    let events = folder.durhai(&["events", "a", "--json"]).is(0).rows();
    assert!(!events.iter().any(|event| event["type"] == "step_failed"), "{events:?}");
}

#[test]
fn a_step_file_that_does_not_compile_uses_up_no_attempts() {
    let folder = Folder::new();
    folder.script("steps/new", "fn make(input) { input + }");
    folder.script("new", "use_step(\"new.make\", input, #{ retry: false })");
    let quick = folder.durhai(&["run", "echo", "-q"]).is(0);
    quick.says("warning: steps/new.rhai:1:");
    let (mut serving, _) = folder.serve(&[]);
    folder.durhai(&["start", "new", "--id", "a", "--input", "4"]).is(0);
    logged(&folder, "a", "steps/new.rhai:1:");
    // Broken in another way, then good.
    folder.script("steps/new", "fn make(input) { input +* 1 }");
    std::thread::sleep(Duration::from_millis(700));
    folder.script("steps/new", "fn make(input) { input + 1 }");
    serving.json(|line| line["run"] == "a" && line["status"] == "completed");
    let events = folder.durhai(&["events", "a", "--json"]).is(0).rows();
    assert_eq!(events.iter().filter(|event| event["type"] == "step_started").count(), 1, "{events:?}");
    assert!(!events.iter().any(|event| event["type"] == "step_retrying"), "{events:?}");
}

/// However a step that served goes away for a moment: its runs wait for it, and go on when it is back.
#[test]
fn a_step_that_is_gone_for_a_moment_is_waited_for() {
    let folder = Folder::new();
    let step = "fn do_it(x) { x }\nfn again(x) { x + 1 }";
    folder.script("steps/w", step);
    folder.script("w", "let n = use_step(\"w.do_it\", input); wait_for(\"go\"); use_step(\"w.again\", n)");
    let (mut serving, _) = folder.serve(&[]);
    let scripts = folder.path().join("scripts");
    type Does<'a> = &'a dyn Fn();
    let away: [(&str, Does<'_>, Does<'_>); 4] = [
        ("moved", &|| fs::rename(&scripts, folder.path().join("elsewhere")).expect("moved"), &|| {
            fs::rename(folder.path().join("elsewhere"), &scripts).expect("moved back")
        }),
        ("removed", &|| fs::remove_dir_all(scripts.join("steps")).expect("removed"), &|| {
            fs::create_dir(scripts.join("steps")).expect("made");
            folder.script("steps/w", step);
        }),
        ("emptied", &|| folder.script("steps/w", ""), &|| folder.script("steps/w", step)),
        ("other", &|| folder.script("steps/w", "fn other(x) { x }"), &|| folder.script("steps/w", step)),
    ];
    for (n, (id, go, come)) in away.into_iter().enumerate() {
        folder.durhai(&["start", "w", "--id", id, "--input", &n.to_string()]).is(0);
        while folder.durhai(&["show", id, "--json"]).is(0).json()["status"] != "waiting" {
            std::thread::sleep(Duration::from_millis(20));
        }
        go();
        folder.durhai(&["signal", id, "go"]).is(0);
        logged(&folder, id, "served before and is gone");
        come();
        serving.json(|line| line["run"] == id && line["status"] == "completed");
        assert_eq!(folder.durhai(&["show", id, "--json"]).is(0).json()["output"], n + 1, "{id}");
    }
}
