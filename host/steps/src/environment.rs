//! The variables that steps see: those of the process, and those of a `.env` file where one was asked for.

use std::collections::BTreeMap;
use std::path::Path;

/// A snapshot; a host never changes the environment of its own process.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process, as it is now. Variables that are no UTF-8 are left out.
    pub fn process() -> Self {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Environment { variables: std::env::vars_os().filter_map(named).collect() }
    }

    /// With the variables of a `.env` file: `NAME=value`, `export NAME='value'`, `# comment`, `${OTHER}`. What is set
    /// already wins. An error names the line and shows it without the value; the path is left to the caller.
    pub fn with_file(mut self, path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for variable in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, value) = variable.map_err(|error| explain(&error, text))?;
            self.variables.entry(name).or_insert(value);
        }
        Ok(self)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(move |(name, _)| name.starts_with(prefix))
    }
}

/// These and no others.
impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Environment { variables: variables.into_iter().collect() }
    }
}

/// Names only: among the values are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

fn explain(error: &dotenvy::Error, text: &str) -> String {
    let dotenvy::Error::LineParse(entry, at) = error else { return "this is no .env file".into() };
    let wanted = "expected NAME=value, with quotes around a value that has spaces, quotes or `$` in it";
    // The reader says what stood there, a line or a value, not where; a value between quotes may have several lines.
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let places = starts.flat_map(|start| {
        let line = text[start..].lines().next().unwrap_or_default();
        let value = line.find('=').map(|at| at + line[at..].len() - line[at + 1..].trim_start().len());
        [Some(start), value.map(|value| start + value)].into_iter().flatten()
    });
    let mut places = places.filter(|place| text[*place..].starts_with(entry.as_str()));
    let Some(start) = places.next().filter(|_| !entry.is_empty()) else { return wanted.into() };
    let wrong = start + (*at).min(entry.trim_end().len());
    let number = text[..wrong].matches('\n').count() + 1;
    let line_start = text[..wrong].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let shown = if line_start <= start { without_value(line) } else { hidden(line) };
    let column = text[line_start..wrong].chars().count();
    let gutter = number.to_string().len() + 1;
    format!("line {number}: {wanted}\n {number} | {shown}\n {:gutter$}| {:column$}^", "", "")
}

fn without_value(line: &str) -> String {
    let is_name = |name: &str| {
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    match line.split_once('=') {
        Some((name, value)) if is_name(name) => format!("{name}={}", hidden(value)),
        _ => hidden(line),
    }
}

/// As wide as it was, so that a place in it can be pointed at.
fn hidden(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Environment, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let set = [("SET".to_owned(), "process".to_owned())];
        Environment::from_iter(set).with_file(file.path())
    }

    #[test]
    fn a_file_adds_what_is_not_set() {
        let text =
            "\u{feff}# a comment\nSET=file\nexport A='one two'\n\nB=\"two\\nlines\" # why\nC=${A}!\r\nD=\nE='a\nb'\n";
        let read = read(text).unwrap();
        let found: Vec<_> = read.iter().collect();
        let wanted =
            [("A", "one two"), ("B", "two\nlines"), ("C", "one two!"), ("D", ""), ("E", "a\nb"), ("SET", "process")];
        assert_eq!(found, wanted);
        assert_eq!(format!("{read:?}"), r#"{"A", "B", "C", "D", "E", "SET"}"#);
    }

    #[test]
    fn a_mistake_is_shown_with_its_place_and_without_values() {
        for (text, wanted) in [
            ("A=1\nKEY=hunter2 hunter3\n", "line 2: expected NAME=value"),
            ("A=1\nKEY=hunter2 hunter3\n", " 2 | KEY=******* *******\n   | "),
            ("hunter2hunter3\n", " 1 | **************\n   | "),
            ("\n\nexport 2KEY='hunter2\n", "line 3"),
            ("KEY='hunter2\nhunter3", "line "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("hunter"), "{text:?}\n{error}\n--- wanted\n{wanted}");
        }
        let missing = Environment::default().with_file(Path::new("/no/such/file")).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
