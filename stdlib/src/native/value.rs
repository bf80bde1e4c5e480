//! Between what a script holds and JSON, within bounds.

use std::cell::Cell;
use std::fmt;

use rhai::{Array, Dynamic, Map};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Thrown;
use super::args::{Room, error, found};
use crate::cost;
use crate::walk::{Path, Piece, Rules, Wrong, walk};

/// Levels of arrays and maps.
pub const DEPTH: usize = 64;

/// A value as JSON. `what` is like `json::stringify: the value`; the error names the path below it.
pub fn to_json(what: &str, value: &Dynamic, room: Room) -> Result<Value, Thrown> {
    walk(value, &mut Written { what, left: room.text, work: cost::Work::default() })
}

/// What fits into a string, paid for in operations.
struct Written<'a> {
    what: &'a str,
    /// Bytes.
    left: usize,
    work: cost::Work,
}

impl Written<'_> {
    fn wrong(&self, path: &Path<'_>, why: &str) -> Thrown {
        let path = path.to_string();
        let at = if path.is_empty() { path } else { format!(" at {path}") };
        error(format!("{}{at} {why}", self.what))
    }
}

impl Rules for Written<'_> {
    type Error = Thrown;

    fn levels(&self) -> usize {
        DEPTH
    }

    fn take(&mut self, piece: Piece<'_>, path: &Path<'_>) -> Result<(), Thrown> {
        let bytes = match piece {
            Piece::Null | Piece::Bool => 4,
            Piece::Int(_) => 1,
            Piece::Float => 8,
            Piece::Text(text) => text.len() + 2,
            Piece::Char(_) => 6,
            Piece::Array(items) => 2 + items,
            // Its entries pay.
            Piece::Map(_) => return Ok(()),
            Piece::Key(key) => key.len() + 4,
        };
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Err(self.wrong(path, "is larger than a string may be")),
        }
        self.work.done(bytes + 16)
    }

    fn refuse(&self, wrong: Wrong<'_>, path: &Path<'_>) -> Thrown {
        let why = match wrong {
            Wrong::TooDeep => format!("nests more than {DEPTH} levels deep"),
            Wrong::Locked => "is being changed; copy it to a variable first".into(),
            Wrong::Number(number) => format!("is {number}, which is not JSON"),
            Wrong::Type(value) => {
                format!("must be null, a boolean, a number, a string, an array or a map, found {}", found(value))
            }
        };
        self.wrong(path, &why)
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
