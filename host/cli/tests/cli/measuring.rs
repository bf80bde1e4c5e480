//! `durhai bench`: every figure is there, and is what the documentation says it is.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::folder::Folder;

/// Of each section the figures with their units, as the documentation has them: headings that name a section, and below each a
/// table whose rows begin with key and unit.
fn documented() -> BTreeMap<String, Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let mut sections = BTreeMap::<_, Vec<_>>::new();
    let mut section = None;
    for line in text.lines() {
        if line.starts_with('#') {
            section = line.strip_prefix("### `").and_then(|name| name.split('`').next());
        } else if let (Some(section), Some(row)) = (section, line.strip_prefix("| `")) {
            let (key, rest) = row.split_once("` | ").expect("a row of a table");
            let unit = rest.split(" |").next().unwrap_or_default();
            sections.entry(section.to_owned()).or_default().push((without_sizes(key), unit.to_owned()));
        }
    }
    sections.values_mut().for_each(|rows| rows.sort());
    sections
}

/// Some keys name the size that was measured: `step_us_at_10000`.
fn without_sizes(key: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in key.split('_') {
        words.push(if word.chars().all(|c| c.is_ascii_digit()) { "N" } else { word });
    }
    words.join("_")
}

fn figures<'a>(document: &'a Value, section: &str) -> &'a Map<String, Value> {
    document["sections"][section]["figures"].as_object().unwrap_or_else(|| panic!("no {section} in {document}"))
}

/// All sections at once: most of the time some of them wait for the store to settle.
#[test]
fn every_section_has_the_figures_that_are_documented() {
    let documented = documented();
    assert!(documented.len() > 10, "{documented:?}");
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for (section, expected) in &documented {
            let folder = &folder;
            scope.spawn(move || {
                let ended = folder.durhai(&["bench", "--quick", "--json", "--only", section]).is(0);
                let document = ended.json();
                let figures = figures(&document, section);
                let mut found: Vec<_> = figures
                    .iter()
                    .map(|(key, figure)| (without_sizes(key), figure["unit"].as_str().expect("a unit").to_owned()))
                    .collect();
                found.sort();
                assert_eq!(&found, expected, "{section}");
                for (key, figure) in figures {
                    assert_sound(key, figure);
                }
                assert!(document["machine"]["cpus"].as_u64().is_some_and(|cpus| cpus > 0), "{document}");
                assert!(
                    document["sections"]["floor"]["figures"]["floor_append_p50_us"]["samples"] == 400,
                    "{document}"
                );
            });
        }
    });
    let left: Vec<_> = std::fs::read_dir(folder.path().join(".durhai")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "the bench left {left:?}");
}

/// Growth between two moments can be anything where there are few runs; all else is something.
fn assert_sound(key: &str, figure: &Value) {
    let number = |name: &str| figure[name].as_f64();
    let value = number("value").unwrap_or_else(|| panic!("{key}: {figure}"));
    let grows = key.contains("_per_") && key.ends_with("_run");
    assert!(value > 0.0 || grows, "{key}: {figure}");
    assert!(figure["meaning"].as_str().is_some_and(|text| !text.is_empty()), "{key}: {figure}");
    if let Some(samples) = figure["samples"].as_u64() {
        let (low, high) = (number("low").expect("with samples"), number("high").expect("with samples"));
        assert!(samples > 1 && low <= value && value <= high, "{key}: {figure}");
    }
}

/// Also while another process fills a store.
#[test]
fn nothing_is_left_of_a_bench_that_is_interrupted() {
    let folder = Folder::new();
    let data = folder.path().join(".durhai");
    let inside = |path: &Path| -> Vec<_> { std::fs::read_dir(path).into_iter().flatten().flatten().collect() };
    for name in ["-INT", "-TERM"] {
        let bench = folder.going(&["bench", "--only", "evicted", "--runs", "100000"]);
        let store = || inside(&data).iter().any(|bench| bench.path().join("evicted/lock").exists());
        while !store() {
            std::thread::yield_now();
        }
        bench.signal(name);
        let ended = bench.wait();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        // The pipe of its standard error is at its end, so its child is too.
        assert!(inside(&data).is_empty(), "{name} left {:?}", inside(&data));
    }
}

#[test]
fn what_is_asked_for_is_measured_and_nothing_else() {
    let folder = Folder::new();
    folder.durhai(&["bench", "--only", "throughputs"]).is(2).says("'throughput'");
    folder.durhai(&["bench", "--runs", "99"]).is(2).says("99 is not in 100");
    let text = folder.durhai(&["bench", "--quick", "--only", "long", "--steps", "200"]).is(0);
    assert!(text.stderr.contains("2 of 2: long: a run of 200 steps"), "{text:?}");
    for part in ["floor_append_p50_us", "step_us_at_20 ", "step_us_at_40 ", "step_us_at_200 "] {
        assert!(text.stdout.contains(part), "no {part:?} in {text:?}");
    }
    assert!(!text.stdout.contains("steps_per_s"), "{text:?}");
}
