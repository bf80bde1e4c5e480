//! Texts as editors leave them, texts that nobody can read, and values as they are shown.

use std::fs;

use crate::folder::Folder;

/// A mark that some editors put in front of a text.
fn marked(text: &str) -> String {
    format!("\u{feff}{text}")
}

#[test]
fn a_mark_in_front_of_a_text_changes_nothing() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("scripts/lib")).expect("a folder");
    folder.script("marked", &marked("import \"lib/m\" as m;\nm::twice(use_step(\"s.same\", input))"));
    folder.script("lib/m", &marked("fn twice(x) { x + x }"));
    folder.script("steps/s", &marked("fn same(input) { input }"));
    folder.script(
        "marked.test",
        &marked("fn test_it() {\n    mock(\"s.same\", 4);\n    expect(start(\"marked\", 4)).completed(8);\n}"),
    );
    fs::write(path("scripts/durhai.toml"), marked("[secrets]\n")).expect("written");
    fs::write(path("in.json"), marked("21")).expect("written");
    assert_eq!(folder.durhai(&["run", "marked", "--input", "@in.json", "-q"]).is(0).stdout, "42\n");
    assert_eq!(folder.durhai_with(&["run", "marked", "--input", "-", "-q"], &marked("4")).is(0).stdout, "8\n");
    folder.durhai(&["test", "scripts/marked.test.rhai", "--no-crash"]).is(0);
    let checked = folder.durhai(&["check", "scripts/marked.rhai", "scripts/lib/m.rhai", "scripts/steps/s.rhai"]);
    checked.is(0).says("nothing found");
}

#[cfg(unix)]
#[test]
fn a_text_that_cannot_be_read_is_told_with_file_and_reason() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join("scripts").join(name);
    fs::write(path("latin.rhai"), b"// gr\xfc\xdfe\n1").expect("written");
    std::os::unix::fs::symlink("/etc/hostname", path("out.rhai")).expect("linked");
    std::os::unix::fs::symlink("nowhere", path("dangling.rhai")).expect("linked");
    fs::create_dir(path("folder.rhai")).expect("a folder");
    let ways = [("latin", "no UTF-8"), ("out", "leads out"), ("dangling", "nowhere"), ("folder", "a folder")];
    let listed = folder.durhai(&["workflows"]).is(0);
    let checked = folder.durhai(&["check"]).is(1);
    for (name, why) in ways {
        let error = folder.durhai(&["run", name]).is(2);
        assert!(error.stderr.contains(why) && error.stderr.contains(&format!("{name}.rhai")), "{error:?}");
        assert!(listed.stderr.contains(&format!("{name} does not load")) && listed.stderr.contains(why), "{listed:?}");
        assert!(
            checked.stdout.contains(&format!("scripts/{name}.rhai")) && checked.stdout.contains(why),
            "{checked:?}"
        );
    }
    let (mut serving, first) = folder.serve(&[]);
    for (name, why) in ways {
        let views = first["workflows"].as_array().expect("a list");
        let view = views.iter().find(|view| view["name"] == name).unwrap_or_else(|| panic!("no {name} in {first}"));
        assert!(view["error"].as_str().is_some_and(|error| error.contains(why)), "{view}");
        folder.durhai(&["start", name]).is(2).says(why);
    }
    // One that served goes on, and what is wrong with the new text is told as it happens.
    fs::write(path("echo.rhai"), b"\xff\xfe1\0").expect("written");
    let report = serving.json(|line| line["event"] == "broken" && line["workflow"] == "echo");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("UTF-16")), "{report}");
    assert_eq!(folder.durhai(&["start", "echo", "--wait", "--input", "3"]).is(0).stdout, "3\n");
}

#[test]
fn events_show_values_exactly_and_say_what_they_leave_out() {
    let folder = Folder::new();
    let long = "x".repeat(5_000);
    let input = format!("{{\"a\":\"two  blanks\\tand\\nlines\",\"b\":\"{long}\"}}");
    folder.durhai(&["run", "echo", "--id", "r", "-q", "--input", &input]).is(0);
    let shown = folder.durhai(&["events", "r"]).is(0);
    assert!(shown.stdout.contains(r#"{"a":"two  blanks\tand\nlines","b":"xxx"#), "{shown:?}");
    assert!(!shown.stdout.contains(&long) && shown.stdout.contains("more characters)"), "{shown:?}");
    let full = folder.durhai(&["events", "r", "--full"]).is(0);
    assert!(full.stdout.contains(&input) && !full.stdout.contains("more characters"), "{full:?}");
    let rows = folder.durhai(&["events", "r", "--json"]).is(0).rows();
    assert_eq!(rows[0]["input"]["b"], long);
}
