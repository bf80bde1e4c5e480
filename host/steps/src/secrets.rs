//! Secrets by name: read where they are used, hidden in what steps hand over.
//!
//! Every value that was ever read stays known as long as the [`Outside`] lives: a file may have been rotated while a
//! step still works with what stood in it before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use durhai::StepError;
use parking_lot::RwLock;

use crate::outside::{Kit, Outside};

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

/// Shorter ones would turn up in innocent text, and hiding them would garble it.
const SHORTEST: usize = 6;
/// In bytes; keys and certificates are far below.
const LONGEST: usize = 16 * 1024;
/// Beyond this only the plainest ways to write a value are looked for, to keep the search small.
const MANY_FORMS: usize = 1024;
/// The parts of a secret of several lines are hidden by themselves: logs take a text apart at its line ends.
const SHORTEST_LINE: usize = 8;
/// Where a secret is looked for that the settings do not name.
pub(crate) const PREFIX: &str = "DURHAI_SECRET_";

impl Outside {
    /// What hides every known secret in a text, for [`durhai::HostBuilder::mask`]: `[secret NAME]` instead of its value
    /// and of its value in base64, hexadecimal, percent encoding and JSON. `None` where there is nothing to hide.
    /// Known are those that the settings name or that the environment holds as `DURHAI_SECRET_…`, as soon as they can be
    /// read, and each value that a step was given.
    pub fn mask(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static + use<> {
        let known = self.known();
        move |text| known.hide(text)
    }
}

impl Kit {
    /// The value of a secret, read now, so that it can be rotated while the host runs. Where it cannot be had an operator has to
    /// do something: the attempt waits until it can. No error contains a value.
    pub fn secret(&self, name: &str) -> Result<String, StepError> {
        self.read_secret(name).map_err(|why| {
            let name = name.to_owned();
            self.misconfigured(why, move |kit| kit.read_secret(&name).is_ok())
        })
    }

    /// The error says why it cannot be had, and what to do about it.
    pub(crate) fn read_secret(&self, name: &str) -> Result<String, String> {
        let value = match self.secrets.get(name) {
            Some(SecretSource::Env(variable)) => self.environment.get(variable).map(str::to_owned).ok_or_else(|| {
                format!(
                    "the secret {name:?} is not there: {variable}, the variable that the settings name for it, is not set"
                )
            })?,
            Some(SecretSource::File(path)) => read(name, path)?,
            None => {
                let variable = variable(name);
                let found = self.environment.get(&variable).filter(|_| !name.is_empty());
                found.map(str::to_owned).ok_or_else(|| self.unknown(name, &variable))?
            }
        };
        if value.len() < SHORTEST {
            return Err(format!(
                "the secret {name:?} is shorter than {SHORTEST} bytes, too short to be hidden wherever it turns up: use a longer one"
            ));
        }
        self.known.learn(name, &value);
        Ok(value)
    }

    /// Learns every secret that can be read by now.
    pub fn learn_secrets(&self) {
        for name in self.secrets.keys() {
            // One that is missing is said to who asks for it.
            let _ = self.read_secret(name);
        }
        for (variable, value) in self.environment.beginning_with(PREFIX) {
            if value.len() >= SHORTEST {
                self.known.learn(&variable[PREFIX.len()..].to_ascii_lowercase(), value);
            }
        }
    }

    fn unknown(&self, name: &str, variable: &str) -> String {
        let declared: Vec<_> = self.secrets.keys().map(String::as_str).collect();
        let declared = match declared[..] {
            [] => String::new(),
            _ => format!("; there are {}", declared.join(", ")),
        };
        format!(
            "there is no secret {name:?}: name it in durhai.toml under [secrets], as {name} = {{ env = \"VARIABLE\" }} or \
             {name} = {{ file = \"PATH\" }}, or set {variable}{declared}"
        )
    }
}

fn variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(name.chars().map(plain)).collect()
}

fn read(name: &str, path: &Path) -> Result<String, String> {
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

/// The secrets of one [`Outside`] that were read.
#[derive(Debug, Default)]
pub(crate) struct Known(RwLock<Arc<Finder>>);

#[derive(Default)]
struct Finder {
    /// Each way to write a value, with the secret's name.
    forms: BTreeMap<String, Arc<str>>,
    /// Over the forms, in their order.
    machine: Option<(AhoCorasick, Vec<Arc<str>>)>,
}

impl Known {
    pub fn learn(&self, name: &str, value: &str) {
        if value.is_empty() || self.finder().forms.contains_key(value) {
            return;
        }
        let mut finder = self.0.write();
        let mut forms = finder.forms.clone();
        let name: Arc<str> = name.into();
        for form in forms_of(value) {
            forms.entry(form).or_insert_with(|| name.clone());
        }
        *finder = Arc::new(Finder::new(forms));
    }

    /// `None` where there is nothing to hide.
    pub fn hide(&self, text: &str) -> Option<String> {
        self.finder().hide(text)
    }

    /// The same for a text that was cut off at its end: the beginning of a secret there is cut off too.
    pub fn hide_cut(&self, text: &str) -> String {
        let finder = self.finder();
        let mut text = finder.hide(text).unwrap_or_else(|| text.to_owned());
        let begun =
            |form: &String| (1..form.len()).rev().find(|length| text.as_bytes().ends_with(&form.as_bytes()[..*length]));
        let mut end = text.len() - finder.forms.keys().filter_map(begun).max().unwrap_or(0);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }

    /// At most the first bytes of a text, for an error: secrets are hidden, and `…` stands where something is missing, with
    /// no beginning of a secret in front of it. `whole`: the text itself was not cut off before.
    pub fn excerpt(&self, text: &str, most: usize, whole: bool) -> String {
        // A secret across the cut is only seen in a longer piece.
        let piece = beginning(text, most.saturating_add(LONGEST));
        let hidden = self.hide(piece).unwrap_or_else(|| piece.to_owned());
        let shown = beginning(&hidden, most);
        if whole && piece.len() == text.len() && shown.len() == hidden.len() {
            return hidden;
        }
        self.hide_cut(shown) + "…"
    }

    fn finder(&self) -> Arc<Finder> {
        self.0.read().clone()
    }
}

impl Finder {
    fn new(forms: BTreeMap<String, Arc<str>>) -> Self {
        // Fails for more patterns than memory holds.
        let machine = AhoCorasick::new(forms.keys()).ok().map(|machine| (machine, forms.values().cloned().collect()));
        Finder { forms, machine }
    }

    fn hide(&self, text: &str) -> Option<String> {
        let (machine, names) = self.machine.as_ref()?;
        // Matches that touch each other become one: what is left of a secret that overlaps another one is no one's to see.
        let mut found: Vec<(usize, usize, usize, &str)> = Vec::new();
        for hit in machine.find_overlapping_iter(text) {
            let (mut start, end, mut length) = (hit.start(), hit.end(), hit.len());
            let mut name = &*names[hit.pattern().as_usize()];
            // They come by where they end.
            while let Some(&(before, until, longest, named)) = found.last()
                && start < until
            {
                found.pop();
                start = start.min(before);
                if longest >= length {
                    (length, name) = (longest, named);
                }
            }
            found.push((start, end, length, name));
        }
        if found.is_empty() {
            return None;
        }
        let mut hidden = String::with_capacity(text.len());
        let mut last = 0;
        for (start, end, _, name) in found {
            hidden.push_str(&text[last..start]);
            hidden.push_str("[secret ");
            hidden.push_str(name);
            hidden.push(']');
            last = end;
        }
        hidden.push_str(&text[last..]);
        Some(hidden)
    }
}

/// Shows no value.
impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Finder({} forms)", self.forms.len())
    }
}

/// The ways in which a value is commonly written.
fn forms_of(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    let mut parts = vec![value];
    if value.contains('\n') {
        parts.extend(value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE));
    }
    for part in parts {
        let bytes = part.as_bytes();
        let json = serde_json::Value::from(part).to_string();
        forms.push(part.to_owned());
        let json = &json[1..json.len() - 1];
        forms.extend([json.to_owned(), json.replace('/', "\\/")]);
        if part.len() > MANY_FORMS {
            forms.extend([STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)]);
            forms.extend(inside(bytes, &STANDARD));
            continue;
        }
        forms.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        forms.push(bytes.iter().map(|byte| format!("{byte:02X}")).collect());
        for (upper, spare) in [(true, "-._~"), (false, "-._~"), (true, "-._*"), (true, "-._~!*'()"), (true, "-._~/")] {
            forms.push(percent(bytes, upper, spare));
            forms.push(percent(bytes, upper, spare).replace("%20", "+"));
        }
        // Tools break long lines of it.
        for width in [64, 76] {
            let text = STANDARD.encode(bytes);
            let lines =
                text.as_bytes().chunks(width).filter(|line| line.len() < text.len() && line.len() > SHORTEST_LINE);
            forms.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(bytes));
            forms.extend(inside(bytes, &engine));
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// The first bytes, so many at most, up to the end of a character.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a value is in base64 inside something longer (`user:secret`): its first and last letters depend on what stands
/// beside it, and are left out.
fn inside(bytes: &[u8], engine: &impl Engine) -> impl Iterator<Item = String> {
    (0..3).map(move |shift| {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let (start, end) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
        engine.encode(&shifted)[start..end].to_owned()
    })
}

fn percent(bytes: &[u8], upper: bool, spare: &str) -> String {
    let mut text = String::new();
    for byte in bytes {
        let c = char::from(*byte);
        match upper {
            _ if c.is_ascii_alphanumeric() || spare.contains(c) => text.push(c),
            true => text.push_str(&format!("%{byte:02X}")),
            false => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Permissions, Provisions};
    use std::fs;

    const KEY: &str = "s3cr3t/K+y\"ü";

    fn outside(variables: &[(&str, &str)], secrets: &[(&str, SecretSource)]) -> Outside {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Outside::new(Provisions {
            permissions: Permissions::none(),
            environment: Environment::from_iter(variables),
            secrets: secrets.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
            ..Provisions::default()
        })
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let mask = outside(&[("DURHAI_SECRET_STRIPE", KEY)], &[]).mask();
        let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
        let table = [
            KEY.to_owned(),
            serde_json::json!(KEY).to_string(),
            "s3cr3t%2FK%2By%22%C3%BC".into(),
            "s3cr3t%2fK%2by%22%c3%bc".into(),
            STANDARD.encode(KEY),
            URL_SAFE_NO_PAD.encode(KEY),
            hex.to_uppercase(),
            hex,
        ];
        for form in table {
            let hidden = mask(&format!("a {form} b {form}")).unwrap_or_else(|| panic!("{form} is not hidden"));
            let plain = hidden.replace('"', "");
            assert_eq!(plain, "a [secret stripe] b [secret stripe]", "{form}");
        }
        // Inside something longer the letters at both ends belong to it and to what stands beside it.
        for user in ["u", "us", "use", "user"] {
            let basic = STANDARD.encode(format!("{user}:{KEY}:more"));
            let hidden = mask(&basic).unwrap_or_else(|| panic!("{basic} is not hidden"));
            assert!(hidden.contains("[secret stripe]") && hidden.len() < "[secret stripe]".len() + 20, "{hidden}");
        }
        let key = "0123456789abcdef-".repeat(MANY_FORMS / 16);
        let mask_key = outside(&[("DURHAI_SECRET_KEY", &key)], &[]).mask();
        for user in ["u", "us", "use"] {
            let hidden = mask_key(&STANDARD.encode(format!("{user}:{key}"))).expect("it is hidden");
            assert!(hidden.contains("[secret key]") && hidden.len() < "[secret key]".len() + 10, "{hidden}");
        }
        let long = format!("{KEY}{KEY}{KEY}{KEY}{KEY}{KEY}");
        let mask_long = outside(&[("DURHAI_SECRET_LONG", &long)], &[]).mask();
        let text = STANDARD.encode(&long);
        let (first, rest) = text.split_at(76);
        assert_eq!(mask_long(&format!("{first}\n{rest}\n")).as_deref(), Some("[secret long]\n[secret long]\n"));
        for innocent in ["", "s3cr3", "stripe", "[secret stripe]", "nothing"] {
            assert_eq!(mask(innocent), None, "{innocent}");
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_behind() {
        let mask = outside(
            &[("A", "abcdef"), ("B", "cdefghij"), ("C", "hijklmnopqr"), ("D", "abcdefxyz")],
            &["A", "B", "C", "D"].map(|name| (name, SecretSource::Env(name.into()))),
        )
        .mask();
        for (text, wanted) in [
            ("-abcdef-", "-[secret A]-"),
            ("-abcdefghij-", "-[secret B]-"),
            ("-abcdefghijklmnopqr-", "-[secret C]-"),
            ("-abcdefxyz-", "-[secret D]-"),
            ("-abcdefabcdef-", "-[secret A][secret A]-"),
        ] {
            assert_eq!(mask(text).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn excerpts() {
        let known = outside(&[("DURHAI_SECRET_A", "abcdef")], &[]).known();
        for (text, most, whole, wanted) in [
            ("", 4, true, ""),
            ("tea", 4, true, "tea"),
            ("tea", 3, true, "tea"),
            ("tea", 3, false, "te…"),
            ("tea", 2, true, "te…"),
            ("tüe", 2, true, "t…"),
            ("-abcdef-", 20, true, "-[secret A]-"),
            ("-abcdef-", 4, true, "-[se…"),
            ("-abcdef", 20, false, "-[secret A]…"),
            ("--abcd", 6, false, "--…"),
            ("--abcd", 6, true, "--abcd"),
            ("--abcd", 4, true, "--…"),
        ] {
            let wanted = wanted.replace("[secret A]", "[secret a]");
            assert_eq!(known.excerpt(text, most, whole), wanted, "{text} {most} {whole}");
        }
    }

    #[test]
    fn what_is_cut_off_shows_no_beginning_of_a_secret() {
        let outside = outside(&[("DURHAI_SECRET_A", "abcdef")], &[]);
        for (text, wanted) in [("x abcdef", "x [secret a]"), ("x abcde", "x "), ("x a", "x "), ("x abcdex", "x abcdex")]
        {
            assert_eq!(outside.known().hide_cut(text), wanted);
        }
    }

    #[test]
    fn a_file_is_read_each_time_and_what_stood_in_it_stays_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let outside = outside(&[], &[("pem", SecretSource::File(path.clone()))]);
        let mask = outside.mask();
        assert!(outside.kit().secret("pem").unwrap_err().is_misconfigured());
        fs::write(&path, "-- begin --\nfirst line of it\n\r\n").unwrap();
        assert_eq!(outside.kit().secret("pem").unwrap(), "-- begin --\nfirst line of it\n");
        fs::write(&path, "rotated\r\n").unwrap();
        assert_eq!(outside.kit().secret("pem").unwrap(), "rotated");
        // Logs know lines only.
        for text in ["first line of it", "rotated", "-- begin --\nfirst line of it\n"] {
            assert_eq!(mask(text).as_deref(), Some("[secret pem]"));
        }
        outside.replace(Provisions::default());
        assert_eq!(mask("rotated").as_deref(), Some("[secret pem]"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("binary"), b"\xff\xfe secret").unwrap();
        fs::write(folder.path().join("long"), "x".repeat(LONGEST + 1)).unwrap();
        let file = |name: &str| SecretSource::File(folder.path().join(name));
        let outside = outside(
            &[("SHORT", "abcde"), ("DURHAI_SECRET_", "nameless")],
            &[
                ("short", SecretSource::Env("SHORT".into())),
                ("unset", SecretSource::Env("NOT_SET".into())),
                ("missing", file("missing")),
                ("binary", file("binary")),
                ("long", file("long")),
            ],
        );
        for (name, wanted) in [
            ("short", "shorter than 6 bytes"),
            ("unset", "NOT_SET, the variable that the settings name for it, is not set"),
            ("missing", "No such file"),
            ("binary", "no UTF-8"),
            ("long", "longer than 16384 bytes"),
            ("my-key", "or set DURHAI_SECRET_MY_KEY; there are binary, long, missing, short, unset"),
            ("", "there is no secret \"\""),
        ] {
            let error = outside.kit().secret(name).unwrap_err();
            assert!(error.is_misconfigured() && error.message().contains(wanted), "{name}: {error}");
            assert!(!error.message().contains("abcde") && !error.message().contains("xxxx"), "{error}");
        }
    }
}
