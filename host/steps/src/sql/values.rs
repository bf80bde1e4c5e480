//! What columns hold, as values of scripts. The server sends it in the binary form of each type.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};

use durhai::Value;
use durhai::postgres::client::types::{FromSql, Kind, Type};
use serde_json::{Map, Number, json};

use super::times;

/// Why a value cannot be given.
pub type Wrong = Box<dyn Error + Sync + Send>;

/// One value of a row.
pub struct Cell(pub Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        value(ty, raw).map(Cell)
    }

    fn from_sql_null(_: &Type) -> Result<Self, Wrong> {
        Ok(Cell(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Whether values of a type can be given, so that a statement that cannot be answered is not even begun.
pub fn known(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Simple => simple(ty, &[]).is_some() || *ty == Type::RECORD,
        Kind::Enum(_) => true,
        Kind::Array(member) => known(member),
        Kind::Domain(base) => known(base),
        Kind::Composite(fields) => fields.iter().all(|field| known(field.type_())),
        _ => *ty == Type::RECORD || *ty == Type::VOID,
    }
}

fn value(ty: &Type, raw: &[u8]) -> Result<Value, Wrong> {
    match ty.kind() {
        Kind::Enum(_) => text(raw),
        Kind::Domain(base) => value(base, raw),
        Kind::Array(member) => array(member, raw),
        Kind::Composite(fields) => {
            let mut fields = fields.iter();
            record(raw, |_| fields.next().map(|field| (field.name().to_owned(), field.type_().clone())))
        }
        _ if *ty == Type::RECORD => {
            let mut place = 0;
            record(raw, |oid| {
                place += 1;
                Some((format!("f{place}"), Type::from_oid(oid)?))
            })
        }
        _ if *ty == Type::VOID => Ok(Value::Null),
        _ => simple(ty, raw).unwrap_or_else(|| Err(format!("a value of the type {ty} cannot be given").into())),
    }
}

/// `None` for a type that is not known here, whatever its bytes are.
fn simple(ty: &Type, raw: &[u8]) -> Option<Result<Value, Wrong>> {
    Some(match *ty {
        Type::BOOL => bytes(raw).map(|[byte]| (byte != 0).into()),
        Type::CHAR => bytes(raw).map(|[byte]| char::from(byte).to_string().into()),
        Type::INT2 => bytes(raw).map(|all| i16::from_be_bytes(all).into()),
        Type::INT4 => bytes(raw).map(|all| i32::from_be_bytes(all).into()),
        Type::INT8 => bytes(raw).map(|all| i64::from_be_bytes(all).into()),
        Type::OID | Type::XID | Type::CID => bytes(raw).map(|all| u32::from_be_bytes(all).into()),
        // By its own digits: as a float of 64 bits 0.1 would be 0.10000000149011612.
        Type::FLOAT4 => bytes(raw).and_then(|all| float(&f32::from_be_bytes(all).to_string())),
        Type::FLOAT8 => bytes(raw).and_then(|all| float(&f64::from_be_bytes(all).to_string())),
        Type::NUMERIC => numeric(raw),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML => text(raw),
        Type::JSON => json(raw),
        Type::JSONB => json(raw.get(1..).unwrap_or_default()),
        Type::UUID => bytes(raw).map(uuid),
        Type::BYTEA => Ok(format!("\\x{}", hex(raw)).into()),
        Type::TIMESTAMPTZ => bytes(raw).and_then(|all| times::instant(i64::from_be_bytes(all))),
        Type::TIMESTAMP => bytes(raw).and_then(|all| times::moment(i64::from_be_bytes(all))),
        Type::DATE => bytes(raw).and_then(|all| times::date(i32::from_be_bytes(all))),
        Type::TIME => bytes(raw).map(|all| times::time(i64::from_be_bytes(all)).into()),
        Type::TIMETZ => times::time_with_zone(raw),
        Type::INTERVAL => times::interval(raw),
        Type::INET | Type::CIDR => address(raw),
        Type::MACADDR | Type::MACADDR8 => {
            Ok(raw.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":").into())
        }
        // An extension's type, whose binary form is its text.
        _ if ty.name() == "citext" => text(raw),
        _ => return None,
    })
}

pub fn bytes<const LENGTH: usize>(raw: &[u8]) -> Result<[u8; LENGTH], Wrong> {
    raw.try_into().map_err(|_| format!("found {} bytes, expected {LENGTH}", raw.len()).into())
}

fn text(raw: &[u8]) -> Result<Value, Wrong> {
    Ok(std::str::from_utf8(raw)?.into())
}

fn json(raw: &[u8]) -> Result<Value, Wrong> {
    Ok(durhai::json::from_slice(raw, "")?)
}

/// JSON has no words for what is no number.
fn float(digits: &str) -> Result<Value, Wrong> {
    let number: f64 = digits.parse()?;
    Ok(match Number::from_f64(number) {
        Some(number) => number.into(),
        None if number.is_nan() => "NaN".into(),
        None => (if number > 0.0 { "Infinity" } else { "-Infinity" }).into(),
    })
}

/// A number where a number has all its digits, else its text: money must not lose any.
fn numeric(raw: &[u8]) -> Result<Value, Wrong> {
    let word = |at: usize| bytes(raw.get(at..at + 2).unwrap_or_default());
    let (count, weight) = (u16::from_be_bytes(word(0)?), i16::from_be_bytes(word(2)?));
    let (sign, scale) = (u16::from_be_bytes(word(4)?), usize::from(u16::from_be_bytes(word(6)?)));
    match sign {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        _ => {}
    }
    let digits = (0..usize::from(count)).map(|at| Ok(u16::from_be_bytes(word(8 + 2 * at)?)));
    let digits = digits.collect::<Result<Vec<u16>, Wrong>>()?;
    let digit = |place: i32| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    // Four decimal digits each; the first `weight + 1` stand before the point.
    let before = i32::from(weight) + 1;
    let whole: String = (0..before).map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    let behind: i32 = i32::try_from(scale.div_ceil(4))?;
    let fraction: String = (before..before + behind).map(|place| format!("{:04}", digit(place))).collect();
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if scale == 0 {
        return Ok(out.parse::<i64>().map_or_else(|_| out.into(), Value::from));
    }
    out.push('.');
    out.push_str(fraction.get(..scale).unwrap_or(&fraction));
    let number: f64 = out.parse()?;
    let same = number.to_string().trim_end_matches(".0") == out.trim_end_matches('0').trim_end_matches('.');
    Ok(if same { Number::from_f64(number).map_or_else(|| out.into(), Value::from) } else { out.into() })
}

fn uuid(all: [u8; 16]) -> Value {
    let digits = hex(&all);
    [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| &digits[from..to]).join("-").into()
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Family, bits of the net, whether it is a net, length, address.
fn address(raw: &[u8]) -> Result<Value, Wrong> {
    let [family, bits, net, _] = bytes(raw.get(..4).unwrap_or_default())?;
    let rest = raw.get(4..).unwrap_or_default();
    let (address, all) = match family {
        2 => (Ipv4Addr::from(bytes::<4>(rest)?).to_string(), 32),
        _ => (Ipv6Addr::from(bytes::<16>(rest)?).to_string(), 128),
    };
    Ok(if bits == all && net == 0 { address } else { format!("{address}/{bits}") }.into())
}

/// Reads from the beginning of what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("the value ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32, Wrong> {
        Ok(i32::from_be_bytes(bytes(self.take(4)?)?))
    }

    /// With its length in front; -1 is NULL.
    fn value(&mut self, ty: &Type) -> Result<Value, Wrong> {
        match usize::try_from(self.int()?) {
            Ok(length) => value(ty, self.take(length)?),
            Err(_) => Ok(Value::Null),
        }
    }
}

fn array(member: &Type, raw: &[u8]) -> Result<Value, Wrong> {
    let mut reader = Reader(raw);
    let (dimensions, _, _) = (reader.int()?, reader.int()?, reader.int()?);
    let lengths = (0..dimensions).map(|_| {
        let length = usize::try_from(reader.int()?)?;
        // Where its numbers begin is of no use to a list.
        reader.int()?;
        Ok(length)
    });
    let lengths = lengths.collect::<Result<Vec<usize>, Wrong>>()?;
    match lengths.is_empty() {
        true => Ok(json!([])),
        false => nested(&lengths, member, &mut reader),
    }
}

fn nested(lengths: &[usize], member: &Type, reader: &mut Reader<'_>) -> Result<Value, Wrong> {
    match lengths {
        [] => reader.value(member),
        [length, inner @ ..] => {
            (0..*length).map(|_| nested(inner, member, reader)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
    }
}

/// `field` gives the name and the type of the next field, whose type has this number.
fn record(raw: &[u8], mut field: impl FnMut(u32) -> Option<(String, Type)>) -> Result<Value, Wrong> {
    let mut reader = Reader(raw);
    let count = reader.int()?;
    let mut fields = Map::new();
    for _ in 0..count {
        let oid = u32::from_be_bytes(bytes(reader.take(4)?)?);
        let (name, ty) =
            field(oid).ok_or_else(|| format!("a record has a field of a type that is not known (number {oid})"))?;
        fields.insert(name, reader.value(&ty)?);
    }
    Ok(Value::Object(fields))
}
