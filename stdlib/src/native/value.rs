//! Between what a script holds and JSON, within bounds.

use std::cell::Cell;
use std::fmt;

use rhai::{Array, Dynamic, Map};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Thrown;
use super::args::{Room, fail, found};
use crate::cost;

/// Levels of arrays and maps.
pub const DEPTH: usize = 64;

/// A value as JSON. `what` is like `json::stringify: the value`; the error names the path below it.
pub fn to_json(what: &str, value: &Dynamic, room: Room) -> Result<Value, Thrown> {
    let mut walk = Walk { left: room.text, path: Vec::new(), work: cost::Work::default(), ended: None };
    let made = walk.value(value);
    if let Some(ended) = walk.ended {
        return Err(ended);
    }
    match made {
        Ok(value) => Ok(value),
        Err(why) => {
            let path: String = walk.path.concat();
            let at = if path.is_empty() { String::new() } else { format!(" at {path}") };
            fail(format!("{what}{at} {why}"))
        }
    }
}

struct Walk {
    /// Bytes.
    left: usize,
    path: Vec<String>,
    work: cost::Work,
    /// The script is over.
    ended: Option<Thrown>,
}

impl Walk {
    fn value(&mut self, value: &Dynamic) -> Result<Value, String> {
        if value.is_shared() {
            if value.is_locked() {
                return Err("is being changed; copy it to a variable first".into());
            }
            return self.value(&value.flatten_clone());
        }
        if value.is_unit() {
            self.charge(4)?;
            return Ok(Value::Null);
        }
        if let Ok(yes) = value.as_bool() {
            self.charge(4)?;
            return Ok(yes.into());
        }
        if let Ok(int) = value.as_int() {
            self.charge(1)?;
            return Ok(int.into());
        }
        if let Ok(float) = value.as_float() {
            self.charge(8)?;
            return Number::from_f64(float).map(Value::Number).ok_or_else(|| format!("is {float}, which is not JSON"));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            self.charge(text.len() + 2)?;
            return Ok(Value::String(text.to_string()));
        }
        if let Ok(character) = value.as_char() {
            self.charge(6)?;
            return Ok(Value::String(character.into()));
        }
        if let Ok(items) = value.as_array_ref() {
            self.deeper()?;
            self.charge(2 + items.len())?;
            let mut array = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                self.path.push(format!("[{index}]"));
                array.push(self.value(item)?);
                self.path.pop();
            }
            return Ok(Value::Array(array));
        }
        if let Ok(fields) = value.as_map_ref() {
            self.deeper()?;
            let mut object = serde_json::Map::new();
            for (key, field) in fields.iter() {
                self.charge(key.len() + 4)?;
                self.path.push(if rhai::is_valid_identifier(key) { format!(".{key}") } else { format!("[{key:?}]") });
                object.insert(key.to_string(), self.value(field)?);
                self.path.pop();
            }
            return Ok(Value::Object(object));
        }
        Err(format!("must be null, a boolean, a number, a string, an array or a map, found {}", found(value)))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or("is larger than a string may be")?;
        self.work.done(bytes + 16).map_err(|ended| {
            self.ended = Some(ended);
            "takes too long".into()
        })
    }

    fn deeper(&self) -> Result<(), String> {
        match self.path.len() < DEPTH {
            true => Ok(()),
            false => Err(format!("nests more than {DEPTH} levels deep")),
        }
    }
}

/// Reads JSON straight into script values, counting them: a text of 8 MB could hold four million arrays.
pub fn parse(text: &str, room: Room, levels: usize) -> Result<Dynamic, serde_json::Error> {
    let left = Left { items: Cell::new(room.items), entries: Cell::new(room.entries), room };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Reader { left: &left, levels }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Left {
    items: Cell<usize>,
    entries: Cell<usize>,
    room: Room,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    left: &'a Left,
    levels: usize,
}

impl Reader<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.levels {
            0 => Err(E::custom(format!("it nests more than {DEPTH} levels deep"))),
            levels => Ok(Reader { levels: levels - 1, ..self }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Dynamic;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Dynamic, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Dynamic, E> {
        Ok(yes.into())
    }

    fn visit_i64<E>(self, int: i64) -> Result<Dynamic, E> {
        Ok(int.into())
    }

    fn visit_u64<E>(self, int: u64) -> Result<Dynamic, E> {
        Ok(i64::try_from(int).map_or_else(|_| (int as f64).into(), Dynamic::from))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Dynamic, E> {
        Ok(float.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Dynamic, A::Error> {
        let inner = self.deeper()?;
        let mut items = Array::new();
        while let Some(item) = access.next_element_seed(inner)? {
            let most = self.left.room.items;
            let left = self.left.items.get().checked_sub(1);
            let message = || A::Error::custom(format!("it has more than {most} elements, which is the limit"));
            self.left.items.set(left.ok_or_else(message)?);
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Dynamic, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let most = self.left.room.entries;
            let left = self.left.entries.get().checked_sub(1);
            let message = || A::Error::custom(format!("it has more than {most} keys, which is the limit"));
            self.left.entries.set(left.ok_or_else(message)?);
            fields.insert(key.into(), access.next_value_seed(inner)?);
        }
        Ok(fields.into())
    }
}
