//! How names and numbers fit into columns.

/// A name as a column has it. PostgreSQL's texts hold no NUL.
pub fn escaped(name: &str) -> String {
    if !name.contains(['\0', '\\']) {
        return name.to_owned();
    }
    name.replace('\\', "\\\\").replace('\0', "\\0")
}

pub fn unescaped(column: &str) -> String {
    if !column.contains('\\') {
        return column.to_owned();
    }
    let mut name = String::with_capacity(column.len());
    let mut letters = column.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => name.push(if letters.next() == Some('0') { '\0' } else { '\\' }),
            _ => name.push(letter),
        }
    }
    name
}

/// A number as a column has it: the largest stands for all beyond it.
pub fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from a column that had no more than fits.
pub fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// A moment from a column: the largest is never.
pub fn moment(column: i64) -> u64 {
    if column == i64::MAX { u64::MAX } else { number(column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["", "a", "\\", "\\0", "\0", "a\0b\\\\0ä", "\\\\", "end\\"] {
            assert!(!escaped(name).contains('\0'));
            assert_eq!(unescaped(&escaped(name)), name);
        }
    }

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, i64::MAX as u64 - 1, u64::MAX] {
            assert_eq!(moment(column(number)), number);
        }
        assert_eq!(super::number(-1), 0);
    }
}
