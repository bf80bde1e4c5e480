//! JSON Schema as scripts use it: what fits, what is said about the rest, and schemas that mean harm.

use durhai_stdlib::schema::{Schema, list};
use serde_json::{Value, json};

fn compile(schema: &Value) -> Schema {
    Schema::compile(schema).unwrap_or_else(|why| panic!("{schema}: {why}"))
}

/// Schema, value, what is wrong with it.
#[track_caller]
fn problems(cases: &[(Value, Value, &str)]) {
    for (schema, value, expected) in cases {
        let found = compile(schema).check(value).err().unwrap_or_default();
        assert_eq!(&list(&found), expected, "{schema} {value}");
    }
}

#[test]
fn every_failing_path_is_told_in_the_order_of_the_value() {
    problems(&[
        (json!({ "type": "object" }), json!({ "a": 1 }), ""),
        (json!(true), json!(7), ""),
        (json!({ "type": "object", "required": ["items"] }), json!({}), r#""items" is a required property"#),
        (
            json!({ "properties": { "items": { "items": { "properties": { "price": { "type": "number" } } } } } }),
            json!({ "items": [{ "price": "x" }, { "price": 2 }, {}, 0, 0, 0, 0, 0, 0, 0, { "price": null }] }),
            r#"/items/0/price: "x" is not of type "number"; /items/10/price: null is not of type "number""#,
        ),
        (
            json!({ "properties": { "b": { "type": "string" }, "a": { "minimum": 3 } }, "additionalProperties": false }),
            json!({ "z": 1, "b": 1, "a": 1 }),
            "Additional properties are not allowed ('z' was unexpected); /a: 1 is less than the minimum of 3; \
             /b: 1 is not of type \"string\"",
        ),
        (json!({ "properties": { "a/b": { "const": 1 } } }), json!({ "a/b": 2 }), "/a~1b: 1 was expected"),
        (json!({ "format": "email" }), json!("nobody"), r#""nobody" is not a "email""#),
        (json!({ "format": "date-time" }), json!("2026-01-01T00:00:00Z"), ""),
        (json!({ "format": "a thing of ours" }), json!("x"), ""),
        (json!({ "pattern": "^\\p{L}+$" }), json!("Zoë"), ""),
        (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "null" } } }), json!(1), r#"1 is not of type "null""#),
        (json!({ "$ref": "#here", "$defs": { "a": { "$anchor": "here", "const": 2 } } }), json!(2), ""),
        (
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "http://a.b/c", "$ref": "http://a.b/c#/$defs/d", "$defs": { "d": { "const": 1 } } }),
            json!(1),
            "",
        ),
    ]);
}

#[test]
fn long_lists_and_long_values_are_cut() {
    let schema = compile(&json!({ "items": { "type": "string" } }));
    let found = schema.check(&json!(vec![1; 5_000])).unwrap_err();
    assert_eq!(found.len(), 100);
    assert_eq!(found[99].to_string(), r#"/99: 1 is not of type "string""#);
    let text = list(&found);
    assert!(text.starts_with(r#"/0: 1 is not of type "string"; /1: 1 is"#) && text.ends_with(" and 80 more"), "{text}");
    let long = &schema.check(&json!([vec!["ä"; 5_000]])).unwrap_err()[0].message;
    assert!(long.chars().count() <= 210 && long.ends_with(r#"is not of type "string""#), "{long}");
    assert_eq!(list(&found[..20]).matches("; ").count(), 19);
}

#[test]
fn defaults_are_filled_in() {
    for (schema, value, expected) in [
        (
            json!({ "properties": { "a": { "default": 1 }, "b": { "default": 2 } } }),
            json!({ "b": 0 }),
            json!({ "a": 1, "b": 0 }),
        ),
        (
            json!({ "properties": { "a": { "default": {}, "properties": { "b": { "default": [{}], "items": { "properties": { "c": { "default": "deep" } } } } } } } }),
            json!({}),
            json!({ "a": { "b": [{ "c": "deep" }] } }),
        ),
        (
            json!({ "prefixItems": [{}, { "$ref": "#/$defs/p" }], "items": { "properties": { "y": { "default": 2 } } }, "$defs": { "p": { "properties": { "x": { "default": 1 } } } } }),
            json!([{}, {}, {}]),
            json!([{}, { "x": 1 }, { "y": 2 }]),
        ),
        (
            json!({ "allOf": [{ "properties": { "a": { "$ref": "#one" } } }, { "properties": { "a": { "default": 9 } } }], "$defs": { "o": { "$anchor": "one", "default": 1 } } }),
            json!({}),
            json!({ "a": 1 }),
        ),
        (
            json!({ "properties": { "a": {} }, "additionalProperties": { "properties": { "x": { "default": 1 } } } }),
            json!({ "a": {}, "b": {} }),
            json!({ "a": {}, "b": { "x": 1 } }),
        ),
        (
            json!({ "type": "object", "default": { "n": 1 }, "properties": { "m": { "default": 2 } } }),
            json!(null),
            json!({ "n": 1, "m": 2 }),
        ),
        // A default counts for what is missing, not for null.
        (json!({ "properties": { "a": { "default": 1 } } }), json!({ "a": null }), json!({ "a": null })),
        (json!({ "anyOf": [{ "properties": { "a": { "default": 1 } } }] }), json!({}), json!({})),
    ] {
        assert_eq!(compile(&schema).accept(value.clone()), Ok(expected), "{schema} {value}");
    }
    // What was filled in is checked too.
    let schema = compile(&json!({ "required": ["b"], "properties": { "a": { "default": 1, "type": "string" } } }));
    let text = list(&schema.accept(json!({})).unwrap_err());
    assert_eq!(text, r#""b" is a required property; /a: 1 is not of type "string""#);
}

#[test]
fn a_bad_schema_is_refused_with_its_place() {
    let deep = (0..40).fold(json!(true), |inner, _| json!({ "not": inner }));
    for (schema, expected) in [
        (json!(5), "5 is not of types"),
        (
            json!({ "properties": { "a": { "type": "strnig" } } }),
            r#"/properties/a/type: "strnig" is no type; there are array, boolean"#,
        ),
        (json!({ "type": ["string", 5] }), "/type: 5 is no type"),
        (json!({ "items": { "minimum": "x" } }), r#"/items/minimum: "x" is not of type "number""#),
        (json!({ "required": "a" }), r#"/required: "a" is not of type "array""#),
        (json!({ "items": [{}] }), "/items: [{}] is not of types"),
        (json!({ "pattern": "(" }), r#"/pattern: "(" is not a "regex""#),
        (
            json!({ "properties": { "a": { "items": { "pattern": "(" } } } }),
            r#"/properties/a/items/pattern: "(" is not"#,
        ),
        (json!({ "pattern": "^(?=.*a)b" }), r#"/pattern: "^(?=.*a)b" looks around"#),
        (json!({ "pattern": "(a)\\1" }), r#"/pattern: "(a)\\1" is not a "regex""#),
        (json!({ "pattern": 5 }), "/pattern: 5 is not a string"),
        (
            json!({ "$ref": "https://example.com/s.json" }),
            r#"/$ref: "https://example.com/s.json" is remote, and nothing is fetched"#,
        ),
        (json!({ "not": { "$ref": "other.json#/a" } }), r#"/not/$ref: "other.json#/a" is remote"#),
        (json!({ "$ref": "file:///etc/passwd" }), r#"/$ref: "file:///etc/passwd" is remote"#),
        (json!({ "$ref": "#/$defs/none" }), r##"/$ref: there is no "#/$defs/none" in this schema"##),
        (json!({ "$ref": "#none" }), r##"/$ref: there is no "#none" in this schema"##),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
            r#"/$schema: "http://json-schema.org/draft-07/schema#" is not checked here"#,
        ),
        (json!({ "items": { "$id": "x" } }), "/items/$id: only the whole schema"),
        (deep, "the schema nests more than 32 levels deep"),
        (json!({ "const": "x".repeat(70_000) }), "the schema has 70012 bytes as JSON, the limit is 65536"),
    ] {
        let why = Schema::compile(&schema).expect_err(&schema.to_string());
        assert!(why.starts_with(expected), "{schema}\n found: {why}\nwanted: {expected}");
    }
}

/// Runs on a stack like that of any thread.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(f).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn schemas_that_multiply_or_never_end_are_refused() {
    on_a_small_stack(|| {
        let chain = |count: usize, link: fn(usize) -> Value| {
            let defs: serde_json::Map<_, _> = (0..count).map(|n| (format!("d{n}"), link(n + 1))).collect();
            let mut schema = json!({ "$ref": "#/$defs/d0", "$defs": defs });
            schema["$defs"][format!("d{count}")] = json!({ "type": "string" });
            schema
        };
        let next = |n: usize| json!({ "$ref": format!("#/$defs/d{n}") });
        let twice =
            |n: usize| json!({ "allOf": [{ "$ref": format!("#/$defs/d{n}") }, { "$ref": format!("#/$defs/d{n}") }] });
        for (schema, expected) in [
            (json!({ "$ref": "#" }), "it leads back to itself"),
            (json!({ "anyOf": [{ "not": { "$ref": "#" } }] }), "/anyOf/0/not: it leads back to itself"),
            (chain(1_000, next), "the schema is too involved"),
            (chain(60, twice), "the schema is too involved"),
            (json!({ "pattern": "\\p{L}{1000}" }), "/pattern: "),
            (json!({ "allOf": (0..300).map(|n| json!({ "pattern": format!("{n}") })).collect::<Vec<_>>() }), "/allOf/"),
        ] {
            let why = Schema::compile(&schema).expect_err("refused");
            assert!(why.starts_with(expected), "found: {why}\nwanted: {expected}");
        }
        compile(&chain(100, next)).check(&json!("x")).expect("short enough");
        compile(&chain(8, twice)).check(&json!("x")).expect("small enough");
    });
}

#[test]
fn values_that_multiply_are_refused() {
    on_a_small_stack(|| {
        let nested = |levels: usize| (0..levels).fold(json!(0), |inner, _| json!([inner]));
        let tree = compile(&json!({ "items": { "oneOf": [{ "$ref": "#", "minItems": 1 }, { "$ref": "#" }] } }));
        tree.check(&nested(3)).unwrap_err();
        let problems = tree.check(&nested(60)).unwrap_err();
        assert!(problems[0].message.contains("too deeply, to be checked against this schema"), "{problems:?}");
        // What any JSON may be, and a list: both go as deep as a value may.
        let any = json!({ "oneOf": [{ "type": ["null", "boolean", "number", "string"] }, { "type": "array", "items": { "$ref": "#" } }, { "type": "object", "additionalProperties": { "$ref": "#" } }] });
        compile(&any).check(&nested(64)).expect("fits");
        let problems = compile(&any).check(&nested(65)).unwrap_err();
        assert_eq!(list(&problems), "the value nests more than 64 levels deep");
        let list_of = json!({ "type": "object", "properties": { "next": { "$ref": "#" } }, "required": ["v"] });
        let chain = (0..64).fold(json!({ "v": 1 }), |next, _| json!({ "next": next }));
        let found = compile(&list_of).check(&chain["next"]).unwrap_err();
        assert_eq!(found.len(), 63);
        // A long enumeration and many values.
        let choice = compile(&json!({ "items": { "enum": (0..9_000).collect::<Vec<_>>() } }));
        choice.check(&json!([5, 8_999])).expect("fits");
        choice.check(&json!(vec![8_999; 200_000])).unwrap_err();
    });
}

#[test]
fn defaults_that_never_end_are_refused() {
    on_a_small_stack(|| {
        for (schema, value, expected) in [
            (json!({ "properties": { "a": { "$ref": "#", "default": {} } } }), json!({}), "ever more defaults"),
            (
                json!({ "properties": { "a": { "$ref": "#", "default": {} }, "b": { "$ref": "#", "default": {} } } }),
                json!({}),
                "defaults",
            ),
            (
                json!({ "items": { "properties": { "a": { "default": "x".repeat(60_000) } } } }),
                json!(vec![json!({}); 100]),
                "add more than 2097152 bytes",
            ),
        ] {
            let problems = compile(&schema).accept(value).unwrap_err();
            assert!(problems[0].message.contains(expected), "{problems:?}");
        }
    });
}
