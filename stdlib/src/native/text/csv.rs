//! CSV by RFC 4180. Written here because a quote that is never closed must be an error: readers that mend it silently
//! swallow the rest of the file.

use rhai::{Array, Dynamic, Engine, Map, NativeCallContext};

use super::{array, form};
use crate::cost::{self, Work};
use crate::native::Thrown;
use crate::native::args::{self, Room, fail, wrong};

type Ctx<'a> = NativeCallContext<'a>;

/// Bytes of the names in all rows that are read with a header.
const MAX_NAMES: usize = 256 << 20;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__text_csv", |ctx: Ctx<'_>, line: Dynamic, separator: Dynamic| -> Result<Array, Thrown> {
            let line = args::text("text::csv: the line", &line)?;
            let separator = one("text::csv: the separator", &separator)?;
            let mut rows = read("text::csv", &line, separator, Room::of(&ctx))?;
            match rows.len() {
                0 => Ok(vec!["".into()]),
                1 => Ok(rows.remove(0).into_iter().map(Dynamic::from).collect()),
                lines => fail(format!("text::csv: found {lines} lines where one was expected; parse_csv reads many")),
            }
        })
        .register_fn("__text_to_csv", |ctx: Ctx<'_>, values: Dynamic, separator: Dynamic| -> Result<String, Thrown> {
            let separator = one("text::to_csv: the separator", &separator)?;
            let mut out = String::new();
            write("text::to_csv", &array("text::to_csv: the values", &values)?, separator, &mut out, Room::of(&ctx))?;
            Ok(out)
        })
        .register_fn("__text_parse_csv", |ctx: Ctx<'_>, source: Dynamic, options: Dynamic| -> Result<Array, Thrown> {
            parse(&source, &options, Room::of(&ctx))
        })
        .register_fn("__text_format_csv", |ctx: Ctx<'_>, rows: Dynamic, options: Dynamic| -> Result<String, Thrown> {
            format(&rows, &options, Room::of(&ctx))
        });
}

fn parse(source: &Dynamic, options: &Dynamic, room: Room) -> Result<Array, Thrown> {
    let source = args::text("text::parse_csv: the text", source)?;
    let options = args::options("text::parse_csv", options, &["separator", "header"])?;
    let separator = options.get("separator").map_or(Ok(','), |value| one("text::parse_csv: separator", value))?;
    let header = match options.get("header").map(Dynamic::flatten_clone) {
        None => false,
        Some(value) => value.as_bool().or_else(|_| wrong("text::parse_csv: header", "true or false", &value))?,
    };
    // Excel begins its files with a byte order mark.
    let source = source.strip_prefix('\u{feff}').unwrap_or(&source);
    let mut rows = read("text::parse_csv", source, separator, room)?.into_iter();
    if !header {
        return Ok(rows.map(|row| row.into_iter().map(Dynamic::from).collect::<Array>().into()).collect());
    }
    let Some(names) = rows.next() else { return Ok(Array::new()) };
    let (mut entries, mut work) = (0, Work::default());
    // Each row has the names anew.
    let named: usize = names.iter().map(String::len).sum();
    rows.enumerate()
        .map(|(index, row)| {
            if row.len() != names.len() {
                let (found, expected) = (row.len(), names.len());
                let message = format!("row {} has {found} fields, the header has {expected}", index + 1);
                return fail(format!("text::parse_csv: {message}"));
            }
            entries += row.len();
            if entries > room.entries {
                return fail(format!("text::parse_csv: there are more than {} fields, the limit", room.entries));
            }
            if named.saturating_mul(index + 1) > MAX_NAMES {
                return fail(format!(
                    "text::parse_csv: the names of the header have {named} bytes, which the rows have anew: more than \
                     {MAX_NAMES} bytes by row {}; read it without `header`",
                    index + 1
                ));
            }
            work.done(named + 64 * row.len())?;
            let fields = names.iter().zip(row);
            Ok(fields.map(|(name, field)| (name.as_str().into(), field.into())).collect::<Map>().into())
        })
        .collect()
}

fn format(rows: &Dynamic, options: &Dynamic, room: Room) -> Result<String, Thrown> {
    const FUNCTION: &str = "text::format_csv";
    let rows = array("text::format_csv: the rows", rows)?;
    let options = args::options(FUNCTION, options, &["separator", "columns"])?;
    let separator = options.get("separator").map_or(Ok(','), |value| one("text::format_csv: separator", value))?;
    let columns = match options.get("columns") {
        Some(value) => array("text::format_csv: columns", value)?,
        None => match rows.first().map(Dynamic::flatten_clone) {
            Some(row) => row.as_map_ref().map(|row| row.keys().map(|key| key.as_str().into()).collect()),
            None => Ok(Array::new()),
        }
        .unwrap_or_default(),
    };
    let mut out = String::new();
    if !columns.is_empty() {
        write(FUNCTION, &columns, separator, &mut out, room)?;
        out.push('\n');
    }
    for (index, row) in rows.iter().enumerate() {
        let row = row.flatten_clone();
        cost::spend(columns.len() / 4)?;
        let cells = if row.is_array() {
            row.into_array().unwrap_or_default()
        } else if let Ok(row) = row.as_map_ref() {
            let cell = |column: &Dynamic| row.get(column.to_string().as_str()).cloned().unwrap_or_default();
            columns.iter().map(cell).collect()
        } else {
            return wrong(&format!("{FUNCTION}: row {index}"), "an array or a map", &row);
        };
        write(FUNCTION, &cells, separator, &mut out, room)?;
        out.push('\n');
    }
    Ok(out)
}

fn one(what: &str, value: &Dynamic) -> Result<char, Thrown> {
    let text = args::plain(what, value)?;
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if !['"', '\n', '\r'].contains(&letter) => Ok(letter),
        _ => wrong(what, "one character, no quote and no line end", value),
    }
}

fn read(function: &str, source: &str, separator: char, room: Room) -> Result<Vec<Vec<String>>, Thrown> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut fields = 0;
    let mut letters = source.chars().peekable();
    let mut line = 1;
    let mut work = Work::default();
    while letters.peek().is_some() {
        work.done(32)?;
        let mut field = String::new();
        let began = line;
        let quoted = letters.next_if_eq(&'"').is_some();
        let mut open = quoted;
        while open {
            work.done(4)?;
            match letters.next() {
                Some('"') if letters.next_if_eq(&'"').is_some() => field.push('"'),
                Some('"') => open = false,
                Some(letter) => {
                    line += usize::from(letter == '\n');
                    field.push(letter);
                }
                None => return fail(format!("{function}: the quote that opens in line {began} is not closed")),
            }
        }
        while let Some(letter) = letters.next_if(|letter| *letter != separator && *letter != '\n') {
            work.done(4)?;
            let end = letter == '\r' && letters.peek().is_none_or(|next| *next == '\n');
            if quoted && !end {
                let message = format!("{letter:?} stands behind the closing quote of a field in line {line}");
                return fail(format!("{function}: {message}"));
            }
            if !end {
                field.push(letter);
            }
        }
        row.push(field);
        fields += 1;
        room.items(function, fields + rows.len())?;
        match letters.next() {
            Some('\n') => {
                line += 1;
                rows.push(std::mem::take(&mut row));
            }
            // A separator at the very end begins one more field, which is empty.
            Some(_) if letters.peek().is_none() => row.push(String::new()),
            _ => {}
        }
    }
    if !row.is_empty() {
        rows.push(row);
    }
    Ok(rows)
}

fn write(function: &str, cells: &Array, separator: char, out: &mut String, room: Room) -> Result<(), Thrown> {
    let mut work = Work::default();
    for (index, cell) in cells.iter().enumerate() {
        let before = out.len();
        if index > 0 {
            out.push(separator);
        }
        let cell = form::shown(&format!("{function}: field {index}"), cell, room)?;
        let quoted = cell.contains(['"', '\n', '\r', separator]) || (cells.len() == 1 && cell.is_empty());
        if quoted {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
        work.done(64 + out.len() - before)?;
        room.bytes(function, out.len())?;
    }
    Ok(())
}
