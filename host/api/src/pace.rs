//! Clients that are slow, or stop: what they hold is given back.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::Limits;

/// Whether a connection is at work on a request, which its reader must know and only its service sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct AtWork(Arc<Work>);

#[derive(Debug, Default)]
struct Work {
    now: AtomicBool,
    requests: AtomicUsize,
    /// No further request is wanted.
    last: AtomicBool,
}

/// The connection is at work while this is there.
#[derive(Debug)]
pub(crate) struct Working(AtWork);

impl AtWork {
    pub fn begin(&self) -> Working {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.now.store(true, Ordering::Relaxed);
        Working(self.clone())
    }

    /// From now on a head that is not complete counts as none: its client hears that the connection ends.
    pub fn end(&self) {
        self.0.last.store(true, Ordering::Relaxed);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.now.store(false, Ordering::Relaxed);
    }
}

/// A connection whose client must not take too long: not to send a head, and not to take what it is sent.
pub(crate) struct Paced<S> {
    io: S,
    at_work: AtWork,
    head_time: Duration,
    stall_time: Duration,
    /// When the head that has begun must be complete.
    head: Option<Pin<Box<Sleep>>>,
    /// Heads that were complete when it began.
    heads: usize,
    /// When something must have been taken.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub fn new(io: S, at_work: AtWork, limits: &Limits) -> Self {
        // Who connects is about to ask something.
        let head = Some(Box::pin(sleep(limits.head_time)));
        Paced { io, at_work, head_time: limits.head_time, stall_time: limits.stall_time, head, heads: 0, stall: None }
    }

    /// The result of a try to write; too many in vain are an error.
    fn written<T>(&mut self, cx: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.stall = None;
            return tried;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.stall_time)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let tried = Pin::new(&mut self.io).poll_read(cx, buffer);
        let heads = self.at_work.0.requests.load(Ordering::Relaxed);
        if heads != self.heads {
            self.heads = heads;
            self.head = None;
        }
        if self.at_work.0.now.load(Ordering::Relaxed) {
            // Bodies have times of their own.
            return tried;
        }
        if tried.is_ready() && buffer.filled().len() > before && self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.head_time)));
        }
        if tried.is_pending() && self.at_work.0.last.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if let (true, Some(head)) = (tried.is_pending(), &mut self.head) {
            ready!(head.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not send its request")));
        }
        tried
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.written(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, tried)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(cx, tried)
    }
}

/// The client took too long to send a body.
#[derive(Debug)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body came too slowly: send it at once, or in pieces without long pauses")
    }
}

impl Error for TooSlow {}

impl TooSlow {
    /// Whether an error comes from one.
    pub fn is_in(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<TooSlow>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// A request body that must keep coming. Time counts while the handler waits for it.
pub(crate) struct Timed {
    body: Body,
    pause: Duration,
    whole: Option<Duration>,
    next: Option<Pin<Box<Sleep>>>,
    end: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub fn new(body: Body, pause: Duration, whole: Option<Duration>) -> Timed {
        Timed { body, pause, whole, next: None, end: None }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let late = |timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>| timer.as_mut().poll(cx).is_ready();
        if let Some(whole) = this.whole
            && late(this.end.get_or_insert_with(|| Box::pin(sleep(whole))), cx)
        {
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.next = None;
                Poll::Ready(frame)
            }
            Poll::Pending if late(this.next.get_or_insert_with(|| Box::pin(sleep(this.pause))), cx) => {
                Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, with what is given back at its end.
pub(crate) struct Holding<G> {
    body: Body,
    /// Gone when the body has ended, though the connection may keep the rest.
    held: Option<G>,
}

impl<G> Holding<G> {
    pub fn new(body: Body, held: G) -> Holding<G> {
        Holding { body, held: Some(held) }
    }
}

impl<G: Unpin> HttpBody for Holding<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
