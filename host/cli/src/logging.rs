//! What the host says about itself: lines for people on standard error, or JSON for programs that gather logs.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::args::observing::{LogFormat, Observing};
use crate::note::{self, note};

/// From now on, events of durhai's own crates are printed as these options say. `usual`: for people, where none says which.
pub fn begin(options: &Observing, usual: LevelFilter) {
    match options.log_format {
        LogFormat::Text => print(options.log_level.unwrap_or(usual)),
        LogFormat::Json => json(options.log_level.unwrap_or(LevelFilter::INFO)),
    }
}

/// From now on, events of durhai's own crates at this level or above are printed for people.
pub fn print(level: LevelFilter) {
    // It fails when another subscriber was set before; then that one has the events.
    let _ = tracing::subscriber::set_global_default(Printer(level));
}

fn json(level: LevelFilter) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    let wanted = Targets::new().with_target("durhai", level);
    if tracing::subscriber::set_global_default(tracing_subscriber::registry().with(wanted).with(lines)).is_err() {
        return;
    }
    note::become_events();
    // What a panic says is for people otherwise.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        tracing::error!(place, "a thread panicked: {message}");
    }));
}

struct Printer(LevelFilter);

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("durhai") && *metadata.level() <= self.0
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        match *event.metadata().level() {
            Level::ERROR => note(format!("error: {}", message.0)),
            Level::WARN => note(format!("warning: {}", message.0)),
            _ => note(message.0),
        }
    }

    // Spans are not asked for.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
