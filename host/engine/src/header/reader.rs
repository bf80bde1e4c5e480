//! Turns the literals of a header into what they stand for, and collects what is wrong.

use std::collections::BTreeSet;

use durhai_core::{Millis, duration};
use rhai::Position;

use super::literal::{Entry, Literal, LiteralKind};
use crate::errors::diagnostic::Diagnostic;
use crate::errors::suggest::near;
use crate::schema;

/// How many mistakes are told.
const MOST: usize = 20;

/// Reads one header.
pub struct Reader<'a> {
    pub file: &'a str,
    pub source: &'a str,
    pub edition: u32,
    pub wrong: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// The entries of a map whose keys are all known. What is not known is reported and left out.
    pub fn entries<'l>(&mut self, what: &str, value: &'l Literal, known: &[&str]) -> Vec<&'l Entry> {
        let LiteralKind::Map(entries) = &value.kind else {
            let message = format!("`{what}` must be a map like #{{ {}: … }}, found {}", known[0], value.found());
            self.refuse::<()>(value.position, message, None);
            return Vec::new();
        };
        let mut fits = Vec::new();
        for entry in entries {
            if known.contains(&entry.key.as_str()) {
                fits.push(entry);
                continue;
            }
            let close = near(&entry.key, known.iter().copied());
            let close = close.map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
            let message = format!("`{what}` has no key `{}`{close}", entry.key);
            self.refuse::<()>(entry.position, message, Some(format!("there are: {}", known.join(", "))));
        }
        fits
    }

    pub fn text(&mut self, what: &str, value: &Literal) -> Option<String> {
        match &value.kind {
            LiteralKind::Text(text) => Some(text.clone()),
            _ => self.refuse(value.position, format!("`{what}` must be a string, found {}", value.found()), None),
        }
    }

    /// An array of strings, none of them empty.
    pub fn texts(&mut self, what: &str, value: &Literal) -> Vec<String> {
        let LiteralKind::Array(all) = &value.kind else {
            let message = format!("`{what}` must be an array of strings, found {}", value.found());
            self.refuse::<()>(value.position, message, None);
            return Vec::new();
        };
        let read = |one: &Literal| match self.text(what, one)? {
            text if text.is_empty() => {
                self.refuse(one.position, format!("`{what}` must have no empty strings in it"), None)
            }
            text => Some(text),
        };
        all.iter().filter_map(read).collect()
    }

    pub fn millis(&mut self, what: &str, value: &Literal) -> Option<Millis> {
        let parsed = match &value.kind {
            LiteralKind::Text(text) => duration::parse(text),
            LiteralKind::Int(seconds) => duration::from_seconds(*seconds as f64),
            LiteralKind::Float(seconds) => duration::from_seconds(*seconds),
            _ => Err(format!("it must be a number of seconds or a string like \"1h 30m\", found {}", value.found())),
        };
        parsed.map_or_else(|why| self.refuse(value.position, format!("`{what}`: {why}"), None), Some)
    }

    pub fn longer_than_nothing(&mut self, what: &str, value: &Literal) -> Option<Millis> {
        match self.millis(what, value)? {
            0 => self.refuse(value.position, format!("`{what}` must be longer than nothing"), None),
            ms => Some(ms),
        }
    }

    pub fn count(&mut self, what: &str, value: &Literal) -> Option<u32> {
        match value.kind {
            LiteralKind::Int(count @ 1..=0xffff_ffff) => u32::try_from(count).ok(),
            _ => {
                let message = format!("`{what}` must be a whole number from 1, found {}", value.found());
                self.refuse(value.position, message, None)
            }
        }
    }

    pub fn number(&mut self, what: &str, value: &Literal, least: f64, most: f64) -> Option<f64> {
        let number = match value.kind {
            LiteralKind::Int(int) => Some(int as f64),
            LiteralKind::Float(float) => Some(float),
            _ => None,
        };
        number.filter(|number| (least..=most).contains(number)).or_else(|| {
            let to = if most.is_infinite() { String::new() } else { format!(" to {most}") };
            let message = format!("`{what}` must be a number from {least}{to}, found {}", value.found());
            self.refuse(value.position, message, None)
        })
    }

    pub fn choice<T: Copy>(&mut self, what: &str, value: &Literal, known: &[(&str, T)]) -> Option<T> {
        let text = self.text(what, value)?;
        if let Some((_, choice)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let names: BTreeSet<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let close = near(&text, known.iter().map(|(name, _)| *name));
        let close = close.map_or_else(String::new, |close| format!("; did you mean {close:?}?"));
        self.refuse(value.position, format!("`{what}` cannot be {text:?}{close}"), Some(format!("there are: {names}")))
    }

    /// Notes what is wrong.
    pub fn refuse<T>(&mut self, position: Position, message: String, help: Option<String>) -> Option<T> {
        if self.wrong.len() < MOST {
            let mut diagnostic = Diagnostic::new(self.file, self.source, position, message);
            diagnostic.help = help;
            self.wrong.push(diagnostic);
        }
        None
    }

    /// Notes that a value does not fit a schema.
    pub fn misfit<T>(&mut self, position: Position, what: &str, problems: &[schema::Problem]) -> Option<T> {
        let message = format!("{what} does not fit the `input` schema: {}", schema::list(problems));
        self.refuse(position, message, None)
    }
}
