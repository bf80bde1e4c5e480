//! What the API says of itself, as something that answers are held against.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use durhai::Value;
use jsonschema::Validator;
use serde_json::json;
use tower::ServiceExt;

/// The description of an API. Its schemas are closed: what they do not name must not be there.
pub struct Contract {
    pub document: Value,
    components: Value,
}

impl Contract {
    /// Asks a router for it.
    pub async fn of(router: &Router, token: Option<&str>) -> Contract {
        let mut request = Request::get("/api/v1/openapi.json").header("host", "127.0.0.1");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
        Contract::read(serde_json::from_slice(&bytes).expect("JSON"))
    }

    pub fn read(document: Value) -> Contract {
        let mut components = document["components"].clone();
        let mixed = mixed(&document);
        for (name, schema) in components["schemas"].as_object_mut().expect("schemas") {
            if !mixed.contains(name) {
                close(schema);
            }
        }
        Contract { document, components }
    }

    /// A schema, closed.
    pub fn schema(&self, name: &str) -> Validator {
        self.compile(&json!({ "$ref": format!("#/components/schemas/{name}") }))
    }

    pub fn compile(&self, schema: &Value) -> Validator {
        let whole = json!({ "allOf": [schema], "components": self.components });
        jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{schema}: {error}"))
    }

    /// The operation that a request is, with its path as it is described.
    pub fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object().expect("paths");
        // Paths that have no variables go first.
        let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template, path)).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        let (template, item) = fitting.first()?;
        Some((template, item.get(method.to_ascii_lowercase())?))
    }

    /// Panics unless this answer is one that is described.
    pub fn hold(&self, method: &str, path: &str, status: u16, kind: Option<&str>, body: &Value) {
        let Some((template, operation)) = self.operation(method, path) else {
            assert!(matches!(status, 400..=405), "{method} {path} is not described and was answered {status}: {body}");
            return;
        };
        let place = format!("{method} {template} answered {status}");
        let mut response = &operation["responses"][status.to_string()];
        assert!(!response.is_null(), "{place}, which is not described: {body}");
        if let Some(reference) = response["$ref"].as_str() {
            response = self.document.pointer(reference.trim_start_matches('#')).expect("it resolves");
        }
        match (response.get("content"), kind) {
            (None, None) => {}
            (Some(content), Some(kind)) => {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                let media = content.get(kind).unwrap_or_else(|| panic!("{place} as {kind}, which is not described"));
                if kind.ends_with("json") && kind != "application/x-ndjson" {
                    self.fit(&media["schema"], body, &place);
                }
            }
            (described, found) => panic!("{place} as {found:?}, and {described:?} is described"),
        }
    }

    /// Panics unless the value fits the schema.
    pub fn fit(&self, schema: &Value, value: &Value, place: &str) {
        let validator = self.compile(schema);
        let errors: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{place}, and it does not fit {schema}: {errors:#?}\n{value:#}");
    }
}

/// Whether a path is one of these.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted.starts_with('{') || wanted == found => {}
            _ => return false,
        }
    }
}

/// Schemas that others are made of: their properties are not all there is.
fn mixed(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(document, &mut |value| {
        for part in value["allOf"].as_array().into_iter().flatten() {
            if let Some(name) = part["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
                found.insert(name.to_owned());
            }
        }
    });
    found
}

/// Closes a schema and those inside of it that are of objects.
fn close(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let object = map.get("type") == Some(&json!("object")) || map.contains_key("allOf");
    let open = map.contains_key("additionalProperties") || map.contains_key("propertyNames");
    if object && !open && (map.contains_key("properties") || map.contains_key("allOf")) {
        map.insert("unevaluatedProperties".into(), json!(false));
    }
    for (key, inner) in map.iter_mut() {
        match key.as_str() {
            "items" => close(inner),
            "properties" => inner.as_object_mut().into_iter().flatten().for_each(|(_, inner)| close(inner)),
            // Parts of one object are closed by the whole; whole alternatives are closed by themselves.
            "oneOf" => inner.as_array_mut().into_iter().flatten().for_each(|inner| {
                if inner["type"] == "object" {
                    close(inner);
                }
            }),
            _ => {}
        }
    }
}

/// Calls `see` with every value inside.
pub fn walk(value: &Value, see: &mut dyn FnMut(&Value)) {
    see(value);
    match value {
        Value::Array(all) => all.iter().for_each(|inner| walk(inner, see)),
        Value::Object(all) => all.values().for_each(|inner| walk(inner, see)),
        _ => {}
    }
}
