//! A folder of its own for each test, and the binary in it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Scripts that every test has.
const SCRIPTS: [(&str, &str); 8] = [
    ("echo", "//! Gives back what it gets.\nprint(`got ${input}`);\nuse_step(\"t.echo\", input)"),
    ("fails", "let x = use_step(\"t.echo\", 1);\nx.no_such_function()"),
    ("throws", "throw \"no luck\""),
    ("broken", "let fine = 1;\nlet x = ;"),
    ("gate", "print(\"asking\");\nlet payload = wait_for(\"go\");\n`went ${payload}`"),
    ("nap", "sleep(\"1h\")"),
    ("unknown", "use_step(\"t.ehco\")"),
    (
        "journal",
        "let sum = 0;\nfor i in 0..input.n { sum += use_step(\"t.note\", #{ path: input.path, line: i }); }\n\
         let both = parallel([|| use_step(\"t.echo\", sum), || { sleep(0.01); use_step(\"t.note\", #{ path: input.path, line: 1000 }) }]);\n\
         #{ sum: sum, both: both }",
    ),
];

const STEPS: &str = "/// The same again.\nfn echo(input) { input }\n\
    fn note(input) { file::append(input.path, input.line + \"\\n\"); input.line }\n\
    fn burn(input) { fatal(\"hot\") }";

/// A folder with scripts, and a data folder once something ran.
pub struct Folder(pub TempDir);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command that goes on. Killed when dropped.
pub struct Going {
    pub child: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
}

impl Folder {
    pub fn new() -> Self {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        std::fs::create_dir_all(folder.path().join("scripts/steps")).expect("a folder");
        SCRIPTS.iter().for_each(|(name, text)| folder.script(name, text));
        std::fs::write(folder.path().join("scripts/steps/t.rhai"), STEPS).expect("a file");
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn script(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(format!("scripts/{name}.rhai")), text).expect("a file");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_durhai"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        ["DURHAI_DATA", "DURHAI_TOKEN", "NO_COLOR"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// Runs it to its end.
    pub fn durhai(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().expect("it starts"))
    }

    /// The same, with something on standard input.
    pub fn durhai_with(&self, args: &[&str], input: &str) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        ended(child.wait_with_output().expect("it ends"))
    }

    /// Starts it; its standard output is read line by line.
    pub fn going(&self, args: &[&str]) -> Going {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Going { child, lines }
    }

    /// A host on a free port unless `args` name one, once it serves; and what it said first.
    pub fn serve(&self, args: &[&str]) -> (Going, Value) {
        let mut all = vec!["serve", "--json"];
        if !args.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(args);
        let mut going = self.going(&all);
        let first = going.json(|line| line["event"] == "serving");
        (going, first)
    }
}

impl Ended {
    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as JSON lines.
    pub fn rows(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    #[track_caller]
    pub fn is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// Standard error tells this.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        self
    }
}

impl Going {
    /// Reads until a line that is JSON and looks like this.
    pub fn json(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        for line in self.lines.by_ref() {
            let value = serde_json::from_str(&line.expect("text")).expect("a JSON line");
            if wanted(&value) {
                return value;
            }
        }
        let mut stderr = String::new();
        let pipe = self.child.stderr.take();
        let _ = pipe.map(|mut pipe| std::io::Read::read_to_string(&mut pipe, &mut stderr));
        panic!("it ended before: {stderr}");
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits for its end; what was not read yet is standard output.
    pub fn wait(mut self) -> Ended {
        let stdout: Vec<String> = self.lines.by_ref().map(|line| line.expect("text")).collect();
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().expect("a pipe"), &mut stderr).expect("text");
        Ended { code: self.child.wait().expect("it ends").code(), stdout: stdout.join("\n"), stderr }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ended(output: std::process::Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
