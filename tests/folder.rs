//! The scripts folder: replaced as a whole, texts that cannot be read, a start right after a save.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durhai::versions::Report;
use durhai::view::Health;
use durhai::{Host, HostError, Status};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

/// A scripts folder inside of another one, so that it can be replaced.
struct Site {
    outer: TempDir,
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Site {
        let site = Site { outer: tempfile::tempdir().expect("a folder") };
        site.fill("scripts", files);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outer.path().join(name)
    }

    fn fill(&self, folder: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(self.path(folder)).expect("a folder");
        files.iter().for_each(|(name, text)| save(&self.path(folder).join(name), text.as_bytes()));
    }

    async fn host(&self) -> (Host, Receiver<Report>) {
        let host = Host::builder().workflows(self.path("scripts")).workers(1).start().await.expect("a host");
        let reports = host.reports();
        (host, reports)
    }
}

fn save(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
    fs::write(path, text).expect("written");
}

async fn output(host: &Host, workflow: &str) -> serde_json::Value {
    let run = host.run(workflow).start().await.expect("it starts");
    run.output().await.expect("it completes")
}

/// Reads reports until one looks like this.
async fn told(reports: &mut Receiver<Report>, wanted: impl Fn(&Report) -> bool) -> Report {
    let found = async {
        loop {
            let report = reports.recv().await.expect("the host lives");
            if wanted(&report) {
                return report;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("a report in time")
}

fn loaded(workflow: &str) -> impl Fn(&Report) -> bool {
    move |report| matches!(report, Report::Loaded { workflow: of, .. } if of == workflow)
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_scripts_folder_that_is_replaced_goes_on_being_watched() {
    type Replace = fn(&Site);
    let ways: [(&str, Replace); 4] = [
        ("removed and made again", |site| {
            fs::remove_dir_all(site.path("scripts")).expect("removed");
            site.fill("scripts", &[("a.rhai", "2")]);
        }),
        ("moved over", |site| {
            site.fill("next", &[("a.rhai", "2")]);
            fs::rename(site.path("scripts"), site.path("before")).expect("moved");
            fs::rename(site.path("next"), site.path("scripts")).expect("moved");
        }),
        ("moved away and back", |site| {
            fs::rename(site.path("scripts"), site.path("away")).expect("moved");
            save(&site.path("away/a.rhai"), b"2");
            fs::rename(site.path("away"), site.path("scripts")).expect("moved");
        }),
        ("a link led elsewhere", |site| {
            site.fill("next", &[("a.rhai", "2")]);
            fs::rename(site.path("scripts"), site.path("before")).expect("moved");
            std::os::unix::fs::symlink(site.path("next"), site.path("scripts")).expect("linked");
        }),
    ];
    for (way, replace) in ways {
        let site = Site::new(&[("a.rhai", "1")]);
        let (host, mut reports) = site.host().await;
        assert_eq!(output(&host, "a").await, 1, "{way}");
        replace(&site);
        told(&mut reports, loaded("a")).await;
        assert_eq!(output(&host, "a").await, 2, "{way}");
        // What is saved in the new folder is noticed as well, and what is new in it.
        save(&site.path("scripts/a.rhai"), b"3");
        told(&mut reports, loaded("a")).await;
        save(&site.path("scripts/deep/er/b.rhai"), b"4");
        told(&mut reports, loaded("deep/er/b")).await;
        assert_eq!(output(&host, "deep/er/b").await, 4, "{way}");
        host.shutdown().await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_above_the_scripts_folder_may_be_led_elsewhere() {
    let site = Site::new(&[]);
    site.fill("one/scripts", &[("a.rhai", "1")]);
    site.fill("two/scripts", &[("a.rhai", "2")]);
    std::os::unix::fs::symlink("one", site.path("current")).expect("linked");
    let host = Host::builder().workflows(site.path("current/scripts")).workers(1).start().await.expect("a host");
    let mut reports = host.reports();
    assert_eq!(output(&host, "a").await, 1);
    std::os::unix::fs::symlink("two", site.path("next")).expect("linked");
    fs::rename(site.path("next"), site.path("current")).expect("renamed over");
    told(&mut reports, loaded("a")).await;
    assert_eq!(output(&host, "a").await, 2);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scripts_folder_that_is_gone_is_told_once_and_keeps_serving() {
    let site = Site::new(&[("a.rhai", "1")]);
    let (host, mut reports) = site.host().await;
    assert_eq!(host.health(), Health { ok: true, error: None, warnings: Vec::new() });
    fs::rename(site.path("scripts"), site.path("away")).expect("moved");
    let gone = told(&mut reports, |report| matches!(report, Report::FolderGone { .. })).await;
    let folder = site.path("scripts").display().to_string();
    assert!(matches!(&gone, Report::FolderGone { error, .. } if error.contains(&folder)), "{gone:?}");
    let health = host.health();
    assert!(health.ok && health.warnings.len() == 1 && health.warnings[0].contains(&folder), "{health:?}");
    assert_eq!(output(&host, "a").await, 1);
    // It is looked at again and again, and told once.
    host.reload().await.expect("it looks");
    assert_eq!(host.reload().await.expect("it looks"), []);
    fs::rename(site.path("away"), site.path("scripts")).expect("moved");
    let back = told(&mut reports, |report| !matches!(report, Report::Loaded { .. })).await;
    assert_eq!(back, Report::FolderBack { folder });
    assert_eq!(host.health().warnings, Vec::<String>::new());
    host.shutdown().await;

    // A host may be there before its folder is.
    let site = Site::new(&[]);
    fs::remove_dir(site.path("scripts")).expect("removed");
    let (host, mut reports) = site.host().await;
    assert_eq!(host.health().warnings.len(), 1);
    site.fill("scripts", &[("a.rhai", "5")]);
    told(&mut reports, loaded("a")).await;
    assert_eq!(output(&host, "a").await, 5);
    host.shutdown().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_read_is_told_like_one_that_does_not_compile() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    /// Puts something unreadable at the path.
    type Spoil = fn(&Path);
    let ways: [(Spoil, &str); 6] = [
        (|path| save(path, b"let a = \"gr\xfc\xdfe\";"), "no UTF-8"),
        (|path| save(path, b"\xff\xfe1\0"), "UTF-16"),
        (|path| save(path, "// long\n".repeat(140_000).as_bytes()), "1120000 bytes, the limit is 1048576"),
        (|path| symlink("/etc/passwd", path).expect("linked"), "leads out of the scripts folder"),
        (|path| symlink("nowhere", path).expect("linked"), "a link to nowhere"),
        (|path| fs::create_dir(path).expect("a folder"), "a folder"),
    ];
    for (spoil, why) in ways {
        let site = Site::new(&[("a.rhai", "1"), ("good.rhai", "\u{feff}2")]);
        let path = site.path("scripts/a.rhai");
        let (host, mut reports) = site.host().await;
        // A mark that nobody sees is no part of a text.
        assert_eq!(output(&host, "good").await, 2);
        fs::remove_file(&path).expect("removed");
        spoil(&path);
        let report = told(&mut reports, |report| matches!(report, Report::Broken { .. })).await;
        assert!(
            matches!(&report, Report::Broken { workflow, error } if workflow == "a" && error.contains(why)),
            "{report:?}"
        );
        let view = host.workflows().into_iter().find(|view| view.name == "a").expect("it is listed");
        assert!(view.error.as_ref().is_some_and(|error| error.contains(why)), "{view:?}");
        // The last good version goes on.
        assert_eq!(output(&host, "a").await, 1, "{why}");
        host.reload().await.expect("it looks");
        assert_eq!(host.reload().await.expect("it looks"), [], "told once: {why}");
        host.shutdown().await;

        // A host that never could read it.
        let host = Host::builder().workflows(site.path("scripts")).workers(1).start().await.expect("a host");
        let error = host.run("a").start().await.expect_err(why);
        assert!(matches!(&error, HostError::Script(text) if text.contains(why)), "{error:?}");
        host.shutdown().await;

        let found = durhai::check::check(site.path("scripts"), &durhai::check::CheckOptions::default())
            .expect("the folder is there");
        assert!(found.iter().any(|finding| finding.file == "a.rhai" && finding.message.contains(why)), "{found:?}");
        assert!(!found.iter().any(|finding| finding.file == "good.rhai"), "{found:?}");
    }
    // Files whose name is none, and modules that cannot be read.
    let site = Site::new(&[("m.rhai", "import \"lib/m\" as m; m::f()")]);
    save(&site.path("scripts").join(OsStr::from_bytes(b"n\xff.rhai")), b"1");
    save(&site.path("scripts/lib/m.rhai"), b"\xff\xfe");
    let (host, _) = site.host().await;
    let views = host.workflows();
    let error = |name: &str| {
        let view = views.iter().find(|view| view.name == name).unwrap_or_else(|| panic!("no {name} in {views:?}"));
        view.error.clone().unwrap_or_default()
    };
    assert!(error("n\u{fffd}").contains("no UTF-8"), "{views:?}");
    assert!(error("m").contains("the module \"lib/m\" cannot be read") && error("m").contains("UTF-16"), "{views:?}");
    save(&site.path("scripts/lib/m.rhai"), "\u{feff}fn f() { 7 }".as_bytes());
    assert_eq!(output(&host, "m").await, 7);
    host.shutdown().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn workflows_below_a_folder_that_cannot_be_listed_are_not_removed() {
    let site = Site::new(&[("in/a.rhai", "1")]);
    let (host, mut reports) = site.host().await;
    // A link that leads out: nothing is known of what was there.
    fs::rename(site.path("scripts/in"), site.path("in")).expect("moved");
    std::os::unix::fs::symlink(site.path("in"), site.path("scripts/in")).expect("linked");
    let named = |name: &'static str| move |report: &Report| matches!(report, Report::Broken { workflow, .. } if workflow == name);
    told(&mut reports, named("in/a")).await;
    assert_eq!(output(&host, "in/a").await, 1);
    // The file may have been looked at by the name it had when the folder was listed before.
    while !host.workflows().iter().any(|view| view.name == "in" && view.error.is_some()) {
        told(&mut reports, |_| true).await;
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_right_after_a_save_runs_what_was_saved() {
    let site =
        Site::new(&[("a.rhai", "0"), ("m.rhai", "import \"lib/n\" as n; n::f()"), ("lib/n.rhai", "fn f() { 0 }")]);
    let (host, _reports) = site.host().await;
    for n in 1..=20 {
        save(&site.path("scripts/a.rhai"), n.to_string().as_bytes());
        assert_eq!(output(&host, "a").await, n, "its own text");
        save(&site.path("scripts/lib/n.rhai"), format!("fn f() {{ {n} }}").as_bytes());
        assert_eq!(output(&host, "m").await, n, "a module");
        let new = format!("new{n}");
        save(&site.path("scripts").join(format!("{new}.rhai")), n.to_string().as_bytes());
        assert_eq!(output(&host, &new).await, n, "a new one");
        // As editors do it that write beside the file.
        save(&site.path("scripts/.a.swp"), format!("{}", n + 100).as_bytes());
        fs::rename(site.path("scripts/.a.swp"), site.path("scripts/a.rhai")).expect("renamed");
        assert_eq!(output(&host, "a").await, n + 100, "renamed over");
        fs::remove_file(site.path("scripts").join(format!("{new}.rhai"))).expect("removed");
        assert!(matches!(host.run(&new).start().await, Err(HostError::NotFound(_))), "one that is gone");
    }
    // With live runs before it the new version goes through the gate first.
    save(&site.path("scripts/a.rhai"), b"wait_for(\"go\")");
    let waiting = host.run("a").start().await.expect("it starts");
    while waiting.status().await.expect("a run") != Status::Waiting {
        tokio::task::yield_now().await;
    }
    save(&site.path("scripts/a.rhai"), b"wait_for(\"go\"); 42");
    let second = host.run("a").start().await.expect("it starts");
    second.signal("go", &1).await.expect("sent");
    assert_eq!(second.output::<i64>().await.expect("an output"), 42);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_a_check_finds_are_told_when_a_text_is_loaded() {
    let site = Site::new(&[("a.rhai", "use_step(\"no.such\")"), ("fine.rhai", "run_workflow(\"a\")")]);
    let (host, mut reports) = site.host().await;
    let doubtful = |report: &Report| matches!(report, Report::Doubtful { .. });
    let view = loop {
        let view = host.workflows().into_iter().find(|view| view.name == "a").expect("it is there");
        if !view.warnings.is_empty() {
            break view;
        }
        tokio::task::yield_now().await;
    };
    assert!(view.error.is_none() && view.version.is_some(), "it serves: {view:?}");
    assert!(view.warnings.len() == 1 && view.warnings[0].contains("no.such"), "{view:?}");
    save(&site.path("scripts/fine.rhai"), b"let x = 1;\nno_such_function(x)");
    let of_fine =
        |report: &Report| doubtful(report) && !matches!(report, Report::Doubtful { workflow, .. } if workflow == "a");
    let report = told(&mut reports, of_fine).await;
    assert!(
        matches!(&report, Report::Doubtful { workflow, findings, .. } if workflow == "fine" && findings.len() == 1),
        "{report:?}"
    );
    save(&site.path("scripts/fine.rhai"), b"1");
    assert_eq!(output(&host, "fine").await, 1);
    assert!(host.workflows().iter().all(|view| view.name != "fine" || view.warnings.is_empty()));
    host.shutdown().await;
}
