//! What is wrong with settings, and where.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A mistake in settings. Displays as `file:line:column: message`, the line, and a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The file as it was named.
    pub file: String,
    /// What was found and what was expected.
    pub message: String,
    /// Where, unless it is the file as a whole.
    pub place: Option<Place>,
    /// What is probably meant.
    pub hint: Option<String>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The text of the line.
    pub text: String,
}

/// A mistake, and the bytes of the text that it is about.
#[derive(Debug)]
pub(super) struct Wrong {
    pub span: Option<Range<usize>>,
    pub message: String,
}

impl SettingsError {
    /// About the file as a whole.
    pub(super) fn whole(file: &Path, message: impl fmt::Display) -> Self {
        SettingsError { file: file.display().to_string(), message: message.to_string(), place: None, hint: None }
    }

    /// About a place in this text.
    pub(super) fn new(file: &Path, text: &str, wrong: Wrong) -> Self {
        let place = wrong.span.map(|span| Place::of(text, span.start));
        let message = wrong.message.trim_end().to_string();
        let bare = |place: &Place| place.text.trim_start().starts_with("[steps.") && !place.text.contains(['"', '\'']);
        let hint = (message.contains("unknown field") && place.as_ref().is_some_and(bare))
            .then(|| "A name with a dot in it needs quotes: [steps.\"http.get\"]".to_string());
        SettingsError { file: file.display().to_string(), message, place, hint }
    }
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Place { line, column, text: text.lines().nth(line - 1).unwrap_or_default().to_string() }
    }
}

impl Wrong {
    pub fn at(span: Range<usize>, message: impl fmt::Display) -> Self {
        Wrong { span: Some(span), message: message.to_string() }
    }
}

impl From<toml::de::Error> for Wrong {
    fn from(error: toml::de::Error) -> Self {
        Wrong { span: error.span(), message: error.message().to_string() }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SettingsError { file, message, place, hint } = self;
        match place {
            None => write!(f, "{file}: {message}")?,
            Some(Place { line, column, text }) => {
                // A tab moves the caret as far as it moves the text.
                let under = text.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).chain(std::iter::repeat(' '));
                let under: String = under.take(column - 1).collect();
                write!(f, "{file}:{line}:{column}: {message}\n  {text}\n  {under}^")?;
            }
        }
        hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n{hint}"))
    }
}

impl std::error::Error for SettingsError {}
