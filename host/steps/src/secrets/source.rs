//! Where secrets are, and how they are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::known::{Known, LONGEST, SHORTEST};
use crate::environment::Environment;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the line end at its end.
    File(PathBuf),
}

/// Every secret that `durhai.toml` names.
pub type SecretSources = BTreeMap<String, SecretSource>;

/// Where a secret is looked for that the settings do not name.
pub(crate) const PREFIX: &str = "DURHAI_SECRET_";

/// Reads the value of a secret. The error says why it cannot be had, and what to do about it.
pub fn read(sources: &SecretSources, environment: &Environment, known: &Known, name: &str) -> Result<String, String> {
    let value = match sources.get(name) {
        Some(SecretSource::Env(variable)) => environment.get(variable).map(str::to_owned).ok_or_else(|| {
            format!(
                "the secret {name:?} is not there: {variable}, the variable that the settings name for it, is not set"
            )
        })?,
        Some(SecretSource::File(path)) => read_file(name, path)?,
        None => {
            let variable = variable(name);
            let found = environment.get(&variable).filter(|_| !name.is_empty());
            found.map(str::to_owned).ok_or_else(|| unknown(sources, name, &variable))?
        }
    };
    if value.len() < SHORTEST {
        return Err(format!(
            "the secret {name:?} is shorter than {SHORTEST} bytes, too short to be hidden wherever it turns up: use a longer one"
        ));
    }
    known.learn(name, &value);
    Ok(value)
}

/// Learns every secret that can be read by now.
pub fn learn_all(sources: &SecretSources, environment: &Environment, known: &Known) {
    for name in sources.keys() {
        // A step that asks for one that is missing is told why.
        let _ = read(sources, environment, known, name);
    }
    for (variable, value) in environment.beginning_with(PREFIX) {
        if value.len() >= SHORTEST {
            known.learn(&variable[PREFIX.len()..].to_ascii_lowercase(), value);
        }
    }
}

fn unknown(sources: &SecretSources, name: &str, variable: &str) -> String {
    let declared: Vec<_> = sources.keys().map(String::as_str).collect();
    let declared = match declared[..] {
        [] => String::new(),
        _ => format!("; there are {}", declared.join(", ")),
    };
    format!(
        "there is no secret {name:?}: name it in durhai.toml under [secrets], as {name} = {{ env = \"VARIABLE\" }} or \
         {name} = {{ file = \"PATH\" }}, or set {variable}{declared}"
    )
}

fn variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(name.chars().map(plain)).collect()
}

fn read_file(name: &str, path: &Path) -> Result<String, String> {
    let wrong = |what: String| format!("the secret {name:?} cannot be read from {}: {what}", path.display());
    let mut bytes = Vec::new();
    // Opening a pipe may wait for ever.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(wrong("it is no file".into()));
    }
    match File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() > LONGEST => Err(wrong(format!("it is longer than {LONGEST} bytes"))),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => {
                let mut text = durhai::text::strip_bom(text);
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                Ok(text)
            }
            Err(_) => Err(wrong("it is no UTF-8 text".into())),
        },
        Err(error) => Err(wrong(error.to_string())),
    }
}
