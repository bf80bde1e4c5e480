//! What runs wait for from outside, and what they show of themselves: people, hooks, children, streams, state.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::folder::{Folder, Going};

const ASKS: &str = r#"
    let both = parallel(#{
        price: || suspend(#{ cents: 5 }, #{ label: "price", schema: #{ type: "object", required: ["ok"] } }),
        name: || suspend("name?", #{ timeout: "1h" })
    });
    set_state("name", both.name);
    set_status("answered");
    for part in ["a", "b"] { emit(part); }
    emit("names", both.name);
    wait_for("end");
    emit("c");
    both
"#;
const HOOKED: &str =
    "let h = hook(#{ token: \"tok\" }); let first = h.wait(); let second = h.wait(); [first.body, second.body]";
const PARENT: &str = "set_status(\"calls\"); run_workflow(\"gate\") + run_workflow(\"gate\")";
const CHAIN: &str = "if input < 3 { continue_as_new(input + 1); }\nwait_for(\"stop\");\n`done ${input}`";

fn folder() -> Folder {
    let folder = Folder::new();
    [("asks", ASKS), ("hooked", HOOKED), ("parent", PARENT), ("chain", CHAIN)]
        .iter()
        .for_each(|(name, text)| folder.script(name, text));
    folder
}

/// A host that serves, or nobody: the commands do the same.
fn both_ways(test: impl Fn(&Folder, Option<&mut Going>)) {
    let served = folder();
    let (mut host, _) = served.serve(&[]);
    test(&served, Some(&mut host));
    test(&folder(), None);
}

/// Brings the run to where it waits for somebody.
fn until_it_waits(folder: &Folder, host: &Option<&mut Going>, id: &str, kinds: &[&str]) {
    let kind_of = |event: &Value| kinds.contains(&event["type"].as_str().unwrap_or_default());
    if host.is_some() {
        let mut follow = folder.going(&["events", id, "--follow", "--json"]);
        follow.json(kind_of);
    } else {
        let workflow = folder.durhai(&["show", id, "--json"]).is(0).json()["workflow"].clone();
        let mut run = folder.going(&["run", workflow.as_str().expect("a name"), "--id", id, "--json"]);
        run.json(kind_of);
        run.signal("-INT");
        run.wait();
    }
}

#[test]
fn people_are_asked_and_answer() {
    both_ways(|folder, host| {
        folder.durhai(&["start", "asks", "--id", "a"]).is(0);
        until_it_waits(folder, &host, "a", &["suspended"]);
        let listed = folder.durhai(&["list", "--status", "suspended"]).is(0);
        assert!(listed.stdout.starts_with("a  asks  suspended"), "{listed:?}");
        assert!(listed.stdout.contains("asks a person, price"), "{listed:?}");
        let shown = folder.durhai(&["show", "a"]).is(0).stdout;
        for part in [
            "{\"cents\":5}",
            "\"name?\"",
            "durhai resume a JSON --label price",
            "--label 1.1.1",
            "\"required\":[\"ok\"]",
        ] {
            assert!(shown.contains(part), "no {part:?} in {shown}");
        }
        let view = folder.durhai(&["show", "a", "--json"]).is(0).json();
        assert_eq!(view["suspensions"][1]["label"], "price");
        assert_eq!((&view["children"]["count"], &view["hooks"]), (&json!(0), &json!([])));

        folder.durhai(&["resume", "a", "1"]).is(2).says("2 questions");
        folder.durhai(&["resume", "a", "1", "--label", "colour"]).is(2).says("price");
        folder.durhai(&["resume", "a", "{}", "--label", "price"]).is(2).says("ok");
        folder.durhai(&["resume", "a", "{", "--label", "price"]).is(2).says("the answer is no JSON");
        folder.durhai(&["resume", "none"]).is(3).says("none");
        let said = folder.durhai(&["resume", "a", "{\"ok\":true}", "--label", "price"]).is(0).stdout;
        assert_eq!(said, "a: answered\n");
        let view = folder.durhai_with(&["resume", "a", "-", "--label", "1.1.1", "--json"], "\"Ada\"").is(0).json();
        assert_eq!(view["id"], "a");
        if host.is_none() {
            return;
        }
        let mut follow = folder.going(&["output", "a", "--follow", "--json", "--from", "1"]);
        let entry = follow.json(|entry| entry["index"] == 1);
        assert_eq!((&entry["value"], entry["at"].is_u64()), (&json!("b"), true));
        folder.durhai(&["resume", "a"]).is(2).says("asks nobody");
        folder.durhai(&["signal", "a", "end"]).is(0);
        assert_eq!(follow.wait().is(0).rows()[0]["value"], "c");
        let view = folder.durhai(&["show", "a", "--json"]).is(0).json();
        assert_eq!((&view["state"], &view["status_text"]), (&json!({ "name": "Ada" }), &json!("answered")));
        assert!(folder.durhai(&["list"]).is(0).stdout.contains("answered"));
    });
}

#[test]
fn what_was_emitted() {
    both_ways(|folder, host| {
        folder.script("emits", "for n in 0..3 { emit(n); emit(\"other\", #{ n: n }); }");
        if let Some(host) = host {
            host.json(|line| line["event"] == "loaded" && line["workflow"] == "emits");
        }
        folder.durhai(&["start", "emits", "--id", "e", "--wait", "-A"]).is(0);
        folder.durhai(&["start", "echo", "--id", "silent", "--input", "{\"a\":1}", "--wait"]).is(0);
        folder.durhai(&["start", "throws", "--id", "bad", "--wait"]).is(1);
        assert_eq!(folder.durhai(&["output", "e"]).is(0).stdout, "0\n1\n2\n");
        assert_eq!(folder.durhai(&["output", "e", "--from", "2"]).is(0).stdout, "2\n");
        assert_eq!(folder.durhai(&["output", "e", "--from", "9"]).is(0).stdout, "");
        let rows = folder.durhai(&["output", "e", "--stream", "other", "--json", "--follow"]).is(0).rows();
        assert_eq!((rows.len(), &rows[2]["index"], &rows[2]["value"]), (3, &json!(2), &json!({ "n": 2 })));
        assert_eq!(folder.durhai(&["output", "e", "--streams"]).is(0).stdout, "default  3\nother    3\n");
        let streams = folder.durhai(&["output", "e", "--streams", "--json"]).is(0).json();
        assert_eq!(streams["streams"][0], json!({ "name": "default", "entries": 3 }));
        let nothing = folder.durhai(&["output", "e", "--stream", "none"]).is(0).says("default (3), other (3)");
        assert_eq!(nothing.stdout, "");
        // A run without streams has its output.
        let silent = folder.durhai(&["output", "silent"]).is(0).says("has emitted nothing; this is its output");
        assert_eq!(silent.stdout, "{\"a\":1}\n");
        let silent = folder.durhai(&["output", "silent", "--json"]).is(0).json();
        assert_eq!(silent, json!({ "output": { "a": 1 } }));
        assert_eq!(folder.durhai(&["output", "bad"]).is(0).says("run bad is failed").stdout, "");
        folder.durhai(&["output", "nobody"]).is(3);
    });
}

#[test]
fn requests_to_a_hook() {
    both_ways(|folder, host| {
        folder.durhai(&["start", "hooked", "--id", "h"]).is(0);
        until_it_waits(folder, &host, "h", &["hook_opened"]);
        let shown = folder.durhai(&["show", "h", "--json"]).is(0).json();
        let url = shown["hooks"][0]["url"].as_str().expect("a url").to_string();
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/hooks/tok"), "{url}");
        folder.durhai(&["hook", "nonsense", "1"]).is(3).says("no open hook");
        folder.durhai(&["hook", "http://x/other", "1"]).is(2);
        assert_eq!(folder.durhai(&["hook", &url, "{\"n\":1}", "--id", "i"]).is(0).stdout, "tok: delivered\n");
        folder.durhai(&["hook", "tok", "{\"n\":2}", "--id", "i"]).is(0);
        let last = folder.durhai(&["hook", "tok", "{\"n\":3}", "--json"]).is(0).json();
        assert_eq!(last, json!({ "token": "tok", "delivered": true }));
        let output = match host {
            Some(_) => folder.durhai(&["events", "h", "--follow", "--json"]).is(0).rows().pop().expect("events"),
            None => json!({ "output": folder.durhai(&["run", "hooked", "--id", "h"]).is(0).json() }),
        };
        assert_eq!(output["output"], json!([{ "n": 1 }, { "n": 3 }]));
        folder.durhai(&["hook", "tok", "1"]).is(3).says("no open hook");
    });
}

#[test]
fn a_run_in_the_foreground_says_how_it_is_answered() {
    let folder = folder();
    let mut run = folder.command(&["run", "hooked", "--id", "h"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    let mut lines = stderr.lines().map(|line| line.expect("text"));
    let line = lines.find(|line| line.contains("/hooks/tok")).expect("it says so");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    // As the outside does it: no token of the API, whatever else is asked for.
    let post = |body: &str| {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let head = format!("POST /hooks/tok HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
        let request = format!("{head}connection: close\r\norigin: https://shop.example\r\n\r\n{body}");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
        std::io::read_to_string(stream).expect("an answer")
    };
    assert!(post("one").starts_with("HTTP/1.1 202"));
    assert!(post("two").starts_with("HTTP/1.1 202"));
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().all(|line| !line.contains("/hooks/tok")), "it is said once: {rest:?}");
    let ended = run.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8(ended.stdout).expect("text"), "[\"one\",\"two\"]\n");

    let mut asks = folder.command(&["run", "asks", "--id", "a"]);
    let mut asks = asks.stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = BufReader::new(asks.stderr.take().expect("a pipe"));
    let mut lines = stderr.lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("durhai resume a JSON --label price")));
    folder.durhai(&["resume", "a", "{\"ok\":1}", "--label", "price"]).is(0);
    folder.durhai(&["terminate", "a"]).is(0);
    lines.for_each(drop);
    assert_eq!(asks.wait().expect("it ends").code(), Some(1));
}

#[test]
fn a_killed_parent_goes_on_with_its_children() {
    let folder = folder();
    let mut going = folder.going(&["run", "parent", "--id", "p", "--json"]);
    let child = going.json(|event| event["type"] == "child_started")["run_id"].clone();
    going.child.kill().expect("killed");
    drop(going);
    let child = child.as_str().expect("an id");
    let shown = folder.durhai(&["show", "p"]).is(0).stdout;
    assert!(shown.contains(&format!("1: {child}")) && shown.contains("calls"), "{shown}");
    let listed = folder.durhai(&["list", "--parent", "p", "--json"]).is(0).json();
    assert_eq!((&listed["runs"][0]["id"], &listed["runs"][0]["parent"]), (&json!(child), &json!("p")));
    assert_eq!(folder.durhai(&["show", child, "--json"]).is(0).json()["parent"], "p");
    folder.durhai(&["list", "--parent", "a b"]).is(2).says("--parent");

    let mut run = folder.command(&["run", "parent", "--id", "p"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(run.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("goes on after event")));
    folder.durhai(&["signal", child, "go", "1"]).is(0);
    let started = lines.find(|line| line.contains("started: run ")).expect("the second child");
    let second = started.split("started: run ").nth(1).expect("its id");
    folder.durhai(&["signal", second, "go", "2"]).is(0);
    lines.for_each(drop);
    let ended = run.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8(ended.stdout).expect("text"), "\"went 1went 2\"\n");
}

#[test]
fn a_chain_is_one_run_to_those_who_wait() {
    let folder = folder();
    let mut going = folder.going(&["run", "chain", "--id", "c", "--input", "0", "--json"]);
    let mut last = Value::Null;
    for _ in 0..3 {
        last = going.json(|event| event["type"] == "run_continued")["next"].clone();
    }
    going.child.kill().expect("killed");
    drop(going);
    let last = last.as_str().expect("an id");
    let first = folder.durhai(&["show", "c", "--json"]).is(0).json();
    assert_eq!(first["status"], "continued");
    let next = first["next"].as_str().expect("an id");
    assert!(folder.durhai(&["show", "c"]).is(0).stdout.contains(&format!("goes on as  {next}")));
    assert!(folder.durhai(&["show", next]).is(0).stdout.contains("continues   c"));

    folder.durhai(&["run", "chain", "--id", "c", "--input", "7"]).is(2).says("another input");
    folder.durhai(&["signal", last, "stop"]).is(0);
    let ended = folder.durhai(&["run", "chain", "--id", "c", "--input", "0"]).is(0);
    assert_eq!(ended.stdout, "\"done 3\"\n");
    assert_eq!(folder.durhai(&["run", "chain", "--id", "c"]).is(0).stdout, "\"done 3\"\n");

    let (_host, _) = folder.serve(&[]);
    let mut waits = folder.going(&["start", "chain", "--id", "d", "--input", "1", "--wait", "--json"]);
    waits.json(|event| event["type"] == "run_created" && event["input"] == 3);
    folder.durhai(&["signal", "d", "stop"]).is(0);
    assert_eq!(waits.json(|row| row["status"] == "completed")["output"], "done 3");
}

#[test]
fn a_start_says_how_long_and_how_soon() {
    both_ways(|folder, host| {
        let args = ["start", "nap", "--id", "n", "--timeout", "90s", "--priority", "-2", "--json"];
        let view = folder.durhai(&args).is(0).json();
        assert_eq!((&view["timeout"], &view["priority"]), (&json!(90_000), &json!(-2)));
        let shown = folder.durhai(&["show", "n"]).is(0).stdout;
        assert!(shown.contains("timeout     1m 30s") && shown.contains("priority    -2"), "{shown}");
        folder.durhai(&["start", "nap", "--timeout", "0"]).is(2).says("longer than nothing");
        if host.is_none() {
            folder.durhai(&["run", "nap", "--timeout", "50ms"]).is(1).says("time");
        }
    });
}

#[test]
fn an_input_that_does_not_fit_names_every_place() {
    let header = "const WORKFLOW = #{ input: #{ type: \"object\", required: [\"a\"], \
                  properties: #{ a: #{ type: \"integer\" }, b: #{ type: \"string\", default: \"x\" } } } };\ninput";
    let header = header.replace("default:", "\"default\":");
    both_ways(|folder, host| {
        folder.script("picky", &header);
        if let Some(host) = host {
            host.json(|line| line["event"] == "loaded" && line["workflow"] == "picky");
        }
        let wrong = folder.durhai(&["start", "picky", "--input", "{\"a\":\"x\",\"b\":1}"]).is(2);
        wrong.says("/a").says("/b");
        let args = ["start", "picky", "--id", "p", "--input", "{\"a\":1}", "--wait"];
        assert_eq!(folder.durhai(&args).is(0).json(), json!({ "a": 1, "b": "x" }));
        // The same command again: what the schema filled in does not make it another input.
        assert_eq!(folder.durhai(&args).is(0).json(), json!({ "a": 1, "b": "x" }));
        let found = folder.durhai(&["workflows", "--json"]).is(0).json();
        let all = found["workflows"].as_array().expect("a list").clone();
        let picky = all.iter().find(|workflow| workflow["name"] == "picky").expect("it is listed");
        assert_eq!(picky["header"]["input"]["required"], json!(["a"]));
    });
}
