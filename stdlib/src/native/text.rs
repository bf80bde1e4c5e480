//! `std/text`.

mod csv;
mod form;
mod shape;
mod words;

use rhai::{Array, Dynamic, Engine, NativeCallContext};

use super::Thrown;
use super::args::{self, Room, fail};
use crate::cost::Work;

type Ctx<'a> = NativeCallContext<'a>;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__text_case", |ctx: Ctx<'_>, name: &str, source: Dynamic| -> Result<String, Thrown> {
            let function = format!("text::{name}");
            let source = args::plain(&format!("{function}: the text"), &source)?;
            // The result is at most three times as long.
            Room::of(&ctx).bytes(&function, source.len())?;
            // The functions behind the library are there for every script.
            words::case(name, &source)?.map_or_else(|| fail(format!("{function}: there is no such case")), Ok)
        })
        .register_fn("__text_words", |ctx: Ctx<'_>, source: Dynamic| -> Result<Array, Thrown> {
            let source = args::plain("text::words: the text", &source)?;
            let (room, mut list) = (Room::of(&ctx), Array::new());
            words::words(&source, |word| {
                room.items("text::words", list.len() + 1)?;
                list.push(word.into());
                Ok(())
            })?;
            Ok(list)
        })
        .register_fn("__text_slug", |source: Dynamic| -> Result<String, Thrown> {
            let source = args::plain("text::slug: the text", &source)?;
            match source.len() {
                0..=words::MAX_SLUG => Ok(words::slug(&source)),
                found => fail(format!("text::slug: the text has {found} bytes, the limit is {}", words::MAX_SLUG)),
            }
        })
        .register_fn("__text_lines", |ctx: Ctx<'_>, source: Dynamic| -> Result<Array, Thrown> {
            let source = args::plain("text::lines: the text", &source)?;
            Room::of(&ctx).items("text::lines", source.bytes().filter(|byte| *byte == b'\n').count())?;
            Ok(source.lines().map(Into::into).collect())
        })
        .register_fn("__text_join", |ctx: Ctx<'_>, values: Dynamic, separator: Dynamic| -> Result<String, Thrown> {
            let values = array("text::join: the values", &values)?;
            let separator = args::text("text::join: the separator", &separator)?;
            let room = Room::of(&ctx);
            let (mut out, mut work) = (String::new(), Work::default());
            for (index, value) in values.iter().enumerate() {
                let before = out.len();
                if index > 0 {
                    out.push_str(&separator);
                }
                out.push_str(&form::shown(&format!("text::join: element {index}"), value, room)?);
                work.done(out.len() - before + 64)?;
                room.bytes("text::join", out.len())?;
            }
            Ok(out)
        });
    shape::register(engine);
    form::register(engine);
    csv::register(engine);
}

fn array(what: &str, value: &Dynamic) -> Result<Array, Thrown> {
    let value = value.flatten_clone();
    if value.is_array() { Ok(value.into_array().unwrap_or_default()) } else { args::wrong(what, "an array", &value) }
}
