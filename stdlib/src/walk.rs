//! The one walk from what a script holds to JSON. What it may take, and how it says what is wrong, are the [`Rules`] of its
//! caller.

use std::fmt;

use rhai::Dynamic;
use serde_json::{Number, Value};

/// What a walk may take.
pub trait Rules {
    type Error;

    /// Levels of arrays and maps.
    fn levels(&self) -> usize;

    /// Called before a piece is copied: pays for it, or ends the walk.
    fn take(&mut self, piece: Piece<'_>, path: &Path<'_>) -> Result<(), Self::Error>;

    /// The error for a part that JSON cannot hold.
    fn refuse(&self, wrong: Wrong<'_>, path: &Path<'_>) -> Self::Error;
}

/// A part of a value, without what is inside of it.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    Null,
    Bool,
    Int(i64),
    Float,
    Text(&'a str),
    Char(char),
    /// With so many elements.
    Array(usize),
    /// With so many entries.
    Map(usize),
    Key(&'a str),
}

/// Why a part cannot be JSON.
pub enum Wrong<'a> {
    /// It nests deeper than [`Rules::levels`].
    TooDeep,
    /// A function that has not returned is changing it.
    Locked,
    /// NaN, or infinite.
    Number(f64),
    /// A function, a timestamp, a handle.
    Type(&'a Dynamic),
}

/// The way to a part of the value.
pub struct Path<'a> {
    outer: Option<&'a Path<'a>>,
    part: Part<'a>,
    levels: usize,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Root,
    Index(usize),
    Key(&'a str),
}

impl Path<'_> {
    fn inside<'p>(&'p self, part: Part<'p>) -> Path<'p> {
        Path { outer: Some(self), part, levels: self.levels + 1 }
    }
}

/// As a script would write it: `.items[3]["a b"]`; empty for the whole value.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}")?;
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Key(key) if rhai::is_valid_identifier(key) => write!(f, ".{key}"),
            Part::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

/// A script's value as JSON. `()` becomes null, a character a string; captured variables are read through. Recurses at most
/// [`Rules::levels`] levels.
pub fn walk<R: Rules>(value: &Dynamic, rules: &mut R) -> Result<Value, R::Error> {
    step(value, &Path { outer: None, part: Part::Root, levels: 0 }, rules)
}

fn step<R: Rules>(value: &Dynamic, path: &Path<'_>, rules: &mut R) -> Result<Value, R::Error> {
    if value.is_shared() {
        if value.is_locked() {
            return Err(rules.refuse(Wrong::Locked, path));
        }
        return step(&value.flatten_clone(), path, rules);
    }
    if value.is_unit() {
        rules.take(Piece::Null, path)?;
        return Ok(Value::Null);
    }
    if let Ok(yes) = value.as_bool() {
        rules.take(Piece::Bool, path)?;
        return Ok(Value::Bool(yes));
    }
    if let Ok(int) = value.as_int() {
        rules.take(Piece::Int(int), path)?;
        return Ok(Value::from(int));
    }
    if let Ok(float) = value.as_float() {
        rules.take(Piece::Float, path)?;
        return Number::from_f64(float).map(Value::Number).ok_or_else(|| rules.refuse(Wrong::Number(float), path));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        rules.take(Piece::Text(&text), path)?;
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(character) = value.as_char() {
        rules.take(Piece::Char(character), path)?;
        return Ok(Value::String(character.to_string()));
    }
    if let Ok(items) = value.as_array_ref() {
        open(Piece::Array(items.len()), path, rules)?;
        let mut array = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            array.push(step(item, &path.inside(Part::Index(index)), rules)?);
        }
        return Ok(Value::Array(array));
    }
    if let Ok(fields) = value.as_map_ref() {
        open(Piece::Map(fields.len()), path, rules)?;
        let mut object = serde_json::Map::new();
        for (key, field) in fields.iter() {
            rules.take(Piece::Key(key), path)?;
            object.insert(key.to_string(), step(field, &path.inside(Part::Key(key)), rules)?);
        }
        return Ok(Value::Object(object));
    }
    Err(rules.refuse(Wrong::Type(value), path))
}

fn open<R: Rules>(piece: Piece<'_>, path: &Path<'_>, rules: &mut R) -> Result<(), R::Error> {
    if path.levels >= rules.levels() {
        return Err(rules.refuse(Wrong::TooDeep, path));
    }
    rules.take(piece, path)
}
