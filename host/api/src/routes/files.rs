//! Runs and whole stores as files, streamed.

use std::io::{self, Read, Write};
use std::pin::pin;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use durhai::HostError;
use durhai::archive::{ExportOptions, ImportOptions, Imported};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::app::Shared;
use crate::extract::{OfRun, Params};
use crate::problem::Problem;

/// Pieces of a file that wait for the connection, and of how many bytes each is at most.
const AHEAD: usize = 4;
const PIECE: usize = 64 << 10;

/// Gives a run as the file that `durhai export` writes.
#[utoipa::path(
    get,
    path = "/runs/{id}/export",
    operation_id = "exportRun",
    tag = "runs",
    params(
        ("children" = Option<bool>, Query, description = "The runs it started too, and those that continue it."),
        ("tokens" = Option<bool>, Query, description = "Tokens of hooks as they are."),
    ),
    responses(
        (status = 200, description = "The file; it is whole if it has its last line.", content_type = "application/x-ndjson", body = String),
    ),
)]
pub(super) async fn export(OfRun(run): OfRun, mut params: Params) -> Result<Response, Problem> {
    let options = ExportOptions {
        children: params.read("children")?.unwrap_or(false),
        tokens: params.read("tokens")?.unwrap_or(false),
    };
    params.done()?;
    pour(|out| async move { run.export(options, out).await.map(drop) }).await
}

/// Gives the whole store as the file that `durhai backup` writes.
#[utoipa::path(
    get,
    path = "/backup",
    operation_id = "backUp",
    tag = "host",
    responses(
        (status = 200, description = "The file; it is whole if it has its last line.", content_type = "application/x-ndjson", body = String),
    ),
)]
pub(super) async fn backup(State(app): State<Shared>, params: Params) -> Result<Response, Problem> {
    params.done()?;
    let host = app.host.clone();
    pour(|out| async move { host.backup(out).await.map(drop) }).await
}

/// Takes runs from an exported file.
///
/// What has not ended is parked, unless `go` is true.
#[utoipa::path(
    post,
    path = "/import",
    operation_id = "importRun",
    tag = "host",
    params(
        ("id" = Option<String>, Query, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:/@+=-]+$", description = "The name of the run; made up unless given."),
        ("as_is" = Option<bool>, Query, description = "Under the names they had."),
        ("go" = Option<bool>, Query, description = "What has not ended goes on at once."),
        ("file" = Option<String>, Query, description = "What the file is called, for those who look at the runs later."),
    ),
    request_body(content = String, content_type = "application/x-ndjson", description = "The file. Any Content-Type will do; there is no limit."),
    responses(
        (status = 201, description = "What was imported.", body = ref("#/components/schemas/Imported")),
        (status = 409, description = "A name is taken."),
    ),
)]
pub(super) async fn import(
    State(app): State<Shared>,
    mut params: Params,
    body: Body,
) -> Result<(StatusCode, Json<Imported>), Problem> {
    let options = ImportOptions {
        id: params.one("id")?,
        as_is: params.read("as_is")?.unwrap_or(false),
        go: params.read("go")?.unwrap_or(false),
        file: params.one("file")?.unwrap_or_default(),
    };
    params.done()?;
    let (tx, rx) = mpsc::channel(AHEAD);
    let feed = async move {
        let mut body = pin!(body.into_data_stream());
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| io::Error::other(error.to_string()));
            // Who reads has seen enough.
            if tx.send(bytes).await.is_err() {
                break;
            }
        }
    };
    let mut import = pin!(app.host.import(Inflow { rx, piece: Bytes::new() }, options));
    let imported = tokio::select! {
        biased;
        // What is wrong is said at once, however much of the file is still to come.
        imported = &mut import => imported,
        () = feed => import.await,
    };
    Ok((StatusCode::CREATED, Json(imported?)))
}

/// Answers with what is written. An error before the first piece is a problem; one behind it breaks the connection, and
/// the file lacks its last line.
async fn pour<F>(work: impl FnOnce(Outflow) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<(), HostError>> + Send + 'static,
{
    let (tx, mut rx) = mpsc::channel(AHEAD);
    let errors = tx.clone();
    let work = work(Outflow { tx });
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // The client may be gone.
            let _ = errors.send(Err(error)).await;
        }
    });
    let first = match rx.recv().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let pieces =
        stream::iter(first).chain(rest(rx)).map(|piece| piece.map_err(|error| io::Error::other(error.to_string())));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

type Piece = Result<Bytes, HostError>;

fn rest(rx: mpsc::Receiver<Piece>) -> impl Stream<Item = Piece> {
    stream::unfold(rx, |mut rx| async move { rx.recv().await.map(|piece| (piece, rx)) })
}

/// Written to by a thread that may wait.
struct Outflow {
    tx: mpsc::Sender<Piece>,
}

impl Write for Outflow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody wants it any more");
        self.tx.blocking_send(Ok(Bytes::copy_from_slice(piece))).map_err(gone)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Read by a thread that may wait.
struct Inflow {
    rx: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Inflow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.rx.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let taken = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}
