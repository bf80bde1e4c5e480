//! `[functions]`: what another program adds to the scripts, for commands that cannot load it.

use std::path::Path;

use durhai::check::AssumedFunction;

use super::error::Wrong;
use super::form::Function;
use super::{LONGEST, Settings, SettingsError};

impl Settings {
    /// Functions that the program which embeds these scripts adds to them, for
    /// [`HostBuilder::assume_function`](durhai::HostBuilder::assume_function). Stand-ins are read now. A host that serves does not
    /// take them: what they stand for is not there.
    pub fn functions(&self) -> Result<Vec<AssumedFunction>, SettingsError> {
        let mut all = Vec::new();
        for (name, function) in &self.form.functions {
            let wrong = |why: String| SettingsError::new(&self.file, &self.text, Wrong::at(function.span(), why));
            match function.get_ref() {
                Function::Arguments(counts) => {
                    for count in counts {
                        all.push(AssumedFunction::new(name.get_ref(), *count).map_err(wrong)?);
                    }
                }
                Function::StandIn(path) => all.extend(self.stand_ins(name.get_ref(), path).map_err(wrong)?),
            }
        }
        Ok(all)
    }

    /// One for each form that the script has.
    fn stand_ins(&self, name: &str, path: &Path) -> Result<Vec<AssumedFunction>, String> {
        let path = self.folder.join(path);
        let file = path.display().to_string();
        let source =
            durhai::text::read_text(&path, LONGEST).map_err(|error| format!("{file} cannot be read: {error}"))?;
        let mut found = Vec::new();
        let mut first = None;
        for count in 0..=16 {
            match AssumedFunction::new(name, count)?.stand_in(&file, &source) {
                Ok(function) => found.push(function),
                Err(why) => drop(first.get_or_insert(why)),
            }
        }
        match (found.is_empty(), first) {
            (true, Some(why)) if !why.contains("has no function") => Err(why),
            (true, _) => Err(format!("{file} has no function {name}")),
            _ => Ok(found),
        }
    }
}
