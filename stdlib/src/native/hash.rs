//! `std/hash`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use rhai::{Blob, Dynamic, Engine, NativeCallContext};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::Thrown;
use super::args::{self, Room, fail, wrong};
use crate::cost;

type Ctx<'a> = NativeCallContext<'a>;

/// Bytes that are hashed in one operation, and at once.
const HASHED: usize = 16;
const PIECE: usize = 64 << 10;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__hash_digest", |name: &str, data: Dynamic, encoding: Dynamic| digest(name, &data, &encoding))
        .register_fn("__hash_hmac", |name: &str, key: Dynamic, data: Dynamic, encoding: Dynamic| {
            hmac(name, &key, &data, &encoding)
        })
        .register_fn("__hash_crc32", |data: Dynamic| -> Result<i64, Thrown> {
            Ok(i64::from(crc32fast::hash(&bytes("hash::crc32: the data", &data)?)))
        })
        .register_fn("__hash_encode", |ctx: Ctx<'_>, name: &str, data: Dynamic| -> Result<Dynamic, Thrown> {
            let data = bytes(&format!("hash::{name}: the data"), &data)?;
            Room::of(&ctx).bytes(&format!("hash::{name}"), data.len().saturating_mul(2))?;
            Ok(encode(name, &data).into())
        })
        .register_fn("__hash_decode", |name: &str, source: Dynamic| -> Result<String, Thrown> {
            let function = format!("hash::{name}_decode");
            String::from_utf8(decode(name, &function, &source)?).or_else(|_| {
                fail(format!(
                    "{function}: the bytes are no UTF-8 text; hash::{name}_decode_blob gives them as they are"
                ))
            })
        })
        .register_fn("__hash_decode_blob", |name: &str, source: Dynamic| -> Result<Blob, Thrown> {
            decode(name, &format!("hash::{name}_decode_blob"), &source)
        })
        .register_fn("__hash_equals", |a: Dynamic, b: Dynamic| -> Result<bool, Thrown> {
            let (a, b) = (bytes("hash::equals: the first value", &a)?, bytes("hash::equals: the second value", &b)?);
            Ok(a.ct_eq(&b).into())
        });
}

fn digest(name: &str, data: &Dynamic, encoding: &Dynamic) -> Result<Dynamic, Thrown> {
    let function = format!("hash::{name}");
    let data = bytes(&format!("{function}: the data"), data)?;
    let digest = match name {
        "sha1" => hashed(Sha1::new(), &data, |hash, piece| Digest::update(hash, piece))?.finalize().to_vec(),
        "sha512" => hashed(Sha512::new(), &data, |hash, piece| Digest::update(hash, piece))?.finalize().to_vec(),
        _ => hashed(Sha256::new(), &data, |hash, piece| Digest::update(hash, piece))?.finalize().to_vec(),
    };
    encoded(&function, digest, encoding)
}

fn hmac(name: &str, key: &Dynamic, data: &Dynamic, encoding: &Dynamic) -> Result<Dynamic, Thrown> {
    let function = format!("hash::{name}");
    let key = bytes(&format!("{function}: the key"), key)?;
    let data = bytes(&format!("{function}: the data"), data)?;
    macro_rules! code {
        ($digest:ty) => {{
            cost::spend(key.len() / HASHED)?;
            // Keys of any length are taken.
            match Hmac::<$digest>::new_from_slice(&key) {
                Ok(mac) => {
                    Ok(hashed(mac, &data, |mac, piece| Mac::update(mac, piece))?.finalize().into_bytes().to_vec())
                }
                Err(error) => Err(error),
            }
        }};
    }
    let code = match name {
        "hmac_sha1" => code!(Sha1),
        "hmac_sha512" => code!(Sha512),
        _ => code!(Sha256),
    };
    encoded(&function, code.or_else(|error| fail(format!("{function}: {error}")))?, encoding)
}

/// Reads in pieces, so that others get their turn.
fn hashed<H>(mut hash: H, data: &[u8], update: impl Fn(&mut H, &[u8])) -> Result<H, Thrown> {
    for piece in data.chunks(PIECE) {
        cost::spend(piece.len() / HASHED)?;
        update(&mut hash, piece);
    }
    Ok(hash)
}

fn encoded(function: &str, digest: Vec<u8>, encoding: &Dynamic) -> Result<Dynamic, Thrown> {
    let what = format!("{function}: the encoding");
    match args::text(&what, encoding)?.as_str() {
        "blob" => Ok(Dynamic::from_blob(digest)),
        name @ ("hex" | "base64" | "base64url") => Ok(encode(name, &digest).into()),
        _ => wrong(&what, "\"hex\", \"base64\", \"base64url\" or \"blob\"", encoding),
    }
}

fn encode(name: &str, data: &[u8]) -> String {
    match name {
        "base64" => STANDARD.encode(data),
        "base64url" => URL_SAFE_NO_PAD.encode(data),
        _ => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digits = data.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            digits.map(|digit| DIGITS[digit as usize] as char).collect()
        }
    }
}

fn decode(name: &str, function: &str, source: &Dynamic) -> Result<Vec<u8>, Thrown> {
    let source = args::text(&format!("{function}: the text"), source)?;
    let text = source.trim().as_bytes();
    let bad = |why: String| fail(format!("{function}: {:?} is no {name}: {why}", args::cut(&source, 60)));
    match name {
        // With the padding or without.
        "base64" if text.ends_with(b"=") => STANDARD.decode(text).or_else(|error| bad(error.to_string())),
        "base64" => STANDARD_NO_PAD.decode(text).or_else(|error| bad(error.to_string())),
        "base64url" => {
            let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
            URL_SAFE_NO_PAD.decode(&text[..end]).or_else(|error| bad(error.to_string()))
        }
        _ => {
            if text.len() % 2 != 0 {
                return bad("it has an odd number of digits".into());
            }
            let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
            let pairs = text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
            pairs.collect::<Option<Vec<u8>>>().map_or_else(|| bad("a character is no digit of it".into()), Ok)
        }
    }
}

/// The bytes of a text or a blob.
fn bytes(what: &str, value: &Dynamic) -> Result<Vec<u8>, Thrown> {
    let value = value.flatten_clone();
    if let Ok(text) = value.as_immutable_string_ref() {
        cost::read(text.len())?;
        return Ok(text.as_bytes().to_vec());
    }
    let Ok(blob) = value.as_blob_ref().map(|blob| blob.to_vec()) else {
        return wrong(what, "a string or a blob", &value);
    };
    cost::read(blob.len())?;
    Ok(blob)
}
