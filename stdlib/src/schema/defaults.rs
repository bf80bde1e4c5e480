//! Filling in what is missing.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::graph::MAX_VALUE_DEPTH;
use super::problem::Problem;

/// Bytes, as JSON, that defaults may add to one value.
const MAX_ADDED: usize = 2 << 20;

/// Gives the value with the defaults of the schema. The schema is one that was compiled; `references` are the paths its
/// `$ref`s lead to.
pub fn fill(document: &Value, references: &HashMap<String, String>, value: Value) -> Result<Value, Problem> {
    let mut fill = Fill { document, references, left: MAX_ADDED, path: Vec::new() };
    let mut value = match fill.default_of(document) {
        Some(default) if value.is_null() => default.clone(),
        _ => value,
    };
    fill.value(document, &mut value)?;
    Ok(value)
}

struct Fill<'a> {
    document: &'a Value,
    references: &'a HashMap<String, String>,
    left: usize,
    path: Vec<String>,
}

impl<'a> Fill<'a> {
    /// Goes down with the value, whose depth is bounded; a schema does not lead back to itself without going down.
    fn value(&mut self, schema: &'a Value, value: &mut Value) -> Result<(), Problem> {
        let Value::Object(keywords) = schema else { return Ok(()) };
        if let Some(schema) = self.referred(keywords) {
            self.value(schema, value)?;
        }
        for schema in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.value(schema, value)?;
        }
        match value {
            Value::Object(fields) => self.fields(keywords, fields),
            Value::Array(items) => self.items(keywords, items),
            _ => Ok(()),
        }
    }

    fn fields(&mut self, keywords: &'a Map<String, Value>, fields: &mut Map<String, Value>) -> Result<(), Problem> {
        let properties = keywords.get("properties").and_then(Value::as_object);
        for (key, schema) in properties.into_iter().flatten() {
            if !fields.contains_key(key) {
                let Some(default) = self.default_of(schema) else { continue };
                self.charge(key, default)?;
                fields.insert(key.clone(), default.clone());
            }
            if let Some(field) = fields.get_mut(key) {
                self.below(key.clone(), schema, field)?;
            }
        }
        let Some(schema) = keywords.get("additionalProperties") else { return Ok(()) };
        if keywords.contains_key("patternProperties") {
            return Ok(());
        }
        for (key, field) in fields.iter_mut() {
            if !properties.is_some_and(|properties| properties.contains_key(key)) {
                self.below(key.clone(), schema, field)?;
            }
        }
        Ok(())
    }

    fn items(&mut self, keywords: &'a Map<String, Value>, items: &mut [Value]) -> Result<(), Problem> {
        let first = keywords.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = keywords.get("items");
        for (index, item) in items.iter_mut().enumerate() {
            if let Some(schema) = first.get(index).or(rest) {
                self.below(index.to_string(), schema, item)?;
            }
        }
        Ok(())
    }

    fn below(&mut self, key: String, schema: &'a Value, value: &mut Value) -> Result<(), Problem> {
        self.path.push(key);
        if self.path.len() > MAX_VALUE_DEPTH {
            return Err(self.problem("the defaults of the schema lead to ever more defaults".into()));
        }
        self.value(schema, value)?;
        self.path.pop();
        Ok(())
    }

    fn charge(&mut self, key: &str, default: &Value) -> Result<(), Problem> {
        let size = key.len() + 4 + default.to_string().len();
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => {
                return Err(self.problem(format!("the defaults of the schema add more than {MAX_ADDED} bytes")));
            }
        }
        Ok(())
    }

    fn problem(&self, message: String) -> Problem {
        let parts = self.path.iter().map(|key| key.replace('~', "~0").replace('/', "~1"));
        Problem { path: parts.map(|part| format!("/{part}")).collect(), message }
    }

    fn referred(&self, keywords: &Map<String, Value>) -> Option<&'a Value> {
        let reference = keywords.get("$ref").and_then(Value::as_str)?;
        self.document.pointer(self.references.get(reference)?)
    }

    /// A schema's own default, or that of the one it refers to.
    fn default_of(&self, mut schema: &'a Value) -> Option<&'a Value> {
        loop {
            let Value::Object(keywords) = schema else { return None };
            if let Some(default) = keywords.get("default") {
                return Some(default);
            }
            schema = self.referred(keywords)?;
        }
    }
}
