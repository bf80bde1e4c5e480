//! Server-sent events, taken apart.

use std::collections::VecDeque;

/// One message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name; empty for one without.
    pub event: String,
    pub data: String,
}

/// Takes bytes as they come and gives whole messages.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is not complete yet.
    rest: Vec<u8>,
    message: Message,
    ready: VecDeque<Message>,
}

impl Parser {
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut self.rest);
            self.line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
    }

    pub fn next(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            // A message without data is none (a comment that keeps the connection open, say).
            if !message.data.is_empty() {
                self.ready.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.message.event = value.into(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wherever_the_bytes_are_cut() {
        let text =
            ": hi\n\nid: 1\ndata: {\"a\":\"ä\"}\n\nevent: end\r\ndata:x\r\ndata: y\r\n\r\nevent: nothing\n\ndata: cut";
        let whole = [
            Message { event: String::new(), data: "{\"a\":\"ä\"}".into() },
            Message { event: "end".into(), data: "x\ny".into() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            text.as_bytes().chunks(size).for_each(|chunk| parser.push(chunk));
            let found: Vec<_> = std::iter::from_fn(|| parser.next()).collect();
            assert_eq!(found, whole, "cut every {size} bytes");
        }
    }
}
