//! Editing a workflow whose runs live: `versions`, `diff`, `migrate`, and what `serve` says of a save.

use crate::folder::Folder;

const OLD: &str = "let a = use_step(\"t.echo\", 1);\nwait_for(\"go\");\nuse_step(\"t.echo\", 2)";
const NEW: &str = "let a = use_step(\"t.echo\", 1);\nwait_for(\"go\");\nuse_step(\"t.echo\", 3)";
const OTHER: &str = "let a = use_step(\"t.echo\", 9);\nwait_for(\"go\");\nuse_step(\"t.echo\", 3)";

#[test]
fn a_save_is_held_against_the_runs_and_they_move() {
    let folder = Folder::new();
    folder.script("order", OLD);
    let (mut host, _) = folder.serve(&[]);
    folder.durhai(&["start", "order", "--id", "one"]).is(0);
    folder.durhai(&["start", "order", "--id", "two"]).is(0);
    while folder.durhai(&["list", "--status", "waiting", "--json"]).is(0).json()["runs"].as_array().expect("runs").len()
        < 2
    {}
    folder.script("order", NEW);
    let gated = host.json(|line| line["event"] == "gated");
    assert_eq!(
        (&gated["live"], &gated["compatible"], &gated["served"]),
        (&2.into(), &2.into(), &true.into()),
        "{gated}"
    );

    let found = folder.durhai(&["versions", "order", "--json"]).is(0).json();
    let versions = found["versions"].as_array().expect("versions");
    assert_eq!((versions.len(), &versions[0]["serving"], &versions[1]["live"]), (2, &true.into(), &2.into()));
    let old = versions[1]["version"].as_str().expect("a digest")[..8].to_owned();
    assert!(folder.durhai(&["versions", "order"]).is(0).stdout.contains("serving"));
    let listed = folder.durhai(&["workflows"]).is(0).stdout;
    assert!(listed.contains(&format!("2 on {old}")), "{listed}");

    let diff = folder.durhai(&["diff", "order", &old, "serving"]).is(1).stdout;
    assert!(diff.contains("-use_step(\"t.echo\", 2)\n") && diff.contains("+use_step(\"t.echo\", 3)\n"), "{diff}");
    assert!(diff.starts_with("--- order.rhai  "), "{diff}");
    assert_eq!(folder.durhai(&["diff", "order", "serving", "scripts/order.rhai"]).is(0).stdout, "");
    folder.durhai(&["diff", "order", "serving", "ffff"]).is(3).says("there are");

    assert!(folder.durhai(&["migrate", "one", "--dry-run"]).is(0).stdout.contains("one: can move from"));
    assert!(folder.durhai(&["migrate", "one"]).is(0).stdout.contains("one: moved from"));
    assert!(folder.durhai(&["migrate", "one"]).is(0).stdout.contains("already"));
    let moved = folder.durhai(&["migrate", "order", "--json"]).is(0).json();
    assert_eq!((&moved["moved"], &moved["already"]), (&1.into(), &1.into()));
    folder.durhai(&["migrate", "nobody"]).is(3).says("neither a run nor a workflow");
    folder.durhai(&["migrate", "one", "--to", "ffff"]).is(3).says("no version ffff");

    folder.durhai(&["signal", "one", "go"]).is(0);
    folder.durhai(&["events", "one", "--follow"]).is(0);
    assert_eq!(folder.durhai(&["show", "one", "--json"]).is(0).json()["output"], 3);
    folder.durhai(&["migrate", "one"]).is(2).says("completed");

    // What does not fit, without a host.
    folder.script("order", OTHER);
    host.json(|line| line["event"] == "gated" && line["diverging"] == 1);
    host.signal("-TERM");
    host.wait();
    let stays = folder.durhai(&["migrate", "two"]).is(1).stdout;
    assert!(stays.contains("does not fit at order.rhai:1"), "{stays}");
    assert!(stays.contains("recorded use_step(\"t.echo\") with 1 at 1:9: let a = use_step(\"t.echo\", 1);"), "{stays}");
    assert!(stays.contains("asked    use_step(\"t.echo\") with 9 at 1:9: let a = use_step(\"t.echo\", 9);"), "{stays}");
    let all = folder.durhai(&["migrate", "order", "--dry-run"]).is(1).stdout;
    assert!(all.starts_with("order: 1 live run: 1 diverges, first at order.rhai:1\n"), "{all}");
    folder.durhai(&["migrate", "two", "--to", &old]).is(0).says("No host serves this store");
}
