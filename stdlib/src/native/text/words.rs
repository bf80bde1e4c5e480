//! Words in names and sentences.

use crate::cost::Work;
use crate::native::Thrown;

/// Bytes of a text that is made a slug.
pub const MAX_SLUG: usize = 64 << 10;

/// The words of a text: of `order-id`, `Order ID`, `orderId`, `order_id` and `OrderID` they are the same but for case.
pub fn words(source: &str, mut each: impl FnMut(String) -> Result<(), Thrown>) -> Result<(), Thrown> {
    let mut work = Work::default();
    let mut word = String::new();
    let mut letters = source.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        work.done(8)?;
        if !letter.is_alphanumeric() {
            // It's one word.
            let inside = letter == '\'' && before.is_alphabetic() && letters.peek().is_some_and(|c| c.is_alphabetic());
            if inside {
                word.push(letter);
            } else if !word.is_empty() {
                each(std::mem::take(&mut word))?;
            }
            before = letter;
            continue;
        }
        let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (!before.is_uppercase() || next_is_small) && before.is_alphanumeric();
        if begins && !word.is_empty() {
            each(std::mem::take(&mut word))?;
        }
        word.push(letter);
        before = letter;
    }
    if word.is_empty() { Ok(()) } else { each(word) }
}

/// None for a case that there is not.
pub fn case(name: &str, source: &str) -> Result<Option<String>, Thrown> {
    // A text may have millions of words: none is kept.
    let join = |separator: &str, first: fn(&str) -> String, other: fn(&str) -> String| {
        let (mut out, mut begun) = (String::new(), false);
        words(source, |word| {
            let word = word.replace('\'', "");
            if begun {
                out.push_str(separator);
                out.push_str(&other(&word));
            } else {
                out.push_str(&first(&word));
            }
            begun = true;
            Ok(())
        })?;
        Ok(Some(out))
    };
    let large = |word: &str| capitalized(word, true);
    match name {
        "upper" => Ok(Some(source.to_uppercase())),
        "lower" => Ok(Some(source.to_lowercase())),
        "capitalize" => Ok(Some(capitalized(source, false))),
        "title" => title(source).map(Some),
        "snake" => join("_", str::to_lowercase, str::to_lowercase),
        "kebab" => join("-", str::to_lowercase, str::to_lowercase),
        "pascal" => join("", large, large),
        "camel" => join("", str::to_lowercase, large),
        _ => Ok(None),
    }
}

/// ASCII letters and digits, in small letters, with `-` between words.
pub fn slug(source: &str) -> String {
    let mut out = String::new();
    for letter in deunicode::deunicode(source).chars().map(|letter| letter.to_ascii_lowercase()) {
        match letter {
            'a'..='z' | '0'..='9' => out.push(letter),
            '\'' => {}
            _ if out.is_empty() || out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    if out.ends_with('-') {
        out.pop();
    }
    out
}

fn capitalized(source: &str, lower: bool) -> String {
    let mut letters = source.chars();
    let mut out: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    if lower {
        out.push_str(&letters.as_str().to_lowercase())
    } else {
        out.push_str(letters.as_str())
    }
    out
}

/// The first letter of each word large; nothing else is changed.
fn title(source: &str) -> Result<String, Thrown> {
    let mut work = Work::default();
    let mut out = String::with_capacity(source.len());
    let mut before = ' ';
    for letter in source.chars() {
        work.done(4)?;
        let begins = letter.is_alphabetic() && !before.is_alphanumeric() && before != '\'';
        if begins {
            out.extend(letter.to_uppercase())
        } else {
            out.push(letter)
        }
        before = letter;
    }
    Ok(out)
}
