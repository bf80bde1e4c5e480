//! What the layers promise, read from the manifests and the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names in a table of a manifest. Ours are written one a line, without nested tables.
fn table(manifest: &str, name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap_or_else(|error| panic!("{manifest}: {error}"));
    let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let entries = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split(['=', '.']).next());
    entries.map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')).map(ToOwned::to_owned).collect()
}

fn dependencies(manifest: &str) -> BTreeSet<String> {
    let found = table(manifest, "dependencies");
    assert!(!found.is_empty(), "{manifest} has dependencies");
    found
}

/// Every source file of the project.
fn sources() -> Vec<PathBuf> {
    let mut open: Vec<_> = ["host", "stdlib", "tests", "benches"].iter().map(|dir| root().join(dir)).collect();
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 100, "{} files", found.len());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn core_is_pure() {
    let allowed = ["rand_chacha", "serde", "serde_json", "sha2", "thiserror"];
    assert_eq!(dependencies("host/core/Cargo.toml"), allowed.map(String::from).into());
    for path in sources().iter().filter(|path| path.starts_with(root().join("host/core/src"))) {
        let text = fs::read_to_string(path).unwrap();
        for word in [
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::env",
            "SystemTime",
            "Instant",
            "tokio",
            "rhai::",
        ] {
            assert!(!text.contains(word), "{} mentions {word}", relative(path));
        }
    }
}

#[test]
fn each_layer_knows_those_below_it_only() {
    let forbidden: &[(&str, &[&str])] = &[
        ("host/engine/Cargo.toml", &["tokio", "durhai", "durhai-world", "durhai-world-sled", "axum", "clap"]),
        ("host/world/Cargo.toml", &["tokio", "durhai", "durhai-engine", "rhai", "sled"]),
        ("host/world-sled/Cargo.toml", &["tokio", "durhai", "durhai-engine", "rhai"]),
        ("stdlib/Cargo.toml", &["tokio", "durhai", "durhai-world", "durhai-engine"]),
        (
            "Cargo.toml",
            &[
                "clap",
                "axum",
                "tower",
                "reqwest",
                "prost",
                "opentelemetry-proto",
                "durhai-api",
                "durhai-cli",
                "durhai-steps",
            ],
        ),
        ("host/steps/Cargo.toml", &["durhai-engine", "durhai-world", "durhai-world-sled", "axum", "clap"]),
        ("host/api/Cargo.toml", &["durhai-engine", "durhai-world", "durhai-world-sled", "clap", "rhai"]),
        (
            "host/otlp/Cargo.toml",
            &["durhai-core", "durhai-engine", "durhai-world", "durhai-world-sled", "rhai", "axum", "clap"],
        ),
        ("host/trial/Cargo.toml", &["durhai-engine", "durhai-world", "durhai-world-sled", "axum", "clap"]),
        ("host/cli/Cargo.toml", &["durhai-engine", "durhai-world", "durhai-world-sled", "rhai"]),
        // It compares with plain Rhai, and with a world alone.
        ("host/bench/Cargo.toml", &["durhai-api", "durhai-cli", "durhai-engine", "durhai-steps", "axum", "clap"]),
    ];
    for (manifest, forbidden) in forbidden {
        let found = dependencies(manifest);
        let wrong: Vec<_> = forbidden.iter().filter(|name| found.contains(**name)).collect();
        assert!(wrong.is_empty(), "{manifest} must not depend on {wrong:?}");
    }
}

#[test]
fn unsafe_code_is_in_two_files() {
    let mut found = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        // Not in comments and texts: the word stands in front of a block or an item.
        let wrong =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)", "expect(unsafe_code"];
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains('"'));
        if code.into_iter().any(|line| wrong.iter().any(|word| line.contains(word))) {
            found.push(relative(&path));
        }
    }
    found.sort();
    // Stacks that are switched, and an allocator that counts.
    assert_eq!(found, ["host/engine/src/fiber.rs", "host/engine/src/memory.rs"]);
}

#[test]
fn files_are_small_enough_to_read() {
    for path in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 700, "{} has {lines} lines, 700 is the most: what are its two ideas?", relative(&path));
    }
}

/// The public names of the library are durhai's own, but for the one hook that extends the script engine.
#[test]
fn no_rhai_type_in_public_signatures() {
    let mut found = Vec::new();
    for path in sources().iter().filter(|path| path.starts_with(root().join("host/src"))) {
        let text = fs::read_to_string(path).unwrap();
        let public = text.lines().filter(|line| line.trim_start().starts_with("pub ") && line.contains("rhai::"));
        found.extend(public.map(|line| line.trim().to_owned()));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("pub fn extend_scripts"), "{found:?}");
}

/// A dependency can switch on another order of keys for everybody: then what is tested here is not what is delivered.
#[test]
fn no_dependency_changes_what_json_is() {
    let text = serde_json::json!({ "b": 1, "a": 2 }).to_string();
    assert_eq!(text, r#"{"a":2,"b":1}"#, "find it with `cargo tree -e features -i serde_json --workspace`");
}
