//! What a look at the settings finds before a step does.

use std::collections::BTreeSet;

use super::SettingsSource;
use crate::declared::Declared;
use crate::permissions::find;
use crate::sql::DatabasePlace;
use crate::step_env::StepEnvHandle;

impl SettingsSource {
    /// What is wrong with the settings, one text each: a mistake in the file, the program of a declared step that is not
    /// there, a secret that cannot be read. Names secrets, never shows one. Changes nothing, starts nothing.
    pub fn findings(&self) -> Vec<String> {
        let (settings, config) = match self.read().and_then(|read| Ok((read.step_env(self.given_beside())?, read))) {
            Ok((config, settings)) => (settings, config),
            Err(error) => return vec![error.to_string()],
        };
        let step_env = StepEnvHandle::new(config);
        let step_env = step_env.current();
        let mut findings = Vec::new();
        // Those that are declared, and those that steps name.
        let mut secrets: BTreeSet<&str> = step_env.secrets.keys().map(String::as_str).collect();
        for (name, declared) in &step_env.declared {
            match declared {
                Declared::Program(step) => {
                    secrets.extend(step.secrets.values().map(String::as_str));
                    if !step.cwd.is_dir() {
                        findings
                            .push(format!("the step {name:?} runs in {}: there is no such folder", step.cwd.display()));
                    }
                    let program = step.command.first().map_or("", String::as_str);
                    let program = match program.contains(std::path::is_separator) {
                        true => step.cwd.join(program).display().to_string(),
                        false => program.to_string(),
                    };
                    let search = step_env.environment.get("PATH").unwrap_or_default();
                    findings.extend(find(&program, search).err().map(|why| format!("the step {name:?}: {why}")));
                }
                Declared::Service(step) => {
                    secrets.extend(step.secrets.values().chain(&step.bearer).map(String::as_str));
                }
            }
        }
        secrets.extend(step_env.databases.values().filter_map(|place| match place {
            DatabasePlace::At { password, .. } => password.as_deref(),
            DatabasePlace::Store => None,
        }));
        for name in secrets {
            if let Err(why) = step_env.read_secret(name) {
                let place = settings.secret_place(name).map(|place| format!("{place}: ")).unwrap_or_default();
                findings.push(format!("{place}{why}"));
            }
        }
        if let Some(path) = step_env.http.ca_file.as_ref().filter(|path| !path.is_file()) {
            findings.push(format!("`ca_file` under [http]: there is no file {}", path.display()));
        }
        findings
    }
}
