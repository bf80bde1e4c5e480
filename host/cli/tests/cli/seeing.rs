//! `durhai replay` and `durhai fork`, with and without a host that serves.

use crate::folder::Folder;

const BILL: &str = r#"import "lib/tax" as tax;
let total = 0;
for item in input.items {
    total += item;
}
let gross = tax::add(total);
let paid = use_step("t.echo", #{ cents: gross });
use_step("t.echo", paid.amount + 1)
"#;

const TAX: &str = "fn add(cents) {\n    cents * 119 / 100\n}\n";

/// A folder with a run that failed for a mistake in its script.
fn failed() -> Folder {
    let folder = Folder::new();
    folder.script("bill", BILL);
    std::fs::create_dir_all(folder.path().join("scripts/lib")).expect("a folder");
    std::fs::write(folder.path().join("scripts/lib/tax.rhai"), TAX).expect("a file");
    let input = r#"{"items":[100,200,300]}"#;
    folder.durhai(&["run", "bill", "--id", "b1", "--input", input, "-q"]).is(1);
    folder
}

/// The same commands say the same through a host and without one.
#[test]
fn a_failed_run_is_looked_at_mended_and_forked() {
    for served in [false, true] {
        let folder = failed();
        let _host = served.then(|| folder.serve(&[]).0);
        let plain = folder.durhai(&["replay", "b1"]).is(0);
        assert!(plain.stdout.contains("bill.rhai:8"), "{plain:?}");
        assert!(plain.stdout.contains("    use_step(\"t.echo\", paid.amount + 1)\n"), "{plain:?}");
        let view = folder.durhai(&["replay", "b1", "--json"]).is(0).json();
        assert_eq!((&view["status"], &view["divergence"]), (&"failed".into(), &serde_json::Value::Null));
        // The trace ends at the line that failed, with the error.
        let trace = folder.durhai(&["replay", "b1", "--trace"]).is(0).stdout;
        for part in [
            "↳ add",
            "in lib/tax.rhai",
            "gross = 714",
            "→ 1 use_step(\"t.echo\")",
            "{\"cents\":714}",
            "← 1 {\"cents\":714}",
        ] {
            assert!(trace.contains(part), "{part}: {trace}");
        }
        let last = trace.rfind("   8 | use_step").expect("the line that failed");
        assert!(trace[last..].contains("^\n"), "{trace}");
        let rows = folder.durhai(&["replay", "b1", "--trace", "--json"]).is(0).rows();
        assert_eq!((&rows[0]["type"], &rows[rows.len() - 1]["type"]), (&"changed".into(), &"end".into()));
        // What there was at a step, and an expression there.
        let at = folder.durhai(&["replay", "b1", "--at", "1"]).is(0).stdout;
        assert!(at.contains("stopped before bill.rhai:7") && at.contains("gross = 714"), "{at}");
        let shown = folder.durhai(&["replay", "b1", "--break", "lib/tax:2", "--print", "cents / 2"]).is(0).stdout;
        assert!(shown.ends_with("300\n"), "{shown}");
        // Another result would have helped.
        let what_if = folder.durhai(&["replay", "b1", "--set", "1={\"amount\":5}"]).is(0).stdout;
        assert!(what_if.contains("would do next  2 use_step(\"t.echo\") with 6"), "{what_if}");
        // Mended, it fits what was done; mended wrongly, it does not.
        std::fs::write(folder.path().join("mended.rhai"), BILL.replace("paid.amount", "paid.cents")).expect("a file");
        std::fs::write(folder.path().join("scripts/wrong.rhai"), BILL.replace("cents: gross", "cents: total"))
            .expect("a file");
        let lonely = folder.durhai(&["replay", "b1", "--script", "mended.rhai"]).is(2);
        assert!(lonely.stderr.contains("lib/tax"), "{lonely:?}");
        std::fs::rename(folder.path().join("mended.rhai"), folder.path().join("scripts/mended.rhai")).expect("moved");
        let fits = folder.durhai(&["replay", "b1", "--script", "scripts/mended.rhai"]).is(0).stdout;
        assert!(fits.contains("would do next  2 use_step(\"t.echo\") with 715"), "{fits}");
        let differs = folder.durhai(&["replay", "b1", "--script", "scripts/wrong.rhai"]).is(1).stdout;
        assert!(differs.contains("cents: gross") && differs.contains("cents: total"), "{differs}");
        let wrong = folder.durhai(&["fork", "b1", "--at", "2", "--script", "scripts/wrong.rhai"]).is(2);
        assert!(wrong.stderr.contains("the log has no step 2"), "{wrong:?}");
        let wrong = folder.durhai(&["fork", "b1", "--after", "1", "--script", "scripts/wrong.rhai"]).is(2);
        assert!(wrong.stderr.contains("cents: gross") && wrong.stderr.contains("cents: total"), "{wrong:?}");
        let fork = ["fork", "b1", "--after", "1", "--script", "scripts/mended.rhai", "--id", "b2"];
        assert_eq!(folder.durhai(&fork).is(0).stdout, "b2\n");
        if !served {
            folder.durhai(&["run", "bill", "--id", "b2", "-q"]).is(0);
        }
        let ended = loop {
            let view = folder.durhai(&["show", "b2", "--json"]).is(0).json();
            if view["status"] == "completed" {
                break view;
            }
        };
        assert_eq!((&ended["output"], &ended["origin"]["run"]), (&715.into(), &"b1".into()));
        let old = folder.durhai(&["show", "b1"]).is(0).stdout;
        assert!(old.contains("forked to   b2"), "{old}");
    }
}

#[test]
fn walking_through_a_run() {
    let folder = failed();
    let walk = |commands: &str| folder.durhai_with(&["replay", "b1", "-i"], commands).is(0).stdout;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let seen = lines(&walk("n\nn\nn\nb\nb\nq\n"));
    let places: Vec<_> = seen.iter().filter_map(|line| line.split_once(" | ").map(|(n, _)| n.trim())).collect();
    assert_eq!(places, ["1", "2", "3", "4", "3", "2"], "{seen:#?}");
    let seen = walk("s\np\np gross * 2\np nothing\nl\nw\nq\n");
    for part in ["   7 | let paid", "gross = 714", "1428", ">   7 | let paid", "the body  bill.rhai:7"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    // Into the function and out of it; over it; to a line of a module.
    let seen = walk("break 6\nn\nw\nout\nr\nbreak 6\no\nr\nbreak lib/tax:2\np\nq\n");
    for part in ["in add", "add  lib/tax.rhai:2", "the body  bill.rhai:6", "   7 | let paid", "cents = 600"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    // An empty line goes on; behind the end it goes back.
    let seen = walk("c\nb\nq\n");
    assert!(seen.contains("the end of the run:"), "{seen}");
    assert!(seen.trim_end().ends_with("   8 | use_step(\"t.echo\", paid.amount + 1)"), "{seen}");
    let said = folder.durhai_with(&["replay", "b1", "-i"], "fly\nat 9\nbreak 99\nq\n").is(0).stderr;
    for part in ["there is no command \"fly\"", "does not come to step 9"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(folder.durhai(&["events", "b1", "--json"]).is(0).rows().len(), 5, "nothing was written");
}

/// An exported run is looked at like one of the store, on a machine that has neither its store nor its scripts. So are the
/// ways of a run and of a whole store from one folder to another.
#[test]
fn files_of_runs() {
    for served in [false, true] {
        let folder = failed();
        let host = served.then(|| folder.serve(&[]).0);
        folder.durhai(&["export", "b1", "-o", "b1.ndjson"]).is(0);
        folder.durhai(&["backup", "-o", "all.ndjson"]).is(0);
        let again = folder.durhai(&["import", "b1.ndjson", "--id", "b2"]).is(0).stdout;
        assert_eq!(again.trim(), "b2");
        let told = folder.durhai(&["show", "b2"]).is(0).stdout;
        assert!(told.contains("failed") && told.contains("b1"), "{told}");
        folder.durhai(&["import", "b1.ndjson", "--as-is"]).is(2);
        let doctor = folder.durhai(&["doctor", "--json"]).is(0).json();
        assert_eq!(doctor["findings"], serde_json::json!([]));
        drop(host);

        let other = Folder::new();
        for file in ["b1.ndjson", "all.ndjson"] {
            std::fs::copy(folder.path().join(file), other.path().join(file)).expect("a copy");
        }
        for args in [&["replay", "b1.ndjson"][..], &["replay", "./b1.ndjson", "--trace"]] {
            let seen = other.durhai(args).is(0).stdout;
            assert!(seen.contains("bill.rhai:8") && seen.contains("paid.amount"), "{seen}");
        }
        let text = std::fs::read_to_string(other.path().join("b1.ndjson")).expect("a text");
        std::fs::write(other.path().join("cut.ndjson"), &text[..text.len() / 2]).expect("a file");
        let cut = other.durhai(&["replay", "cut.ndjson"]).is(2).stderr;
        assert!(cut.contains("cut.ndjson"), "{cut}");

        other.durhai(&["import", "--backup", "all.ndjson"]).is(0);
        let restored = other.durhai(&["show", "b1"]).is(0).stdout;
        assert!(restored.contains("failed"), "{restored}");
        other.durhai(&["import", "--backup", "all.ndjson"]).is(2);
    }
}
