//! Secrets that were read, and what hides them in a text.

use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use parking_lot::RwLock;

/// Shorter ones would turn up in innocent text, and hiding them would garble it.
pub const SHORTEST: usize = 6;
/// In bytes; keys and certificates are far below.
pub const LONGEST: usize = 16 * 1024;
/// Beyond this only the plainest ways to write a value are looked for, to keep the search small.
pub const MANY_FORMS: usize = 1024;
/// The parts of a secret of several lines are hidden by themselves: logs take a text apart at its line ends.
const SHORTEST_LINE: usize = 8;
/// The secrets of one [`StepEnvHandle`](crate::StepEnvHandle) that were read.
#[derive(Debug, Default)]
pub struct Known(RwLock<Arc<Finder>>);

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
        // Matches that touch each other become one: nothing of a secret that overlaps another one is left to be seen.
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
