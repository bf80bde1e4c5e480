//! Files of one JSON document a line, with a last line that says how many there are and what their digest is: one that was
//! cut off or changed is noticed.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ExportError;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 256 << 20;

/// Writes lines.
pub(crate) struct LinesOut<W: Write> {
    out: W,
    hash: Sha256,
    lines: u64,
    bytes: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    lines: u64,
    sha256: String,
}

impl<W: Write> LinesOut<W> {
    pub fn new(out: W) -> Self {
        LinesOut { out, hash: Sha256::new(), lines: 0, bytes: 0 }
    }

    /// Adds a line: JSON without line breaks.
    pub fn raw(&mut self, json: &[u8]) -> io::Result<()> {
        for bytes in [json, b"\n"] {
            self.hash.update(bytes);
            self.out.write_all(bytes)?;
        }
        self.lines += 1;
        self.bytes += json.len() as u64 + 1;
        Ok(())
    }

    pub fn line<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        self.raw(&serde_json::to_vec(line)?)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the last line, with further fields in front, and gives what was written to back.
    pub fn end(mut self, fields: &[(&str, u64)]) -> io::Result<W> {
        let mut line = "{\"type\":\"end\"".to_owned();
        for (name, value) in fields {
            line += &format!(",\"{name}\":{value}");
        }
        let sha256 = hex(&self.hash.finalize_reset());
        line += &format!(",\"lines\":{},\"sha256\":\"{sha256}\"}}\n", self.lines);
        self.out.write_all(line.as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads them.
pub(crate) struct LinesIn<R> {
    input: R,
    hash: Sha256,
    /// Of the current line, from 1.
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> LinesIn<R> {
    pub fn new(input: R) -> Self {
        LinesIn { input, hash: Sha256::new(), number: 0, line: Vec::new() }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn error(&self, why: impl std::fmt::Display) -> ExportError {
        ExportError { line: self.number, why: why.to_string() }
    }

    /// The next line. It is an error if there is none: the last one is taken by [`end`](Self::end).
    pub fn next(&mut self) -> Result<&[u8], ExportError> {
        self.hash.update(&self.line);
        self.number += 1;
        if !self.fill()? {
            return Err(self.error(match self.number {
                1 => "the file is empty",
                _ => "the file ends here, without its last line: it was cut off when it was written or copied",
            }));
        }
        Ok(self.line.strip_suffix(b"\n").unwrap_or(&self.line))
    }

    fn fill(&mut self) -> Result<bool, ExportError> {
        self.line.clear();
        let read = io::Read::take(&mut self.input, LONGEST).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.line.ends_with(b"\n") => Ok(true),
            Ok(read) if read as u64 == LONGEST => Err(self.error(format!("the line is longer than {LONGEST} bytes"))),
            // Cut off within a line, which is probably no JSON either. The end line is the exception.
            Ok(_) => Ok(true),
            Err(error) => Err(self.error(format!("the file cannot be read: {error}"))),
        }
    }

    /// The line read last is the last one. Whether it says what was read, and nothing follows.
    pub fn end(&mut self) -> Result<(), ExportError> {
        let end: End = serde_json::from_slice(&self.line)
            .map_err(|error| self.error(format!("the last line cannot be read: {error}")))?;
        let lines = self.number - 1;
        if end.lines != lines {
            return Err(
                self.error(format!("the file should have {} lines before this one, and has {lines}", end.lines))
            );
        }
        let found = hex(&self.hash.finalize_reset());
        if end.sha256 != found {
            return Err(self.error(format!(
                "the lines before this one are not those that were written: their SHA-256 is {found}, it should be {}",
                end.sha256
            )));
        }
        self.number += 1;
        match self.fill()? {
            false => Ok(()),
            true => Err(self.error("something follows the last line")),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
