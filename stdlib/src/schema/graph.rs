//! How much work a schema can make, found out before any of it is done.
//!
//! A schema is a graph: a subschema leads to others that look at the same value (`allOf`, `$ref`, …) and to others that
//! look at what is inside of it (`properties`, `items`, …). A few hundred bytes of it can multiply to any number of
//! checks, or go round for ever; the validator follows without asking.

use std::collections::HashMap;

use durhai_core::json;
use serde_json::{Map, Value};

use super::problem::{Problem, at};

/// Levels of arrays and maps in a value that is checked.
pub const MAX_VALUE_DEPTH: usize = 64;

/// Checks that one part of a value may take, of a value without arrays and maps in it.
const MAX_FLAT: u64 = 10_000;

/// Checks that a whole value may take: part of a second in the worst case.
const MAX_CHECKS: u64 = 50_000_000;

/// Subschemas that are open at a time: each takes stack.
const MAX_STACK: u64 = 400;

/// Patterns in one schema: each is compiled and takes memory.
const MAX_PATTERNS: usize = 200;

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// What checking a value takes at most, by the depth of the value.
pub struct Graph {
    /// The path each `$ref` leads to.
    references: HashMap<String, String>,
    /// Checks for each part of the value.
    work: Vec<u64>,
    /// Subschemas that are open at a time.
    stack: Vec<u64>,
}

/// A subschema.
#[derive(Default)]
struct Node {
    path: String,
    /// Checks that it makes itself.
    own: u64,
    /// Subschemas for the same value.
    same: Vec<usize>,
    /// Subschemas for what is inside, if it is a map (0) or an array (1).
    inside: [Inside; 2],
    /// `unevaluated…` looks at the same value a second time.
    twice: bool,
}

#[derive(Default)]
struct Inside {
    /// Each for a part of its own.
    apart: Vec<usize>,
    /// All of them may look at the same part.
    together: Vec<usize>,
}

impl Graph {
    pub fn of(document: &Value) -> Result<Self, String> {
        let mut reader = Reader {
            document,
            nodes: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
            patterns: 0,
            references: HashMap::new(),
        };
        reader.node(String::new());
        while let Some(index) = reader.open.pop() {
            reader.read(index)?;
        }
        let Reader { nodes, references, .. } = reader;
        let order = order(&nodes)?;
        let mut graph = Graph { references, work: Vec::new(), stack: Vec::new() };
        let (mut work, mut stack) = (Vec::new(), Vec::new());
        for _ in 0..=MAX_VALUE_DEPTH {
            (work, stack) = deeper(&nodes, &order, &work, &stack);
            graph.work.push(work[0].into_iter().max().unwrap_or(0));
            graph.stack.push(stack[0]);
        }
        if graph.work[0] > MAX_FLAT || graph.stack[0] > MAX_STACK {
            return Err("the schema is too involved: its `allOf`, `anyOf`, `$ref` and the like multiply".into());
        }
        Ok(graph)
    }

    pub fn references(&self) -> &HashMap<String, String> {
        &self.references
    }

    /// Refuses a value whose check could take too long.
    pub fn affords(&self, value: &Value) -> Result<(), Problem> {
        let refuse = |message: String| Err(Problem { path: String::new(), message });
        let deep = json::depth(value, MAX_VALUE_DEPTH + 1);
        if deep > MAX_VALUE_DEPTH {
            return refuse(format!("the value nests more than {MAX_VALUE_DEPTH} levels deep"));
        }
        if self.stack[deep] > MAX_STACK || self.work[deep].saturating_mul(parts(value)) > MAX_CHECKS {
            return refuse("the value is too large, or nests too deeply, to be checked against this schema".into());
        }
        Ok(())
    }
}

fn parts(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(parts).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(parts).sum::<u64>(),
        _ => 1,
    }
}

struct Reader<'a> {
    document: &'a Value,
    nodes: Vec<Node>,
    /// By path.
    known: HashMap<String, usize>,
    /// To be read.
    open: Vec<usize>,
    patterns: usize,
    references: HashMap<String, String>,
}

impl Reader<'_> {
    fn node(&mut self, path: String) -> usize {
        if let Some(index) = self.known.get(&path) {
            return *index;
        }
        let index = self.nodes.len();
        self.known.insert(path.clone(), index);
        self.nodes.push(Node { path, ..Node::default() });
        self.open.push(index);
        index
    }

    fn read(&mut self, index: usize) -> Result<(), String> {
        let path = self.nodes[index].path.clone();
        let mut node = Node { own: 1, path, ..Node::default() };
        if let Some(Value::Object(fields)) = self.document.pointer(&node.path) {
            for (keyword, value) in fields {
                self.keyword(&mut node, keyword, value)?;
            }
        }
        self.nodes[index] = node;
        Ok(())
    }

    fn keyword(&mut self, node: &mut Node, keyword: &str, value: &Value) -> Result<(), String> {
        const MAP: usize = 0;
        const ARRAY: usize = 1;
        let here = format!("{}/{keyword}", node.path);
        match keyword {
            "allOf" | "anyOf" | "oneOf" => node.same.extend(self.elements(&here, value)),
            "not" | "if" | "then" | "else" => node.same.push(self.node(here)),
            "dependentSchemas" => node.same.extend(self.entries(&here, value)),
            "$ref" | "$dynamicRef" => node.same.push(self.reference(&here, value)?),
            "properties" => node.inside[MAP].apart = self.entries(&here, value),
            "patternProperties" => {
                for pattern in value.as_object().into_iter().flat_map(Map::keys) {
                    self.pattern(&here, pattern)?;
                }
                node.inside[MAP].together.extend(self.entries(&here, value));
            }
            "additionalProperties" | "propertyNames" => node.inside[MAP].together.push(self.node(here)),
            "unevaluatedProperties" => {
                node.inside[MAP].together.push(self.node(here));
                node.twice = true;
            }
            "prefixItems" => node.inside[ARRAY].apart = self.elements(&here, value),
            "items" | "contains" => node.inside[ARRAY].together.push(self.node(here)),
            "unevaluatedItems" => {
                node.inside[ARRAY].together.push(self.node(here));
                node.twice = true;
            }
            "enum" | "required" => node.own += value.as_array().map_or(0, |values| values.len() as u64 / 8),
            "type" => types(&here, value)?,
            "pattern" => match value {
                Value::String(pattern) => self.pattern(&here, pattern)?,
                _ => return Err(at(&here, &format!("{value} is not a string"))),
            },
            "$id" if !node.path.is_empty() => {
                return Err(at(&here, "only the whole schema can have an `$id`; use `$defs` and `#/$defs/…`"));
            }
            "$schema" if !node.path.is_empty() || !is_2020_12(value) => {
                let message = format!("{value} is not checked here, only JSON Schema 2020-12 is: leave `$schema` out");
                return Err(at(&here, &message));
            }
            _ => {}
        }
        Ok(())
    }

    fn elements(&mut self, here: &str, value: &Value) -> Vec<usize> {
        let count = value.as_array().map_or(0, Vec::len);
        (0..count).map(|index| self.node(format!("{here}/{index}"))).collect()
    }

    fn entries(&mut self, here: &str, value: &Value) -> Vec<usize> {
        let keys = value.as_object().into_iter().flat_map(Map::keys);
        keys.map(|key| self.node(format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")))).collect()
    }

    fn pattern(&mut self, here: &str, pattern: &str) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(at(here, &format!("the schema has more than {MAX_PATTERNS} patterns")));
        }
        if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|form| pattern.contains(form)) {
            return Err(at(here, &format!("{pattern:?} looks around, which patterns here cannot: use `allOf`, `not`")));
        }
        Ok(())
    }

    fn reference(&mut self, here: &str, value: &Value) -> Result<usize, String> {
        let Value::String(text) = value else { return Err(at(here, &format!("{value} is not a string"))) };
        match target(self.document, text) {
            Some(path) => {
                self.references.insert(text.clone(), path.clone());
                Ok(self.node(path))
            }
            None if text.starts_with('#') => Err(at(here, &format!("there is no {text:?} in this schema"))),
            None => {
                let message =
                    format!("{text:?} is remote, and nothing is fetched: put it under `$defs`, and refer to it as");
                Err(at(here, &format!("{message} \"#/$defs/…\"")))
            }
        }
    }
}

/// The path that a `$ref` leads to, if it is inside the document.
fn target(document: &Value, reference: &str) -> Option<String> {
    let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let own = document.get("$id").and_then(Value::as_str).unwrap_or("").trim_end_matches('#');
    if !base.is_empty() && base != own {
        return None;
    }
    if fragment.is_empty() || fragment.starts_with('/') {
        let path = percent_decoded(fragment)?;
        return document.pointer(&path).map(|_| path);
    }
    anchor(document, fragment, String::new())
}

/// The path of the subschema with that `$anchor`.
fn anchor(value: &Value, name: &str, path: String) -> Option<String> {
    match value {
        Value::Object(fields) => {
            let is = |keyword: &str| fields.get(keyword).and_then(Value::as_str) == Some(name);
            if is("$anchor") || is("$dynamicAnchor") {
                return Some(path);
            }
            let key = |key: &str| key.replace('~', "~0").replace('/', "~1");
            fields.iter().find_map(|(name_, field)| anchor(field, name, format!("{path}/{}", key(name_))))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| anchor(item, name, format!("{path}/{index}")))
        }
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let code = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

fn types(here: &str, value: &Value) -> Result<(), String> {
    let one = [value.clone()];
    for name in value.as_array().map_or(&one[..], Vec::as_slice) {
        if !name.as_str().is_some_and(|name| TYPES.contains(&name)) {
            return Err(at(here, &format!("{name} is no type; there are {}", TYPES.join(", "))));
        }
    }
    Ok(())
}

fn is_2020_12(value: &Value) -> bool {
    let text = value.as_str().unwrap_or("").trim_end_matches('#');
    text.trim_start_matches("https://").trim_start_matches("http://") == "json-schema.org/draft/2020-12/schema"
}

/// The nodes such that each stands behind all that look at the same value for it. Fails if some go round in a circle.
fn order(nodes: &[Node]) -> Result<Vec<usize>, String> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Open,
        Done,
    }
    let mut seen = vec![Seen::No; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        let mut open = vec![start];
        while let Some(index) = open.last().copied() {
            if seen[index] == Seen::No {
                seen[index] = Seen::Open;
                for next in &nodes[index].same {
                    match seen[*next] {
                        Seen::No => open.push(*next),
                        Seen::Open => {
                            let message = "it leads back to itself without going into the value, so no check would end";
                            return Err(at(&nodes[index].path, message));
                        }
                        Seen::Done => {}
                    }
                }
                continue;
            }
            open.pop();
            if seen[index] == Seen::Open {
                seen[index] = Seen::Done;
                order.push(index);
            }
        }
    }
    Ok(order)
}

type Work = [u64; 2];

/// What each node takes for values that are one level deeper than those of `work` and `stack`.
fn deeper(nodes: &[Node], order: &[usize], work: &[Work], stack: &[u64]) -> (Vec<Work>, Vec<u64>) {
    let mut more_work = vec![[0, 0]; nodes.len()];
    let mut more_stack = vec![0; nodes.len()];
    let below = |index: &usize| work.get(*index).map_or(0, |work| work[0].max(work[1]));
    for index in order {
        let node = &nodes[*index];
        let total = |kind: usize, inside: &Inside| {
            let same = node.same.iter().fold(0_u64, |sum, next| sum.saturating_add(more_work[*next][kind]));
            let same = if node.twice { same.saturating_mul(2) } else { same };
            let apart = inside.apart.iter().map(below).max().unwrap_or(0);
            let together = inside.together.iter().map(below).fold(0_u64, u64::saturating_add);
            node.own.saturating_add(same).saturating_add(apart.saturating_add(together))
        };
        more_work[*index] = [total(0, &node.inside[0]), total(1, &node.inside[1])];
        let same = node.same.iter().map(|next| more_stack[*next]);
        let inside = node.inside.iter().flat_map(|inside| inside.apart.iter().chain(&inside.together));
        let inside = inside.map(|next| stack.get(*next).copied().unwrap_or(0));
        more_stack[*index] = 1 + same.chain(inside).max().unwrap_or(0);
    }
    (more_work, more_stack)
}
