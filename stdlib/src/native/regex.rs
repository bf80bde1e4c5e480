//! `std/regex`: one search at a time, each linear in the text. Loops over all matches are in the module, where others get
//! their turn between two of them: all matches together can take time with the square of the text.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use rhai::{Array, Dynamic, Engine, ImmutableString, Map};

use super::Thrown;
use super::args::{self, Cache, fail, wrong};
use crate::cost;

/// Bytes of a pattern.
const MAX_PATTERN: usize = 1_000;

/// Bytes of a pattern as it is compiled; `\w` alone takes 10 KB.
const COMPILED: usize = 1 << 20;

/// Bytes of a text that is searched.
const MAX_TEXT: usize = 1 << 20;

/// Letters of a text times places of a pattern: the steps a search may take at worst, each some 10 ns.
const MAX_STEPS: usize = 64 << 20;

/// Such steps that count as an operation: few searches are at their worst.
const STEPS: usize = 512;

/// A compiled pattern.
#[derive(Clone)]
struct Pattern {
    regex: Regex,
    /// Letters and classes in it, with each repetition written out: how many of them may be tried at each letter.
    places: usize,
}

pub fn register(engine: &mut Engine) {
    let cache = Cache::<Pattern>::new();
    let reads = move |function: &str, source: &Dynamic, pattern: &Dynamic| -> Result<_, Thrown> {
        let source = text(function, source)?;
        let pattern = compile(&cache, function, pattern)?;
        let (length, places) = (source.len(), pattern.places);
        match length.saturating_mul(places) {
            steps @ 0..=MAX_STEPS => {
                cost::spend(steps / STEPS)?;
                Ok((source, pattern.regex))
            }
            _ => fail(format!(
                "{function}: a pattern of {places} places takes too long on a text of {length} bytes: their product may be \
                 {MAX_STEPS}; take the text in pieces"
            )),
        }
    };
    let read = reads.clone();
    engine.register_fn("__regex_find", move |function: &str, source: Dynamic, pattern: Dynamic, from: i64| {
        let (source, regex) = read(function, &source, &pattern)?;
        // Where the next match begins and ends, in bytes; or nothing.
        let found = start(&source, from).and_then(|from| regex.find_at(&source, from));
        Ok::<_, Thrown>(found.map_or(Dynamic::UNIT, |found| place(found.start(), found.end())))
    });
    engine.register_fn("__regex_captures", move |function: &str, source: Dynamic, pattern: Dynamic, from: i64| {
        let (source, regex) = reads(function, &source, &pattern)?;
        let Some(from) = start(&source, from) else { return Ok(Dynamic::UNIT) };
        let Some(found) = regex.captures_at(&source, from) else { return Ok::<_, Thrown>(Dynamic::UNIT) };
        let group = |index: usize| found.get(index).map_or(Dynamic::UNIT, |group| group.as_str().into());
        let mut map: Map = (0..found.len()).map(|index| (index.to_string().into(), group(index))).collect();
        for (index, name) in regex.capture_names().enumerate() {
            if let Some(name) = name {
                map.insert(name.into(), group(index));
            }
        }
        Ok(map.into())
    });
    engine
        .register_fn("__regex_slice", |source: ImmutableString, start: i64, end: i64| -> ImmutableString {
            let at = |index: i64| usize::try_from(index).unwrap_or(0);
            source.get(at(start)..at(end)).unwrap_or_default().into()
        })
        // The letter after an empty match, so that the search goes on.
        .register_fn("__regex_after", |source: ImmutableString, at: i64| -> i64 {
            let rest = usize::try_from(at).ok().and_then(|at| source.get(at..));
            at + rest.and_then(|rest| rest.chars().next()).map_or(1, |letter| letter.len_utf8() as i64)
        })
        .register_fn("__regex_size", |source: ImmutableString| source.len() as i64)
        .register_fn("__regex_escape", |source: Dynamic| -> Result<String, Thrown> {
            Ok(regex::escape(&text("regex::escape", &source)?))
        });
}

fn place(start: usize, end: usize) -> Dynamic {
    Array::from([(start as i64).into(), (end as i64).into()]).into()
}

fn start(source: &str, from: i64) -> Option<usize> {
    usize::try_from(from).ok().filter(|from| source.is_char_boundary(*from))
}

fn text(function: &str, source: &Dynamic) -> Result<ImmutableString, Thrown> {
    let source = args::text(&format!("{function}: the text"), source)?;
    match source.len() {
        0..=MAX_TEXT => Ok(source),
        found => fail(format!("{function}: the text has {found} bytes, the limit is {MAX_TEXT}; take it in pieces")),
    }
}

fn compile(cache: &Cache<Pattern>, function: &str, pattern: &Dynamic) -> Result<Pattern, Thrown> {
    let what = format!("{function}: the pattern");
    let pattern = args::text(&what, pattern)?;
    if pattern.len() > MAX_PATTERN {
        return wrong(&what, &format!("a string of at most {MAX_PATTERN} bytes"), &pattern.into());
    }
    cache.get(&pattern, || {
        let bad = |message: String| {
            // It draws the pattern over several lines and ends with what is wrong.
            let why = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            fail(format!("{function}: the pattern {:?} is wrong: {why}", args::cut(&pattern, 100)))
        };
        let parsed = match regex_syntax::parse(&pattern) {
            Ok(parsed) => parsed,
            Err(error) => return bad(error.to_string()),
        };
        match RegexBuilder::new(&pattern).size_limit(COMPILED).dfa_size_limit(2 * COMPILED).build() {
            Ok(regex) => Ok(Pattern { regex, places: places(&parsed) }),
            Err(error) => bad(error.to_string()),
        }
    })
}

/// The parser bounds how deeply a pattern nests.
fn places(pattern: &Hir) -> usize {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(_) => 1,
        HirKind::Capture(group) => places(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum: usize, part| sum.saturating_add(places(part)))
        }
        HirKind::Repetition(repeated) => {
            let times = repeated.max.unwrap_or_else(|| repeated.min.max(1)) as usize;
            times.saturating_mul(places(&repeated.sub))
        }
    }
}
