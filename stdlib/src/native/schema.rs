//! `std/schema`.

use rhai::{Array, Dynamic, Engine, Map, NativeCallContext};

use super::Thrown;
use super::args::{Cache, Room, fail, wrong};
use super::value::to_json;
use crate::schema::{Schema, list};
use crate::value::to_dynamic;

type Ctx<'a> = NativeCallContext<'a>;

pub fn register(engine: &mut Engine) {
    let cache = Cache::<Schema>::new();
    let (check, defaults) = (cache.clone(), cache);
    engine
        .register_fn("__schema_check", move |ctx: Ctx<'_>, value: Dynamic, schema: Dynamic| -> Result<Array, Thrown> {
            let room = Room::of(&ctx);
            let schema = compile(&check, "schema::check", &schema, room)?;
            let problems = schema.check(&to_json("schema::check: the value", &value, room)?).err().unwrap_or_default();
            let problem = |path: String, message: String| -> Dynamic {
                Map::from_iter([("path".into(), path.into()), ("message".into(), message.into())]).into()
            };
            Ok(problems.into_iter().map(|found| problem(found.path, found.message)).collect())
        })
        .register_fn("__schema_with_defaults", move |ctx: Ctx<'_>, value: Dynamic, schema: Dynamic| {
            const FUNCTION: &str = "schema::with_defaults";
            let room = Room::of(&ctx);
            let schema = compile(&defaults, FUNCTION, &schema, room)?;
            match schema.accept(to_json("schema::with_defaults: the value", &value, room)?) {
                Ok(value) => Ok(to_dynamic(&value)),
                Err(problems) => fail(format!("{FUNCTION}: the value does not fit: {}", list(&problems))),
            }
        });
}

fn compile(cache: &Cache<Schema>, function: &str, schema: &Dynamic, room: Room) -> Result<Schema, Thrown> {
    let what = format!("{function}: the schema");
    if !schema.is_map() && !schema.is_bool() {
        return wrong(&what, "a JSON Schema like #{ type: \"object\" }", schema);
    }
    let document = to_json(&what, schema, room)?;
    let text = document.to_string();
    cache.get(&text, || Schema::compile(&document).or_else(|why| fail(format!("{what} is none: {why}"))))
}
