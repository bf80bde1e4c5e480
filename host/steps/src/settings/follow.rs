//! Settings that are saved while a host runs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use durhai::Host;

use super::{SettingsError, SettingsSource};
use crate::step_env::StepEnvHandle;

/// Between two looks. A change counts once two looks in a row have seen the same, so that no file is read that an editor has
/// only half written: it takes effect within a second.
const EVERY: Duration = Duration::from_millis(250);

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// It counts from the next attempt on. No file: it went away, and nothing is set. `findings`: what steps will miss, as
    /// [`SettingsSource::findings`] has it.
    Applied { file: Option<PathBuf>, findings: Vec<String> },
    /// Said once for each change; what counted before still does.
    Broken(SettingsError),
}

/// Applies every change of the settings to a host and what its steps work with: rules, declared steps, permissions,
/// secrets, HTTP, variables. Attempts that run end with what they began with. A file that appears later counts, one that
/// goes away does no more. Goes on until it is dropped.
///
/// What [`SettingsSource::load`] has read last is known here; a source that was never loaded is loaded at the first look.
pub async fn follow(host: Host, step_env: StepEnvHandle, source: SettingsSource, report: impl Fn(Reload) + Send) {
    let mut source = source;
    let mut before = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let kept = source.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let now = source.look();
            let settled = before.as_ref() == Some(&now);
            let change = (settled && source.seen() != Some(&now)).then(|| {
                let loaded = source.load();
                if loaded.is_err() {
                    source.pass_over(now.clone());
                }
                let findings = if loaded.is_ok() { source.findings() } else { Vec::new() };
                (source.found().map(PathBuf::from), findings, loaded)
            });
            (source, now, change)
        });
        let change;
        (source, before, change) = match looked.await {
            Ok((source, now, change)) => (source, Some(now), change),
            // It panicked or the runtime ends.
            Err(_) => (kept, None, None),
        };
        match change {
            None => {}
            Some((file, findings, Ok((rules, config)))) => match host.set_step_rules(rules) {
                Ok(()) => {
                    step_env.replace(config);
                    report(Reload::Applied { file, findings });
                }
                Err(error) => {
                    let file = file.unwrap_or_default();
                    report(Reload::Broken(SettingsError::whole(&file, error)));
                }
            },
            Some((_, _, Err(error))) => report(Reload::Broken(error)),
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reload::Applied { file, findings } => {
                match file {
                    Some(file) => write!(f, "{} loaded", file.display())?,
                    None => f.write_str("the settings are gone; none are set")?,
                }
                findings.iter().try_for_each(|finding| write!(f, "\nwarning: {finding}"))
            }
            Reload::Broken(error) => write!(f, "the settings do not load; what counted before still does:\n{error}"),
        }
    }
}
