//! What goes into a program and what comes out of it.

use std::collections::VecDeque;
use std::convert::Infallible;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;

use crate::secrets::known::Known;

/// Takes a line of stderr.
pub type Tell<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Lines of stderr that are told; the rest is counted.
const MOST_LINES: usize = 1_000;
/// Bytes of a line that are told and kept.
const LINE: usize = 4 * 1024;
/// Of a longer line so much is read, so that a secret across its cut is found as a whole.
const LINE_READ: usize = 32 * 1024;
/// Bytes of the last lines that are kept.
const TAIL: usize = 64 * 1024;

/// More than may be kept.
#[derive(Debug)]
pub struct TooMuch;

/// Gives it all to the program and then closes the pipe. A program that does not read it to the end, or at all, has its
/// reasons. Never ends: what counts is what the program does.
pub async fn feed(pipe: Option<ChildStdin>, bytes: &[u8]) -> Infallible {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(bytes).await;
        let _ = pipe.shutdown().await;
    }
    std::future::pending().await
}

/// Reads to the end. A pipe that cannot be read has ended.
pub async fn collect(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, most: usize) -> Result<(), TooMuch> {
    let Some(pipe) = pipe else { return Ok(()) };
    let _ = pipe.take(most as u64 + 1).read_to_end(into).await;
    if into.len() > most { Err(TooMuch) } else { Ok(()) }
}

/// Follows stderr: told line by line, the last lines kept.
pub struct Listener<'a> {
    known: &'a Known,
    tell: Tell<'a>,
    /// Of the line that has not ended.
    begun: Vec<u8>,
    /// Bytes of it that were not kept.
    lost: usize,
    lines: usize,
    tail: VecDeque<String>,
    tail_size: usize,
}

impl<'a> Listener<'a> {
    pub fn new(known: &'a Known, tell: Tell<'a>) -> Self {
        Listener { known, tell, begun: Vec::new(), lost: 0, lines: 0, tail: VecDeque::new(), tail_size: 0 }
    }

    pub async fn listen(&mut self, pipe: Option<impl AsyncRead + Unpin>) -> Result<(), TooMuch> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let mut buffer = [0; 8 * 1024];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(length) => self.take(&buffer[..length]),
            }
        }
    }

    /// The last lines, when there will be no more.
    pub fn end(mut self) -> String {
        if !self.begun.is_empty() {
            self.line();
        }
        if self.lines > MOST_LINES {
            (self.tell)(format!("{} more lines are not shown", self.lines - MOST_LINES));
        }
        self.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let kept = part.len().min(LINE_READ.saturating_sub(self.begun.len()));
            self.begun.extend_from_slice(&part[..kept]);
            self.lost += part.len() - kept;
            match end {
                Some(end) => {
                    self.line();
                    bytes = &bytes[end + 1..];
                }
                None => return,
            }
        }
    }

    fn line(&mut self) {
        let text = String::from_utf8_lossy(&self.begun);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        let mut line = match self.lost {
            0 => self.known.hide(text).unwrap_or_else(|| text.to_owned()),
            _ => self.known.hide_cut(text),
        };
        if line.len() > LINE || self.lost > 0 {
            let lost = self.lost + line.len().saturating_sub(LINE);
            line.truncate((0..=LINE.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0));
            line.push_str(&format!(" … ({lost} bytes are not shown)"));
        }
        self.begun.clear();
        self.lost = 0;
        self.lines += 1;
        if self.lines <= MOST_LINES {
            (self.tell)(line.clone());
        }
        self.tail_size += line.len() + 1;
        self.tail.push_back(line);
        while self.tail_size > TAIL
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_size -= first.len() + 1;
        }
    }
}
