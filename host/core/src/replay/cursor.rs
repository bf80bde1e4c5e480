//! Where a run stands in its log: what is recorded and was not handed over yet, and what is new in this turn.

use std::collections::VecDeque;

use super::divergence::{self, Divergence, Side};
use super::migration::Migrations;
use super::recorded::Recorded;
use super::taken_over::TakenOver;
use super::turn::Command;
use crate::{Event, EventBody, Failure, FailureKind, Millis, Site, StepId, Version};

pub(super) struct Cursor {
    /// Recorded events that were not yet handed over.
    history: VecDeque<Event>,
    /// What the script asked for after the input at hand, as recorded.
    recorded: Recorded,
    /// The input at hand is new, or the script went beyond what was recorded after it.
    live: bool,
    last_seq: u64,
    last_at: Millis,
    /// The number of the event that was handed over last.
    input_seq: u64,
    /// The host's time, for events to come.
    wall: Millis,
    /// Events that the log may have.
    most_events: u64,
    /// New in this turn.
    pub events: Vec<Event>,
    pub commands: Vec<Command>,
    pub migrations: Migrations,
    pub taken_over: TakenOver,
}

/// An event that was asked for.
pub(super) struct Asked {
    pub at: Millis,
    pub seq: u64,
    /// It was not recorded: the world must act.
    pub new: bool,
    /// What was, otherwise: its moments and names hold.
    pub recorded: Option<EventBody>,
}

/// Why a script cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It does not fit its log.
    Diverged(Box<Divergence>),
    /// The log answers a call that the script did not make.
    Unasked(&'static str),
    /// The log ends where the script stands, by this event.
    LogEnds(Box<EventBody>),
    /// The log has all the events it may have.
    LogFull,
}

impl Cursor {
    /// `history` is the log without its first event, which came at `created_at`.
    pub fn new(history: VecDeque<Event>, created_at: Millis, most_events: u64) -> Self {
        let (mut migrations, mut taken_over) = (Migrations::default(), TakenOver::default());
        for event in &history {
            taken_over.note(event);
            migrations.note(event);
        }
        let last_at = history.back().map_or(created_at, |event| event.at);
        Cursor {
            recorded: Recorded::default(),
            live: false,
            last_seq: 1 + history.len() as u64,
            last_at,
            input_seq: 1,
            wall: last_at,
            most_events,
            history,
            events: Vec::new(),
            commands: Vec::new(),
            migrations,
            taken_over,
        }
    }

    pub fn wall(&self) -> Millis {
        self.wall
    }

    /// Time never goes back.
    pub fn set_wall(&mut self, now: Millis) {
        self.wall = self.wall.max(now);
    }

    /// When an event would happen that is made now.
    pub fn now(&self) -> Millis {
        self.wall.max(self.last_at)
    }

    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn is_full(&self) -> bool {
        self.last_seq >= self.most_events
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    /// What the script does from here on is new.
    pub fn set_live(&mut self) {
        self.live = true;
    }

    /// All that is recorded was handed over and asked for.
    pub fn is_through(&self) -> bool {
        self.history.is_empty() && self.recorded.is_empty()
    }

    // ---- recorded inputs

    /// A recorded event that the script should have asked for by now.
    pub fn take_leftover(&mut self) -> Option<Event> {
        self.recorded.take_first()
    }

    /// The next recorded event. It is an input, or a call that the script should have made; after an input, what the
    /// script asked for in reaction to it is laid out for [`ask`](Cursor::ask).
    pub fn next_recorded(&mut self) -> Option<Event> {
        let event = self.history.pop_front()?;
        if event.body.is_asked() {
            return Some(event);
        }
        while let Some(next) = self.history.front() {
            // What a version asked for beyond what the version before it did stands behind the move, what a run asked for
            // beyond the log that it took over behind its own beginning.
            let moved = matches!(next.body, EventBody::RunMigrated { .. } | EventBody::RunStarted { again: Some(_) });
            if !moved && !next.body.is_asked() {
                break;
            }
            let Some(next) = self.history.pop_front().filter(|_| !moved) else { continue };
            self.recorded.add(next);
        }
        self.live = false;
        Some(event)
    }

    /// The script reacts to another input: that of event `seq`.
    pub fn note_input(&mut self, seq: u64) {
        self.input_seq = seq;
    }

    /// From when the time is counted that clean-ups have, if they begin with the input at hand, which came `at` this time.
    pub fn grace_since(&self, at: Millis) -> Millis {
        self.taken_over.since(self.input_seq, at)
    }

    /// The number of the first event that is left of the log.
    pub fn first_left(&self) -> Option<u64> {
        self.recorded.all().chain(self.history.front()).map(|event| event.seq).min()
    }

    /// Part of the log is left, and the beginning of the run is in it.
    pub fn begins_in_log(&self) -> bool {
        self.history.iter().any(|event| matches!(event.body, EventBody::RunStarted { .. }))
    }

    /// The log ends by a termination, and nothing else is left in it.
    pub fn only_terminated(&self) -> bool {
        let terminated = |event: &Event| matches!(&event.body, EventBody::RunFailed { error } if error.kind == FailureKind::Terminated);
        self.history.is_empty() && self.recorded.only().is_some_and(terminated)
    }

    /// The event by which the log ends where the script stands, in the middle of what it did: the run was terminated
    /// there, or came to a limit, which need not be the same everywhere. What it would do next never happened.
    pub fn end_here(&self) -> Option<&EventBody> {
        let cut_off = |end: &EventBody| matches!(end, EventBody::RunFailed { error } if matches!(error.kind, FailureKind::Terminated | FailureKind::Limit));
        let last = self.recorded.only().filter(|_| self.history.is_empty())?;
        Some(&last.body).filter(|end| cut_off(end))
    }

    /// What does not fit: the recorded event, and what the script asks for.
    pub fn divergence(&self, message: &str, recorded: Option<&Event>, asked: Option<Side>) -> Box<Divergence> {
        Box::new(Divergence {
            message: message.into(),
            step_id: recorded.and_then(|event| event.step_id.clone()),
            seq: recorded.map_or(self.last_seq, |event| event.seq),
            recorded: recorded.map(Side::of_event),
            asked,
        })
    }

    // ---- new events

    /// Asks for an event: matches it with what is recorded, or makes it.
    pub fn ask(&mut self, id: Option<&StepId>, site: Option<&Site>, body: EventBody) -> Result<Asked, Stop> {
        if let Some(event) = self.recorded.take(id, &body) {
            return match divergence::fits(&event.body, &body) {
                Ok(()) => Ok(Asked { at: event.at, seq: event.seq, new: false, recorded: Some(event.body) }),
                Err(why) => Err(Stop::Diverged(self.divergence(why, Some(&event), Some(Side::of(&body, site))))),
            };
        }
        if !self.is_through() {
            if let Some(end) = self.end_here() {
                return Err(Stop::LogEnds(Box::new(end.clone())));
            }
            return Err(Stop::Diverged(self.not_recorded(id, Side::of(&body, site))));
        }
        self.live = true;
        if self.is_full() && !body.is_terminal() {
            return Err(Stop::LogFull);
        }
        let (at, seq) = self.push(id.cloned(), site.cloned(), body);
        Ok(Asked { at, seq, new: true, recorded: None })
    }

    /// Something else is recorded here: shows what the same task did, else whatever comes next.
    fn not_recorded(&self, id: Option<&StepId>, asked: Side) -> Box<Divergence> {
        let message = "the script makes a call that the log does not have";
        let task = id.map_or("", StepId::task);
        let same = self.recorded.all().filter(|event| event.step_id.as_ref().map_or("", StepId::task) == task);
        let event = same.min_by_key(|event| event.seq).or_else(|| self.history.front());
        match (event, id) {
            // The log may simply hold nothing for this call.
            (Some(event), Some(id)) if event.step_id.as_ref() != Some(id) => Box::new(Divergence {
                message: message.into(),
                step_id: Some(id.clone()),
                seq: event.seq,
                recorded: event.body.is_asked().then(|| Side::of_event(event)),
                asked: Some(asked),
            }),
            _ => self.divergence(message, event, Some(asked)),
        }
    }

    /// Appends a new event; when it happened, and its number.
    pub fn push(&mut self, step_id: Option<StepId>, site: Option<Site>, body: EventBody) -> (Millis, u64) {
        self.last_seq += 1;
        self.last_at = self.now();
        self.events.push(Event { seq: self.last_seq, at: self.last_at, step_id, site, body });
        (self.last_at, self.last_seq)
    }

    /// The run moves to another version.
    pub fn migrate(&mut self, now: Millis, from: Version, to: Version) {
        self.set_wall(now);
        let (_, seq) = self.push(None, None, EventBody::RunMigrated { from, to: to.clone() });
        self.migrations.add(seq, to);
    }

    /// The error that the script ends with beyond its log, if that is what it does.
    pub fn new_failure(&self) -> Option<&Failure> {
        match self.events.last().map(|event| &event.body) {
            Some(EventBody::RunFailed { error }) => Some(error),
            _ => None,
        }
    }

    /// A waiting run may wait for months: it keeps no room for what has passed.
    pub fn shrink(&mut self) {
        self.history.shrink_to_fit();
        self.recorded.shrink();
    }
}
