//! The families: their names, and what they are made of at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durhai_core::Status;
use durhai_world::{Count, Link, World, WorldError, WorldSize};

use super::data::{MetricFamily, MetricKind, MetricSeries, MetricValue, Metrics, OTHER};
use super::instruments::{Counter, Histogram};
use super::meters::{ENDS, Outcome, Reload, VERDICTS};
use crate::observe::health;
use crate::shared::Shared;

/// Workflows of which the runs are shown apart, at most.
const WORKFLOWS: usize = 1_000;

/// What only the world can tell.
struct Seen {
    counts: Vec<Count>,
    size: WorldSize,
    /// That live.
    hosts: u64,
    link: Option<Link>,
}

impl Seen {
    fn of(world: &dyn World) -> Result<Seen, WorldError> {
        let hosts = world.living()?.max(1);
        Ok(Seen { counts: world.run_counts()?, size: world.size()?, hosts, link: world.link() })
    }
}

/// See [`Host::metrics`](crate::Host::metrics).
pub(crate) async fn metrics(host: &Arc<Shared>) -> Metrics {
    let seen = match host.running() {
        Ok(host) => host.store.blocking(Seen::of).await.ok(),
        Err(_) => None,
    };
    snapshot(host, seen)
}

/// `seen` is none where the world could not be asked.
fn snapshot(host: &Shared, seen: Option<Seen>) -> Metrics {
    let mut list = List::default();
    let (mut counts, mut size, mut hosts, mut link) = (None, WorldSize::default(), None, None);
    if let Some(seen) = seen {
        (counts, size, hosts, link) = (Some(seen.counts), seen.size, Some(seen.hosts), seen.link);
    }
    runs(host, &mut list, counts);
    steps(host, &mut list);
    writes(host, &mut list);
    memory(host, &mut list);
    texts(host, &mut list);
    shared(host, &mut list, hosts, link);
    let meters = &host.observe.meters;
    list.counter("durhai_signals_total", "Signals that this host has taken for runs.", &meters.signals);
    list.counter("durhai_hooks_total", "Payloads that this host has taken for hooks.", &meters.hooks);
    list.counter("durhai_resumes_total", "Answers to suspended runs that this host has taken.", &meters.resumes);
    let help = "Bytes the world occupies, where it can tell.";
    list.known(("durhai_world_size_bytes", help, "bytes", GAUGE), size.stored.map(|size| size as f64));
    let help = "Bytes of memory that what is durable takes until it comes to its last place, where the world has such.";
    list.known(("durhai_world_unsettled_bytes", help, "bytes", GAUGE), size.unsettled.map(|size| size as f64));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    list.add(("durhai_host_info", "1, with the version of durhai.", "", GAUGE), vec![number(&version, 1.0)]);
    let since = meters.started_at as f64 / 1e3;
    list.gauge(("durhai_host_started_at_seconds", "Unix time at which the host started.", "seconds"), since);
    let failed = f64::from(u8::from(host.life.failure().is_some()));
    list.gauge(("durhai_host_failed", "1: the world failed, and the host does nothing any more.", ""), failed);
    let ready = f64::from(u8::from(health::health(host).ok));
    list.gauge(("durhai_host_ready", "1: the host does its work, as /readyz has it.", ""), ready);
    Metrics { families: list.0 }
}

/// How it is with the world that hosts share, and with this host in it: without series where none is shared.
fn shared(host: &Shared, list: &mut List, hosts: Option<u64>, link: Option<Link>) {
    let (lease, reach) = (&host.store.lease, &host.store.reach);
    let is_shared = lease.is_shared();
    let help = "Hosts of the world that live, this one among them.";
    list.known(("durhai_hosts", help, "", GAUGE), hosts.map(|hosts| hosts as f64));
    let age = lease.age().filter(|_| is_shared).map(|age| age.as_secs_f64());
    let help = "Since the last sign of life of this host that was answered.";
    list.known(("durhai_lease_age_seconds", help, "seconds", GAUGE), age);
    let length = is_shared.then(|| lease.length().as_secs_f64());
    let help = "How long this host may not be heard of before the others declare it dead.";
    list.known(("durhai_lease_seconds", help, "seconds", GAUGE), length);
    let help = "How often the others declared this host dead, and it began anew.";
    list.known(("durhai_lease_resets_total", help, "", COUNTER), is_shared.then(|| lease.resets() as f64));
    let help = "For how long the world has not answered, although it was asked.";
    list.known(
        ("durhai_world_silence_seconds", help, "seconds", GAUGE),
        is_shared.then(|| reach.silence().as_secs_f64()),
    );
    let reads =
        is_shared.then(|| MetricSeries { labels: Vec::new(), value: MetricValue::Histogram(reach.reads.get()) });
    let help = "One read of the world, with what was asked again.";
    list.add(("durhai_read_seconds", help, "seconds", HISTOGRAM), reads.into_iter().collect());
    let help = "Reads that the world did not answer, of several attempts.";
    list.known(("durhai_reads_failed_total", help, "", COUNTER), is_shared.then(|| reach.failed.get() as f64));
    let of = |pick: fn(Link) -> u64| link.map(|link| pick(link) as f64);
    let help = "Batches of writes on their way to the world.";
    list.known(("durhai_link_batches_in_flight", help, "", GAUGE), of(|link| link.in_flight));
    let help = "Batches of writes that the world answered.";
    list.known(("durhai_link_batches_total", help, "", COUNTER), of(|link| link.batches));
    let help = "How often the connection for writes was made anew.";
    list.known(("durhai_link_reconnects_total", help, "", COUNTER), of(|link| link.reconnects));
    let help = "How often the world was asked what had become of a batch whose answer did not come.";
    list.known(("durhai_link_resumes_total", help, "", COUNTER), of(|link| link.resumes));
}

fn runs(host: &Shared, list: &mut List, counts: Option<Vec<Count>>) {
    let all = host.observe.meters.workflows.all();
    let by_workflow = counts.map(|counts| by_workflow(counts, host.versions.list().into_iter().map(|of| of.name)));
    let mut runs = Vec::new();
    for (workflow, counts) in by_workflow.into_iter().flatten() {
        runs.extend(Status::ALL.map(|status| {
            let runs = counts.get(&status).copied().unwrap_or(0);
            number(&[("workflow", &workflow), ("status", status.as_str())], runs as f64)
        }));
    }
    let by = |pick: fn(&super::meters::Workflow) -> &Counter| {
        all.iter().map(move |(name, of)| number(&[("workflow", name)], pick(of).get() as f64)).collect()
    };
    list.add(("durhai_runs", "Runs in the world, whoever runs them.", "", MetricKind::Gauge), runs);
    list.add(
        ("durhai_runs_created_total", "Runs created by this host: started, children, successors.", "", COUNTER),
        by(|of| &of.created),
    );
    let (mut ended, mut lasted) = (Vec::new(), Vec::new());
    for (name, of) in &all {
        for (at, status) in ENDS.iter().enumerate() {
            let labels = [("workflow", &**name), ("status", status.as_str())];
            ended.push(number(&labels, of.ended[at].get() as f64));
            lasted.extend(used(&labels, &of.lasted[at]));
        }
    }
    list.add(("durhai_runs_ended_total", "Runs that ended in this host.", "", COUNTER), ended);
    list.add(("durhai_run_duration_seconds", "From the creation of a run to its end.", "seconds", HISTOGRAM), lasted);
    list.add(
        ("durhai_runs_parked_total", "Runs that this host gave up until an operator looks.", "", COUNTER),
        by(|of| &of.parked),
    );
    list.add(("durhai_schedule_starts_total", "Runs started by schedules.", "", COUNTER), by(|of| &of.scheduled));
    let gated = all.iter().flat_map(|(name, of)| {
        let runs = of.gated.iter().zip(VERDICTS);
        runs.map(|(runs, verdict)| number(&[("workflow", name), ("verdict", verdict)], runs.get() as f64))
    });
    let help = "Live runs checked against a new version, by what was found; moved: they went over to it.";
    list.add(("durhai_gate_runs_total", help, "", COUNTER), gated.collect());
}

fn steps(host: &Shared, list: &mut List) {
    let all = host.observe.meters.steps.all();
    let attempts = all.iter().flat_map(|(name, of)| {
        let outcomes = Outcome::ALL.iter().zip(&of.outcomes);
        outcomes.map(|(outcome, count)| number(&[("step", name), ("outcome", outcome.as_str())], count.get() as f64))
    });
    let help = "Attempts of steps that ended, by how.";
    list.add(("durhai_step_attempts_total", help, "", COUNTER), attempts.collect());
    let took = all.iter().flat_map(|(name, of)| used(&[("step", name)], &of.took));
    let help = "How long attempts took, without what they waited for a limit.";
    list.add(("durhai_step_attempt_seconds", help, "seconds", HISTOGRAM), took.collect());
    let failed = all.iter().map(|(name, of)| number(&[("step", name)], of.failed.get() as f64));
    let help = "Calls of steps that failed for good: the script was told.";
    list.add(("durhai_steps_failed_total", help, "", COUNTER), failed.collect());
    let running = host.observe.meters.attempts_running.get() as f64;
    list.gauge(("durhai_step_attempts_running", "Attempts that run now.", ""), running);
    let waiting = host.observe.meters.waiting_for_limit.get() as f64;
    list.gauge(("durhai_steps_waiting_for_limit", "Attempts that wait for a concurrency or rate limit.", ""), waiting);
}

fn writes(host: &Shared, list: &mut List) {
    let meters = &host.observe.meters;
    let help = "From the handing of a write to the committer until it is durable.";
    list.histogram(("durhai_commit_seconds", help, "seconds"), &meters.commit);
    list.histogram(("durhai_flush_seconds", "One write of the world, with its sync.", "seconds"), &meters.flush);
    list.histogram(("durhai_commit_batch_size", "Writes that shared a flush.", ""), &meters.batch);
    let queue = meters.queue.get() as f64;
    list.gauge(("durhai_committer_queue", "Writes that wait for the committer.", ""), queue);
    let help = "Writes that the world refused: another host has the run, or its id is taken.";
    list.counter("durhai_commits_refused_total", help, &meters.refused);
    list.counter("durhai_events_total", "Events written.", &meters.events);
    let bytes = host.observe.counters.event_bytes.load(Ordering::Relaxed) as f64;
    list.add(("durhai_event_bytes_total", "Bytes of events written.", "bytes", COUNTER), vec![number(&[], bytes)]);
    list.counter("durhai_log_lines_total", "Lines written to the logs of runs.", &meters.lines);
}

fn memory(host: &Shared, list: &mut List) {
    let (meters, counters) = (&host.observe.meters, &host.observe.counters);
    let queues = host.runtime.workers.lengths().into_iter().enumerate();
    let queues = queues.map(|(at, queued)| number(&[("worker", &at.to_string())], queued as f64));
    let help = "Messages that wait for a worker.";
    list.add(("durhai_worker_queue", help, "", MetricKind::Gauge), queues.collect());
    list.histogram(
        ("durhai_turn_seconds", "One turn of a run: its script goes on until it waits.", "seconds"),
        &meters.turn,
    );
    let live = counters.live.load(Ordering::Relaxed) as f64;
    list.gauge(("durhai_fibers_live", "Runs in memory.", ""), live);
    list.gauge(("durhai_fibers_max", "Runs that may be in memory.", ""), host.config.max_live as f64);
    let backlog = meters.backlog.get() as f64;
    list.gauge(("durhai_runs_waiting_for_room", "Runs that were claimed and wait for room in memory.", ""), backlog);
    list.counter("durhai_runs_claimed_total", "Runs taken up from the world.", &meters.claimed);
    list.histogram(("durhai_claim_seconds", "One question for runs that are due.", "seconds"), &meters.claim);
    list.counter("durhai_runs_lost_total", "Runs that another host took while this one had them.", &meters.lost);
    let evicted = counters.evicted.load(Ordering::Relaxed) as f64;
    let help = "Runs dropped from memory while they waited.";
    list.add(("durhai_runs_evicted_total", help, "", COUNTER), vec![number(&[], evicted)]);
    let rebuilt = counters.rebuilt.load(Ordering::Relaxed) as f64;
    list.add(("durhai_runs_rebuilt_total", "Runs built from their logs.", "", COUNTER), vec![number(&[], rebuilt)]);
    let help = "Building a run from its log, the reading included.";
    list.histogram(("durhai_replay_seconds", help, "seconds"), &meters.replay);
    list.counter("durhai_replay_events_total", "Events that runs were built from.", &meters.replayed);
    list.histogram(("durhai_timer_lag_seconds", "How late timers fire.", "seconds"), &meters.timer_lag);
    let help = "How late schedules start their runs.";
    list.histogram(("durhai_schedule_lag_seconds", help, "seconds"), &meters.schedule_lag);
    list.counter("durhai_runs_purged_total", "Runs that this host removed.", &meters.purged);
}

fn texts(host: &Shared, list: &mut List) {
    let help = "Holding a new version against the live runs of its workflow.";
    list.histogram(("durhai_gate_seconds", help, "seconds"), &host.observe.meters.compat);
    let results = Reload::ALL.iter().zip(&host.observe.meters.reloads);
    let reloads = results.map(|(result, count)| number(&[("result", result.as_str())], count.get() as f64));
    let help = "Workflows whose text changed while the host ran, by what came of it.";
    list.add(("durhai_reloads_total", help, "", COUNTER), reloads.collect());
}

const COUNTER: MetricKind = MetricKind::Counter;
const GAUGE: MetricKind = MetricKind::Gauge;
const HISTOGRAM: MetricKind = MetricKind::Histogram;

#[derive(Default)]
struct List(Vec<MetricFamily>);

impl List {
    /// Name, help, unit and kind.
    fn add(&mut self, (name, help, unit, kind): (&str, &str, &str, MetricKind), series: Vec<MetricSeries>) {
        self.0.push(MetricFamily { name: name.into(), help: help.into(), unit: unit.into(), kind, series });
    }

    /// Without series where it is not known.
    fn known(&mut self, family: (&str, &str, &str, MetricKind), value: Option<f64>) {
        self.add(family, value.map(|value| number(&[], value)).into_iter().collect());
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.add((name, help, "", COUNTER), vec![number(&[], counter.get() as f64)]);
    }

    fn gauge(&mut self, (name, help, unit): (&str, &str, &str), value: f64) {
        self.add((name, help, unit, MetricKind::Gauge), vec![number(&[], value)]);
    }

    fn histogram(&mut self, (name, help, unit): (&str, &str, &str), histogram: &Histogram) {
        let value = MetricValue::Histogram(histogram.get());
        self.add((name, help, unit, HISTOGRAM), vec![MetricSeries { labels: Vec::new(), value }]);
    }
}

fn number(labels: &[(&str, &str)], value: f64) -> MetricSeries {
    MetricSeries { labels: owned(labels), value: MetricValue::Number(value) }
}

/// A histogram with something in it: of many names most have few ends.
fn used(labels: &[(&str, &str)], histogram: &Histogram) -> Option<MetricSeries> {
    let value = histogram.get();
    (value.count > 0).then(|| MetricSeries { labels: owned(labels), value: MetricValue::Histogram(value) })
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// All statuses of every workflow that has runs or can be started: what falls to 0 must not vanish.
fn by_workflow(counts: Vec<Count>, serving: impl Iterator<Item = String>) -> BTreeMap<String, BTreeMap<Status, u64>> {
    let mut named: BTreeSet<String> = serving.take(WORKFLOWS).collect();
    for count in &counts {
        if named.len() < WORKFLOWS && !named.contains(&count.workflow) {
            named.insert(count.workflow.clone());
        }
    }
    let mut all: BTreeMap<String, BTreeMap<Status, u64>> =
        named.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    for Count { workflow, status, runs, .. } in counts {
        let workflow = if named.contains(&workflow) { workflow } else { OTHER.into() };
        *all.entry(workflow).or_default().entry(status).or_default() += runs;
    }
    all
}
