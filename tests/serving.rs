//! Hosts that share a world and have different texts of a workflow: the one that was saved last serves in all of them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use durhai::versions::{Report, Serves};
use durhai::view::Purge;
use durhai::{Host, HostError, RunId, Status, Version, WorkflowView, World};
use durhai_testkit::{FarWorld, PATIENCE, TestHost};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

/// A machine with a scripts folder.
struct Machine {
    folder: TempDir,
    host: Option<Host>,
    world: Option<Arc<FarWorld>>,
    lease: Duration,
}

impl Machine {
    fn new(text: &str) -> Machine {
        let machine = Machine {
            folder: tempfile::tempdir().unwrap(),
            host: None,
            world: None,
            // It looks after the others ten times a second.
            lease: Duration::from_millis(300),
        };
        machine.save(text);
        machine
    }

    fn save(&self, text: &str) {
        fs::write(self.folder.path().join("w.rhai"), text).unwrap();
    }

    fn remove(&self) {
        fs::remove_file(self.folder.path().join("w.rhai")).unwrap();
    }

    async fn start(&mut self, test: &TestHost, serves: Serves) {
        self.stop().await;
        let world = Arc::new(FarWorld::new(test.world.clone()));
        let builder = test.builder_on(world.clone()).workflows(self.folder.path()).lease(self.lease).serves(serves);
        (self.host, self.world) = (Some(builder.start().await.unwrap()), Some(world));
    }

    async fn stop(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown().await;
        }
    }

    fn world(&self) -> &FarWorld {
        self.world.as_ref().expect("it runs")
    }

    fn host(&self) -> &Host {
        self.host.as_ref().expect("it runs")
    }

    fn view(&self) -> Option<WorkflowView> {
        self.host().workflows().pop()
    }

    fn serving(&self) -> Option<Version> {
        self.view()?.version
    }

    /// What serves, and whether the folder has another text.
    fn stands(&self) -> (Option<Version>, Option<Version>) {
        let view = self.view();
        let behind = view.as_ref().and_then(|view| view.behind.clone());
        if let (Some(behind), Some(view)) = (&behind, &view) {
            assert_eq!(Some(&behind.serving), view.version.as_ref());
        }
        (view.and_then(|view| view.version), behind.map(|behind| behind.version))
    }
}

/// Waits until this is so.
async fn becomes<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, mut look: impl FnMut() -> T) {
    let waits = async {
        while look() != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE / 2, waits).await.is_err() {
        panic!("{what}: expected {expected:?}, found {:?}", look());
    }
}

async fn version(text: &str) -> Version {
    let host = Host::builder().workflow("w", text).workers(1).start().await.unwrap();
    let version = host.workflows()[0].version.clone().unwrap();
    host.shutdown().await;
    version
}

async fn output(host: &Host) -> Value {
    host.run("w").start().await.unwrap().output().await.unwrap()
}

/// `(what serves, what the folder has instead)` by machine.
async fn both(what: &str, machines: [&Machine; 2], expected: [(&Version, Option<&Version>); 2]) {
    for (machine, (serving, behind)) in machines.into_iter().zip(expected) {
        becomes(what, (Some(serving.clone()), behind.cloned()), || machine.stands()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_that_was_saved_last_serves_in_all_hosts() {
    let (one, two, three) = (version("1").await, version("2").await, version("3").await);
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new("1"), Machine::new("2"));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    assert_eq!(b.stands(), (Some(two.clone()), None), "at once, when the host has started");
    both("a new text of a host that starts", [&a, &b], [(&two, Some(&one)), (&two, None)]).await;
    assert_eq!((output(a.host()).await, output(b.host()).await), (json!(2), json!(2)));

    a.start(&test, Serves::Newest).await;
    assert_eq!(a.stands(), (Some(two.clone()), Some(one.clone())), "a host that starts with an older text");
    assert_eq!(output(a.host()).await, json!(2));
    both("nothing moved", [&a, &b], [(&two, Some(&one)), (&two, None)]).await;

    a.save("3");
    both("a save", [&a, &b], [(&three, None), (&three, Some(&two))]).await;
    b.save("1");
    both("an older text that was brought back", [&a, &b], [(&one, Some(&three)), (&one, None)]).await;
    assert_eq!(output(a.host()).await, json!(1));
    // What is saved again and is the same text is no save.
    a.save("3");
    a.host().reload().await.unwrap();
    both("the same text again", [&a, &b], [(&one, Some(&three)), (&one, None)]).await;

    a.start(&test, Serves::Newest).await;
    assert_eq!(
        a.stands(),
        (Some(one.clone()), Some(three.clone())),
        "it was saved before the one that was brought back"
    );
    a.start(&test, Serves::TakeOver).await;
    assert_eq!(a.stands(), (Some(three.clone()), None));
    both("a host that takes over", [&a, &b], [(&three, None), (&three, Some(&one))]).await;
    b.save("3");
    both("the same text everywhere", [&a, &b], [(&three, None), (&three, None)]).await;

    let mut c = Machine::new("2");
    c.start(&test, Serves::HereOnly).await;
    assert_eq!(output(c.host()).await, json!(2));
    a.save("1");
    both("a save", [&a, &b], [(&one, None), (&one, Some(&three))]).await;
    assert_eq!(c.stands(), (Some(two.clone()), None), "a host for itself");
    for machine in [&mut a, &mut b, &mut c] {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_one_host_has_no_more_ends_nothing_in_the_others() {
    let (one, two) = (version("1").await, version("2").await);
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new("1"), Machine::new("1"));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    b.remove();
    becomes("a file that is gone", None, || b.serving()).await;
    assert!(matches!(b.host().run("w").start().await, Err(HostError::NotFound(_))));
    a.save("2");
    becomes("a save", Some(two.clone()), || a.serving()).await;
    b.host().reload().await.unwrap();
    assert_eq!(b.serving(), None, "what it does not have it does not follow");
    // It is the text that the host had before, and no save.
    b.save("1");
    both("the file is back", [&a, &b], [(&two, None), (&two, Some(&one))]).await;
    a.remove();
    becomes("a file that is gone", None, || a.serving()).await;
    assert_eq!(output(b.host()).await, json!(2));
    a.stop().await;
    b.stop().await;
}

/// Whatever one host does between two steps of the other, in the end the same version serves in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_load_at_the_same_instant_end_with_the_same_version() {
    for (here, there) in [("1", "2"), ("2", "1")] {
        // The call of the first host before which the second one starts.
        for call in 0..2 {
            let test = TestHost::new();
            let world = Arc::new(FarWorld::new(test.world.clone()));
            let lease = Duration::from_millis(300);
            let first = test.builder_on(world.clone()).workflow("w", here).lease(lease);
            world.hold("swap_meta");
            let first = tokio::spawn(first.start());
            world.holds("swap_meta").await;
            if call == 1 {
                world.hold("swap_meta");
                world.release();
                let calls = world.clone();
                becomes("the second call", true, || calls.calls("swap_meta") == 2).await;
                world.holds("swap_meta").await;
            }
            let other = Arc::new(FarWorld::new(test.world.clone()));
            let second = test.builder_on(other).workflow("w", there).lease(lease).start().await.unwrap();
            world.release();
            let first = first.await.unwrap().unwrap();
            let serving = |host: &Host| host.workflows()[0].version.clone();
            becomes("both serve the same", true, || serving(&first) == serving(&second)).await;
            let starts = [output(&first).await, output(&second).await];
            assert_eq!(starts[0], starts[1], "{here}, {there}, call {call}");
            // And the larger of two that are equally old.
            let larger = version("1").await.max(version("2").await);
            assert_eq!(serving(&first), Some(larger));
            first.shutdown().await;
            second.shutdown().await;
        }
    }
}

async fn told(reports: &mut Receiver<Report>, wanted: impl Fn(&Report) -> bool) -> Report {
    let told = async {
        loop {
            let report = reports.recv().await.unwrap();
            if wanted(&report) {
                return report;
            }
        }
    };
    tokio::time::timeout(PATIENCE / 2, told).await.expect("a report")
}

/// What a host moves it has itself; the runs that the other one has move there when it hears of the version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_runs_are_checked_where_they_are() {
    const OLD: &str = r#"let a = wait_for("m"); "old""#;
    const NEW: &str = r#"const WORKFLOW = #{ on_reload: "upgrade" }; let a = wait_for("m"); "new""#;
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new(OLD), Machine::new(OLD));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    for (machine, id) in [(&a, "here"), (&b, "there")] {
        machine.host().run("w").id(id).start().await.unwrap();
    }
    test.rests().await;
    let mut reports = b.host().reports();
    a.save(NEW);
    let gated = told(&mut reports, |report| matches!(report, Report::Gated(_))).await;
    let Report::Gated(report) = gated else { unreachable!() };
    assert!(report.served && report.live == 2 && report.moved <= 1, "{report}");
    told(&mut reports, |report| matches!(report, Report::Loaded { .. })).await;
    let new = version(NEW).await;
    for id in ["here", "there"] {
        let run = b.host().get(id).await.unwrap();
        assert_eq!(run.view().await.unwrap().version, new, "{id}");
        run.signal("m", &1).await.unwrap();
        assert_eq!(run.output::<Value>().await.unwrap(), json!("new"));
    }
    // The report that is kept is that of the host which brought the version.
    let kept = a.host().compat_report("w").await.unwrap().unwrap();
    assert_eq!((kept.live, kept.moved), (2, 1), "{kept}");
    a.stop().await;
    b.stop().await;
}

/// The host that brings a version goes through all live runs; the others need not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_follow_look_at_runs_that_were_begun_since() {
    const OLD: &str = r#"let a = wait_for("m"); "old""#;
    const NEW: &str = r#"const WORKFLOW = #{ on_reload: "upgrade" }; let a = wait_for("m"); "new""#;
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new(OLD), Machine::new(OLD));
    a.start(&test, Serves::Newest).await;
    a.host().run("w").id("old").start().await.unwrap();
    test.rests().await;
    a.stop().await;
    test.clock.advance(3_600_000);
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    test.rests().await;
    let mut reports = b.host().reports();
    a.save(NEW);
    let first = told(&mut reports, |_| true).await;
    assert!(matches!(first, Report::Loaded { .. }), "{first:?}");
    let (new, id) = (version(NEW).await, RunId::new("old").unwrap());
    becomes("it moves", new.clone(), || test.world.row(&id).unwrap().unwrap().version).await;
    assert_eq!(a.host().compat_report("w").await.unwrap().map(|kept| kept.live), Some(1));
    a.stop().await;
    b.stop().await;
}

/// What another host brings serves here while a save is checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_checks_a_save_follows_meanwhile() {
    let text = |name: &str| format!(r#"wait_for("m"); "{name}""#);
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new(&text("a")), Machine::new(&text("a")));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    a.host().run("w").start().await.unwrap();
    fs::write(a.folder.path().join("v.rhai"), "1").unwrap();
    fs::write(b.folder.path().join("v.rhai"), "1").unwrap();
    test.rests().await;
    a.host().reload().await.unwrap();
    b.host().reload().await.unwrap();
    a.world().hold("log");
    a.save(&text("b"));
    a.world().holds("log").await;
    fs::write(b.folder.path().join("v.rhai"), "2").unwrap();
    let of = |host: &Host| host.workflows().into_iter().find(|view| view.name == "v").unwrap().version;
    let old = of(a.host());
    becomes("it follows", true, || of(a.host()) != old).await;
    a.world().release();
    becomes("the save serves", version(&text("b")).await, || {
        a.host().workflows().into_iter().find(|view| view.name == "w").unwrap().version.unwrap()
    })
    .await;
    a.stop().await;
    b.stop().await;
}

/// A host that dies before it has heard of a version leaves its runs to others: what is to become of them stands in their inboxes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_a_host_that_has_not_heard_of_a_version_move_too() {
    const OLD: &str = r#"let a = wait_for("m"); "old""#;
    const NEW: &str = r#"const WORKFLOW = #{ on_reload: "upgrade" }; let a = wait_for("m"); "new""#;
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new(OLD), Machine::new(OLD));
    b.lease = Duration::from_secs(3_600);
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    b.host().run("w").id("there").start().await.unwrap();
    test.rests().await;
    // The mark of a host that is about to serve another version is not touched.
    test.world.put_meta("moving/w", b"abab").unwrap();
    a.start(&test, Serves::Newest).await;
    a.host().reload().await.unwrap();
    assert_eq!(test.world.meta("moving/w").unwrap().as_deref(), Some(&b"abab"[..]));
    a.save(NEW);
    let (old, new, id) = (version(OLD).await, version(NEW).await, RunId::new("there").unwrap());
    becomes("it moves", new.clone(), || test.world.row(&id).unwrap().unwrap().version).await;
    assert_eq!(b.serving(), Some(old), "it has not heard of it");
    becomes("nothing is to move", Some(Vec::new()), || test.world.meta("moving/w").unwrap()).await;
    a.stop().await;
    b.stop().await;
}

/// A text that another host removed while live runs were checked against it is there when it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_serves_has_its_text() {
    const NEW: &str = r#"wait_for("m"); "new""#;
    let test = TestHost::new();
    let mut a = Machine::new(r#"wait_for("m")"#);
    a.start(&test, Serves::Newest).await;
    a.host().run("w").start().await.unwrap();
    test.rests().await;
    a.host().reload().await.unwrap();
    a.world().hold("list");
    a.save(NEW);
    a.world().holds("list").await;
    let new = version(NEW).await;
    assert!(test.world.drop_program(&new).unwrap());
    a.world().release();
    becomes("it serves", Some(new.clone()), || a.serving()).await;
    assert!(test.world.program(&new).unwrap().is_some());
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_for_itself_tells_the_others_nothing() {
    let test = TestHost::new();
    let mut a = Machine::new("const WORKFLOW = #{ concurrency: #{ limit: 5 } }; 1");
    a.start(&test, Serves::HereOnly).await;
    assert_eq!(output(a.host()).await, json!(1));
    let keys = ["versions/w", "serving/w"].map(|key| test.world.meta(key).unwrap());
    assert_eq!(keys, [None, None]);
    assert_eq!(a.world().calls("set_limit"), 0);
    a.stop().await;
}

/// A save while a host runs is new by that act, also of what serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_serves_and_is_saved_again_is_as_new_as_that() {
    let test = TestHost::new();
    let (mut a, mut b) = (Machine::new("1"), Machine::new("2"));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    let two = version("2").await;
    both("a new text", [&a, &b], [(&two, Some(&version("1").await)), (&two, None)]).await;
    let saved = || String::from_utf8(test.world.meta("serving/w").unwrap().unwrap()).unwrap();
    let before = saved();
    b.start(&test, Serves::Newest).await;
    b.host().reload().await.unwrap();
    assert_eq!(saved(), before, "a start is no save");
    a.save("2");
    becomes("a save", true, || saved() > before && saved().starts_with(two.as_str())).await;
    both("the same text", [&a, &b], [(&two, None), (&two, None)]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_refused_serves_nowhere_until_it_is_not() {
    const NEW: &str = r#"const WORKFLOW = #{ on_reload: "refuse" }; sleep("1 day"); "new""#;
    let old = r#"use_step("echo"); wait_for("m")"#;
    let (first, new) = (version(old).await, version(NEW).await);
    let test = TestHost::new().echo();
    let (mut a, mut b) = (Machine::new(old), Machine::new(old));
    a.start(&test, Serves::Newest).await;
    b.start(&test, Serves::Newest).await;
    let run = b.host().run("w").start().await.unwrap();
    test.rests().await;
    a.save(NEW);
    becomes("a refusal", true, || a.view().is_some_and(|view| view.error.is_some())).await;
    assert_eq!((a.serving(), b.serving()), (Some(first.clone()), Some(first.clone())));
    // A host to which nobody told of it keeps its text: it is what `durhai migrate --dry-run` looks at.
    b.host().purge(Purge::default()).await.unwrap();
    assert!(test.world.program(&new).unwrap().is_some());
    run.signal("m", &1).await.unwrap();
    assert_eq!(run.wait().await.unwrap().status, Status::Completed);
    both("nothing is in its way", [&a, &b], [(&new, None), (&new, Some(&first))]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_be_read_here_leaves_what_serves() {
    let one = version("1").await;
    let test = TestHost::new();
    let mut a = Machine::new("1");
    a.start(&test, Serves::Newest).await;
    let after = format!("{} 99999999999999", "ab".repeat(32));
    test.world.put_meta("serving/w", after.as_bytes()).unwrap();
    becomes("an error", true, || a.view().is_some_and(|view| view.error.is_some())).await;
    let error = a.view().unwrap().error.unwrap();
    assert!(error.contains("abab") && error.contains("up to date"), "{error}");
    assert_eq!((a.serving(), output(a.host()).await), (Some(one.clone()), json!(1)));
    let tried = a.world().calls("program");
    let followed = a.world().calls("metas");
    becomes("it looked again", true, || a.world().calls("metas") > followed + 3).await;
    assert_eq!(a.world().calls("program"), tried, "it is not read at each look");
    // What can be read serves again.
    test.world.put_meta("serving/w", format!("{} 99999999999998", one.as_str()).as_bytes()).unwrap();
    becomes("no error", None, || a.view().and_then(|view| view.error)).await;
    test.world.put_meta("serving/w", after.as_bytes()).unwrap();
    becomes("an error", true, || a.view().is_some_and(|view| view.error.is_some())).await;
    // A save is newer than that.
    a.save("2");
    becomes("a save", Some(version("2").await), || a.serving()).await;
    assert_eq!(a.view().unwrap().error, None);
    a.stop().await;
}

/// In a world of one host the folder decides, as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_world_that_is_not_shared_the_folder_decides() {
    let test = TestHost::new();
    for (text, stored) in [("1", version("1").await), ("2", version("2").await), ("1", version("1").await)] {
        let host = test.builder().workflow("w", text).start().await.unwrap();
        assert_eq!(output(&host).await.to_string(), text);
        assert_eq!(test.world.meta("serving/w").unwrap(), Some(stored.as_str().as_bytes().to_vec()));
        assert_eq!(host.workflows()[0].behind, None);
        host.shutdown().await;
    }
}
