//! Workflows that start by themselves: which times count, once each, whatever happens to the hosts meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai::view::ScheduleView;
use durhai::{EventBody, Host, HostBuilder, HostError, Millis, Query, RunView, Status, Value, World};
use durhai_testkit::{FarWorld, Fault, PATIENCE, TestHost};
use serde_json::json;

/// The first whole hour after the clock of a [`TestHost`] begins, at 22:13:20: 2023-11-14T23:00:00Z.
const HOUR_23: Millis = 1_700_002_800_000;
const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// Hosts, and what the tests ask of all their runs.
struct Site {
    test: TestHost,
}

impl Site {
    fn new() -> Self {
        Site { test: TestHost::new().workers(1) }
    }

    /// A host with a connection of its own, which tells the pulse of every write.
    fn host(&self) -> HostBuilder {
        self.test.builder_on(Arc::new(self.test.connect(Fault::Never)))
    }

    /// All runs, by id.
    fn runs(&self) -> BTreeMap<String, Status> {
        let page = self.test.world.list(&Query { limit: 10_000, ..Query::default() }).unwrap();
        page.rows.into_iter().map(|row| (row.run.to_string(), row.status)).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.runs().into_keys().collect()
    }

    /// Waits until that run has ended.
    async fn ended(&self, id: &str) {
        self.test
            .pulse
            .until(|| self.runs().get(id).filter(|status| status.is_terminal()).map(drop), || self.runs())
            .await;
    }

    /// Waits until that run waits for something.
    async fn waiting(&self, id: &str) {
        let waits = || self.runs().get(id).filter(|status| **status == Status::Waiting).map(drop);
        self.test.pulse.until(waits, || self.runs()).await;
    }

    /// Waits until a schedule stands like that, as it is stored.
    async fn stands(&self, host: &Host, name: &str, like: impl Fn(&ScheduleView, &Value) -> bool) -> ScheduleView {
        let look = async {
            loop {
                let view = one(host, name).await;
                let stored = self.test.world.meta(&format!("schedule/{name}")).unwrap();
                let stored = stored.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
                if like(&view, &stored) {
                    // What is stored may be newer than what was seen before it.
                    return one(host, name).await;
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.unwrap_or_else(|_| panic!("{:?}, {:?}", self.runs(), self.test.world.meta(&format!("schedule/{name}"))))
    }

    /// Waits until the times up to that one are handled.
    async fn handled(&self, host: &Host, name: &str, at: Millis) -> ScheduleView {
        self.stands(host, name, |_, stored| stored["from"].as_u64() >= Some(at)).await
    }
}

async fn one(host: &Host, name: &str) -> ScheduleView {
    let all = host.schedules().await.unwrap();
    all.into_iter().find(|schedule| schedule.workflow == name).unwrap_or_else(|| panic!("{name} has no schedule"))
}

async fn run(host: &Host, id: &str) -> RunView {
    host.get(id).await.unwrap().view().await.unwrap()
}

fn every_hour(more: &str, body: &str) -> String {
    format!("const WORKFLOW = #{{ schedule: #{{ cron: \"0 * * * *\"{more} }} }};\n{body}")
}

#[tokio::test]
async fn a_time_starts_one_run_of_that_time() {
    let site = Site::new();
    let text = "const WORKFLOW = #{ schedule: #{ cron: \"0 * * * *\", input: #{ n: 7 } }, timeout: \"3h\" };\ninput.n";
    let host = site.host().workflow("team/report", text).start().await.unwrap();
    let view = site.handled(&host, "team/report", 1).await;
    assert_eq!((view.next, view.last, view.paused), (Some(HOUR_23), None, false));
    assert_eq!(view.upcoming, [0, 1, 2, 3, 4].map(|n| HOUR_23 + n * HOUR));
    assert_eq!((&*view.cron, &*view.timezone, &*view.overlap, &*view.missed), ("0 * * * *", "UTC", "skip", "once"));
    assert_eq!(site.ids(), [""; 0]);
    site.test.clock.set(HOUR_23 - 1);
    site.test.clock.set(HOUR_23);
    let id = "team/report@2023-11-14T23:00:00Z";
    site.ended(id).await;
    let view = site.handled(&host, "team/report", HOUR_23).await;
    assert_eq!(view.last, Some(HOUR_23));
    assert_eq!(view.last_run.as_ref().map(ToString::to_string).as_deref(), Some(id));
    assert_eq!(view.next, Some(HOUR_23 + HOUR));
    let run = run(&host, id).await;
    assert_eq!((run.output, run.input, run.timeout), (json!(7), json!({ "n": 7 }), Some(3 * HOUR)));
    assert_eq!(run.tags, [("schedule".to_owned(), "team/report".to_owned())].into());
    // A few seconds late is in time.
    site.test.clock.set(HOUR_23 + HOUR + 9_000);
    site.ended("team/report@2023-11-15T00:00:00Z").await;
    assert_eq!(site.ids().len(), 2);
    host.shutdown().await;
}

#[tokio::test]
async fn what_passed_without_a_host_is_made_up_for_once_or_left_out() {
    let site = Site::new();
    let build = || {
        let host = site.host().workflow("once", every_hour("", "1"));
        host.workflow("skip", every_hour(", missed: \"skip\"", "1"))
    };
    let first = build().start().await.unwrap();
    for name in ["once", "skip"] {
        site.handled(&first, name, 1).await;
    }
    site.test.clock.set(HOUR_23);
    for name in ["once", "skip"] {
        site.ended(&format!("{name}@2023-11-14T23:00:00Z")).await;
        site.handled(&first, name, HOUR_23).await;
    }
    first.shutdown().await;

    // Back in the same hour, nothing is started twice; the host has looked when it has handled the next time.
    let second = build().start().await.unwrap();
    site.test.clock.set(HOUR_23 + HOUR);
    for name in ["once", "skip"] {
        site.ended(&format!("{name}@2023-11-15T00:00:00Z")).await;
        site.handled(&second, name, HOUR_23 + HOUR).await;
    }
    assert_eq!(site.ids().len(), 4);
    second.shutdown().await;

    // Three years, and the time of now on top.
    let back = HOUR_23 + 3 * 365 * 24 * HOUR;
    site.test.clock.set(back);
    let third = build().start().await.unwrap();
    for name in ["once", "skip"] {
        site.handled(&third, name, back).await;
    }
    let at = |name: &str, time: &str| format!("{name}@{time}");
    site.ended(&at("once", "2026-11-13T22:00:00Z")).await;
    let mut expected = vec![
        at("once", "2023-11-14T23:00:00Z"),
        at("once", "2023-11-15T00:00:00Z"),
        at("once", "2026-11-13T22:00:00Z"),
        at("skip", "2023-11-14T23:00:00Z"),
        at("skip", "2023-11-15T00:00:00Z"),
        at("skip", "2026-11-13T23:00:00Z"),
    ];
    // Whether the run that makes up has ended when the time of now comes decides whether that one is left out.
    let now = at("once", "2026-11-13T23:00:00Z");
    let found = site.ids();
    if found.contains(&now) {
        expected.insert(3, now);
    }
    assert_eq!(found, expected);
    third.shutdown().await;
}

#[tokio::test]
async fn a_host_that_died_before_it_could_note_its_run_starts_no_second_one() {
    let site = Site::new();
    let text = every_hour(", overlap: \"allow\"", "1");
    let first = site.host().workflow("w", text.clone()).start().await.unwrap();
    site.handled(&first, "w", 1).await;
    let before = site.test.world.meta("schedule/w").unwrap().unwrap();
    site.test.clock.set(HOUR_23);
    site.ended("w@2023-11-14T23:00:00Z").await;
    site.handled(&first, "w", HOUR_23).await;
    first.shutdown().await;
    // As a crash between the two leaves it.
    site.test.world.put_meta("schedule/w", &before).unwrap();
    let second = site.host().workflow("w", text).start().await.unwrap();
    let view = site.handled(&second, "w", HOUR_23).await;
    assert_eq!(view.last, Some(HOUR_23));
    assert_eq!(site.ids(), ["w@2023-11-14T23:00:00Z"]);
    let events = second.get("w@2023-11-14T23:00:00Z").await.unwrap().events(1, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event.body, EventBody::RunCreated(_))).count(), 1);
    second.shutdown().await;
}

#[tokio::test]
async fn two_hosts_start_one_run_for_each_time() {
    let site = Site::new();
    let text = "const WORKFLOW = #{ schedule: #{ cron: \"* * * * *\", overlap: \"allow\" } };\n1";
    let a = site.host().workflow("w", text).start().await.unwrap();
    let b = site.host().workflow("w", text).start().await.unwrap();
    site.handled(&a, "w", 1).await;
    let first = HOUR_23 - 46 * MINUTE;
    for n in 0..20 {
        let tick = first + n * MINUTE;
        site.test.clock.set(tick);
        site.handled(&a, "w", tick).await;
        let count = n as usize + 1;
        let all = || {
            let runs = site.runs();
            (runs.len() == count && runs.values().all(|status| *status == Status::Completed)).then_some(())
        };
        site.test.pulse.until(all, || site.runs()).await;
    }
    let ids = site.ids();
    assert_eq!((ids.len(), &*ids[0], &*ids[19]), (20, "w@2023-11-14T22:14:00Z", "w@2023-11-14T22:33:00Z"));
    a.shutdown().await;
    b.shutdown().await;
    assert_eq!(site.ids().len(), 20);
}

#[tokio::test]
async fn a_run_that_goes_on_leaves_the_next_time_out_or_beside_it_or_waiting() {
    let site = Site::new();
    let text = |overlap: &str| every_hour(&format!(", overlap: \"{overlap}\""), "wait_for(\"go\")");
    let mut host = site.host();
    for name in ["skip", "allow", "queue"] {
        host = host.workflow(name, text(name));
    }
    let host = host.start().await.unwrap();
    for name in ["skip", "allow", "queue"] {
        site.handled(&host, name, 1).await;
    }
    for n in 0..3 {
        site.test.clock.set(HOUR_23 + n * HOUR);
        for name in ["skip", "allow", "queue"] {
            site.handled(&host, name, HOUR_23 + n * HOUR).await;
        }
    }
    let of = |name: &str| site.ids().into_iter().filter(|id| id.starts_with(name)).count();
    assert_eq!((of("skip"), of("allow"), of("queue")), (1, 3, 1));
    let view = one(&host, "queue").await;
    assert_eq!((view.queued, view.last), (2, Some(HOUR_23)));
    // The next begins when the one before has ended, one after the other, without any time passing.
    let times = ["2023-11-14T23:00:00Z", "2023-11-15T00:00:00Z", "2023-11-15T01:00:00Z"];
    for (n, time) in times.iter().enumerate() {
        let id = format!("queue@{time}");
        site.waiting(&id).await;
        assert_eq!(of("queue"), n + 1);
        host.get(&id).await.unwrap().signal("go", &n).await.unwrap();
        site.ended(&id).await;
    }
    let view = site.stands(&host, "queue", |view, _| view.queued == 0).await;
    assert_eq!(view.last, Some(HOUR_23 + 2 * HOUR));
    // After its end the one that leaves out starts again.
    let id = format!("skip@{}", times[0]);
    host.get(&id).await.unwrap().signal("go", &1).await.unwrap();
    site.ended(&id).await;
    site.test.clock.set(HOUR_23 + 3 * HOUR);
    site.waiting("skip@2023-11-15T02:00:00Z").await;
    assert_eq!(of("skip"), 2);
    host.shutdown().await;
}

#[tokio::test]
async fn a_run_that_continues_as_a_new_one_has_not_ended() {
    let site = Site::new();
    let body = "if input == () { continue_as_new(1) } wait_for(\"go\")";
    let host = site.host().workflow("w", every_hour("", body)).start().await.unwrap();
    site.handled(&host, "w", 1).await;
    site.test.clock.set(HOUR_23);
    let (first, next) = ("w@2023-11-14T23:00:00Z", "w@2023-11-14T23:00:00Z+2");
    site.waiting(next).await;
    site.test.clock.set(HOUR_23 + HOUR);
    site.handled(&host, "w", HOUR_23 + HOUR).await;
    assert_eq!(site.ids(), [first, next]);
    host.shutdown().await;
}

#[tokio::test]
async fn a_saved_text_changes_the_schedule_and_takes_it_away() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let save = |text: &str| std::fs::write(folder.path().join("w.rhai"), text).unwrap();
    save(&every_hour("", "1"));
    let host = site.host().workflows(folder.path()).watch(false).start().await.unwrap();
    site.handled(&host, "w", 1).await;

    // The new times count from now on: the half hours that passed before are not missed.
    site.test.clock.set(HOUR_23 - MINUTE);
    save("const WORKFLOW = #{ schedule: \"30,59 * * * *\" };\n1");
    host.reload().await.unwrap();
    let view = site.stands(&host, "w", |_, stored| stored["cron"] == "30,59 * * * *").await;
    assert_eq!((&*view.cron, view.next), ("30,59 * * * *", Some(HOUR_23 + 30 * MINUTE)));
    site.test.clock.set(HOUR_23);
    site.test.clock.set(HOUR_23 + 30 * MINUTE);
    site.ended("w@2023-11-14T23:30:00Z").await;
    site.handled(&host, "w", HOUR_23 + 30 * MINUTE).await;
    assert_eq!(site.ids().len(), 1);

    // Without the header, and without the file, nothing starts; what passed meanwhile is not made up for.
    save("1");
    host.reload().await.unwrap();
    assert_eq!(host.schedules().await.unwrap(), []);
    let gone = host.pause_schedule("w").await.unwrap_err();
    assert!(matches!(&gone, HostError::NotFound(_)), "{gone}");
    let save_other = |text: &str| std::fs::write(folder.path().join("other.rhai"), text).unwrap();
    save_other("const WORKFLOW = #{ schedule: #{ cron: \"* * * * *\", overlap: \"allow\" } };\n1");
    host.reload().await.unwrap();
    site.handled(&host, "other", 1).await;
    site.test.clock.set(HOUR_23 + 59 * MINUTE);
    site.handled(&host, "other", HOUR_23 + 59 * MINUTE).await;
    save("const WORKFLOW = #{ schedule: \"30,59 * * * *\" };\n1");
    std::fs::remove_file(folder.path().join("other.rhai")).unwrap();
    site.test.clock.set(HOUR_23 + 80 * MINUTE);
    host.reload().await.unwrap();
    site.handled(&host, "w", HOUR_23 + 80 * MINUTE).await;
    site.test.clock.set(HOUR_23 + 90 * MINUTE);
    site.ended("w@2023-11-15T00:30:00Z").await;
    let of_w: Vec<_> = site.ids().into_iter().filter(|id| id.starts_with("w@")).collect();
    assert_eq!(of_w, ["w@2023-11-14T23:30:00Z", "w@2023-11-15T00:30:00Z"]);
    assert!(!site.ids().contains(&"other@2023-11-15T00:30:00Z".to_owned()), "{:?}", site.ids());
    host.shutdown().await;
}

#[tokio::test]
async fn a_pause_outlives_the_host_and_leaves_out_what_passes() {
    let site = Site::new();
    let build = || {
        let other = "const WORKFLOW = #{ schedule: #{ cron: \"0 * * * *\", overlap: \"allow\" } };\n1";
        site.host().workflow("a", every_hour("", "1")).workflow("b", other)
    };
    // A host that starts nothing by itself pauses it for the one that will.
    let idle = build().adopt(false).start().await.unwrap();
    idle.pause_schedule("a").await.unwrap();
    idle.pause_schedule("a").await.unwrap();
    let view = one(&idle, "a").await;
    assert_eq!((view.paused, view.next, view.upcoming), (true, None, vec![]));
    idle.shutdown().await;
    let host = build().start().await.unwrap();
    assert!(one(&host, "a").await.paused);
    site.handled(&host, "b", 1).await;
    for n in 0..2 {
        site.test.clock.set(HOUR_23 + n * HOUR);
        // `a` is looked at before `b`.
        site.handled(&host, "b", HOUR_23 + n * HOUR).await;
    }
    assert!(site.ids().iter().all(|id| id.starts_with("b@")), "{:?}", site.ids());
    site.test.clock.set(HOUR_23 + HOUR + 30 * MINUTE);
    host.resume_schedule("a").await.unwrap();
    let view = one(&host, "a").await;
    assert_eq!((view.paused, view.next), (false, Some(HOUR_23 + 2 * HOUR)));
    site.test.clock.set(HOUR_23 + 2 * HOUR);
    site.ended("a@2023-11-15T01:00:00Z").await;
    assert_eq!(site.ids().iter().filter(|id| id.starts_with("a@")).count(), 1);
    host.shutdown().await;
}

#[tokio::test]
async fn each_schedule_is_kept_by_a_host_that_has_it() {
    let site = Site::new();
    let text = || every_hour(", overlap: \"allow\"", "1");
    let first = site.host().workflow("both", text()).workflow("only-here", text()).start().await.unwrap();
    site.handled(&first, "only-here", 1).await;
    let second = site.host().workflow("both", text()).workflow("only-there", text()).start().await.unwrap();
    site.handled(&second, "only-there", 1).await;
    site.test.clock.set(HOUR_23);
    for name in ["both", "only-here", "only-there"] {
        site.ended(&format!("{name}@2023-11-14T23:00:00Z")).await;
    }
    assert_eq!(site.ids().len(), 3, "{:?}", site.ids());
    // What the first has done the second does when it is gone.
    first.shutdown().await;
    site.test.clock.set(HOUR_23 + HOUR);
    for name in ["both", "only-there"] {
        site.ended(&format!("{name}@2023-11-15T00:00:00Z")).await;
    }
    assert_eq!(site.ids().len(), 5, "{:?}", site.ids());
    second.shutdown().await;
}

#[tokio::test]
async fn a_host_that_takes_up_nothing_starts_nothing_by_itself() {
    let site = Site::new();
    let text = every_hour(", overlap: \"allow\"", "1");
    let idle = site.host().workflow("w", text.clone()).adopt(false).start().await.unwrap();
    site.test.clock.set(HOUR_23);
    idle.shutdown().await;
    assert_eq!(site.ids(), [""; 0]);
    assert_eq!(site.test.world.meta("schedule/w").unwrap(), None);
}

#[tokio::test]
async fn a_trigger_starts_a_run_now_and_unknown_names_are_said() {
    let site = Site::new();
    let text = every_hour(", input: 5", "wait_for(\"go\"); input");
    let host = site.host().workflow("report", text).workflow("plain", "1").start().await.unwrap();
    site.handled(&host, "report", 1).await;
    site.test.clock.set(HOUR_23);
    site.waiting("report@2023-11-14T23:00:00Z").await;
    site.test.clock.set(HOUR_23 + 1_234);
    let first = host.trigger_schedule("report").await.unwrap();
    let second = host.trigger_schedule("report").await.unwrap();
    assert_eq!(first.id().as_str(), "report@2023-11-14T23:00:01.234Z-manual");
    assert_eq!(second.id().as_str(), "report@2023-11-14T23:00:01.234Z-manual-2");
    first.signal("go", &1).await.unwrap();
    assert_eq!(first.output::<i64>().await.unwrap(), 5);
    assert_eq!(first.view().await.unwrap().tags["schedule"], "report");
    assert_eq!(site.handled(&host, "report", HOUR_23).await.last, Some(HOUR_23), "it does not count as a time");
    for (name, says) in [("repotr", "did you mean \"report\""), ("plain", "no schedule \"plain\"")] {
        for error in [
            host.trigger_schedule(name).await.map(drop).unwrap_err(),
            host.pause_schedule(name).await.unwrap_err(),
            host.resume_schedule(name).await.unwrap_err(),
        ] {
            assert!(matches!(&error, HostError::NotFound(text) if text.contains(says)), "{error}");
        }
    }
    host.shutdown().await;
    let closed = host.trigger_schedule("report").await.unwrap_err();
    assert!(matches!(closed, HostError::Closed), "{closed}");
}

#[tokio::test]
async fn seconds_count_and_many_that_were_missed_are_not_walked() {
    let site = Site::new();
    let text = "const WORKFLOW = #{ schedule: #{ cron: \"*/5 * * * * *\", overlap: \"allow\" } };\n1";
    let host = site.host().workflow("w", text).start().await.unwrap();
    site.handled(&host, "w", 1).await;
    let start = durhai_testkit::START;
    site.test.clock.set(start + 5_000);
    site.ended("w@2023-11-14T22:13:25Z").await;
    site.handled(&host, "w", start + 5_000).await;
    // 63 million times later: one for those, and the three of the last ten seconds.
    let later = start + 10 * 365 * 24 * HOUR;
    let before = std::time::Instant::now();
    site.test.clock.set(later);
    site.handled(&host, "w", later).await;
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    let ids = site.ids();
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert_eq!(&ids[1], "w@2033-11-11T22:13:05Z");
    assert_eq!(&ids[4], "w@2033-11-11T22:13:20Z");
    host.shutdown().await;
}

#[tokio::test]
async fn a_time_that_the_clocks_skip_is_due_when_they_have_changed() {
    let site = Site::new();
    // 2026-03-29T00:00:00Z; at 01:00Z the clocks of Berlin go from 2:00 to 3:00.
    let night = 1_774_742_400_000;
    site.test.clock.set(night - 12 * HOUR);
    let text = "const WORKFLOW = #{ schedule: #{ cron: \"30 2 * * *\", timezone: \"Europe/Berlin\" } };\n1";
    let host = site.host().workflow("w", text).start().await.unwrap();
    assert_eq!(site.handled(&host, "w", 1).await.next, Some(night + HOUR));
    site.test.clock.set(night + HOUR);
    site.ended("w@2026-03-29T01:00:00Z").await;
    let view = site.handled(&host, "w", night + HOUR).await;
    // The day after, 2:30 is 0:30 in UTC.
    assert_eq!((view.next, &*view.timezone), (Some(night + 24 * HOUR + 30 * MINUTE), "Europe/Berlin"));
    host.shutdown().await;
}

#[tokio::test]
async fn names_that_are_no_ids_have_runs_all_the_same() {
    let site = Site::new();
    let names = ["über uns".to_owned(), "long".repeat(40)];
    let mut host = site.host();
    for name in &names {
        host = host.workflow(name, every_hour("", "1"));
    }
    let host = host.start().await.unwrap();
    for name in &names {
        site.handled(&host, name, 1).await;
    }
    site.test.clock.set(HOUR_23);
    for name in &names {
        let view = site.handled(&host, name, HOUR_23).await;
        let id = view.last_run.expect("it was started").to_string();
        site.ended(&id).await;
        assert!(id.len() < 60 && id.ends_with("@2023-11-14T23:00:00Z"), "{id}");
        assert_eq!(run(&host, &id).await.workflow, *name);
    }
    host.shutdown().await;
}

/// One host looks at a schedule for all. Until it counts as dead nobody does, and what passed meanwhile is started then: it was not
/// missed, as hosts were there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_goes_on_with_the_schedules_of_one_that_dies() {
    let site = Site::new();
    let text = "const WORKFLOW = #{ schedule: #{ cron: \"* * * * *\", overlap: \"allow\" } };\n1";
    let lease = Duration::from_secs(180);
    let dies = Arc::new(site.test.connect(Fault::Never));
    let a = site.test.builder_on(dies.clone()).lease(lease).workflow("w", text).start().await.unwrap();
    site.handled(&a, "w", 1).await;
    let world = Arc::new(FarWorld::new(Arc::new(site.test.connect(Fault::Never))));
    let b = site.test.builder_on(world.clone()).lease(lease).workflow("w", text).start().await.unwrap();
    // It is told that another host does it.
    let asks = async {
        while world.calls("duties") < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asks).await.expect("it asks for its duties");
    let first = HOUR_23 - 46 * MINUTE;
    site.test.clock.set(first);
    site.handled(&b, "w", first).await;
    site.ended("w@2023-11-14T22:14:00Z").await;
    dies.crash();
    for n in 1..=4 {
        assert_eq!(site.ids().len(), 1, "nobody looks at {n}");
        site.test.clock.set(first + n * MINUTE);
    }
    site.handled(&b, "w", first + 4 * MINUTE).await;
    site.ended("w@2023-11-14T22:18:00Z").await;
    let ids = site.ids();
    assert_eq!((ids.len(), &*ids[1], &*ids[4]), (5, "w@2023-11-14T22:15:00Z", "w@2023-11-14T22:18:00Z"));
    b.shutdown().await;
    // One that leaves leaves its duties at once.
    let c = site.host().lease(lease).workflow("w", text).start().await.unwrap();
    site.test.clock.set(first + 5 * MINUTE);
    site.ended("w@2023-11-14T22:19:00Z").await;
    c.shutdown().await;
    a.shutdown().await;
}
