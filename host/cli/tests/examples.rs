//! Every command of `scripts/README.md`, in the order of the page, with what it says comes of it.
//!
//! Behind the `sh` of a block may stand: `exit code N`; `first terminal` for what goes on until the block of the `second
//! terminal` was done, and `when the status is "…"` for that one. A block of JSON or text is the output of the command
//! before it.

#[path = "../../steps/examples/services/demo/mod.rs"]
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use services::{Options, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository, as far as the page needs it.
struct Root(TempDir);

struct Block {
    info: String,
    text: String,
}

/// A command that goes on.
struct Going {
    text: String,
    code: i32,
    id: String,
    child: Child,
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_do_what_it_says() {
    let address = services().await;
    let played = tokio::task::spawn_blocking(move || play(&Root::new(&address)));
    played.await.expect("the page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harvest_that_is_killed_again_and_again_loads_every_row_once() {
    let address = services().await;
    let root = Root::new(&address);
    let line = "cargo run --release -- run scripts/harvest.rhai --id h1";
    let output = tokio::task::spawn_blocking(move || {
        let killed = (1..=6).filter(|part| root.kill_in_the_middle(line, part * 15)).count();
        assert!(killed >= 4, "it was killed {killed} times only");
        check(line, 0, root.shell(line).output().expect("it starts"))
    });
    let wanted = r#"{"loaded":478,"pages":10,"rejected":22,"report":"out/harvest/report.md"}"#;
    same(wanted, &output.await.expect("the end"));
    let stored = reqwest::get(format!("http://{address}/warehouse/products")).await.expect("an answer");
    let stored: Value = stored.json().await.expect("JSON");
    let rows = stored["rows"].as_object().expect("rows");
    assert_eq!(rows.len(), 478);
    assert!(rows.values().all(|row| row["times"] == 1), "a row was loaded twice");
}

/// The address of services that last as long as the test.
async fn services() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let options = Options { retry_after: 0, ..Options::default() };
        serve(listener, options).await.expect("it serves");
    });
    address
}

fn play(root: &Root) {
    let page = fs::read_to_string(root.path("scripts/README.md")).expect("the page");
    let (mut first, mut last): (Option<Going>, Option<Output>) = (None, None);
    let mut promised: Option<String> = None;
    let (mut commands, mut outputs) = (0, 0);
    for Block { info, text } in blocks(&page) {
        let code = info.split("exit code ").nth(1).map_or(0, |code| code.trim().parse().expect("a number"));
        match info.split([' ', ',']).next().unwrap_or_default() {
            "sh" if info == "sh services" => assert!(text.contains("--example services")),
            "sh" if info.contains("first terminal") => {
                let id = text.split("--id ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id").to_owned();
                let child = root.shell(&text).spawn().expect("it starts");
                first = Some(Going { text, code, id, child });
            }
            "sh" if info.contains("second terminal") => {
                let mut going = first.take().expect("a first terminal");
                root.wait_for(&mut going, info.split('"').nth(1));
                check(&text, 0, root.shell(&text).output().expect("it starts"));
                let output = finish(going);
                if let Some(expected) = promised.take() {
                    same(&expected, &output);
                    outputs += 1;
                }
                commands += 2;
            }
            "sh" => {
                for command in text.lines().filter(|line| !line.trim().is_empty()) {
                    if command.contains("--id atlas ") {
                        root.kill_in_the_middle(command, 100);
                    }
                    let output = check(command, code, root.shell(command).output().expect("it starts"));
                    last = Some(output);
                    commands += 1;
                }
            }
            // What the first terminal shows in the end.
            "json" | "text" if first.is_some() => promised = Some(text),
            "json" | "text" => {
                same(&text, &last.take().expect("a command before its output"));
                outputs += 1;
            }
            other => panic!("a block of {other:?}"),
        }
    }
    for command in rows(&page) {
        check(&command, 0, root.shell(&command).output().expect("it starts"));
        commands += 1;
    }
    // The carrier called, and the key of the shop is not in the store, also where it was sent back.
    let events = root.shell("cargo run --release -- events A-1001 --json").output().expect("it starts");
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert!(events.contains("hook_received") && events.contains("Bearer [secret shop]"), "{events}");
    assert!(!events.contains(services::TOKEN), "{events}");
    root.every_file(".durhai", &mut |path| {
        let bytes = fs::read(path).expect("bytes");
        let found = bytes.windows(services::TOKEN.len()).any(|window| window == services::TOKEN.as_bytes());
        assert!(!found, "{} holds the key", path.display());
    });
    assert!(commands >= 24 && outputs >= 9, "{commands} commands, {outputs} outputs");
}

impl Root {
    /// With the services at this address.
    fn new(address: &str) -> Root {
        let root = Root(tempfile::tempdir().expect("a folder"));
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        copy(&scripts, &root.path("scripts"), &|text| text.replace("127.0.0.1:9900", address));
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A line as somebody types it, with the program that is built already.
    fn shell(&self, line: &str) -> Command {
        // In the place of the shell, so that who ends the one ends the other.
        let program = format!("exec {}", env!("CARGO_BIN_EXE_durhai"));
        let mut command = Command::new("sh");
        command.arg("-c").arg(line.replace("cargo run --release --", &program)).current_dir(self.0.path());
        for name in ["DURHAI_DATA", "DURHAI_TOKEN", "NO_COLOR", "SHOP_KEY"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn show(&self, id: &str) -> Value {
        let shown = self.shell(&format!("cargo run --release -- show {id} --json")).output().expect("it starts");
        serde_json::from_slice(&shown.stdout).unwrap_or_default()
    }

    /// Until the run is there and has this status, if one is said.
    fn wait_for(&self, going: &mut Going, status: Option<&str>) {
        let began = Instant::now();
        loop {
            let shown = self.show(&going.id);
            if shown["id"] == going.id.as_str() && status.is_none_or(|status| shown["status_text"] == status) {
                return;
            }
            let ended = going.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{} ended before it was {status:?}: {shown}", going.text);
            assert!(began.elapsed() < PATIENCE, "{} never is {status:?}: {shown}", going.text);
        }
    }

    fn every_file(&self, name: &str, work: &mut dyn FnMut(&Path)) {
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { folders.push(path) } else { work(&path) }
            }
        }
    }

    /// With SIGKILL, as soon as its log has so many events; whether it was still going on then.
    fn kill_in_the_middle(&self, line: &str, events: u64) -> bool {
        let id = line.split("--id ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id").to_owned();
        let child = self.shell(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut going = Going { text: line.into(), code: 0, id, child };
        while self.show(&going.id)["events"].as_u64().is_none_or(|found| found < events) {
            if going.child.try_wait().expect("a child").is_some() {
                return false;
            }
        }
        going.child.kill().expect("killed");
        going.child.wait().expect("it ended").code().is_none()
    }
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { info: info.into(), text: text.join("\n") });
        }
    }
    blocks
}

/// The commands in the last column of its tables, and those to be done before them.
fn rows(page: &str) -> Vec<String> {
    let spans = page.lines().filter(|line| line.starts_with("| `") && line.contains("`… run ")).flat_map(|line| {
        let cell = line.trim_end_matches(" |").rsplit_once(" | ").map_or(line, |(_, cell)| cell);
        let spans = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        spans.into_iter().filter(|span| span.contains(' '))
    });
    let mut commands: Vec<_> = spans.map(|span| span.replacen('…', "cargo run --release --", 1)).collect();
    // What has to be there is said behind the command.
    commands.sort_by_key(|command| !command.starts_with("mkdir"));
    commands
}

fn check(line: &str, code: i32, output: Output) -> Output {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}\n{stderr}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(!stderr.contains("panicked"), "{line}\n{stderr}");
    output
}

fn finish(mut going: Going) -> Output {
    let read = |pipe: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("bytes");
        bytes
    };
    let stdout = read(&mut going.child.stdout.take().expect("a pipe"));
    let stderr = read(&mut going.child.stderr.take().expect("a pipe"));
    let status = going.child.wait().expect("it ends");
    check(&going.text, going.code, Output { status, stdout, stderr })
}

/// JSON may be laid out otherwise.
fn same(expected: &str, output: &Output) {
    let found = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str::<Value>(expected) {
        Ok(expected) => assert_eq!(serde_json::from_str::<Value>(&found).ok(), Some(expected), "{found}"),
        Err(_) => assert_eq!(found.trim_end(), expected.trim_end()),
    }
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, change);
        } else {
            fs::write(target, change(&fs::read_to_string(path).expect("text"))).expect("a file");
        }
    }
}
