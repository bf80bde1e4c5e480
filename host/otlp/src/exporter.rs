//! The exporter: it is told what ended, and sends it from tasks of its own.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai::Host;
use durhai::observe::{AttemptEnded, Observer, RunEnded, TraceContext, TraceId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, Target};
use crate::metrics;
use crate::post::Post;
use crate::queue::Queue;
use crate::sampler::Sampler;
use crate::spans;

/// Sends spans and metrics of a host, until it is [shut down](Exporter::shutdown). Dropped without that, it sends no more.
pub struct Exporter {
    watcher: Arc<Watcher>,
    resource: Resource,
    metrics: Option<(Target, Duration)>,
    ending: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// No exporter can be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no HTTP client for the collector: {0}")]
    Client(#[from] reqwest::Error),
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// What is left is sent within this time when it is shut down, or not at all.
const FAREWELL: Duration = Duration::from_secs(5);

impl Exporter {
    /// Begins to wait for spans. Call it within a tokio runtime, which must live as long as the exporter.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (ending, ended) = watch::channel(false);
        let resource = resource(&config)?;
        let watcher = Arc::new(Watcher {
            queue: Queue::new(config.queue, config.batch),
            sampler: config.traces.is_some().then_some(config.sampler),
        });
        let mut tasks = Vec::new();
        if let Some(target) = config.traces {
            let post = Post::new(target, ended.clone())?;
            tasks.push(tokio::spawn(send_spans(watcher.clone(), post, resource.clone(), config.delay, ended)));
        }
        let metrics = config.metrics.map(|target| (target, config.interval));
        Ok(Exporter { watcher, resource, metrics, ending, tasks: Mutex::new(tasks) })
    }

    /// For [`HostBuilder::observe`](durhai::HostBuilder::observe).
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.watcher.clone()
    }

    /// Sends the metrics of this host, from now on at each interval, and once more at the end.
    pub fn measure(&self, host: &Host) {
        let Some((target, interval)) = self.metrics.clone() else { return };
        let ended = self.ending.subscribe();
        match Post::new(target, ended.clone()) {
            Ok(post) => {
                let task = tokio::spawn(send_metrics(host.clone(), post, self.resource.clone(), interval, ended));
                self.tasks.lock().push(task);
            }
            Err(error) => tracing::error!("no metrics are exported: {error}"),
        }
    }

    /// Spans that were lost since the start: there was no room for them, or the collector did not take them.
    pub fn dropped(&self) -> u64 {
        self.watcher.queue.dropped()
    }

    /// Sends what is left, for five seconds at most. Call it after the host has shut down, so that nothing comes behind.
    pub async fn shutdown(self) {
        let _ = self.ending.send(true);
        let deadline = Instant::now() + FAREWELL;
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        for task in &mut tasks {
            if timeout(deadline.saturating_duration_since(Instant::now()), &mut *task).await.is_err() {
                task.abort();
                // What it still had is counted when it is gone.
                let _ = task.await;
            }
        }
        let queue = &self.watcher.queue;
        queue.drop_some(queue.len());
        if queue.dropped() > 0 {
            tracing::warn!("{} spans could not be sent to the collector", queue.dropped());
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        for task in self.tasks.get_mut() {
            task.abort();
        }
    }
}

/// Told by the host.
struct Watcher {
    queue: Queue,
    /// None where no spans are exported.
    sampler: Option<Sampler>,
}

impl Observer for Watcher {
    fn samples(&self, trace: &TraceId, starter: Option<&TraceContext>) -> bool {
        match &self.sampler {
            Some(sampler) => sampler.samples(trace, starter),
            // Others may record it.
            None => starter.is_some_and(TraceContext::is_sampled),
        }
    }

    fn attempt_ended(&self, attempt: &AttemptEnded) {
        if self.sampler.is_some() && attempt.context.is_sampled() {
            self.queue.push(spans::of_attempt(attempt));
        }
    }

    fn run_ended(&self, run: &RunEnded) {
        if self.sampler.is_some() && run.context.is_sampled() {
            self.queue.push(spans::of_run(run));
        }
    }
}

/// Counts spans as lost that are on their way when the task is ended.
struct OnTheWay<'a>(&'a Queue, usize);

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.0.drop_some(self.1);
    }
}

async fn send_spans(
    watcher: Arc<Watcher>,
    mut post: Post,
    resource: Resource,
    delay: Duration,
    mut ended: watch::Receiver<bool>,
) {
    let queue = &watcher.queue;
    let mut due = Instant::now() + delay;
    loop {
        let ending = *ended.borrow();
        if !ending && !queue.has_batch() {
            tokio::select! {
                () = queue.full.notified() => {}
                () = sleep_until(due) => {}
                // The exporter is gone without a word: so is this task, soon.
                _ = ended.wait_for(|ended| *ended) => {}
            }
        }
        due = Instant::now() + delay;
        let spans = queue.take();
        if spans.is_empty() {
            match ending {
                true => return,
                false => continue,
            }
        }
        let mut on_the_way = OnTheWay(queue, spans.len());
        if let Some(answer) = post.send(traces(spans, &resource)).await {
            on_the_way.1 = rejected(&answer);
        }
    }
}

/// How many spans the collector says it did not take.
fn rejected(answer: &[u8]) -> usize {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    let Some(partial) = partial.filter(|partial| partial.rejected_spans > 0) else { return 0 };
    tracing::debug!("the collector rejected {} spans: {}", partial.rejected_spans, partial.error_message);
    usize::try_from(partial.rejected_spans).unwrap_or(0)
}

fn traces(spans: Vec<Span>, resource: &Resource) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
    .encode_to_vec()
}

async fn send_metrics(
    host: Host,
    mut post: Post,
    resource: Resource,
    interval: Duration,
    mut ended: watch::Receiver<bool>,
) {
    let start = now();
    loop {
        let due = Instant::now() + interval;
        tokio::select! {
            () = sleep_until(due) => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
        let ending = *ended.borrow();
        let metrics = metrics::all(&host.metrics().await, start, now());
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
        let resource = Some(resource.clone());
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        // One that is lost is made up for by the next: what is counted is counted from the start.
        let _ = post.send(ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()).await;
        if ending {
            return;
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "durhai".into(), version: env!("CARGO_PKG_VERSION").into(), ..Default::default() }
}

fn resource(config: &Config) -> Result<Resource, StartError> {
    let mut named = config.resource.clone();
    if !named.contains_key("service.instance.id") {
        // Hosts that share a name must not count into one another's series.
        let mut id = [0_u8; 16];
        getrandom::fill(&mut id).map_err(StartError::Randomness)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        named.insert("service.instance.id".into(), id);
    }
    for (key, value) in [
        ("telemetry.sdk.name", "durhai"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ] {
        named.insert(key.into(), value.into());
    }
    let attributes = named.iter().map(|(key, value)| spans::text(key, value)).collect();
    Ok(Resource { attributes, ..Resource::default() })
}

/// In nanoseconds since the Unix epoch.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
