//! One run, followed: what it already did, then what it does.

use std::collections::VecDeque;

use durhai::observe::Follower;
use durhai::view::{Committed, LogEntry, OutputEntry};
use durhai::{Event, Host, HostError, Run, RunView, Status};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Events read at a time while the feed catches up.
const PAGE: usize = 500;

/// What a feed gives, and from where on.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// Events from this sequence number (the first is 1).
    pub events: Option<u64>,
    /// Lines of the log from this index (the first is 0).
    pub lines: Option<u64>,
    /// Values of the output stream of this name from this index (the first is 0).
    pub output: Option<(String, u64)>,
}

/// Something that happened in the run.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Event(Event),
    Line(LogEntry),
    Emitted(OutputEntry),
    /// It stopped until an operator looks at it. More may follow.
    Parked(Box<RunView>),
    /// It has ended. Nothing follows.
    Ended(Box<RunView>),
}

/// Follows a run. Nothing is missed and nothing comes twice, however slow the reader is.
#[derive(Debug)]
pub struct Feed {
    host: Host,
    run: Run,
    commits: Receiver<Committed>,
    /// Hears of it while another host has it.
    elsewhere: Follower,
    /// The next of each to give.
    next: Want,
    queue: VecDeque<Item>,
    /// There may be more in the store than was given.
    behind: bool,
    /// The status has to be looked up.
    unsure: bool,
    /// It has ended or is parked; to be said once everything before that was given.
    settled: Option<RunView>,
    /// Said last, so that it is not said again.
    parked: bool,
    ended: bool,
}

impl Feed {
    /// Begins to follow. [`HostError::NotFound`] if there is no such run.
    pub async fn open(host: &Host, id: &str, want: Want) -> Result<Feed, HostError> {
        // Listening starts first: what happens while the past is read is not lost.
        let commits = host.commits();
        let run = host.get(id).await?;
        let elsewhere = run.follow()?;
        let next = Want { events: want.events.map(|seq| seq.max(1)), ..want };
        Ok(Feed {
            host: host.clone(),
            run,
            commits,
            elsewhere,
            next,
            queue: VecDeque::new(),
            behind: true,
            unsure: true,
            settled: None,
            parked: false,
            ended: false,
        })
    }

    /// The next thing that happened; `None` after [`Item::Ended`], and when the host stops. Nothing is lost if the
    /// future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Option<Item>, HostError> {
        match self.find().await {
            // What is not read by then is read after the next start.
            Err(HostError::Closed) => Ok(None),
            found => found,
        }
    }

    async fn find(&mut self) -> Result<Option<Item>, HostError> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                self.ended = matches!(item, Item::Ended(_));
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            if self.behind {
                self.catch_up().await?;
            } else if let Some(view) = self.settled.take() {
                self.say(view);
            } else if self.unsure {
                self.look().await?;
            } else {
                let commit = tokio::select! {
                    // What was committed before the host stopped is told.
                    biased;
                    commit = self.commits.recv() => commit,
                    () = self.elsewhere.changed() => {
                        self.behind = true;
                        self.unsure = true;
                        continue;
                    }
                    () = self.host.closed() => return Ok(None),
                };
                match commit {
                    Ok(commit) if commit.run == *self.run.id() => self.take(commit).await?,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        self.behind = true;
                        self.unsure = true;
                    }
                    Err(RecvError::Closed) => return Ok(None),
                }
            }
        }
    }

    /// Reads one page of what is in the store.
    async fn catch_up(&mut self) -> Result<(), HostError> {
        let lines = self.read_lines().await?;
        let values = self.read_output().await?;
        let events = match self.next.events {
            Some(from) => self.run.events(from, PAGE).await?,
            None => Vec::new(),
        };
        self.behind = lines == PAGE || values == PAGE || events.len() == PAGE;
        events.into_iter().for_each(|event| self.push(event));
        Ok(())
    }

    async fn read_lines(&mut self) -> Result<usize, HostError> {
        let Some(from) = self.next.lines else { return Ok(0) };
        let lines = self.run.logs(from, PAGE).await?;
        let count = lines.len();
        if let Some(last) = lines.last() {
            self.next.lines = Some(last.index + 1);
        }
        self.queue.extend(lines.into_iter().map(Item::Line));
        Ok(count)
    }

    async fn read_output(&mut self) -> Result<usize, HostError> {
        let Some((stream, from)) = &mut self.next.output else { return Ok(0) };
        let values = self.run.emitted(stream, *from, PAGE).await?;
        let count = values.len();
        if let Some(last) = values.last() {
            *from = last.index + 1;
        }
        self.queue.extend(values.into_iter().map(Item::Emitted));
        Ok(count)
    }

    fn push(&mut self, event: Event) {
        self.next.events = Some(event.seq + 1);
        self.queue.push_back(Item::Event(event));
    }

    /// Looks whether the run has ended or is parked. What it did before that may have come after the last page was read.
    async fn look(&mut self) -> Result<(), HostError> {
        let view = self.run.view().await?;
        self.unsure = false;
        if view.status.is_terminal() || view.status == Status::Parked {
            self.settled = Some(view);
            self.behind = true;
        } else {
            self.parked = false;
        }
        Ok(())
    }

    fn say(&mut self, view: RunView) {
        let parked = view.status == Status::Parked;
        if view.status.is_terminal() {
            self.queue.push_back(Item::Ended(Box::new(view)));
        } else if parked && !self.parked {
            self.queue.push_back(Item::Parked(Box::new(view)));
        }
        self.parked = parked;
    }

    /// Takes what a commit brought without reading it again, where it goes on right after what was given.
    async fn take(&mut self, commit: Committed) -> Result<(), HostError> {
        let settled = commit.status.is_terminal() || commit.status == Status::Parked;
        self.unsure = settled;
        self.parked &= settled;
        if let Some((stream, _)) = &self.next.output
            && commit.emitted.iter().any(|emitted| *emitted.stream == **stream)
        {
            self.behind = true;
        }
        match (self.next.events, commit.events.first()) {
            (Some(next), Some(first)) if first.seq > next => self.behind = true,
            (Some(next), Some(_)) => {
                // A turn begins with what came from outside; then the script writes lines and asks for more.
                let mut events: Vec<_> = commit.events.into_iter().filter(|event| event.seq >= next).collect();
                let asked = events.iter().position(|event| event.body.is_asked()).unwrap_or(events.len());
                let rest = events.split_off(asked);
                events.into_iter().for_each(|event| self.push(event));
                if !commit.lines.is_empty() {
                    // If the caller gives up waiting just here, the rest is read from the store.
                    let behind = std::mem::replace(&mut self.behind, true);
                    self.behind = self.read_lines().await? == PAGE || behind;
                }
                rest.into_iter().for_each(|event| self.push(event));
            }
            _ if !commit.lines.is_empty() => self.behind = true,
            _ => {}
        }
        Ok(())
    }
}
