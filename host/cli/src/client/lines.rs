//! Lines out of bytes as they come.

/// Takes bytes and gives whole lines, each byte looked at once.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Up to here they were given.
    begin: usize,
    /// Up to here there is no end of a line.
    seen: usize,
}

impl Lines {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.begin);
        self.seen -= self.begin;
        self.begin = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next one, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let Some(length) = self.bytes[self.seen..].iter().position(|byte| *byte == b'\n') else {
            self.seen = self.bytes.len();
            return None;
        };
        let (begin, end) = (self.begin, self.seen + length);
        (self.begin, self.seen) = (end + 1, end + 1);
        Some(&self.bytes[begin..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wherever_the_bytes_are_cut() {
        let text = "one\n\nzwei ist länger\n3\nnot whole";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next() {
                    found.push(String::from_utf8(line.to_vec()).expect("text"));
                }
            }
            assert_eq!(found, ["one", "", "zwei ist länger", "3"], "cut every {size} bytes");
        }
    }
}
