//! `durhai.toml`, and addresses that are set.

use crate::folder::Folder;

#[test]
fn the_file_is_found_and_its_mistakes_are_shown() {
    let folder = Folder::new();
    let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("a file");
    write("durhai.toml", "[steps.\"t.*\"]\nconcurrency = \"many\"\n");
    folder.durhai(&["run", "echo"]).is(2).says("durhai.toml:2:15").says("concurrency = \"many\"");
    folder.durhai(&["serve", "--listen", "127.0.0.1:0"]).is(2).says("durhai.toml:2:15");
    // The one of the scripts folder comes first, the one that is given before that.
    write("scripts/durhai.toml", "[steps.\"t.echo\"]\nconcurrency = 1\nrate = \"1000/s\"\n");
    folder.durhai(&["run", "echo", "-q"]).is(0);
    write("other.toml", "[stesp]\n");
    folder.durhai(&["run", "echo", "--config", "other.toml"]).is(2).says("other.toml:1:2").says("stesp");
    folder.durhai(&["run", "echo", "--config", "none.toml"]).is(2).says("none.toml");
}

#[test]
fn a_limit_holds() {
    let folder = Folder::new();
    let text = "[steps.\"t.note\"]\nrate = \"1/h\"\n";
    std::fs::write(folder.path().join("scripts/durhai.toml"), text).expect("a file");
    folder.script("notes", "for i in 0..2 { use_step(\"t.note\", #{ path: input, line: i }, #{ label: `n${i}` }); }");
    let path = folder.path().join("notes").display().to_string();
    let mut going =
        folder.going(&["run", "notes", "--id", "n", "--json", "--allow-write", "--input", &format!("{path:?}")]);
    going.json(|event| event["type"] == "step_started" && event["label"] == "n1");
    going.signal("-INT");
    assert_eq!(going.wait().code, Some(130));
    assert_eq!(std::fs::read_to_string(path).expect("the first note"), "0\n", "the second has an hour to wait");
}

#[test]
fn hooks_are_where_the_public_url_says() {
    let folder = Folder::new();
    folder.script("hooked", "hook(#{ token: \"tok\" }).wait().body");
    folder.durhai(&["serve", "--listen", "127.0.0.1:0", "--public-url", "flows.example"]).is(2).says("https://");
    folder.durhai(&["serve", "--listen", "127.0.0.1:0", "--public-url", "https://x.example/?a"]).is(2);
    let (_host, _) = folder.serve(&["--public-url", "https://flows.example/durhai/"]);
    folder.durhai(&["start", "hooked", "--id", "h"]).is(0);
    let mut events = folder.going(&["events", "h", "--follow", "--json"]);
    let opened = events.json(|event| event["type"] == "hook_opened");
    assert_eq!(opened["url"], "https://flows.example/durhai/hooks/tok");
    folder.durhai(&["hook", "https://flows.example/durhai/hooks/tok", "7"]).is(0);
    assert_eq!(events.json(|event| event["type"] == "run_completed")["output"], 7);
}
