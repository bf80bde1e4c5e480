//! The functions written in Rust that the modules in `rhai/` stand on, under names that begin with two underscores.
//!
//! A run that began long ago still calls them with the module texts of then, so a name that is here stays, with the
//! arguments and the results it has; what must change gets another name.

pub(crate) mod args;
mod hash;
mod json;
mod options;
mod regex;
mod schema;
mod text;
mod time;
pub(crate) mod value;

/// What a native function gives back when it fails; a script catches the text of it.
type Thrown = Box<rhai::EvalAltResult>;

pub fn register(engine: &mut rhai::Engine) {
    hash::register(engine);
    json::register(engine);
    options::register(engine);
    regex::register(engine);
    schema::register(engine);
    text::register(engine);
    time::register(engine);
}
