//! What must not happen to a host, whatever it is given: each with a clear message, and nothing lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use durhai::clock::SystemClock;
use durhai::logs::Fork;
use durhai::{
    Event, FailureKind, HostError, Run, RunError, SledWorld, StepContext, StepError, StepId, Value, WorldError,
};
use durhai_testkit::{START, TestHost};
use durhai_world::{Forward, Refused, World, Write, Written};
use serde_json::json;

fn test_host() -> TestHost {
    TestHost::new()
        .echo()
        .step("big", |_: StepContext, bytes: usize| async move { Ok::<_, StepError>("x".repeat(bytes)) })
        .step("deep", |_: StepContext, levels: usize| async move { Ok::<_, StepError>(nested(levels)) })
        .step("number", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n) })
        .workflow("good", "use_step(\"echo\", 1) + use_step(\"echo\", 2)")
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_wrong() {
    // (script, what the failure says, in this order)
    let table: &[(&str, FailureKind, &[&str])] = &[
        ("use_step(\"ehco\")", FailureKind::UnknownStep, &["\"ehco\"", "did you mean \"echo\""]),
        ("use_step(\"echo\", |x| x)", FailureKind::NotStorable, &["input is a function"]),
        ("use_step(\"echo\", #{ a: [1, timestamp()] })", FailureKind::NotStorable, &["input.a[1] is a timestamp"]),
        ("use_step(\"echo\", 0.0 / 0.0)", FailureKind::NotStorable, &["not a number"]),
        (
            "use_step(\"echo\", 1, #{ retires: 3 })",
            FailureKind::InvalidInput,
            &["no option `retires`", "there are: retry"],
        ),
        ("sleep(-5)", FailureKind::InvalidInput, &["sleep", "-5", "negative"]),
        ("sleep(\"-5s\")", FailureKind::InvalidInput, &["\"-5s\"", "negative"]),
        ("use_step(\"echo\", 1, #{ timeout: \"-1h\" })", FailureKind::InvalidInput, &["timeout", "negative"]),
        ("let s = \"x\"; for i in 0..24 { s += s; } s.len()", FailureKind::Limit, &["string"]),
        (
            "let s = \"x\"; for i in 0..22 { s += s; } use_step(\"echo\", s)",
            FailureKind::Limit,
            &["input", "2097152 bytes"],
        ),
        ("use_step(\"big\", 10_000_000)", FailureKind::Limit, &["output of the step", "10000002 bytes", "2097152"]),
        ("let s = \"x\"; for i in 0..22 { s += s; } s", FailureKind::Limit, &["output", "2097152 bytes"]),
        ("let a = 1; for i in 0..100 { a = [a]; } use_step(\"echo\", a)", FailureKind::Limit, &["input", "64 levels"]),
        ("let a = 1; for i in 0..100 { a = #{ a: a }; } a", FailureKind::Limit, &["output", "64 levels"]),
        ("use_step(\"deep\", 100)", FailureKind::Limit, &["output of the step", "64 levels"]),
        ("use_step(\"number\", \"five\")", FailureKind::InvalidInput, &["number", "i64", "invalid type"]),
        ("loop { }", FailureKind::Limit, &["2000000 operations"]),
        ("let n = 0; while n >= 0 { n += 1; try { throw n } catch (e) { } }", FailureKind::Limit, &["operations"]),
        ("fn f(x) { f(x + 1) } f(1)", FailureKind::Limit, &["too deeply"]),
        ("fn f(x) { parallel([|| f(x)]) } f(1)", FailureKind::Limit, &[]),
        ("undefined_thing", FailureKind::Script, &["undefined_thing"]),
        ("[1, 2][7]", FailureKind::Script, &["7"]),
        ("let x = 5; x.y.z", FailureKind::Script, &[]),
        ("9_223_372_036_854_775_807 + 1", FailureKind::Script, &["overflow"]),
        ("import \"../secret\" as s; 1", FailureKind::Script, &[]),
    ];
    let mut builder = test_host().builder().script_operations(2_000_000);
    for (at, (script, ..)) in table.iter().enumerate() {
        builder = builder.workflow(format!("bad-{at}"), *script);
    }
    let host = builder.start().await.unwrap();
    let mut runs = Vec::new();
    for (at, (script, ..)) in table.iter().enumerate() {
        match host.run(format!("bad-{at}")).start().await {
            Ok(run) => runs.push(Some(run)),
            Err(HostError::Script(text)) => {
                assert!(script.contains("import"), "{script}: {text}");
                runs.push(None);
            }
            Err(error) => panic!("{script}: {error}"),
        }
    }
    // All of them at once, and the others go on meanwhile.
    for _ in 0..5 {
        let good = host.run("good").start().await.unwrap();
        assert_eq!(good.output::<i64>().await.unwrap(), 3);
    }
    for (run, (script, kind, parts)) in runs.into_iter().zip(table) {
        let Some(run) = run else { continue };
        let failure = match run.output::<Value>().await {
            Err(RunError::Failed(_, failure)) => failure,
            other => panic!("{script}: {other:?}"),
        };
        assert_eq!(failure.kind, *kind, "{script}: {failure}");
        for part in *parts {
            assert!(failure.message.contains(part), "{script}: {part:?} is not in: {failure}");
        }
        if !script.contains("100 {") && !failure.message.starts_with("output") {
            let place = failure.place.unwrap_or_else(|| panic!("{script}: where? {}", failure.message));
            assert!(place.line == 1 && place.column >= 1 && *script == place.source, "{script}: {place:?}");
        }
    }
    assert_eq!(host.doctor().await.unwrap().findings, []);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_do_not_compile() {
    let table: &[(&str, &[&str])] = &[
        ("let total = use_step(\"echo\", 1;\ntotal", &["broken.rhai:1:", "use_step(\"echo\", 1;", "^"]),
        ("if true {\n  1", &["broken.rhai:2:", "^"]),
        ("let spawn = 1;", &["broken.rhai:1:5", "spawn"]),
        ("eval(\"1\")", &["broken.rhai:1:1", "eval"]),
        ("import \"lib/none\" as n; n::f()", &["lib/none"]),
        ("", &[]),
    ];
    for (text, parts) in table {
        let host = test_host().workflow("broken", *text).start().await;
        let started = host.run("broken").start().await;
        if parts.is_empty() {
            assert_eq!(started.unwrap().output::<Value>().await.unwrap(), Value::Null);
        } else {
            let Err(HostError::Script(message)) = started else { panic!("{text}: {started:?}") };
            for part in *parts {
                assert!(message.contains(part), "{text}: {part:?} is not in: {message}");
            }
        }
        assert_eq!(host.run("good").start().await.unwrap().output::<i64>().await.unwrap(), 3);
        host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_from_outside() {
    let host = test_host().workflow("wait", "wait_for(\"go\")").start().await;
    let big = "x".repeat(10_000_000);
    let Err(HostError::Invalid(text)) = host.run("good").input(&big).start().await else { panic!("it starts") };
    assert!(text.contains("the input has 10000002 bytes") && text.contains("2097152"), "{text}");
    let Err(HostError::Invalid(text)) = host.run("good").input(&nested(100)).start().await else { panic!("it starts") };
    assert!(text.contains("the input") && text.contains("64 levels"), "{text}");
    let Err(HostError::Invalid(text)) =
        host.run("good").input(&f64::NAN.to_string().parse::<Odd>().unwrap()).start().await
    else {
        panic!("it starts")
    };
    assert!(text.contains("not JSON"), "{text}");
    let run = host.run("wait").start().await.unwrap();
    let Err(HostError::Invalid(text)) = run.signal("go", &big).await else { panic!("it is sent") };
    assert!(text.contains("the payload has 10000002 bytes"), "{text}");
    let Err(HostError::Invalid(text)) = run.signal("go", &nested(100)).await else { panic!("it is sent") };
    assert!(text.contains("64 levels"), "{text}");
    assert!(matches!(run.signal("", &1).await, Err(HostError::Invalid(_))));
    assert!(matches!(run.signal(&"n".repeat(5_000), &1).await, Err(HostError::Invalid(_))));
    // The largest that may be is taken, and replayed.
    let fits = "x".repeat((2 << 20) - 2);
    run.signal("go", &fits).await.unwrap();
    assert_eq!(run.output::<String>().await.unwrap().len(), fits.len());
    host.shutdown().await;
}

/// Something that cannot be JSON.
struct Odd;

impl std::str::FromStr for Odd {
    type Err = ();
    fn from_str(_: &str) -> Result<Self, ()> {
        Ok(Odd)
    }
}

impl serde::Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&vec![1], &2)?;
        map.end()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_spins_holds_nobody_up() {
    // One worker: the spinning script and the good ones share it.
    let test = test_host().workers(1).workflow("spin", "let n = 0; loop { n += 1; }").workflow("nap", "sleep(0.02); 5");
    let builder = test.builder().clock(Arc::new(SystemClock)).script_operations(30_000_000);
    let host = builder.start().await.unwrap();
    let spinning = host.run("spin").start().await.unwrap();
    for _ in 0..5 {
        assert_eq!(host.run("good").start().await.unwrap().output::<i64>().await.unwrap(), 3);
    }
    assert_eq!(host.run("nap").start().await.unwrap().output::<i64>().await.unwrap(), 5);
    assert!(!spinning.status().await.unwrap().is_terminal(), "the good ones did not wait for its end");
    match spinning.output::<Value>().await {
        Err(RunError::Failed(_, failure)) => assert_eq!(failure.kind, FailureKind::Limit),
        other => panic!("{other:?}"),
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_back() {
    let script = "let a = now(); sleep(\"1h\"); let b = now(); use_step(\"echo\"); sleep(\"1h\"); [b - a, now() - b]";
    let test = test_host().workflow("w", script);
    let first = test.start().await;
    let run = first.run("w").id("back").start().await.unwrap();
    test.rests().await;
    test.clock.advance(3_600_000);
    test.rests().await;
    // Two days back, while it waits, and over a restart.
    test.clock.set(START - 2 * 86_400_000);
    let other = first.run("good").start().await.unwrap();
    assert_eq!(other.output::<i64>().await.unwrap(), 3, "others go on");
    first.shutdown().await;
    let second = test.start().await;
    let run = second.get(run.id().as_str()).await.unwrap();
    assert!(!run.status().await.unwrap().is_terminal());
    test.clock.set(START + 7_200_000);
    assert_eq!(run.output::<Value>().await.unwrap(), json!([3_600_000, 3_600_000]));
    let events: Vec<Event> = run.events(1, 100).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.at), "{events:?}");
    assert_eq!(second.doctor().await.unwrap().findings, []);
    second.shutdown().await;
}

/// Opens a store; the threads of the one before may hold it a little longer.
fn open(folder: &Path) -> Result<SledWorld, WorldError> {
    loop {
        match SledWorld::open(folder) {
            Err(WorldError::Locked(text)) if text.contains("this process") => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_folder() {
    let folder = tempfile::TempDir::new().unwrap();
    let first = test_host().builder_on(Arc::new(SledWorld::open(folder.path()).unwrap())).start().await.unwrap();
    let Err(WorldError::Locked(text)) = SledWorld::open(folder.path()) else { panic!("it opens") };
    assert!(text.contains(&folder.path().display().to_string()) && text.contains("process"), "{text}");
    assert_eq!(first.run("good").start().await.unwrap().output::<i64>().await.unwrap(), 3);
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_damaged_is_said_to_be() {
    let folder = tempfile::TempDir::new().unwrap();
    let first = test_host().builder_on(Arc::new(SledWorld::open(folder.path()).unwrap())).start().await.unwrap();
    for n in 0..40 {
        first.run("good").id(format!("run-{n}")).start().await.unwrap().wait().await.unwrap();
    }
    first.shutdown().await;
    drop(first);
    drop(open(folder.path()).unwrap());
    let mut files = Vec::new();
    collect(folder.path(), &mut files);
    let largest = files.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap().clone();
    let good = fs::read(&largest).unwrap();
    let ends = [0, 1, 100, good.len() / 3, good.len() / 2, good.len() - 1];
    let flips = [0, 17, 4_096, good.len() / 4, good.len() / 2, good.len() - 20];
    let truncated = ends.iter().map(|end| (format!("cut to {end} bytes"), good[..*end].to_vec()));
    let flipped = flips.iter().map(|at| {
        let mut bytes = good.clone();
        bytes[*at..].iter_mut().take(8).for_each(|byte| *byte ^= 0xa5);
        (format!("8 bytes wrong from {at}"), bytes)
    });
    let mut said = 0;
    for (what, bytes) in truncated.chain(flipped) {
        let copy = tempfile::TempDir::new().unwrap();
        for file in &files {
            let to = copy.path().join(file.strip_prefix(folder.path()).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, if *file == largest { bytes.clone() } else { fs::read(file).unwrap() }).unwrap();
        }
        // What matters: no panic, no run that is silently gone or changed.
        match SledWorld::open(copy.path()) {
            Err(error) => {
                assert!(matches!(error, WorldError::Corrupt(_) | WorldError::Unavailable(_)), "{what}: {error:?}");
                assert!(error.to_string().contains(&copy.path().display().to_string()), "{what}: {error}");
                said += 1;
            }
            Ok(world) => {
                let second = test_host().builder_on(Arc::new(world)).start().await.unwrap();
                let findings = second.doctor().await;
                let mut whole = 0;
                for n in 0..40 {
                    if let Ok(run) = second.get(&format!("run-{n}")).await
                        && let Ok(3) = run.output::<i64>().await
                    {
                        whole += 1;
                    }
                }
                let said_so = findings.as_ref().map_or(true, |lines| !lines.findings.is_empty());
                said += u32::from(said_so);
                assert!(said_so || whole == 40, "{what}: {whole} of 40 runs are there, and the doctor finds nothing");
                second.shutdown().await;
            }
        }
    }
    assert!(said > 0);
}

/// sled writes a summary of its log into a file of its own and renames it. Killed in between, it leaves the half-made file
/// behind, which nobody needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_died_while_sled_made_a_snapshot() {
    for content in [&b""[..], b"half"] {
        let folder = tempfile::TempDir::new().unwrap();
        let first = test_host().builder_on(Arc::new(SledWorld::open(folder.path()).unwrap())).start().await.unwrap();
        first.run("good").id("kept").start().await.unwrap().wait().await.unwrap();
        first.shutdown().await;
        drop(first);
        drop(open(folder.path()).unwrap());
        // In a copy: threads of the store that was closed may still tidy its folder.
        let copy = tempfile::TempDir::new().unwrap();
        let mut files = Vec::new();
        collect(folder.path(), &mut files);
        for file in &files {
            let to = copy.path().join(file.strip_prefix(folder.path()).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, &to).unwrap();
        }
        fs::write(copy.path().join("sled/snap.00000000FFFFFFFF.generating"), content).unwrap();
        let second = test_host().builder_on(Arc::new(SledWorld::open(copy.path()).unwrap())).start().await.unwrap();
        assert_eq!(second.get("kept").await.unwrap().output::<i64>().await.unwrap(), 3);
        second.shutdown().await;
    }
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// A small file system of its own, where this process may make one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::TempDir::new().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(folder)),
            _ => {
                println!("skipped: this needs the right to mount a file system");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const GROWS: &str = "let n = 0; for i in 0..40 { n += use_step(\"big\", 200_000).len(); } n";

/// Where the child process of [`a_full_disk`] finds its store.
const FULL: &str = "DURHAI_TEST_FULL_DISK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let Some(disk) = Disk::new("5m") else { return };
    // In a process of its own: sled waits for its disk when it is closed.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["bad_input::fills_its_disk", "--exact", "--nocapture"])
        .env(FULL, disk.0.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("the disk is full"), "{child:?}");

    // With more room it goes on where it was.
    disk.remount("size=64m");
    let second =
        test_host().workflow("grows", GROWS).builder_on(Arc::new(open(disk.0.path()).unwrap())).start().await.unwrap();
    let run = second.get("grows").await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 8_000_000);
    assert_eq!(second.doctor().await.unwrap().findings, []);
    second.shutdown().await;
}

/// A world that cannot store new runs, and says why.
struct Narrow(Arc<dyn World>);

impl Forward for Narrow {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.0)
    }

    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let refused = |write: &Write| match write {
            Write::Create(create) => {
                Some(Refused::Invalid { run: create.row.run.clone(), why: "a tag is too long".into() })
            }
            _ => None,
        };
        let answer = |write: Write| match refused(&write) {
            Some(refused) => Ok(Err(refused)),
            None => self.0.write(vec![write]).map(|mut written| written.remove(0)),
        };
        batch.into_iter().map(answer).collect()
    }
}

/// What a world refuses is told as it said it, and is not taken for a run that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_world_cannot_store() {
    let test = test_host();
    let host = test.start().await;
    host.run("good").id("there").start().await.unwrap().wait().await.unwrap();
    host.shutdown().await;
    let host = test.builder_on(Arc::new(Narrow(test.world.clone()))).start().await.unwrap();
    let told = |made: Result<Run, HostError>| match made {
        Err(HostError::Invalid(text)) => assert!(text.contains("a tag is too long"), "{text}"),
        other => panic!("{:?}", other.map(|run| run.id().clone())),
    };
    told(host.run("good").id("new").start().await);
    told(host.get("there").await.unwrap().fork(Fork::after(StepId::parse("1").unwrap())).await);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fills_its_disk() {
    let Some(folder) = std::env::var_os(FULL) else { return };
    let world = SledWorld::open(Path::new(&folder)).unwrap();
    let host = test_host().workflow("grows", GROWS).builder_on(Arc::new(world)).start().await.unwrap();
    let started = host.run("grows").id("grows").start().await.unwrap();
    let error = started.output::<i64>().await.unwrap_err();
    let RunError::Host(HostError::World(error)) = error else { panic!("{error:?}") };
    assert!(matches!(error, WorldError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    assert!(!host.health().ok && host.health().error.is_some());
    assert!(matches!(host.failed().await, HostError::World(_)));
    assert!(host.run("good").start().await.is_err(), "nothing is promised that cannot be kept");
    host.shutdown().await;
    println!("the disk is full");
    std::process::exit(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_folder() {
    let Some(disk) = Disk::new("16m") else { return };
    let first = test_host().builder_on(Arc::new(SledWorld::open(disk.0.path()).unwrap())).start().await.unwrap();
    first.run("good").id("kept").start().await.unwrap().wait().await.unwrap();
    first.shutdown().await;
    drop(first);
    drop(open(disk.0.path()).unwrap());
    while !Command::new("mount").args(["-o", "remount,ro"]).arg(disk.0.path()).output().unwrap().status.success() {
        // A file is still open for writing in a thread that is about to end.
        std::thread::yield_now();
    }
    let Err(error) = SledWorld::open(disk.0.path()) else { panic!("it opens") };
    let text = error.to_string();
    assert!(text.contains(&disk.0.path().display().to_string()), "{text}");
    assert!(text.to_lowercase().contains("read-only"), "{text}");
    disk.remount("rw");
    let second = test_host().builder_on(Arc::new(open(disk.0.path()).unwrap())).start().await.unwrap();
    assert_eq!(second.get("kept").await.unwrap().output::<i64>().await.unwrap(), 3);
    second.shutdown().await;
}
