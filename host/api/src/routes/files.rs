//! Runs and whole stores as files, streamed.

use std::io::{self, Read, Write};
use std::pin::pin;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use durhai::{ExportOptions, HostError, ImportOptions, Imported};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::Shared;
use crate::extract::{OfRun, Params};
use crate::problem::Problem;

/// Pieces of a file that wait for the connection, and of how many bytes each is at most.
const AHEAD: usize = 4;
const PIECE: usize = 64 << 10;

/// `GET /runs/{id}/export?children=false&tokens=false`: the file that `durhai export` writes.
pub(super) async fn export(OfRun(run): OfRun, mut params: Params) -> Result<Response, Problem> {
    let options = ExportOptions {
        children: params.read("children")?.unwrap_or(false),
        tokens: params.read("tokens")?.unwrap_or(false),
    };
    params.done()?;
    pour(|out| async move { run.export(options, out).await.map(drop) }).await
}

/// `GET /backup`: the file that `durhai backup` writes.
pub(super) async fn backup(State(app): State<Shared>, params: Params) -> Result<Response, Problem> {
    params.done()?;
    let host = app.host.clone();
    pour(|out| async move { host.backup(out).await.map(drop) }).await
}

/// `POST /import?id=…&as_is=false&go=false&file=…` with an exported file: 201 with what was imported.
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
    let (imported, ()) = tokio::join!(app.host.import(Inflow { rx, piece: Bytes::new() }, options), feed);
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
            // Nobody may be there any more.
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
