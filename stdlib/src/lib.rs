//! The standard library of durhai scripts: modules that a workflow imports as `std/NAME`, and pure functions in Rust that
//! they and the workflows can use. Nothing in here has effects, a clock or randomness.

pub mod cost;
pub mod docs;
pub mod foreign;
pub mod language;
pub mod mend;
mod native;
pub mod schema;
pub mod value;
pub mod walk;
pub mod words;

/// Part of the version of every workflow: raise it whenever a result of the library changes.
pub const VERSION: &str = "2";

/// The modules, as they are imported.
pub const NAMES: &[&str] = &[
    "std/batch",
    "std/hash",
    "std/json",
    "std/poll",
    "std/regex",
    "std/retry",
    "std/saga",
    "std/schema",
    "std/text",
    "std/time",
];

/// Those of them that need no durable call: they compile and run on any [`rhai::Engine`] after [`register`].
pub const PURE: &[&str] = &["std/batch", "std/hash", "std/json", "std/regex", "std/schema", "std/text", "std/time"];

/// The text of a module: `source("batch")` for `import "std/batch" as batch`.
pub fn source(name: &str) -> Option<&'static str> {
    match name {
        "batch" => Some(include_str!("../rhai/batch.rhai")),
        "hash" => Some(include_str!("../rhai/hash.rhai")),
        "json" => Some(include_str!("../rhai/json.rhai")),
        "poll" => Some(include_str!("../rhai/poll.rhai")),
        "regex" => Some(include_str!("../rhai/regex.rhai")),
        "retry" => Some(include_str!("../rhai/retry.rhai")),
        "saga" => Some(include_str!("../rhai/saga.rhai")),
        "schema" => Some(include_str!("../rhai/schema.rhai")),
        "text" => Some(include_str!("../rhai/text.rhai")),
        "time" => Some(include_str!("../rhai/time.rhai")),
        _ => None,
    }
}

/// Adds the functions that are written in Rust. They have no effects; what they take and give is bounded.
pub fn register(engine: &mut rhai::Engine) {
    native::register(engine);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_source_that_compiles() {
        for name in NAMES {
            let text = source(name.strip_prefix("std/").expect("std/ in front")).expect(name);
            // A debug build of Rhai allows less by default than any host of durhai does.
            rhai::Engine::new().set_max_expr_depths(64, 64).compile(text).expect(name);
        }
        assert_eq!(source("nothing"), None);
        assert!(PURE.iter().all(|name| NAMES.contains(name)));
    }
}
