//! What the comments of a module say, taken apart.

/// A module, as it is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// `std/text`.
    pub name: &'static str,
    /// `text`: the name it is imported under in the examples.
    pub alias: &'static str,
    /// Markdown.
    pub text: String,
    /// Usable outside of workflows too, see [`crate::PURE`].
    pub pure: bool,
    pub functions: Vec<Function>,
}

/// A public function, with all its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The parameters of each form, the shortest first.
    pub forms: Vec<Vec<String>>,
    /// Markdown, without the examples.
    pub text: String,
    pub examples: Vec<String>,
}

impl Function {
    /// `pad_left(value, width)` and so on.
    pub fn signatures(&self) -> Vec<String> {
        self.forms.iter().map(|form| format!("{}({})", self.name, form.join(", "))).collect()
    }

    /// The first sentence of the text.
    pub fn summary(&self) -> &str {
        summary(&self.text)
    }
}

impl Module {
    /// The first sentence of the text, without the line to import it.
    pub fn summary(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        first.split(": `import").next().unwrap_or(first)
    }
}

/// The documentation of every module, in the order of [`crate::NAMES`].
pub fn docs() -> Vec<Module> {
    crate::NAMES.iter().filter_map(|name| module(name)).collect()
}

fn module(name: &'static str) -> Option<Module> {
    let alias = name.strip_prefix("std/")?;
    let source = crate::source(alias)?;
    let mut text = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut functions: Vec<Function> = Vec::new();
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("//!") {
            text.push(rest.strip_prefix(' ').unwrap_or(rest));
        } else if let Some(rest) = line.strip_prefix("///") {
            comment.push(rest.strip_prefix(' ').unwrap_or(rest));
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let (name, rest) = rest.split_once('(')?;
            let (parameters, _) = rest.split_once(')')?;
            let form = parameters.split(", ").filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
            let (text, examples) = described(&std::mem::take(&mut comment));
            match functions.iter_mut().find(|function| function.name == name) {
                Some(function) => function.forms.push(form),
                None => functions.push(Function { name: name.into(), forms: vec![form], text, examples }),
            }
        } else {
            comment.clear();
        }
    }
    let pure = crate::PURE.contains(&name);
    Some(Module { name, alias, text: text.join("\n").trim().into(), pure, functions })
}

/// Takes a comment apart: its text, and its examples.
fn described(comment: &[&str]) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut examples = Vec::new();
    let mut open: Option<String> = None;
    for line in comment {
        if *line == "```" {
            match open.take() {
                Some(example) => examples.push(example),
                None => open = Some(String::new()),
            }
        } else {
            let into = open.as_mut().unwrap_or(&mut text);
            into.push_str(line);
            into.push('\n');
        }
    }
    (text.trim().into(), examples)
}

/// The first sentence of a text.
pub fn summary(text: &str) -> &str {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let end = paragraph.match_indices(['.', ':']).find(|(at, _)| {
        let rest = &paragraph[at + 1..];
        rest.is_empty() || rest.starts_with([' ', '\n'])
    });
    end.map_or(paragraph, |(at, _)| &paragraph[..at])
}
