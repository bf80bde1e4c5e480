//! What changes in the whole host, told as it happens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use durhai::observe::Others;
use durhai::versions::Report;
use durhai::view::Committed;
use durhai::{RunId, Status};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::sse::json_data;
use crate::app::Shared;
use crate::extract::Params;
use crate::problem::Problem;

/// How long changes of runs are gathered before they are told.
const GATHER: Duration = Duration::from_millis(250);

/// Runs that one message names, at most.
const NAMED: usize = 200;

/// A run that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Change {
    id: RunId,
    workflow: String,
    status: Status,
}

/// Runs that are told of.
#[derive(Debug, Default)]
struct Filter {
    workflow: Option<String>,
    status: Vec<Status>,
}

/// One client that looks on.
struct Onlooker {
    filter: Filter,
    commits: Receiver<Committed>,
    others: Others,
    reports: Receiver<Report>,
    gathered: Gathered,
    /// The first message, until it is sent.
    hello: Option<Message>,
}

/// What changed since the last message.
#[derive(Debug, Default)]
struct Gathered {
    /// The latest of each run, with its place in the order of changes.
    runs: HashMap<RunId, (u64, String, Status)>,
    count: u64,
    /// There were others that were not told.
    more: bool,
    /// When it is told; none while there is nothing.
    due: Option<Instant>,
}

/// Tells what changes in the whole host, until it or the server stops.
///
/// Messages: `hello` first (`Hello`); `runs` (`Changes`, gathered for 250 ms); `workflow` (`Report`, about a file of the
/// scripts folder). They have no ids: after a break look again.
///
/// On a database that hosts share, what other hosts write is told within 0.8 s, by `more` and without the names of the runs.
#[utoipa::path(
    get,
    path = "/changes",
    operation_id = "watchChanges",
    tag = "host",
    params(
        ("workflow" = Option<String>, Query, description = "Only runs of this workflow."),
        ("status" = Option<Vec<String>>, Query, style = Form, explode, description = "Only runs whose latest status is one of these."),
    ),
    responses(
        (status = 200, description = "Messages.", content_type = "text/event-stream", body = ref("#/components/schemas/Message")),
    ),
)]
pub(super) async fn changes(
    State(app): State<Shared>,
    mut params: Params,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>> + use<>>, Problem> {
    let workflow = params.one("workflow")?;
    let filter = Filter { workflow, status: params.statuses()? };
    params.done()?;
    // Listening starts before the first message is sent: a client that reads the runs after it misses nothing.
    let onlooker = Onlooker {
        filter,
        commits: app.host.commits(),
        others: app.host.follow_others(),
        reports: app.host.reports(),
        gathered: Gathered::default(),
        hello: Some(json_data(
            Message::default().event("hello"),
            &json!({ "instance": app.config.instance, "started_at": app.started_at }),
        )),
    };
    let messages = stream::unfold((onlooker, app), |(mut onlooker, app)| async move {
        let message = tokio::select! {
            message = onlooker.next() => message,
            () = app.config.closing.closed() => None,
            () = app.host.closed() => None,
        };
        message.map(|message| (Ok(message), (onlooker, app)))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::default()))
}

impl Onlooker {
    /// The next message; none when the host is gone.
    async fn next(&mut self) -> Option<Message> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        loop {
            let due = self.gathered.due;
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Busy hosts always have a commit ready: what is due goes first.
                biased;
                () = wait => match self.tell() {
                    Some(message) => return Some(message),
                    None => continue,
                },
                report = self.reports.recv() => match report {
                    Ok(report) => return Some(json_data(Message::default().event("workflow"), &report)),
                    Err(RecvError::Lagged(_)) => self.gathered.lost(),
                    Err(RecvError::Closed) => return None,
                },
                // What was written is not told.
                () = self.others.wrote() => self.gathered.lost(),
                commit = self.commits.recv() => match commit {
                    Ok(commit) => self.gathered.add(commit),
                    Err(RecvError::Lagged(_)) => self.gathered.lost(),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// What was gathered; none if nothing of it is wanted.
    fn tell(&mut self) -> Option<Message> {
        let Gathered { runs, more, .. } = std::mem::take(&mut self.gathered);
        let wanted = runs.into_iter().filter(|(_, (_, workflow, status))| self.filter.wants(workflow, *status));
        let mut latest: Vec<_> =
            wanted.map(|(id, (place, workflow, status))| (place, Change { id, workflow, status })).collect();
        latest.sort_unstable_by_key(|(place, _)| *place);
        let told: Vec<_> = latest.split_off(latest.len().saturating_sub(NAMED));
        let told: Vec<_> = told.into_iter().map(|(_, change)| change).collect();
        let more = more || !latest.is_empty();
        let message = || json_data(Message::default().event("runs"), &json!({ "runs": told, "more": more }));
        (more || !told.is_empty()).then(message)
    }
}

impl Filter {
    fn wants(&self, workflow: &str, status: Status) -> bool {
        self.workflow.as_ref().is_none_or(|wanted| wanted == workflow)
            && (self.status.is_empty() || self.status.contains(&status))
    }
}

impl Gathered {
    fn add(&mut self, commit: Committed) {
        self.count += 1;
        self.runs.insert(commit.run, (self.count, commit.workflow, commit.status));
        self.begin();
    }

    fn lost(&mut self) {
        self.more = true;
        self.begin();
    }

    fn begin(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + GATHER);
    }
}
