//! Programs and services as steps, by hand and in runs, and what becomes of them when `durhai.toml` is saved.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::folder::Folder;

const SETTINGS: &str = r#"
[steps.double]
command = ["/bin/sh", "-c", "read n; echo working on $n >&2; echo $((n * 2))"]
description = "Twice as much."

[steps.tells]
command = ["/bin/sh", "-c", "echo \"it is $KEY\" >&2; printf '\"%s\"' \"$KEY\""]
secrets = { KEY = "stripe" }

[steps.hangs]
command = ["/bin/sh", "-c", "sleep 600 & echo $! > sleeper.new; mv sleeper.new sleeper; echo begun >&2; wait"]

[steps.refuses]
command = ["/bin/sh", "-c", "echo no such order >&2; exit 3"]

[steps.nobody]
command = ["./not-there.sh"]

[secrets]
stripe = { env = "STRIPE_KEY" }
"#;

fn folder(settings: &str) -> Folder {
    let folder = Folder::new();
    write(&folder, "durhai.toml", settings);
    folder
}

fn write(folder: &Folder, path: &str, text: &str) {
    std::fs::write(folder.path().join(path), text).expect("a file");
}

/// Answers one request with this JSON; gives what it was sent.
fn service(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
        let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
        while reader.read_line(&mut line).expect("a head") > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(count) = lower.strip_prefix("content-length:") {
                length = count.trim().parse().expect("a number");
            }
            head.push_str(&lower);
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}")
            .expect("sent");
        format!("{head}\n{}", String::from_utf8_lossy(&body))
    });
    (address, served)
}

#[cfg(unix)]
#[test]
fn programs_by_hand() {
    let folder = folder(SETTINGS);
    let ended = folder.durhai(&["step", "double", "21"]).is(0).says("working on 21");
    assert_eq!(ended.stdout, "42\n");
    write(&folder, "n.json", "4");
    assert_eq!(folder.durhai(&["step", "double", "@n.json", "--json"]).is(0).stdout, "8\n");
    assert_eq!(folder.durhai_with(&["step", "double", "-"], "5").is(0).stdout, "10\n");
    folder.durhai(&["step", "double", "n.json"]).is(2).says("@n.json");
    folder.durhai(&["step", "refuses"]).is(1).says("no such order");
    folder.durhai(&["step", "nobody"]).is(1).says("not-there.sh");
    folder.durhai(&["step", "duble"]).is(3).says("double");
    let listed = folder.durhai(&["step", "--json"]).is(0).json();
    let double = listed["steps"].as_array().expect("steps").iter().find(|step| step["name"] == "double");
    assert_eq!(double, Some(&json!({ "name": "double", "kind": "program", "description": "Twice as much." })));
}

#[test]
fn services_by_hand() {
    let (address, served) = service("{\"score\":7}");
    let folder = folder(&format!(
        "[steps.score]\nurl = \"http://{address}/score\"\nheaders = {{ X-Team = \"blue\" }}\nbearer = \"pass\"\n"
    ));
    let mut command = folder.command(&["step", "score", "{\"a\":1}"]);
    let ended = command.env("DURHAI_SECRET_PASS", "open-sesame").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "{\"score\":7}\n", "{ended:?}");
    let sent = served.join().expect("a request");
    for part in ["post /score", "x-team: blue", "authorization: bearer open-sesame", "idempotency-key: ", "{\"a\":1}"] {
        assert!(sent.contains(part), "no {part:?} in {sent}");
    }
    // Without the secret nothing is sent, and both ways to give it are named.
    folder.durhai(&["step", "score"]).is(1).says("DURHAI_SECRET_PASS").says("[secrets]");
}

#[cfg(unix)]
#[test]
fn an_interrupted_step_takes_its_program_along() {
    let folder = folder(SETTINGS);
    let mut command = folder.command(&["step", "hangs"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.expect("text").contains("begun")));
    let sleeper = std::fs::read_to_string(folder.path().join("sleeper")).expect("a process");
    let kill = |signal: &str, id: &str| {
        std::process::Command::new("kill").args([signal, id]).stderr(Stdio::null()).status().expect("kill").success()
    };
    assert!(kill("-0", sleeper.trim()), "it runs");
    assert!(kill("-INT", &child.id().to_string()));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let stat = Path::new("/proc").join(sleeper.trim()).join("stat");
    let gone = || !kill("-0", sleeper.trim()) || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !gone() {
        assert!(std::time::Instant::now() < end, "the program of the step still runs");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(unix)]
#[test]
fn a_secret_is_nowhere_to_be_seen() {
    let folder = folder(SETTINGS);
    folder.script("tells", "let key = use_step(\"tells\"); print(key); key");
    write(&folder, "prod.env", "STRIPE_KEY=sk_live_4711_abc\n");
    let shown = [
        folder.durhai(&["step", "tells", "--env-file=prod.env"]).is(0).says("it is [secret stripe]"),
        folder.durhai(&["run", "tells", "--id", "t", "--env-file=prod.env"]).is(0),
        folder.durhai(&["events", "t"]).is(0),
        folder.durhai(&["logs", "t"]).is(0),
    ];
    assert_eq!(shown[1].stdout, "\"[secret stripe]\"\n");
    assert!(shown.iter().all(|ended| !format!("{ended:?}").contains("sk_live_4711_abc")), "{shown:?}");
    // Its files may be compressed, a backup is not.
    let all = folder.path().join(".durhai/all.ndjson");
    folder.durhai(&["backup", "-o", &all.display().to_string()]).is(0);
    assert!(std::fs::read_to_string(&all).expect("a backup").contains("[secret stripe]"));
    let mut folders = vec![folder.path().join(".durhai")];
    while let Some(path) = folders.pop() {
        for entry in path.read_dir().expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => {
                    let bytes = std::fs::read(&path).expect("a file");
                    let found = bytes.windows(16).any(|part| part == b"sk_live_4711_abc");
                    assert!(!found, "in {}", path.display());
                }
            }
        }
    }
    folder.durhai(&["step", "tells"]).is(1).says("STRIPE_KEY");
    folder.durhai(&["step", "tells", "--env-file"]).is(2).says(".env");
    std::fs::rename(folder.path().join("prod.env"), folder.path().join(".env")).expect("renamed");
    folder.durhai(&["step", "tells", "--env-file"]).is(0);
}

#[cfg(unix)]
#[test]
fn a_host_takes_up_what_is_saved() {
    let folder = folder(SETTINGS);
    folder.script("doubles", "use_step(\"double\", 4)");
    let (mut host, _) = folder.serve(&[]);
    assert_eq!(folder.durhai(&["start", "doubles", "--wait"]).is(0).stdout, "8\n");
    write(&folder, "durhai.toml", &SETTINGS.replace("n * 2", "n * 3"));
    let loaded = host.json(|line| line["event"] == "settings_loaded");
    assert_eq!(loaded["file"], "durhai.toml");
    assert_eq!(folder.durhai(&["start", "doubles", "--wait"]).is(0).stdout, "12\n");
    write(&folder, "durhai.toml", "[steps.double]\ncommand = 7\n");
    let broken = host.json(|line| line["event"] == "settings_broken");
    let error = broken["error"].as_str().expect("an error");
    assert!(
        error.starts_with("durhai.toml:2:11: ") && error.contains("command = 7") && error.ends_with('^'),
        "{error}"
    );
    assert_eq!(folder.durhai(&["start", "doubles", "--wait"]).is(0).stdout, "12\n");
    // One that comes first takes over, and what it does not declare is gone.
    write(&folder, "scripts/durhai.toml", "[steps.double]\ncommand = [\"/bin/echo\", \"0\"]\n");
    let loaded = host.json(|line| line["event"] == "settings_loaded");
    assert_eq!(loaded["file"], "scripts/durhai.toml");
    assert_eq!(folder.durhai(&["start", "doubles", "--wait"]).is(0).stdout, "0\n");
}

#[cfg(unix)]
#[test]
fn a_run_in_the_foreground_takes_it_up_too() {
    let folder = folder("");
    folder.script("later", "print(\"asks\"); wait_for(\"go\"); use_step(\"double\", 4)");
    let mut command = folder.command(&["run", "later", "--id", "l"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(run.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("asks")));
    write(&folder, "durhai.toml", "[steps.double]\nretry = 7\n");
    assert!(lines.any(|line| line.contains("what counted before still does")));
    assert!(lines.any(|line| line.contains("durhai.toml:2:9: ")));
    write(&folder, "durhai.toml", SETTINGS);
    assert!(lines.any(|line| line.contains("durhai.toml loaded")));
    folder.durhai(&["signal", "l", "go"]).is(0);
    let rest: Vec<_> = lines.collect();
    let ended = run.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "8\n", "{rest:?}");
}

#[test]
fn the_doctor_looks_at_settings() {
    let folder = folder("");
    folder.durhai(&["run", "echo", "-q"]).is(0);
    folder.durhai(&["doctor"]).is(0);
    write(&folder, "durhai.toml", SETTINGS);
    let found = folder.durhai(&["doctor"]).is(1).stdout;
    for part in ["the step \"nobody\": ", "not-there.sh", "the secret \"stripe\" is not there", "STRIPE_KEY"] {
        assert!(found.contains(part), "no {part:?} in {found}");
    }
    assert!(!found.contains("double"), "{found}");
    write(&folder, "durhai.toml", "[steps]\nx = 1\n");
    let found = folder.durhai(&["doctor", "--json"]).is(1).json();
    assert!(found["settings"][0].as_str().expect("a text").starts_with("durhai.toml:2:5: "), "{found}");
}
