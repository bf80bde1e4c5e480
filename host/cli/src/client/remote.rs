//! The host that serves the data folder, over HTTP.

use std::io::{self, Read, Write};
use std::time::Duration;

use durhai::archive::{Diagnosis, ExportOptions, ImportOptions, Imported};
use durhai::logs::{Fork, ReplayOptions, ReplayView};
use durhai::trace::TraceEvent;
use durhai::versions::{CompatReport, MigrateReport, Migration, SourceView, VersionView};
use durhai::view::{HostView, Listing, LogEntry, OutputEntry, Purge, Purged, ScheduleView, StreamView, Suspension};
use durhai::{Event, Query, RunView, Value, WorkflowView};
use durhai_api::{Item, Migrating, Problem, Purging, Want};
use futures_util::{Stream as Pieces, stream};
use reqwest::{Body, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::Starting;
use super::lines::Lines;
use super::sse::Parser;
use crate::exit::Fail;
use crate::hostfile::HostFile;

/// How long a host on this machine may take to answer whether it is there.
const PROBE: Duration = Duration::from_secs(3);

pub struct Remote {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    passing: bool,
}

/// A run's live stream.
pub struct Stream {
    response: Response,
    parser: Parser,
    gives: Gives,
    ended: bool,
}

/// What a message without a name is, in a stream.
#[derive(Debug, Clone, Copy)]
enum Gives {
    Events,
    Lines,
    Values,
}

impl Remote {
    /// The host that the file names, if it still answers there.
    pub async fn probe(file: &HostFile) -> Result<Option<Remote>, Fail> {
        #[derive(Deserialize)]
        struct Health {
            instance: Option<String>,
        }
        if file.stopping {
            return Ok(None);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(PROBE)
            .build()
            .map_err(|error| Fail::unreachable(format!("no HTTP client: {error}")))?;
        let base = format!("http://{}", file.address);
        let Ok(answer) = http.get(format!("{base}/healthz")).timeout(PROBE).send().await else { return Ok(None) };
        match answer.json::<Health>().await {
            Ok(health) if health.instance.as_deref() == Some(&file.instance) => {
                Ok(Some(Remote { http, base, token: token(file)?, passing: file.passing }))
            }
            _ => Ok(None),
        }
    }

    /// It is a `durhai run`, which runs nothing beside its own run.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, Fail> {
        #[derive(Deserialize)]
        struct Workflows {
            workflows: Vec<WorkflowView>,
        }
        Ok(self.ask::<Workflows>(self.request(Method::GET, "workflows")).await?.workflows)
    }

    pub async fn hosts(&self, all: bool) -> Result<Vec<HostView>, Fail> {
        #[derive(Deserialize)]
        struct Hosts {
            hosts: Vec<HostView>,
        }
        Ok(self.ask::<Hosts>(self.request(Method::GET, "hosts").query(&[("all", all)])).await?.hosts)
    }

    pub async fn start(&self, starting: Starting) -> Result<RunView, Fail> {
        let body = durhai_api::Started {
            workflow: starting.workflow,
            input: starting.input,
            id: starting.id,
            tags: starting.tags,
            delay: starting.delay.map(|ms| Value::String(format!("{ms}ms"))),
            at: None,
            timeout: starting.timeout.map(|ms| Value::String(format!("{ms}ms"))),
            priority: starting.priority,
        };
        self.ask(self.request(Method::POST, "runs").json(&body)).await
    }

    pub async fn list(&self, query: Query) -> Result<Listing, Fail> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        pairs.extend(query.status.iter().map(|status| ("status", status.to_string())));
        pairs.extend(query.workflow.map(|name| ("workflow", name)));
        pairs.extend(query.parent.map(|run| ("parent", run.to_string())));
        pairs.extend(query.version.map(|version| ("version", version.to_string())));
        pairs.extend(query.tags.iter().map(|(key, value)| ("tag", format!("{key}:{value}"))));
        pairs.extend(query.since.map(|at| ("since", at.to_string())));
        pairs.extend(query.until.map(|at| ("until", at.to_string())));
        pairs.extend(query.cursor.map(|cursor| ("cursor", cursor)));
        pairs.push(("limit", query.limit.to_string()));
        self.ask(self.request(Method::GET, "runs").query(&pairs)).await
    }

    pub async fn get(&self, id: &str) -> Result<RunView, Fail> {
        self.ask(self.request(Method::GET, &run(id, ""))).await
    }

    pub async fn events(&self, id: &str, from: u64, limit: usize) -> Result<Vec<Event>, Fail> {
        #[derive(Deserialize)]
        struct Events {
            events: Vec<Event>,
        }
        let query = [("from", from), ("limit", limit as u64)];
        Ok(self.ask::<Events>(self.request(Method::GET, &run(id, "/events")).query(&query)).await?.events)
    }

    pub async fn logs(&self, id: &str, from: u64, limit: usize) -> Result<Vec<LogEntry>, Fail> {
        #[derive(Deserialize)]
        struct Lines {
            lines: Vec<LogEntry>,
        }
        let query = [("from", from), ("limit", limit as u64)];
        Ok(self.ask::<Lines>(self.request(Method::GET, &run(id, "/logs")).query(&query)).await?.lines)
    }

    pub async fn emitted(&self, id: &str, stream: &str, from: u64, limit: usize) -> Result<Vec<OutputEntry>, Fail> {
        #[derive(Deserialize)]
        struct Entries {
            entries: Vec<OutputEntry>,
        }
        let query = [("stream", stream.to_string()), ("from", from.to_string()), ("limit", limit.to_string())];
        Ok(self.ask::<Entries>(self.request(Method::GET, &run(id, "/output")).query(&query)).await?.entries)
    }

    pub async fn streams(&self, id: &str) -> Result<Vec<StreamView>, Fail> {
        #[derive(Deserialize)]
        struct Streams {
            streams: Vec<StreamView>,
        }
        Ok(self.ask::<Streams>(self.request(Method::GET, &run(id, "/streams"))).await?.streams)
    }

    pub async fn suspensions(&self, id: &str) -> Result<Vec<Suspension>, Fail> {
        #[derive(Deserialize)]
        struct Suspensions {
            suspensions: Vec<Suspension>,
        }
        Ok(self.ask::<Suspensions>(self.request(Method::GET, &run(id, "/suspensions"))).await?.suspensions)
    }

    pub async fn resume(&self, id: &str, label: Option<&str>, data: &Value) -> Result<(), Fail> {
        let body = json!({ "label": label, "data": data });
        self.tell(self.request(Method::POST, &run(id, "/resume")).json(&body)).await
    }

    /// As a stranger does it: without the token of the API.
    pub async fn deliver(&self, token: &str, body: &Value, once: Option<&str>) -> Result<(), Fail> {
        let mut request = self.http.post(format!("{}/hooks/{}", self.base, segment(token)));
        if !body.is_null() {
            request = request.json(body);
        }
        if let Some(id) = once {
            request = request.header("idempotency-key", id);
        }
        self.tell(request).await
    }

    pub async fn purge(&self, purge: Purge) -> Result<Purged, Fail> {
        let Purge { ended_before, status, workflow } = purge;
        let all = ended_before.is_none() && status.is_empty() && workflow.is_none();
        let body = Purging { ended_before, status, workflow, all };
        self.ask(self.request(Method::POST, "purge").json(&body)).await
    }

    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Fail> {
        #[derive(Deserialize)]
        struct Schedules {
            schedules: Vec<ScheduleView>,
        }
        Ok(self.ask::<Schedules>(self.request(Method::GET, "schedules")).await?.schedules)
    }

    /// `how`: `pause` or `resume`.
    pub async fn set_schedule(&self, name: &str, how: &str) -> Result<(), Fail> {
        self.tell(self.request(Method::POST, &format!("schedules/{}/{how}", segment(name)))).await
    }

    pub async fn trigger_schedule(&self, name: &str) -> Result<RunView, Fail> {
        self.ask(self.request(Method::POST, &format!("schedules/{}/trigger", segment(name)))).await
    }

    pub async fn signal(&self, id: &str, name: &str, payload: &Value, once: Option<&str>) -> Result<(), Fail> {
        let body = json!({ "name": name, "payload": payload, "id": once });
        self.tell(self.request(Method::POST, &run(id, "/signal")).json(&body)).await
    }

    /// `how`: `cancel` or `terminate`.
    pub async fn end(&self, id: &str, how: &str, reason: &str) -> Result<(), Fail> {
        let path = run(id, &format!("/{how}"));
        self.tell(self.request(Method::POST, &path).json(&json!({ "reason": reason }))).await
    }

    pub async fn retry(&self, id: &str) -> Result<RunView, Fail> {
        self.ask(self.request(Method::POST, &run(id, "/retry"))).await
    }

    pub async fn replay(&self, id: &str, options: &ReplayOptions) -> Result<ReplayView, Fail> {
        self.ask(self.request(Method::POST, &run(id, "/replay")).json(options)).await
    }

    pub async fn fork(&self, id: &str, fork: &Fork) -> Result<RunView, Fail> {
        self.ask(self.request(Method::POST, &run(id, "/fork")).json(fork)).await
    }

    /// Each line is something that was seen; the last is the result. None: `watch` wanted no more, and the host was not
    /// waited for.
    pub async fn trace(
        &self,
        id: &str,
        options: &ReplayOptions,
        watch: &mut dyn FnMut(TraceEvent) -> bool,
    ) -> Result<Option<ReplayView>, Fail> {
        let request = self.request(Method::POST, &run(id, "/trace")).json(options);
        let mut response = self.send(request).await?;
        let mut lines = Lines::default();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.gone(&error))? {
            lines.push(&bytes);
            while let Some(line) = lines.next() {
                match traced(line)? {
                    Seen::Event(event) => {
                        if !watch(event) {
                            // The connection ends with the answer, and the replay with the connection.
                            return Ok(None);
                        }
                    }
                    Seen::End(replay) => return Ok(Some(*replay)),
                }
            }
        }
        Err(Fail::unreachable("the host stopped while the trace was read"))
    }

    pub async fn unpark(&self, id: &str) -> Result<(), Fail> {
        self.tell(self.request(Method::POST, &run(id, "/unpark"))).await
    }

    pub async fn versions(&self, workflow: &str) -> Result<Vec<VersionView>, Fail> {
        #[derive(Deserialize)]
        struct Versions {
            versions: Vec<VersionView>,
        }
        let path = format!("workflows/{}/versions", segment(workflow));
        Ok(self.ask::<Versions>(self.request(Method::GET, &path)).await?.versions)
    }

    pub async fn source(&self, workflow: &str, version: &str) -> Result<SourceView, Fail> {
        let path = format!("workflows/{}/versions/{}", segment(workflow), segment(version));
        self.ask(self.request(Method::GET, &path)).await
    }

    pub async fn compat_report(&self, workflow: &str) -> Result<CompatReport, Fail> {
        self.ask(self.request(Method::GET, &format!("workflows/{}/gate", segment(workflow)))).await
    }

    pub async fn migrate_run(&self, id: &str, to: Option<&str>, dry_run: bool) -> Result<Migration, Fail> {
        let body = Migrating { to: to.map(Into::into), dry_run };
        self.ask(self.request(Method::POST, &run(id, "/migrate")).json(&body)).await
    }

    pub async fn migrate_all(&self, workflow: &str, to: Option<&str>, dry_run: bool) -> Result<MigrateReport, Fail> {
        let body = Migrating { to: to.map(Into::into), dry_run };
        let path = format!("workflows/{}/migrate", segment(workflow));
        self.ask(self.request(Method::POST, &path).json(&body)).await
    }

    pub async fn delete(&self, id: &str) -> Result<(), Fail> {
        self.tell(self.request(Method::DELETE, &run(id, ""))).await
    }

    pub async fn export(&self, id: &str, options: ExportOptions, out: Box<dyn Write + Send>) -> Result<(), Fail> {
        let query = [("children", options.children), ("tokens", options.tokens)];
        let response = self.send(self.request(Method::GET, &run(id, "/export")).query(&query)).await?;
        self.pour(response, out).await
    }

    pub async fn backup(&self, out: Box<dyn Write + Send>) -> Result<(), Fail> {
        let response = self.send(self.request(Method::GET, "backup")).await?;
        self.pour(response, out).await
    }

    async fn pour(&self, mut response: Response, mut out: Box<dyn Write + Send>) -> Result<(), Fail> {
        let unwritten = |error| Fail::usage(format!("the file cannot be written: {error}"));
        while let Some(piece) = response.chunk().await.map_err(|error| self.gone(&error))? {
            out.write_all(&piece).map_err(unwritten)?;
        }
        out.flush().map_err(unwritten)
    }

    pub async fn import(&self, input: Box<dyn Read + Send>, options: ImportOptions) -> Result<Imported, Fail> {
        let mut query =
            vec![("as_is", options.as_is.to_string()), ("go", options.go.to_string()), ("file", options.file)];
        query.extend(options.id.map(|id| ("id", id)));
        let (pieces, mut unread) = pieces(input);
        let request = self.request(Method::POST, "import").query(&query).body(Body::wrap_stream(pieces));
        let imported = self.ask(request).await;
        // The reading thread may wait for a pipe whose content is not needed any more.
        match unread.try_recv() {
            Ok(error) => Err(Fail::usage(format!("the file cannot be read: {error}"))),
            Err(_) => imported,
        }
    }

    pub async fn doctor(&self) -> Result<Diagnosis, Fail> {
        self.ask(self.request(Method::GET, "doctor")).await
    }

    pub async fn follow(&self, id: &str, want: Want) -> Result<Stream, Fail> {
        let (path, query, gives) = match (want.events, want.lines, want.output) {
            (None, None, Some((stream, from))) => {
                ("/output", vec![("stream", stream), ("from", from.to_string())], Gives::Values)
            }
            (Some(from), lines, _) => {
                let query = vec![("from", from.to_string()), ("logs", lines.is_some().to_string())];
                ("/events", query, Gives::Events)
            }
            (None, lines, _) => ("/logs", vec![("from", lines.unwrap_or(0).to_string())], Gives::Lines),
        };
        let request = self.request(Method::GET, &run(id, path)).query(&query);
        let response = self.send(request.header("accept", "text/event-stream")).await?;
        Ok(Stream { response, parser: Parser::default(), gives, ended: false })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1/{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fail> {
        let bytes = self.send(request).await?.bytes().await.map_err(|error| self.gone(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Fail::unreachable(format!("the host at {} answers something else than expected: {error}", self.base))
                .hint("It may be another version of durhai than this one.")
        })
    }

    async fn tell(&self, request: RequestBuilder) -> Result<(), Fail> {
        self.send(request).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Fail> {
        let response = request.send().await.map_err(|error| self.gone(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(Fail::unreachable(format!("the host at {} answers {status}", self.base))),
        }
    }

    fn gone(&self, error: &reqwest::Error) -> Fail {
        Fail::unreachable(format!("the host at {} does not answer any more: {error}", self.base))
    }
}

impl Stream {
    pub async fn next(&mut self) -> Result<Option<Item>, Fail> {
        let broken = |error: &dyn std::fmt::Display| {
            Fail::unreachable(format!("the host stopped while the run was followed: {error}"))
                .hint("The run goes on when a host serves again: `durhai serve`.")
        };
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(message) = self.parser.next() {
                let item = match message.event.as_str() {
                    "" | "message" => match self.gives {
                        Gives::Events => serde_json::from_str(&message.data).map(Item::Event),
                        Gives::Lines => serde_json::from_str(&message.data).map(Item::Line),
                        Gives::Values => serde_json::from_str(&message.data).map(Item::Emitted),
                    },
                    "log" => serde_json::from_str(&message.data).map(Item::Line),
                    "parked" => serde_json::from_str(&message.data).map(Item::Parked),
                    "end" => serde_json::from_str(&message.data).map(Item::Ended),
                    // Something a newer host says.
                    _ => continue,
                };
                let item = item.map_err(|error| broken(&error))?;
                self.ended = matches!(item, Item::Ended(_));
                return Ok(Some(item));
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.parser.push(&bytes),
                Ok(None) => return Err(broken(&"it closed the connection")),
                Err(error) => return Err(broken(&error)),
            }
        }
    }
}

/// What is read, piece by piece, as fast as it is taken; and the error, if reading fails.
fn pieces(
    mut input: Box<dyn Read + Send>,
) -> (impl Pieces<Item = io::Result<Vec<u8>>> + Send + 'static, oneshot::Receiver<io::Error>) {
    const PIECE: u64 = 64 << 10;
    const AHEAD: usize = 4;
    let (tx, rx) = mpsc::channel(AHEAD);
    let (failed, unread) = oneshot::channel();
    // Not of the runtime, which would wait for its end.
    std::thread::spawn(move || {
        loop {
            let mut piece = Vec::new();
            match input.by_ref().take(PIECE).read_to_end(&mut piece) {
                Ok(0) => return,
                // The host has seen enough.
                Ok(_) if tx.blocking_send(Ok(piece)).is_err() => return,
                Ok(_) => {}
                Err(error) => {
                    let kind = error.kind();
                    let _ = failed.send(error);
                    // The body breaks off, so that half a file is never taken for a whole one.
                    let _ = tx.blocking_send(Err(kind.into()));
                    return;
                }
            }
        }
    });
    (stream::unfold(rx, |mut rx| async move { rx.recv().await.map(|piece| (piece, rx)) }), unread)
}

/// A line of a trace.
enum Seen {
    Event(TraceEvent),
    End(Box<ReplayView>),
}

fn traced(line: &[u8]) -> Result<Seen, Fail> {
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Last {
        End { replay: Box<ReplayView> },
        Error { detail: String },
    }
    // All but one are events.
    match serde_json::from_slice(line) {
        Ok(event) => Ok(Seen::Event(event)),
        Err(error) => match serde_json::from_slice(line) {
            Ok(Last::End { replay }) => Ok(Seen::End(replay)),
            Ok(Last::Error { detail }) => Err(Fail::usage(detail)),
            Err(_) => Err(Fail::unreachable(format!("the host's trace cannot be read: {error}"))),
        },
    }
}

/// The path of a run; its id may hold anything that a path may not.
fn run(id: &str, rest: &str) -> String {
    format!("runs/{}{rest}", segment(id))
}

/// A name as one part of a path.
fn segment(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

fn token(file: &HostFile) -> Result<Option<String>, Fail> {
    if let Some(token) = &file.token {
        return Ok(Some(token.clone()));
    }
    if let Some(token) =
        std::env::var("DURHAI_TOKEN").ok().and_then(|text| text.split_whitespace().next().map(Into::into))
    {
        return Ok(Some(token));
    }
    match &file.token_file {
        None => Ok(None),
        Some(path) => match std::fs::read_to_string(path) {
            // Of several, while they are changed, the host takes each.
            Ok(text) => Ok(durhai::text::without_bom(&text).split_whitespace().next().map(Into::into)),
            Err(error) => {
                Err(Fail::unreachable(format!("the host's token file {} cannot be read: {error}", path.display()))
                    .hint("Set DURHAI_TOKEN to the token of the host."))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths() {
        for (id, path) in
            [("order-42", "runs/order-42"), ("a/b:c@d", "runs/a%2Fb%3Ac%40d"), ("v1.2+x=", "runs/v1.2%2Bx%3D")]
        {
            assert_eq!(run(id, ""), path);
        }
        assert_eq!(run("x", "/events"), "runs/x/events");
    }
}
