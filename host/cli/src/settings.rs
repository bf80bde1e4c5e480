//! `durhai.toml`: what a host is told beside its options.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use durhai::{HostBuilder, Rate, StepRule};
use serde::{Deserialize, Deserializer};

use crate::exit::Fail;

/// Its name, where it is not given.
const NAME: &str = "durhai.toml";

/// The file. What it does not know is an error.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// By the name of a step, or the beginning of some with a `*` behind it.
    #[serde(default)]
    steps: BTreeMap<String, Step>,
}

/// `[steps."http.get"]`
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Attempts at a time in this host.
    concurrency: Option<NonZeroU32>,
    /// Attempts that begin in a while: `"100/s"`.
    #[serde(default, deserialize_with = "rate")]
    rate: Option<Rate>,
}

impl Settings {
    /// Reads the file that was given, or the one in the scripts folder, or that in the current folder. Without any of
    /// them nothing is set.
    pub fn find(given: Option<&Path>, root: &Path) -> Result<Settings, Fail> {
        let found = [root.join(NAME), PathBuf::from(NAME)].into_iter().find(|path| path.is_file());
        match given.map(Path::to_path_buf).or(found) {
            None => Ok(Settings::default()),
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Fail::usage(format!("{} cannot be read: {error}", path.display())))?;
                Settings::read(&text, &path.display().to_string())
            }
        }
    }

    pub fn apply(self, builder: HostBuilder) -> HostBuilder {
        self.steps.into_iter().fold(builder, |builder, (name, Step { concurrency, rate })| {
            builder.step_rule(name, StepRule { concurrency: concurrency.map(NonZeroU32::get), rate, ..StepRule::default() })
        })
    }

    fn read(text: &str, file: &str) -> Result<Settings, Fail> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().trim_end();
            let Some(span) = error.span() else { return Fail::usage(format!("{file}: {message}")) };
            let before = text.get(..span.start).unwrap_or(text);
            let (number, column) =
                (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count());
            let line = text.lines().nth(number - 1).unwrap_or_default();
            let caret = format!("{file}:{number}:{}: {message}\n  {line}\n  {}^", column + 1, " ".repeat(column));
            let fail = Fail::usage(caret);
            match message.contains("unknown field") && line.trim_start().starts_with("[steps.") && !line.contains('"') {
                true => fail.hint("A name with a dot in it needs quotes: [steps.\"http.get\"]"),
                false => fail,
            }
        })
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Rate::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_it_says() {
        let text = "# limits\n[steps.\"http.get\"]\nconcurrency = 4\nrate = \"100/s\"\n[steps.\"shop.*\"]\n";
        let settings = Settings::read(text, "x.toml").expect("it is right");
        let rate = Some(Rate { count: 100, per: Duration::from_secs(1) });
        assert_eq!(settings.steps["http.get"], Step { concurrency: NonZeroU32::new(4), rate });
        assert_eq!(settings.steps["shop.*"], Step::default());
        assert_eq!(Settings::read("", "x.toml").expect("it is right"), Settings::default());
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, parts) in [
            ("[stesp.a]\n", &["x.toml:1:2: ", "stesp", "steps"][..]),
            ("\n[steps.a]\nconcurency = 4\n", &["x.toml:3:1: ", "concurency", "  ^"]),
            ("[steps.a]\nconcurrency = \"4\"\n", &["x.toml:2:15: ", "string"]),
            ("[steps.a]\nconcurrency = 0\n", &["x.toml:2:15: ", "nonzero"]),
            ("[steps.a]\nconcurrency = -1\n", &["x.toml:2:15: "]),
            ("[steps.a]\nrate = \"100\"\n", &["x.toml:2:8: ", "100/s"]),
            ("[steps.a]\nrate = 100\n", &["x.toml:2:8: ", "string"]),
            ("[steps.a]\nrate = \"ä/s\" x\n", &["x.toml:2:14: "]),
            ("[steps.a\n", &["x.toml:1:9: "]),
            ("steps = 4\n", &["x.toml:1:9: "]),
            ("[steps.http.get]\nconcurrency = 1\n", &["x.toml:1:13: ", "[steps.\"http.get\"]"]),
        ] {
            let fail = Settings::read(text, "x.toml").expect_err(text);
            for part in parts {
                assert!(fail.message.contains(part), "no {part:?} in {}", fail.message);
            }
        }
    }
}
