//! The description of the API: what stands at each route, completed by what is the same everywhere.
//!
//! Routes, parameters and bodies are described where they are, in `routes/`. What the API shows is in the JSON files here,
//! because the types are those of other crates; tests hold samples of every type, and every answer they get, against it.

use durhai::{Status, Value};
use serde_json::{Map, json};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{OpenApi, Ref};

use crate::problem::PROBLEMS;

/// Schemas of what is shown.
const SCHEMAS: [&str; 5] = [
    include_str!("common.json"),
    include_str!("events.json"),
    include_str!("replay.json"),
    include_str!("runs.json"),
    include_str!("workflows.json"),
];

/// What the parts of a path are, by name.
const PATHS: [(&str, &str, &str); 4] = [
    ("id", "The name of a run.", "order-42"),
    ("name", "A name, with each `/` written as `%2F`.", "billing/order"),
    ("version", "`serving`, or the first digits of a digest.", "serving"),
    ("token", "The token of an open hook.", "4f1c2f3a9a5e4b0f8f6d0c2b1a3e5d7c"),
];

const TAGS: [(&str, &str); 6] = [
    ("runs", "Starting runs, looking at them, and doing things to them."),
    ("workflows", "What can be started, and its versions."),
    ("schedules", "Workflows that start by themselves."),
    ("steps", "What scripts can call."),
    ("hooks", "Requests from outside, for clients that know the token of a hook."),
    ("host", "The host and its store."),
];

/// Lengths of time as text; those that make sense, so that no sum of them is too long.
const DURATION: &str = r"^([0-9]{1,4}(\.[0-9]{1,3})?|([0-9]{1,4}(\.[0-9]{1,3})? ?(ms|s|m|h|d|w|(millisecond|sec|second|min|minute|hr|hour|day|week)s?) ?){1,4})$";

/// The whole document. With a token every call below `/api` needs it.
pub(crate) fn document(routes: OpenApi, token: bool) -> Value {
    // What utoipa gives is made of strings, numbers and maps with string keys.
    let mut document = serde_json::to_value(routes).expect("a description is always JSON");
    document["info"] = json!({
        "title": "durhai",
        "description": "Durable workflows as Rhai scripts: the API of a host. Errors are problem documents (RFC 9457).",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT OR Apache-2.0" },
    });
    document["servers"] = json!([{ "url": "/" }]);
    document["tags"] = TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    complete(&mut document["components"]);
    for (path, item) in entries(&mut document["paths"]) {
        let methods: Vec<_> = entries(item).collect();
        let several = methods.len() > 1 && path.starts_with("/hooks");
        for (method, operation) in methods {
            finish(path, method, operation, token);
            if several {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                operation["operationId"] = json!(format!("{id}By{}{}", method[..1].to_uppercase(), &method[1..]));
            }
        }
    }
    document
}

/// Schema of a length of time.
pub(crate) fn duration() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(31_622_400_000_u64));
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(DURATION));
    OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .item(number)
        .item(text)
        .description(Some("Seconds, or text such as `1h 30m`."))
        .build()
        .into()
}

/// Schema of the tags of a run.
pub(crate) fn tags() -> Schema {
    let value = ObjectBuilder::new().schema_type(Type::String).max_length(Some(durhai::tags::VALUE));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(value))
        .max_properties(Some(durhai::tags::MOST))
        .description(Some("What it is found by: keys of at most 64 bytes, values of at most 256."))
        .build()
        .into()
}

/// Schema of a list of statuses in which a run has ended.
pub(crate) fn ended() -> Schema {
    let ended: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_terminal()).map(Status::as_str).collect();
    let status = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(ended));
    let about = "Any of these; without them, every run that has ended.";
    ArrayBuilder::new().items(status).description(Some(about)).build().into()
}

/// Adds what every operation can refer to.
fn complete(components: &mut Value) {
    for file in SCHEMAS {
        // A test reads them all.
        let schemas: Map<String, Value> = serde_json::from_str(file).expect("the schemas are JSON");
        for (name, schema) in schemas {
            components["schemas"][name] = schema;
        }
    }
    components["schemas"]["Problem"]["properties"]["type"]["enum"] =
        PROBLEMS.iter().map(|(kind, ..)| json!(kind)).collect();
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "The token that the server was started with." }
    });
    for (status, about) in statuses() {
        let mut response = json!({ "description": about, "content": problem() });
        if status == 401 {
            response["headers"] = json!({ "WWW-Authenticate": { "schema": { "const": "Bearer" } } });
        }
        components["responses"][status.to_string()] = response;
    }
}

/// Adds what the route did not have to say.
fn finish(path: &str, method: &str, operation: &mut Value, token: bool) {
    let parts: Vec<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
    let mut params: Vec<Value> = operation["parameters"].as_array().cloned().unwrap_or_default();
    params.iter_mut().for_each(plain);
    for part in &parts {
        params.push(part_of_path(part));
    }
    operation["parameters"] = params.into();
    for (status, response) in entries(&mut operation["responses"]) {
        if status.as_str() >= "400" && response.get("content").is_none() {
            response["content"] = problem();
        }
    }
    let api = path.starts_with("/api/") || path == "/metrics";
    let body = operation.get("requestBody").is_some();
    let mut common = vec![400, 403, 500, 503];
    common.extend(api.then_some(401));
    common.extend((!parts.is_empty()).then_some(404));
    common.extend(body.then_some([408, 413]).into_iter().flatten());
    if operation.pointer("/requestBody/content/application~1json").is_some() {
        common.push(415);
        // An empty body counts as `{}`; where something is required in it, that is said when it is missing.
        operation["requestBody"]["required"] = json!(false);
    }
    for status in common {
        let status = status.to_string();
        if operation["responses"].get(&status).is_none() {
            operation["responses"][&status] = json!({ "$ref": format!("#/components/responses/{status}") });
        }
    }
    if api && token {
        operation["security"] = json!([{ "bearer": [] }]);
    }
    // Hooks take what comes, also nothing; nothing can be sent along with a look.
    if path.starts_with("/hooks/") {
        operation["requestBody"]["required"] = json!(false);
    }
    if body && method == "get" {
        operation.as_object_mut().map(|operation| operation.remove("requestBody"));
    }
}

/// A parameter is there or not, it is never null. What is known by its name is the same everywhere.
fn plain(param: &mut Value) {
    match param["name"].as_str() {
        Some("status") => param["schema"]["items"] = json!(Ref::from_schema_name("Status")),
        Some("tag") => param["schema"]["items"] = json!({ "type": "string", "pattern": "^[^:]+:" }),
        _ => {}
    }
    if let Some([first, _]) = param["schema"]["type"].as_array().map(Vec::as_slice) {
        param["schema"]["type"] = first.clone();
    }
}

fn part_of_path(name: &str) -> Value {
    // A test looks at every path.
    let (_, about, example) = PATHS.iter().find(|(known, ..)| *known == name).expect("parts of paths are described");
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": about,
        "schema": { "type": "string", "minLength": 1 },
        "example": example,
    })
}

fn problem() -> Value {
    json!({ "application/problem+json": { "schema": Ref::from_schema_name("Problem") } })
}

/// Every status of a problem, with its titles.
fn statuses() -> Vec<(u16, String)> {
    let mut all: Vec<(u16, String)> = Vec::new();
    for (_, status, title) in PROBLEMS {
        match all.iter_mut().find(|(known, _)| *known == status) {
            Some((_, titles)) => *titles = format!("{titles}, or: {title}"),
            None => all.push((status, title.to_owned())),
        }
    }
    all
}

fn entries(map: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    map.as_object_mut().into_iter().flatten()
}
