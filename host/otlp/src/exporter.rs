//! The exporter: it is told what ended, and sends it from tasks of its own.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai::Host;
use durhai::observe::{AttemptEnded, Observer, RunEnded, TraceContext, TraceId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, Target};
use crate::metrics;
use crate::post::Post;
use crate::proto::{Field, Fields, Message};
use crate::queue::Queue;
use crate::sampler::Sampler;
use crate::spans;

/// Sends spans and metrics of a host, until it is [shut down](Exporter::shutdown). Dropped without that, it sends no more.
pub struct Exporter {
    watcher: Arc<Watcher>,
    /// A `Resource`, in bytes.
    resource: Arc<[u8]>,
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
    resource: Arc<[u8]>,
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
        if let Some(answer) = post.send(request(&resource, spans)).await {
            on_the_way.1 = rejected(&answer);
        }
    }
}

/// How many spans the collector says it did not take: an `ExportTraceServiceResponse`.
fn rejected(answer: &[u8]) -> usize {
    let (mut count, mut why) = (0, "".into());
    for (_, partial_success) in Fields(answer).filter(|(number, _)| *number == 1) {
        let Field::Bytes(partial_success) = partial_success else { continue };
        for field in Fields(partial_success) {
            match field {
                (1, Field::Number(rejected)) => count = usize::try_from(rejected as i64).unwrap_or(0),
                (2, Field::Bytes(message)) => why = String::from_utf8_lossy(message),
                _ => {}
            }
        }
    }
    if count > 0 {
        tracing::debug!("the collector rejected {count} spans: {why}");
    }
    count
}

/// `ExportTraceServiceRequest` and `ExportMetricsServiceRequest` have the same form: of one resource, in one scope.
fn request(resource: &[u8], items: Vec<Message>) -> Vec<u8> {
    let scope = Message::default().text(1, "durhai").text(2, env!("CARGO_PKG_VERSION"));
    let scoped = Message::default().message(1, scope).messages(2, items);
    Message::default().message(1, Message::default().bytes(1, resource).message(2, scoped)).into_bytes()
}

async fn send_metrics(
    host: Host,
    mut post: Post,
    resource: Arc<[u8]>,
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
        // One that is lost is made up for by the next: what is counted is counted from the start.
        let _ = post.send(request(&resource, metrics)).await;
        if ending {
            return;
        }
    }
}

fn resource(config: &Config) -> Result<Arc<[u8]>, StartError> {
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
    let attributes = named.iter().map(|(key, value)| spans::text(key, value));
    Ok(Message::default().messages(1, attributes).into_bytes().into())
}

/// In nanoseconds since the Unix epoch.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
