//! What does not parse because it is written as elsewhere. The line of the error is cut into tokens, and the nearest thing
//! before the error that is not of this language is what the error is about.

use rhai::{ParseErrorType, Position};

/// The place of what is foreign in a text that does not parse, and the sentence about it.
pub fn explain(error: &ParseErrorType, at: Position, text: &str) -> Option<(Position, String)> {
    if matches!(error, ParseErrorType::ModuleUndefined(_) | ParseErrorType::ExprTooDeep) {
        return None;
    }
    let number = at.line()?;
    let tokens = tokens(text.lines().nth(number - 1)?);
    let column = at.position().unwrap_or(1);
    let upto = tokens.iter().take_while(|token| token.column <= column).count();
    let reserved = matches!(error, ParseErrorType::Reserved(_));
    let line = Line { tokens: &tokens, reserved, error: upto.checked_sub(1) };
    // The key of a map may be any word in quotes.
    if line.error.is_some_and(|at| line.inside(at) == "#{" && line.text(at + 1) == ":") {
        return None;
    }
    let found = |token: &usize| line.foreign(*token);
    let (index, sentence) = match (0..upto).rev().find_map(|at| found(&at).map(|sentence| (at, sentence))) {
        Some(found) => found,
        // The parser may stop before what is foreign, in the same line.
        None => (upto..tokens.len()).find_map(|at| found(&at).map(|sentence| (at, sentence)))?,
    };
    let token = &tokens[index];
    let place = Position::new(at.line()?.min(65_535) as u16, token.column.min(65_535) as u16);
    let own = OWN.contains(&token.text) || ["print", ":", "{", "[", "<"].contains(&token.text);
    let message = match token.kind {
        TokenKind::Single => format!("single quotes hold one character: {sentence}"),
        _ if own => sentence.to_owned(),
        _ => format!("there is no `{}` here: {sentence}", token.text),
    };
    Some((place, message))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Word,
    Number,
    /// In double quotes or backticks.
    Text,
    /// In single quotes, and longer than a character.
    Single,
    Symbol,
}

#[derive(Debug)]
struct Token<'a> {
    kind: TokenKind,
    text: &'a str,
    /// From 1, in characters.
    column: usize,
    /// Nothing stands between it and the one before.
    touches: bool,
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "===", "!==", "...", "::<", "**", "++", "--", "=>", "->", "<-", ":=", "<>", "<=", ">=", "==", "!=", "&&", "||",
    "??", "?.", "?[", "::", "..", "+=", "-=", "*=", "/=", "~=", "#{",
];

fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut at, mut column, mut end) = (0, 1, 0);
    while let Some(first) = line[at..].chars().next() {
        let rest = &line[at..];
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let (kind, length) = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                column += 1;
                continue;
            }
            _ if rest.starts_with("//") => break,
            c if c.is_ascii_digit() => (TokenKind::Number, rest.find(|c| !word(c)).unwrap_or(rest.len())),
            c if word(c) => (TokenKind::Word, rest.find(|c| !word(c)).unwrap_or(rest.len())),
            '"' | '`' => (TokenKind::Text, quoted(rest, first)),
            '\'' => {
                let length = quoted(rest, first);
                let inside = rest[1..length].trim_end_matches('\'');
                let one = inside.chars().count() == 1 || inside.starts_with('\\');
                (if one { TokenKind::Text } else { TokenKind::Single }, length)
            }
            c => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                (TokenKind::Symbol, symbol.map_or(c.len_utf8(), |symbol| symbol.len()))
            }
        };
        let text = &rest[..length];
        tokens.push(Token { kind, text, column, touches: at == end && at > 0 });
        at += length;
        end = at;
        column += text.chars().count();
    }
    tokens
}

/// The bytes of a string up to its closing quote, or to the end of the line.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

struct Line<'a> {
    tokens: &'a [Token<'a>],
    /// The error is about a word that Rhai keeps for itself.
    reserved: bool,
    /// The token that the error is about.
    error: Option<usize>,
}

const DECLARE: &str = "`let x = …;` declares a variable, which has no type";
const FUNCTION: &str = "a function is written `fn name(x) { … }`, a closure `|x| …`";
const LOOP: &str = "`for x in list { … }` goes through a list, and `for i in 0..3 { … }` counts";
const THROWN: &str = "an error is thrown as a value: `throw \"why\";` or `throw #{ message: \"why\" };`";
const CATCH: &str = "`try { … } catch (e) { … }` takes any error, and `e.kind` tells which";
const BLOCK: &str = "a block is written `{ … }`";
const OBJECT: &str = "there are no classes: a map `#{ key: value }` holds fields, and functions stand by themselves";
const CHOICE: &str = "`if condition { a } else { b }` has a value";
const SWITCH: &str = "`switch x { 1 => …, _ => … }` chooses by value";
const BESIDE: &str = "`task(|| …)` begins something beside, and `parallel([|| …, || …])` does several things at once";
const IMPORT: &str = "`import \"lib/money\" as money;` takes a module in, whose functions are `money::name(…)`";
const FIELDS: &str = "each field is taken by itself: `let a = input.a;`";
const PRINT: &str = "`print(value)` writes a line to the run's log";
const CAST: &str =
    "`x.to_int()`, `x.to_float()`, `x.to_string()` and `parse_int(text)` make one kind of value of another";
const TYPES: &str = "variables and parameters have no types";

/// Words that begin a statement in Python and Ruby.
const HEADS: &[&str] = &[
    "if", "elif", "else", "for", "while", "def", "try", "except", "finally", "class", "with", "match", "case", "lambda",
];

/// Words of the language, behind which no name can stand.
const OWN: &[&str] = &[
    "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "continue", "break", "return",
    "throw", "try", "catch", "import", "export", "as", "fn", "private", "true", "false", "this",
];

impl Line<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.text(at))
    }

    fn touches(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.touches)
    }

    /// Whether a value could end here.
    fn is_value(&self, at: Option<usize>) -> bool {
        let Some(token) = at.and_then(|at| self.tokens.get(at)) else { return false };
        match token.kind {
            TokenKind::Word => !OWN.contains(&token.text) || ["true", "false", "this"].contains(&token.text),
            TokenKind::Symbol => [")", "]", "}"].contains(&token.text),
            _ => true,
        }
    }

    /// The bracket that is open at a token.
    fn inside(&self, at: usize) -> &str {
        let mut open = Vec::new();
        for token in self.tokens[..at].iter().filter(|token| token.kind == TokenKind::Symbol) {
            match token.text {
                "(" | "[" | "{" | "#{" | "?[" => open.push(token.text),
                ")" | "]" | "}" => drop(open.pop()),
                _ => {}
            }
        }
        open.last().copied().unwrap_or("")
    }

    /// The sentence, if the token is not of this language.
    fn foreign(&self, at: usize) -> Option<&'static str> {
        let token = self.tokens.get(at)?;
        match token.kind {
            TokenKind::Word => self.word(at, token.text),
            TokenKind::Symbol => self.symbol(at, token.text),
            TokenKind::Single => Some("a string is written \"…\", or `…` with ${…} in it"),
            TokenKind::Text
                if token.touches && self.kind(at - 1) == Some(TokenKind::Text) && self.before(at) == "\"\"" =>
            {
                Some("a string over several lines is written in backticks")
            }
            _ => None,
        }
    }

    // Long because it is a table: an arm for each word, the first that fits counts.
    fn word(&self, at: usize, word: &str) -> Option<&'static str> {
        let (before, next, last) = (self.before(at), self.text(at + 1), at + 1 == self.tokens.len());
        let first = at == 0 || before == "}" || before == ";" || before == "{";
        let name_next = self.kind(at + 1) == Some(TokenKind::Word) && !OWN.contains(&next);
        // A key of a map, a field, a name that is declared: no word of another language.
        if before == "." && word == "nil" && next == "?" {
            return Some("`x == ()` asks whether there is nothing");
        }
        if before == "." || before == "::" || ["{", ",", "#{"].contains(&before) && next == ":" {
            return None;
        }
        let declared = ["let", "const", "fn"].contains(&before);
        if declared && !(name_next && (word == "mut" || self.text(at + 2) == "=")) {
            return None;
        }
        // A parameter.
        if ["(", ",", "|"].contains(&before)
            && [")", ",", "|"].contains(&next)
            && !["null", "nil", "int", "float"].contains(&word)
        {
            return None;
        }
        Some(match word {
            "function" | "func" | "def" | "fun" | "sub" | "lambda" if name_next || ["(", "|", ":"].contains(&next) => {
                FUNCTION
            }
            "elif" | "elsif" | "elseif" => "`else if condition { … }` is two words",
            "except" | "rescue" | "ensure" if first => CATCH,
            "finally" if before == "}" || first => {
                "what is always done stands behind the `try`, or goes into a function that both ways call"
            }
            "raise" if first && !last => THROWN,
            "and" if self.is_value(at.checked_sub(1)) => "`&&` joins conditions",
            "or" if self.is_value(at.checked_sub(1)) => "`||` joins conditions",
            "not" if before == "in" || before == "is" || name_next || ["(", "true", "false"].contains(&next) => {
                "`!condition` turns a condition round"
            }
            "of" if self.tokens[..at].iter().any(|token| token.text == "for") => LOOP,
            "foreach" if next == "(" && self.tokens.iter().any(|token| ["in", "as"].contains(&token.text)) => LOOP,
            "let" | "const" | "var" | "int" | "auto" if before == "(" && self.text(at.wrapping_sub(2)) == "for" => LOOP,
            "for" if self.inside(at) == "[" => {
                "`list.map(|x| …)` makes a list of another, and `list.filter(|x| …)` takes some"
            }
            "for" if self.for_counts(at) => LOOP,
            "if" if self.is_value(at.checked_sub(1)) && !["}", ")", ";"].contains(&before) => CHOICE,
            "if" if next == "let" => "a value is there or it is `()`: `if x != () { … }`",
            "from" if first && name_next || self.tokens[..at].iter().any(|token| token.text == "import") => IMPORT,
            "import" if first && self.kind(at + 1) != Some(TokenKind::Text) => IMPORT,
            "class" | "struct" | "interface" | "enum" | "trait" | "impl" | "record" if name_next => OBJECT,
            "type" if name_next => TYPES,
            "typeof" if name_next || next == "(" => "`type_of(x)` gives the name of a value's type",
            "instanceof" => "`type_of(x) == \"map\"` tells a type",
            "delete" | "del" if name_next => {
                "`map.remove(\"key\")` takes an entry out of a map, and `list.remove(0)` an element out of a list"
            }
            "print" | "puts" | "echo" if self.is_value(Some(at + 1)) && next != "(" => PRINT,
            "println" | "printf" | "print" if next == "!" => PRINT,
            "vec" if next == "!" => "a list is written `[1, 2]`",
            "format" if next == "!" => "a string in backticks fills values in: `${x} of ${y}`",
            "mut" if name_next => "every variable can be changed",
            "pub" if next == "fn" || name_next => {
                "functions of a module can be called from outside unless they are `private`"
            }
            "f" | "r" | "b" | "u" if self.kind(at + 1) == Some(TokenKind::Text) && self.touches(at + 1) => {
                "a string in backticks fills values in: `hello ${x}`"
            }
            "defer" if name_next => "what is undone later is a compensation: `import \"std/saga\" as saga;`",
            "assert" if !last && next != "(" => "`if !condition { throw \"why\"; }` makes sure of something",
            "include" if before == "#" => IMPORT,
            "global" | "nonlocal" if name_next => {
                "functions see their arguments and the constants of the file, as `global::NAME`"
            }
            "extends" | "implements" => OBJECT,
            // Words that Rhai keeps for itself.
            "null" | "nil" if self.reserved => "nothing is written `()`",
            "var" if self.reserved => "`let x = …;` declares a variable",
            "new" if self.reserved && (before == "throw" || next.ends_with("Error") || next.ends_with("Exception")) => {
                THROWN
            }
            "new" if self.reserved && next == "Date" => {
                "`now()` is the run's clock in Unix milliseconds, and `import \"std/time\" as time;` has the calendar"
            }
            "new" if self.reserved => OBJECT,
            "await" if self.reserved => "calls wait by themselves: `let x = use_step(\"…\");` has the value",
            "async" if self.reserved => BESIDE,
            "go" | "spawn" | "thread" | "sync" if self.reserved => BESIDE,
            "default" if before == "export" => {
                "`export const NAME = …;` shows a constant to other files, and functions are seen anyway"
            }
            "case" if self.tokens[..at].iter().any(|token| token.text == "switch") => SWITCH,
            "match" | "case" | "default" if self.reserved => SWITCH,
            "goto" if self.reserved => "loops are left by `break` and gone on with by `continue`",
            "use" | "package" | "module" if self.reserved => IMPORT,
            "with" if self.reserved => {
                "a step opens and closes what is outside, like `use_step(\"file.read\", #{ path: \"…\" })`"
            }
            "is" if self.reserved || self.is_value(at.checked_sub(1)) && !last => {
                "`==` compares values, and `type_of(x)` gives a type"
            }
            "yield" if self.reserved => "`emit(value)` adds to what the run shows, and a function returns a list",
            "static" | "public" | "protected" | "void" if self.reserved => FUNCTION,
            "super" if self.reserved => OBJECT,
            "as" if self.is_value(at.checked_sub(1))
                && !self.tokens[..at].iter().any(|token| token.text == "import") =>
            {
                CAST
            }
            "int" | "float" | "double" | "long" | "string" | "String"
                if before == "(" && next == ")" && self.is_value(Some(at + 2)) =>
            {
                CAST
            }
            _ if before == "(" && self.text(at.wrapping_sub(2)) == "catch" && name_next => CATCH,
            "end" | "begin" if self.tokens.len() == 1 || first && last => BLOCK,
            "then" if last => BLOCK,
            "unless" if first && !last => "`if !condition { … }` is what is done otherwise",
            "do" if next == "|" || next == "||" => "`list.for_each(|x| …)` and `for x in list { … }` go through a list",
            "local" | "final" | "auto" | "mutable" | "val" | "dim" if name_next => DECLARE,
            // `int x = 5`, `String s = "x"`, `const int x = 5`
            _ if (first || declared)
                && name_next
                && ["=", ";"].contains(&self.text(at + 2))
                && !OWN.contains(&word)
                && !self.reserved =>
            {
                DECLARE
            }
            _ => return None,
        })
    }

    fn symbol(&self, at: usize, symbol: &str) -> Option<&'static str> {
        let (before, next, last) = (self.before(at), self.text(at + 1), at + 1 == self.tokens.len());
        let first = self.text(0);
        // These are of this language, where they stand right.
        if ["=>", ":", "&", "..", "{", "[", "?"].contains(&symbol) && self.error != Some(at) {
            return None;
        }
        Some(match symbol {
            "===" => "`==` compares values, and those of different types are not equal anyway",
            "!==" | "<>" | "~=" => "`!=` compares values, and those of different types are not equal anyway",
            "=>" if first == "rescue" => return None,
            "=>" if self.inside(at) == "{" && !self.tokens.iter().any(|token| token.text == "switch") => {
                "a map is written `#{ key: value }`"
            }
            "=>" if !self.tokens.iter().any(|token| token.text == "switch" || token.text == "_") => {
                "a closure is written `|x| …`"
            }
            "->" if self.tokens[..at].iter().any(|token| token.text == "fn") => TYPES,
            "->" if self.is_value(at.checked_sub(1)) && self.touches(at) => "`x.name` is a field",
            "->" => "a closure is written `|x| …`",
            "++" => "`x += 1` counts up",
            "--" if self.is_value(at.checked_sub(1))
                || self.kind(at + 1) == Some(TokenKind::Word) && self.touches(at + 1) =>
            {
                "`x -= 1` counts down"
            }
            "--" => "`// …` begins a comment",
            ":=" if first == "for" => LOOP,
            ":=" => "`let x = …;` declares a variable, and `x = …;` changes it",
            "..." => "`a + b` puts lists together, and so it does with maps",
            "#" if next == "include" => IMPORT,
            "#" => "`// …` begins a comment, and `#{` a map",
            "$" => "names have no sign in front, and `${…}` fills values into strings in backticks",
            "@" => "functions have no decorations",
            "~" => "bits are turned round with `^ -1`",
            "?" if last || next == ";" || next == ")" => "an error goes on by itself, until a `try` catches it",
            "?" => CHOICE,
            "&" if !self.is_value(at.checked_sub(1)) => {
                "values are copied, and what a closure captures is shared: there are no references"
            }
            ":" if self.inside(at) == "#{" => return None,
            ":" if self.inside(at) == "[" => {
                "`list.extract(from, length)` takes a part of a list, `text.sub_string(from, length)` one of a text"
            }
            ":" if last && HEADS.contains(&first) => BLOCK,
            ":" if self.tokens[..at].iter().any(|token| token.text == "lambda") => FUNCTION,
            ":" if self.inside(at) == "{" => "a map is written `#{ key: value }`",
            ":" if first == "for" && self.inside(at) == "(" => LOOP,
            ":" if self.tokens[..at].iter().any(|token| ["let", "const", "fn", "|", "catch"].contains(&token.text)) => {
                TYPES
            }
            "{" | "[" if ["let", "const"].contains(&before) => FIELDS,
            "<" if self.kind(at.wrapping_sub(1)) == Some(TokenKind::Word) && before.starts_with(char::is_uppercase) => {
                TYPES
            }
            ".." if self.is_value(at.checked_sub(1)) && self.kind(at + 1) == Some(TokenKind::Text) => {
                "`a + b` puts texts together"
            }
            _ => return None,
        })
    }

    /// `for i := 0; …`, `for (i = 0; …`
    fn for_counts(&self, at: usize) -> bool {
        let head: Vec<_> = self.tokens[at..].iter().map(|token| token.text).take_while(|text| *text != "{").collect();
        head.contains(&";") && !head.contains(&"in") || head.len() > 2 && head[1] == "(" && head.contains(&":")
    }
}
