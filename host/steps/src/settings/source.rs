//! Where settings are looked for, and what was there at the last look.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use durhai::StepRule;

use super::resolve::NAME;
use super::{Given, LONGEST, Settings, SettingsError};
use crate::permissions::seal;
use crate::step_env::StepEnvConfig;

/// Settings in a file, and what is given beside it.
#[derive(Debug, Clone)]
pub struct SettingsSource {
    files: Vec<PathBuf>,
    required: bool,
    given: Given,
    /// What the file grants does not count.
    ungranted: bool,
    /// When they were read last.
    seen: Option<Seen>,
}

/// The contents of all files that count, with where each really is: what is out of the steps' reach depends on it. None for one
/// that is not there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen(Vec<(PathBuf, Option<Contents>)>);

type Contents = (PathBuf, Vec<u8>);

impl SettingsSource {
    /// This file, which must be there.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        SettingsSource {
            files: vec![path.into()],
            required: true,
            given: Given::default(),
            ungranted: false,
            seen: None,
        }
    }

    /// The first `durhai.toml` in these folders. Without any of them nothing is set.
    pub fn folders<P: AsRef<Path>>(folders: impl IntoIterator<Item = P>) -> Self {
        let files = folders.into_iter().map(|folder| folder.as_ref().join(NAME)).collect();
        SettingsSource { files, required: false, given: Given::default(), ungranted: false, seen: None }
    }

    /// With this beside the file. Where the file may appear later is sealed as well.
    #[must_use]
    pub fn given(mut self, given: Given) -> Self {
        self.given = given;
        self
    }

    /// Steps may do what was given, and nothing else that the file says under `[permissions]`. All the rest of it counts.
    #[must_use]
    pub fn without_grants(mut self) -> Self {
        self.ungranted = true;
        self
    }

    /// The file that counts now, if there is one.
    pub fn found(&self) -> Option<&Path> {
        self.files.iter().map(PathBuf::as_path).find(|file| self.required || file.is_file())
    }

    /// Reads it.
    pub fn load(&mut self) -> Result<(BTreeMap<String, StepRule>, StepEnvConfig), SettingsError> {
        // What changes from here on is found at the next look.
        let mut seen = self.look();
        let loaded = self.read().and_then(|settings| {
            let mut config = settings.step_env(&self.given)?;
            if !config.permissions.sealed.is_empty() {
                config.permissions.sealed.extend(self.files.iter().flat_map(|file| seal(file)));
            }
            Ok((settings, config))
        });
        if let Ok((settings, _)) = &loaded {
            seen = seen.of(settings.files(&self.given));
        }
        self.seen = Some(seen);
        loaded.map(|(settings, config)| (settings.rules(), config))
    }

    /// The settings alone, without what was given beside them.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        let settings = self.found().map_or_else(|| Ok(Settings::default()), Settings::read)?;
        Ok(if self.ungranted { settings.without_grants() } else { settings })
    }

    pub(super) fn given_beside(&self) -> &Given {
        &self.given
    }

    /// What the files hold now, those of the last settings too.
    pub(super) fn look(&self) -> Seen {
        let more = self.seen.iter().flat_map(|seen| &seen.0).map(|(path, _)| path);
        let mut files = self.files.clone();
        files.extend(more.filter(|path| !self.files.contains(path)).cloned());
        Seen(files.into_iter().map(|path| (contents(&path), path)).map(|(found, path)| (path, found)).collect())
    }

    pub(super) fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Does not look at this again.
    pub(super) fn pass_over(&mut self, seen: Seen) {
        self.seen = Some(seen);
    }
}

impl Seen {
    /// Also of these files.
    fn of(mut self, files: Vec<PathBuf>) -> Self {
        for path in files {
            if !self.0.iter().any(|(known, _)| *known == path) {
                self.0.push((path.clone(), contents(&path)));
            }
        }
        self
    }
}

fn contents(path: &Path) -> Option<Contents> {
    let mut bytes = Vec::new();
    // Opening something else than a file may wait for ever.
    let file = path.is_file().then(|| std::fs::File::open(path).ok()).flatten()?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).ok()?;
    Some((path.canonicalize().ok()?, bytes))
}
