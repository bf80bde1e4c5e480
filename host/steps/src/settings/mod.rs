//! `durhai.toml`: what a host is told by a file, so that an operator need not write Rust for it.

mod databases;
mod error;
mod findings;
mod follow;
mod form;
mod functions;
mod resolve;
mod source;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durhai::StepRule;

pub use error::{Place, SettingsError};
pub use follow::{Reload, follow};
pub use resolve::Given;
pub use source::SettingsSource;

use crate::declared::Declared;
use crate::files::whole_text;
use crate::sql::DatabasePlace;
use error::Wrong;
use form::Form;

/// A longer file was not written by hand.
const LONGEST: u64 = 1024 * 1024;

/// The file, read and found right in itself. What it names (files, programs, hosts) is looked at by
/// [`step_env`](Settings::step_env).
///
/// ```
/// use durhai_steps::{Given, Settings};
///
/// let text = r#"
/// [permissions]
/// env = ["HOME"]
///
/// [steps.resize]
/// command = ["python3", "resize.py"]
/// retry = { max_attempts = 2 }
/// "#;
/// let settings = Settings::parse("conf/durhai.toml", text)?;
/// assert_eq!(settings.rules()["resize"].retry.as_ref().map(|retry| retry.max_attempts), Some(2));
/// let config = settings.step_env(&Given::default())?;
/// assert!(config.declared.contains_key("resize"));
///
/// let error = Settings::parse("durhai.toml", "[steps.resize]\ntimeout = \"soon\"").unwrap_err();
/// assert!(error.to_string().starts_with("durhai.toml:2:11: "));
/// # Ok::<(), durhai_steps::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// As it was named; empty where there is no file.
    file: PathBuf,
    text: String,
    form: Form,
    /// Where relative paths begin.
    folder: PathBuf,
    rules: BTreeMap<String, StepRule>,
    declared: BTreeMap<String, Declared>,
    databases: BTreeMap<String, DatabasePlace>,
}

impl Settings {
    /// Reads a file. Nothing is left out silently: what it does not know is an error.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let file = file.as_ref();
        let unreadable = |why: String| SettingsError::whole(file, format!("the settings cannot be read: {why}"));
        let text = std::fs::File::open(file).and_then(|opened| whole_text(opened, LONGEST));
        Settings::parse(file, &text.map_err(|error| unreadable(error.to_string()))?)
    }

    /// The same for a text; `file` is what mistakes name, and its folder is where relative paths begin.
    pub fn parse(file: impl Into<PathBuf>, text: &str) -> Result<Self, SettingsError> {
        let file = file.into();
        let text = durhai::text::without_bom(text);
        let parent = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(parent).unwrap_or_else(|_| parent.to_path_buf());
        let wrong = |wrong: Wrong| SettingsError::new(&file, text, wrong);
        let form: Form = toml::from_str(text).map_err(|error| wrong(error.into()))?;
        let (mut rules, mut declared) = (BTreeMap::new(), BTreeMap::new());
        for (name, step) in &form.steps {
            steps::check_name(name).map_err(wrong)?;
            rules.insert(name.get_ref().clone(), steps::rule(step));
            if let Some(step) = steps::declared(name, step, &folder).map_err(wrong)? {
                declared.insert(name.get_ref().clone(), step);
            }
        }
        resolve::check(&form).map_err(wrong)?;
        let databases = form.databases.iter().map(|(name, database)| databases::place(name, database));
        let databases = databases.collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Settings { text: text.into(), form, folder, rules, declared, databases, file })
    }

    /// Limits, retries and timeouts of steps, for [`durhai::Host::set_step_rules`].
    pub fn rules(&self) -> BTreeMap<String, StepRule> {
        self.rules.clone()
    }

    /// Where the settings name a secret: `durhai.toml:12`.
    fn secret_place(&self, name: &str) -> Option<String> {
        let (written, _) = self.form.secrets.iter().find(|(written, _)| written.get_ref() == name)?;
        let line = self.text.get(..written.span().start)?.matches('\n').count() + 1;
        Some(format!("{}:{line}", self.file.display()))
    }

    fn without_grants(mut self) -> Self {
        self.form.permissions = Default::default();
        self
    }

    /// Steps that are declared here, by name.
    pub fn declared(&self) -> &BTreeMap<String, Declared> {
        &self.declared
    }
}

#[cfg(test)]
mod tests;
