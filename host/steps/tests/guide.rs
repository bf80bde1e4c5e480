//! What `host/docs/steps.md` shows is right: its scripts load, its settings are read.

use std::path::Path;

use durhai::StepSource;
use durhai_steps::{Permissions, RhaiSteps, Settings};

fn blocks(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/steps.md");
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let opened = text.split(&fence).skip(1);
    let found: Vec<_> = opened.map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(!found.is_empty(), "no block of {language}");
    found
}

#[test]
fn settings_are_read() {
    for text in blocks("toml") {
        let settings = Settings::parse(Path::new("durhai.toml"), &text).unwrap_or_else(|error| panic!("{error}"));
        assert!(text.contains("[secrets]") || !settings.declared().is_empty(), "{text}");
    }
}

#[test]
fn scripts_are_steps() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("steps")).unwrap();
    let all = blocks("rhai").concat();
    std::fs::write(folder.path().join("steps/guide.rhai"), all).unwrap();
    let steps = RhaiSteps::open(folder.path(), Permissions::none());
    assert_eq!(steps.broken(), Vec::<String>::new());
    let names: Vec<_> = steps.list().into_iter().map(|step| (step.name, step.description)).collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|(_, description)| !description.is_empty()), "{names:?}");
}
