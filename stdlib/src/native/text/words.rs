//! Words in names and sentences.

/// Bytes of a text that is made a slug.
pub const MAX_SLUG: usize = 64 << 10;

/// The words of a text: of `order-id`, `Order ID`, `orderId`, `order_id` and `OrderID` they are the same but for case.
pub fn words(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = source.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            // It's one word.
            let inside = letter == '\'' && before.is_alphabetic() && letters.peek().is_some_and(|c| c.is_alphabetic());
            if inside {
                word.push(letter);
            } else if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            before = letter;
            continue;
        }
        let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (!before.is_uppercase() || next_is_small) && before.is_alphanumeric();
        if begins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
        before = letter;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// None for a case that there is not.
pub fn case(name: &str, source: &str) -> Option<String> {
    let words = || words(source).into_iter().map(|word| word.replace('\'', ""));
    let join = |separator: &str| words().map(|word| word.to_lowercase()).collect::<Vec<_>>().join(separator);
    Some(match name {
        "upper" => source.to_uppercase(),
        "lower" => source.to_lowercase(),
        "capitalize" => capitalized(source, false),
        "title" => title(source),
        "snake" => join("_"),
        "kebab" => join("-"),
        "pascal" => words().map(|word| capitalized(&word, true)).collect(),
        "camel" => {
            let rest = words().skip(1).map(|word| capitalized(&word, true));
            words().take(1).map(|word| word.to_lowercase()).chain(rest).collect()
        }
        _ => return None,
    })
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
fn title(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut before = ' ';
    for letter in source.chars() {
        let begins = letter.is_alphabetic() && !before.is_alphanumeric() && before != '\'';
        if begins {
            out.extend(letter.to_uppercase())
        } else {
            out.push(letter)
        }
        before = letter;
    }
    out
}
