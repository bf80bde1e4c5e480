//! `durhai test`.

use crate::folder::Folder;

const GOOD: &str = "fn test_it() {\n    mock(\"t.echo\", |input| input + 1);\n    expect(start(\"echo\", 1)).completed(2);\n}\n\
    fn test_the_real_one() {\n    use_real(\"t.*\");\n    expect(start(\"echo\", 5)).completed(5);\n}\n";

const BAD: &str = "fn test_wrong() {\n    mock(\"t.echo\", 3);\n    expect(start(\"echo\", 1)).completed(2);\n}\n";

fn folder(tests: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in tests {
        std::fs::write(folder.path().join(format!("scripts/{name}.test.rhai")), text).expect("a file");
    }
    folder
}

#[test]
fn passes_and_leaves_nothing() {
    let folder = folder(&[("echo", GOOD)]);
    for args in [&["test"][..], &["test", "scripts"], &["test", "scripts/echo.test.rhai"], &["test", "--seed", "7"]] {
        let ended = folder.durhai(args).is(0);
        assert!(ended.stdout.contains("ok: 2 passed, 0 failed"), "{ended:?}");
        assert!(!ended.stdout.contains('\x1b'), "no colours in a pipe");
    }
    assert!(!folder.path().join(".durhai").exists(), "tests need no data folder");
    let once = folder.durhai(&["test", "--no-crash"]).is(0);
    assert!(once.stdout.contains("0 repetitions disturbed"), "{once:?}");
    let covered = folder.durhai(&["test", "--coverage", "--lcov", "out/lcov.info"]).is(0);
    assert!(covered.stdout.contains("scripts/echo.rhai  100.0 %"), "{covered:?}");
    let lcov = std::fs::read_to_string(folder.path().join("out/lcov.info")).expect("it was written");
    // A text that is put together from values is a part of its line, no statement of its own.
    assert!(lcov.contains("SF:scripts/echo.rhai\nDA:2,2\nDA:3,2\nLF:2\nLH:2\n"), "{lcov}");
}

#[test]
fn fails_where_a_test_does() {
    let folder = folder(&[("echo", GOOD), ("wrong", BAD), ("syntax", "fn test_it( { }")]);
    let ended = folder.durhai(&["test", "--junit", "junit.xml"]).is(1);
    for part in
        ["FAILED: 2 passed, 2 failed", "scripts/wrong.test.rhai:3:30", "- 2", "+ 3", "scripts/syntax.test.rhai:1:"]
    {
        assert!(ended.stdout.contains(part), "no {part:?} in {}", ended.stdout);
    }
    let xml = std::fs::read_to_string(folder.path().join("junit.xml")).expect("it was written");
    assert!(xml.contains("tests=\"4\" failures=\"1\" errors=\"1\""), "{xml}");
    let rows = folder.durhai(&["test", "--json"]).is(1).stdout;
    let rows: Vec<serde_json::Value> = rows.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    let events: Vec<_> = rows.iter().map(|row| row["event"].as_str().expect("an event")).collect();
    assert_eq!(events, ["test", "test", "broken", "test", "end"]);
    assert_eq!(rows[3]["failure"]["line"], 3);
    assert_eq!(rows[4]["failed"], 2);
    folder.durhai(&["test", "--filter", "test_the_real"]).is(1);
    folder.durhai(&["test", "scripts/echo.test.rhai", "--filter", "test_the_real"]).is(0);
}

#[test]
fn one_repetition_alone() {
    let counter =
        "fn test_it() {\n    let n = 0;\n    mock(\"t.echo\", |input| { n += 1; n });\n    start(\"echo\", 1);\n}\n";
    let folder = folder(&[("counter", counter)]);
    let ended = folder.durhai(&["test"]).is(1);
    let line = ended.stdout.lines().find_map(|line| line.trim().strip_prefix("just that again: durhai "));
    let line = line.unwrap_or_else(|| panic!("no command in {}", ended.stdout));
    let quoted = line.split('\'').collect::<Vec<_>>();
    let words: Vec<&str> = quoted
        .iter()
        .enumerate()
        .flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![*part],
        })
        .collect();
    let again = folder.durhai(&words).is(1);
    assert!(again.stdout.contains("1 repetitions disturbed"), "{again:?}");
    folder.durhai(&["test", "--only", "undisturbed"]).is(0);
}

#[test]
fn what_is_no_test() {
    let folder = folder(&[]);
    folder.durhai(&["test"]).is(3).says("order.test.rhai");
    folder.durhai(&["test", "nowhere"]).is(3).says("nowhere");
    folder.durhai(&["test", "scripts/echo.rhai"]).is(2).says(".test.rhai");
    folder.durhai(&["test", "--only", "now"]).is(2).says("crash after 7");
    std::fs::write(folder.path().join("scripts/empty.test.rhai"), "fn helper() { }").expect("a file");
    folder.durhai(&["test"]).is(3).says("test_");
    std::fs::write(folder.path().join("scripts/echo.test.rhai"), GOOD).expect("a file");
    folder.durhai(&["test", "--filter", "nothing like it"]).is(3).says("nothing like it");
}

#[cfg(unix)]
#[test]
fn settings_count_but_what_they_grant() {
    let tests = r#"
fn test_declared() {
    use_real("double");
    use_real("t.*");
    expect(start("doubles", 4)).completed(8);
}
fn test_secret() {
    use_real("tells");
    let run = start("tells");
    expect(run).completed("[secret door]");
}
fn test_rules() {
    mock_fail_twice();
    let run = start("doubles", 4);
    finish(run);
    expect(run).failed("step_failed");
    expect_calls("double", 1);
}
fn mock_fail_twice() { fail_times("double", 2, "busy", 8) }
fn test_reads() {
    use_real("file.read");
    expect(start("reads", "scripts/notes.txt")).completed("noted");
}
fn test_sealed() {
    use_real("file.read");
    expect(start("reads", "durhai.toml")).failed_with("out of reach for steps");
}
"#;
    let settings = r#"
env_file = "test.env"
[permissions]
read = true
[secrets]
door = { env = "DOOR" }
[steps.double]
command = ["/bin/sh", "-c", "read n; echo $((n * 2))"]
retry = { max_attempts = 1 }
[steps.tells]
command = ["/bin/sh", "-c", "printf '\"%s\"' \"$KEY\""]
secrets = { KEY = "door" }
"#;
    let folder = folder(&[("settings", tests)]);
    folder.script("doubles", "use_step(\"double\", input)");
    folder.script("tells", "use_step(\"tells\")");
    folder.script("reads", "use_step(\"file.read\", #{ path: input }, #{ retry: false })");
    for (name, text) in [("durhai.toml", settings), ("test.env", "DOOR=open-sesame\n"), ("scripts/notes.txt", "noted")]
    {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let test = |name: &str, more: &[&str]| folder.durhai(&[&["test", "--no-crash", "--filter", name], more].concat());
    for name in ["test_declared", "test_secret", "test_rules"] {
        test(name, &[]).is(0);
    }
    let refused = test("test_reads", &[]).is(1);
    assert!(refused.stdout.contains("--allow-read"), "{refused:?}");
    test("test_reads", &["--allow-read"]).is(0);
    test("test_sealed", &["--allow-read"]).is(0);
    std::fs::write(folder.path().join("durhai.toml"), "[steps.double]\ncommand = 7\n").expect("a file");
    test("test_declared", &[]).is(2).says("durhai.toml:2:11: ");
}
