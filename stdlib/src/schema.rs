//! JSON Schema 2020-12: whether a value fits, and what is missing in it.
//!
//! Schemas come from scripts and values from anywhere, so neither may take the host with it: patterns match in linear
//! time, nothing is fetched, and a schema whose checks would multiply is refused.

mod defaults;
mod graph;
mod problem;

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use durhai_core::json;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use self::graph::Graph;
pub use self::graph::MAX_VALUE_DEPTH;
use self::problem::at;
pub use self::problem::{Problem, list};

/// A compiled schema; cloning is cheap.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

/// Bytes of a schema as JSON.
pub const MAX_SIZE: usize = 64 << 10;

/// Levels of arrays and maps in a schema.
pub const MAX_DEPTH: usize = 32;

/// How many problems are told.
const MAX_PROBLEMS: usize = 100;

/// Characters of a message.
const MAX_MESSAGE: usize = 200;

/// Bytes of one compiled pattern.
const PATTERN_SIZE: usize = 256 << 10;

struct Inner {
    document: Value,
    validator: Validator,
    graph: Graph,
}

impl Schema {
    /// Reads a schema: a map, `true` or `false`. The message of an error names the path inside the schema.
    ///
    /// `$ref` may point into the schema itself only. `format` is checked where it is one that 2020-12 defines. Patterns
    /// know neither look-around nor back references.
    pub fn compile(schema: &Value) -> Result<Schema, String> {
        if json::depth(schema, MAX_DEPTH + 1) > MAX_DEPTH {
            return Err(format!("the schema nests more than {MAX_DEPTH} levels deep"));
        }
        let size = schema.to_string().len();
        if size > MAX_SIZE {
            return Err(format!("the schema has {size} bytes as JSON, the limit is {MAX_SIZE}"));
        }
        let graph = Graph::of(schema)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE);
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_retriever(Nowhere);
        let options = options.should_validate_formats(true).with_pattern_options(patterns);
        let validator = options.build(schema).map_err(|error| {
            // A pattern that is no regular expression is found when the schema is compiled, everything else by checking it.
            let path = match error.kind() {
                ValidationErrorKind::Format { .. } if error.instance_path().as_str().is_empty() => {
                    error.schema_path().to_string()
                }
                _ => error.instance_path().to_string(),
            };
            at(&path, &shorten(error.to_string()))
        })?;
        Ok(Schema(Arc::new(Inner { document: schema.clone(), validator, graph })))
    }

    /// The schema as it was given.
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// Whether a value fits; otherwise what does not, in the order of the value, at most 100 problems.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Problem>> {
        self.0.graph.affords(value).map_err(|problem| vec![problem])?;
        // The order in which the validator looks is not fixed, so the first problems are those of the smallest path.
        let mut worst: BinaryHeap<(Order, String, String)> = BinaryHeap::new();
        for error in self.0.validator.iter_errors(value) {
            let path = error.instance_path().as_str().to_string();
            let order = Order(pieces(&path), error.schema_path().as_str().to_string());
            if worst.len() == MAX_PROBLEMS {
                match worst.peek() {
                    Some((last, ..)) if *last <= order => continue,
                    _ => drop(worst.pop()),
                }
            }
            worst.push((order, path, shorten(error.to_string())));
        }
        if worst.is_empty() {
            return Ok(());
        }
        Err(worst.into_sorted_vec().into_iter().map(|(_, path, message)| Problem { path, message }).collect())
    }

    /// Fills in what is missing and has a `default` in the schema, then checks. Defaults are looked for below
    /// `properties`, `additionalProperties`, `prefixItems`, `items`, `allOf` and `$ref`, and inside of what was filled
    /// in; a `default` of the schema itself stands for null.
    pub fn accept(&self, value: Value) -> Result<Value, Vec<Problem>> {
        self.0.graph.affords(&value).map_err(|problem| vec![problem])?;
        let value =
            defaults::fill(&self.0.document, self.0.graph.references(), value).map_err(|problem| vec![problem])?;
        self.check(&value)?;
        Ok(value)
    }
}

/// Where schemas that are not here come from.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is not in the schema, and nothing is fetched").into())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.0.document)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.document == other.0.document
    }
}

/// The order of a value: elements of arrays by number, keys by name; then by what they break.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order(Vec<Piece>, String);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Index(usize),
    Key(String),
}

fn pieces(path: &str) -> Vec<Piece> {
    let parts = path.split('/').skip(1);
    parts.map(|part| part.parse().map_or_else(|_| Piece::Key(part.into()), Piece::Index)).collect()
}

/// Messages of the validator hold the value they are about.
fn shorten(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        None => message,
        Some((end, _)) => {
            // What is wrong stands at the end.
            let tail = message.char_indices().rev().nth(MAX_MESSAGE / 2).map_or(0, |(start, _)| start);
            let head = message.char_indices().nth(MAX_MESSAGE / 2).map_or(end, |(end, _)| end);
            format!("{}…{}", &message[..head], &message[tail..])
        }
    }
}
