//! `std/regex`: one search at a time, each linear in the text. Loops over all matches are in the module, where others get
//! their turn between two of them: all matches together can take time with the square of the text.

use regex::{Regex, RegexBuilder};
use rhai::{Array, Dynamic, Engine, ImmutableString, Map};

use super::Thrown;
use super::args::{self, Cache, fail, wrong};

/// Bytes of a pattern.
const MAX_PATTERN: usize = 1_000;

/// Bytes of a pattern as it is compiled.
const COMPILED: usize = 64 << 10;

/// Bytes of a text that is searched.
const MAX_TEXT: usize = 1 << 20;

pub fn register(engine: &mut Engine) {
    let cache = Cache::<Regex>::new();
    let compiled = {
        let cache = cache.clone();
        move |function: &str, pattern: &Dynamic| compile(&cache, function, pattern)
    };
    let find = compiled.clone();
    engine.register_fn("__regex_find", move |function: &str, source: Dynamic, pattern: Dynamic, from: i64| {
        let (source, regex) = (text(function, &source)?, find(function, &pattern)?);
        // Where the next match begins and ends, in bytes; or nothing.
        let found = start(&source, from).and_then(|from| regex.find_at(&source, from));
        Ok::<_, Thrown>(found.map_or(Dynamic::UNIT, |found| place(found.start(), found.end())))
    });
    let check = compiled.clone();
    engine.register_fn("__regex_check", move |function: &str, source: Dynamic, pattern: Dynamic| {
        text(function, &source)?;
        check(function, &pattern).map(drop)
    });
    engine.register_fn("__regex_captures", move |function: &str, source: Dynamic, pattern: Dynamic, from: i64| {
        let (source, regex) = (text(function, &source)?, compiled(function, &pattern)?);
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

fn compile(cache: &Cache<Regex>, function: &str, pattern: &Dynamic) -> Result<Regex, Thrown> {
    let what = format!("{function}: the pattern");
    let pattern = args::text(&what, pattern)?;
    if pattern.len() > MAX_PATTERN {
        return wrong(&what, &format!("a string of at most {MAX_PATTERN} bytes"), &pattern.into());
    }
    cache.get(&pattern, || {
        let built = RegexBuilder::new(&pattern).size_limit(COMPILED).dfa_size_limit(8 * COMPILED).build();
        built.or_else(|error| {
            // Its message draws the pattern over several lines and ends with what is wrong.
            let message = error.to_string();
            let why = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            fail(format!("{function}: the pattern {:?} is wrong: {why}", args::cut(&pattern, 100)))
        })
    })
}
