//! Texts that people write, read from files: whatever an editor has put around them, and with a reason where they cannot
//! be read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// What some editors write in front of a text to say that it is UTF-8.
const MARK: char = '\u{feff}';

/// Bytes of one script file, as the engine has it.
pub(crate) const MAX_SCRIPT: u64 = durhai_engine::MAX_SOURCE as u64;

/// A text without the byte order mark that some editors put in front of it: it is not seen, and no parser takes it.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The same for a text that one owns.
pub fn strip_bom(mut text: String) -> String {
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

/// The text of a file, without a byte order mark. The error says why there is none: the file is a folder, a device, longer than
/// `most` bytes, in another encoding than UTF-8, or the system does not give it.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    // Opening a pipe may wait for ever.
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, and no file with a text")));
    }
    if metadata.len() > most {
        return Err(too_large(metadata.len(), most));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    // It may have grown meanwhile.
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64, most));
    }
    decode(bytes)
}

/// Bytes as text, without a byte order mark. The error says what they are instead.
pub fn decode(bytes: Vec<u8>) -> io::Result<String> {
    let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    String::from_utf8(bytes).map(strip_bom).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = match wide {
            true => "it is UTF-16: save it as UTF-8".to_owned(),
            false => format!("it is no UTF-8 text: byte {at}, in line {line}, is none; save it as UTF-8"),
        };
        io::Error::new(ErrorKind::InvalidData, message)
    })
}

fn too_large(bytes: u64, most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it has {bytes} bytes, the limit is {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_put_in_front_is_no_part_of_a_text() {
        for (text, plain) in [("\u{feff}1 + 1", "1 + 1"), ("1", "1"), ("\u{feff}", ""), ("1\u{feff}", "1\u{feff}")] {
            assert_eq!(without_bom(text), plain);
            assert_eq!(strip_bom(text.into()), plain);
            assert_eq!(decode(text.as_bytes().to_vec()).expect("it is text"), plain);
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("wide"), b"\xff\xfe1\0").expect("written");
        std::fs::write(path("latin"), b"let a = 1;\n// gr\xfc\xdfe").expect("written");
        std::fs::write(path("long"), "12345678901").expect("written");
        std::fs::write(path("good"), "\u{feff}1234567").expect("written");
        for (name, why) in [
            ("wide", "it is UTF-16: save it as UTF-8"),
            ("latin", "it is no UTF-8 text: byte 16, in line 2, is none; save it as UTF-8"),
            ("long", "it has 11 bytes, the limit is 10"),
            (".", "it is a folder, and no file with a text"),
        ] {
            let most = if name == "latin" { 100 } else { 10 };
            assert_eq!(read_text(&path(name), most).expect_err(name).to_string(), why);
        }
        assert_eq!(read_text(&path("missing"), 10).expect_err("none").kind(), ErrorKind::NotFound);
        assert_eq!(read_text(&path("good"), 10).expect("it is text"), "1234567");
    }
}
