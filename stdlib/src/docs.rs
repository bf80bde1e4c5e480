//! The library's documentation, read from the comments in its modules: `//!` at the top is the module's, `///` belongs to
//! the function below it, blocks between lines of three backticks are examples.
//!
//! In an example each expression may be followed by `// => VALUE`, what it gives, or `// => throws VALUE`, what it throws;
//! also on a line of its own. The tests hold every example to it.

mod example;
mod module;
mod readme;

pub use self::example::script;
pub use self::module::{Function, Module, docs, summary};
pub use self::readme::{readme, text};
