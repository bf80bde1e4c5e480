//! A run, by name: what an embedder can ask of it and do to it.

use std::io::Write;
use std::sync::Arc;

use durhai_core::{Event, EventBody, RunId, Status, Version};
use durhai_engine::trace::TraceEvent;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::archive::export::{self, ExportOptions, ExportSummary};
use crate::error::{HostError, RunError};
use crate::host::Host;
use crate::logs::fork::{self, Fork};
use crate::logs::replay::{self, ReplayOptions};
use crate::logs::{lineage, read, retry};
use crate::messages::{ending, questions, signals};
use crate::runtime::elsewhere::Follower;
use crate::runtime::waiters::Settled;
use crate::runtime::{claims, retention};
use crate::runtime::{elsewhere, waiting};
use crate::store::{run_view, streams};
use crate::versions::compat::report::Migration;
use crate::versions::migrate;
use crate::view::{LogEntry, Outlook, OutputEntry, ReplayView, RunView, StreamView, Suspension};

/// A run, by name. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Run {
    host: Host,
    id: RunId,
    /// The end of a run that was started through this handle; taken by the first call that waits for it.
    settled: Arc<Mutex<Option<oneshot::Receiver<Settled>>>>,
}

impl Run {
    pub(crate) fn new(host: &Host, id: RunId) -> Self {
        Run { host: host.clone(), id, settled: Arc::default() }
    }

    /// One that was just started.
    pub(crate) fn started(host: &Host, id: RunId, settled: Option<oneshot::Receiver<Settled>>) -> Self {
        Run { host: host.clone(), id, settled: Arc::new(Mutex::new(settled)) }
    }

    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// How it stands now.
    pub async fn view(&self) -> Result<RunView, HostError> {
        run_view::current(self.host.running()?, &self.id).await
    }

    /// How far it is in this host's memory; none if it is not there.
    pub async fn outlook(&self) -> Result<Option<Outlook>, HostError> {
        Ok(run_view::outlook(self.host.running()?, &self.id).await)
    }

    pub async fn status(&self) -> Result<Status, HostError> {
        Ok(self.host.running()?.store.known(&self.id).await?.status)
    }

    /// Waits until the run has ended, or is parked, and shows it. A run that continued as a new one has ended when the
    /// last of the chain has: that is the one shown.
    pub async fn wait(&self) -> Result<RunView, HostError> {
        waiting::wait(self.host.running()?, &self.id).await
    }

    /// Hears when the run may have changed in another host that shares the world; what happens in this one, [`Host::commits`] tells.
    /// Look at the run after this call and whenever it was heard: then nothing is missed.
    pub fn follow(&self) -> Result<Follower, HostError> {
        Ok(elsewhere::follow(self.host.running()?, &self.id))
    }

    /// Waits for the end and gives the output.
    pub async fn output<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        let settled = self.settled.lock().take();
        if let Some(settled) = settled {
            let host = self.host.running()?;
            let settled = tokio::select! {
                settled = settled => settled.ok().flatten(),
                () = tokio::time::sleep(*elsewhere::LOOK_AGAIN.end()) => None,
                () = host.life.closing.cancelled() => return Err(HostError::Closed.into()),
            };
            if let Some(EventBody::RunCompleted { output }) = settled.as_deref() {
                return T::deserialize(&**output).map_err(|error| RunError::Type(self.id.clone(), error));
            }
        }
        let view = self.wait().await?;
        let id = view.id.clone();
        match view.status {
            Status::Completed => serde_json::from_value(view.output).map_err(|error| RunError::Type(id, error)),
            Status::Parked => Err(RunError::Parked(id, view.reason.unwrap_or_default())),
            Status::Cancelled => Err(RunError::Cancelled(id, view.reason.unwrap_or_default())),
            status => Err(match view.error {
                Some(error) => RunError::Failed(id, Box::new(error)),
                None => RunError::NoOutput(id, status),
            }),
        }
    }

    /// Sends a signal. When this returns it is durable and will be delivered.
    pub async fn signal<T: Serialize + ?Sized>(&self, name: &str, payload: &T) -> Result<(), HostError> {
        signals::send(self.host.running()?, &self.id, name, payload, None).await
    }

    /// The same, delivered once however often it is sent with this `id`.
    pub async fn signal_once<T: Serialize + ?Sized>(&self, name: &str, payload: &T, id: &str) -> Result<(), HostError> {
        signals::send(self.host.running()?, &self.id, name, payload, Some(id.to_owned())).await
    }

    /// The questions that are open now, in the order they were asked.
    pub async fn suspensions(&self) -> Result<Vec<Suspension>, HostError> {
        questions::suspensions(self.host.running()?, &self.id).await
    }

    /// Answers a question. Without a label there must be just one; else the label says which, or the question's step id
    /// does. When this returns the answer is durable.
    ///
    /// # Errors
    ///
    /// [`HostError::Conflict`] where no question is open (or not under that label), where several are asked and no label is
    /// given, and where an answer is on its way already; [`HostError::Invalid`] where the data does not fit the
    /// question's schema. The run stays as it was.
    pub async fn resume<T: Serialize + ?Sized>(&self, label: Option<&str>, data: &T) -> Result<(), HostError> {
        questions::resume(self.host.running()?, &self.id, label, data).await
    }

    /// Asks the script to stop: its open calls throw `cancelled`. Asked twice, the run ends at once; it also does when its
    /// clean-ups take longer than the grace period. One that has not begun, because its time or its turn has not come, ends
    /// at once without its script.
    pub async fn cancel(&self, reason: &str) -> Result<(), HostError> {
        ending::cancel(self.host.running()?, &self.id, reason).await
    }

    /// Ends the run without asking the script.
    pub async fn terminate(&self, reason: &str) -> Result<(), HostError> {
        ending::terminate(self.host.running()?, &self.id, reason).await
    }

    /// Starts a failed or cancelled run anew: a run of its own that takes over what was done before the failure, and
    /// makes the step that failed again, with the same idempotency keys. It runs the version that serves now, if that fits
    /// what was done; else its own. A run is tried again once: each caller that asks again, and however many do at the same moment,
    /// gets the run that is there, whatever its state. If that has failed too, it is that one which can be tried again.
    ///
    /// [`HostError::Conflict`] if the run has neither failed nor been cancelled, or if another run has the token of a hook
    /// that the script named.
    pub async fn retry(&self) -> Result<Run, HostError> {
        let id = retry::retry(self.host.running()?, &self.id).await?;
        Ok(Run::new(&self.host, id))
    }

    /// The run that tries this one again, if there is one.
    pub async fn retried(&self) -> Result<Option<Run>, HostError> {
        let host = self.host.running()?;
        let row = host.store.known(&self.id).await?;
        let id = host.store.blocking(move |world| lineage::tried_again(world, &row)).await?;
        Ok(id.map(|id| Run::new(&self.host, id)))
    }

    /// A run of its own that takes over this one's log up to a step: results are not made again, signals that came before
    /// are there, timers keep their moments, random numbers stay. Children that had not ended are started anew, and a hook
    /// that is open gets a token of its own, unless the script named it. Attempts that were under way at that point are made
    /// again. This run, which may be live or over, is left as it is; both show where the other is.
    ///
    /// [`HostError::Invalid`] if the log does not have the step, [`HostError::Conflict`] with both sides of the first
    /// difference if the text does not fit what would be taken over, or if a token or the name is taken. Nothing is
    /// created then.
    pub async fn fork(&self, fork: Fork) -> Result<Run, HostError> {
        let id = fork::fork(self.host.running()?, &self.id, fork).await?;
        Ok(Run::new(&self.host, id))
    }

    /// Lets the run go on with another version: that which serves its workflow, unless another is given. Its whole log is
    /// replayed against it first; if it does not fit, the run stays what it is and the verdict says why. What is under way
    /// goes on: no attempt is lost or made twice. A parked run that fits goes on. `dry_run` says what would come of it.
    ///
    /// [`HostError::Conflict`] if the run has ended, or if another host holds it; [`HostError::NotFound`] for a version that
    /// is not in the store.
    pub async fn migrate(&self, to: Option<Version>, dry_run: bool) -> Result<Migration, HostError> {
        migrate::migrate(self.host.running()?, &self.id, to, dry_run).await
    }

    /// Lets a parked run try again.
    pub async fn unpark(&self) -> Result<(), HostError> {
        claims::unpark(self.host.running()?, &self.id).await
    }

    /// Events from sequence number `from` (the first is 1), at most `limit`.
    pub async fn events(&self, from: u64, limit: usize) -> Result<Vec<Event>, HostError> {
        let store = &self.host.running()?.store;
        store.known(&self.id).await?;
        let id = self.id.clone();
        store.blocking(move |world| read::page(world, &id, from, limit)).await
    }

    /// Lines of its log from index `from` (the first is 0), at most `limit`.
    pub async fn logs(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>, HostError> {
        streams::log_lines(&self.host.running()?.store, &self.id, from, limit).await
    }

    /// Values of one of its output streams from index `from` (the first is 0), at most `limit`. A stream that nothing was
    /// emitted to is empty.
    pub async fn emitted(&self, stream: &str, from: u64, limit: usize) -> Result<Vec<OutputEntry>, HostError> {
        streams::emitted(&self.host.running()?.store, &self.id, stream, from, limit).await
    }

    /// The output streams it has emitted to, by name.
    pub async fn streams(&self) -> Result<Vec<StreamView>, HostError> {
        streams::streams(&self.host.running()?.store, &self.id).await
    }

    /// Runs the log again: says what comes of it, or where the script does not fit. Nothing is written, no step is
    /// started.
    ///
    /// [`HostError::Script`] if the text does not compile, [`HostError::Invalid`] if the log has no result for a step of
    /// [`set`](ReplayOptions::set) or never comes to where it was to stop.
    pub async fn replay(&self, options: ReplayOptions) -> Result<ReplayView, HostError> {
        replay::replay(self.host.running()?, &self.id, options).await
    }

    /// The same, and `watch` is told of every statement, each variable that changes and each durable call, in order, on a
    /// thread that may wait; when it gives `false` the trace ends there.
    pub async fn trace(
        &self,
        options: ReplayOptions,
        watch: impl FnMut(TraceEvent) -> bool + Send + 'static,
    ) -> Result<ReplayView, HostError> {
        replay::trace(self.host.running()?, &self.id, options, watch).await
    }

    /// Writes this run as a file, as it stands at one moment, be it live or over, on a thread that may wait. What is in
    /// memory of it at a time does not grow with its log and its streams.
    ///
    /// [`HostError::Invalid`] if `out` cannot be written to.
    pub async fn export(
        &self,
        options: ExportOptions,
        out: impl Write + Send + 'static,
    ) -> Result<ExportSummary, HostError> {
        export::export(self.host.running()?, &self.id, options, out).await
    }

    /// Removes a run that has ended, with all it left and with the runs it started that have ended too.
    pub async fn delete(&self) -> Result<(), HostError> {
        retention::delete(self.host.running()?, &self.id).await
    }
}
