//! The messages of OTLP that are sent, as Protocol Buffers, see
//! <https://github.com/open-telemetry/opentelemetry-proto>. Only what is used of them is here; the tests read what is sent with
//! the whole definitions.

/// A message on its way into bytes. Fields that have their default are left out, as the format wants.
#[derive(Default)]
pub struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.bytes_of_choice(field, bytes) }
    }

    /// A message within this one, also where all of its fields have their defaults.
    pub fn message(self, field: u64, message: Message) -> Self {
        self.bytes_of_choice(field, &message.0)
    }

    pub fn messages(self, field: u64, messages: impl IntoIterator<Item = Message>) -> Self {
        messages.into_iter().fold(self, |whole, message| whole.message(field, message))
    }

    /// `int32`, `int64`, `uint64`, `bool` and enumerations.
    pub fn number(self, field: u64, number: i64) -> Self {
        if number == 0 { self } else { self.number_of_choice(field, number) }
    }

    /// A number that says which of several fields there is, also if it is 0.
    pub fn number_of_choice(mut self, field: u64, number: i64) -> Self {
        self.tag(field, VARINT);
        self.varint(number as u64);
        self
    }

    pub fn fixed32(mut self, field: u64, number: u32) -> Self {
        if number != 0 {
            self.tag(field, FIXED32);
            self.0.extend(number.to_le_bytes());
        }
        self
    }

    pub fn fixed64(self, field: u64, number: u64) -> Self {
        if number == 0 { self } else { self.eight(field, number.to_le_bytes()) }
    }

    /// The same, of type `double`.
    pub fn double_of_choice(self, field: u64, number: f64) -> Self {
        self.eight(field, number.to_le_bytes())
    }

    /// Many numbers of eight bytes each, in one piece.
    pub fn packed(self, field: u64, numbers: impl IntoIterator<Item = [u8; 8]>) -> Self {
        self.bytes(field, &numbers.into_iter().flatten().collect::<Vec<_>>())
    }

    fn eight(mut self, field: u64, bytes: [u8; 8]) -> Self {
        self.tag(field, FIXED64);
        self.0.extend(bytes);
        self
    }

    /// The same, of type `string` or `bytes`.
    pub fn bytes_of_choice(mut self, field: u64, bytes: &[u8]) -> Self {
        self.tag(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

/// The fields of a message that was received: their numbers, with numbers or bytes. Ends at what is no message.
pub struct Fields<'a>(pub &'a [u8]);

pub enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            VARINT => Field::Number(self.varint()?),
            FIXED64 => Field::Bytes(self.take(8)?),
            FIXED32 => Field::Bytes(self.take(4)?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Message::default().text(2, "why").number_of_choice(3, 0);
        let bytes = Message::default().number(1, 300).message(2, inner).fixed32(16, 7).fixed64(7, 1).into_bytes();
        let mut fields = Fields(&bytes);
        assert!(matches!(fields.next(), Some((1, Field::Number(300)))));
        let Some((2, Field::Bytes(inner))) = fields.next() else { panic!("no message in it") };
        let mut within = Fields(inner);
        assert!(matches!(within.next(), Some((2, Field::Bytes(b"why")))));
        assert!(matches!(within.next(), Some((3, Field::Number(0)))) && within.next().is_none());
        assert!(matches!(fields.next(), Some((16, Field::Bytes([7, 0, 0, 0])))));
        assert!(matches!(fields.next(), Some((7, Field::Bytes([1, 0, 0, 0, 0, 0, 0, 0])))) && fields.next().is_none());
    }

    #[test]
    fn what_is_no_message_ends_it() {
        for bytes in [&[0x0a, 5, 1][..], &[0x08], &[0xff; 11], &[0x0b]] {
            assert!(Fields(bytes).next().is_none(), "{bytes:?}");
        }
    }
}
