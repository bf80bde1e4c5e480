//! The texts of a program, by the names that Rhai and messages give them.

use std::collections::{BTreeMap, HashMap};

use rhai::AST;

/// The texts of a program by the name Rhai knows them under, and the functions they define.
pub struct Texts {
    main: String,
    sources: BTreeMap<String, String>,
    /// Name and signature.
    functions: Vec<(String, String)>,
    /// The files of closures, by the names Rhai gives them.
    closures: HashMap<String, Vec<String>>,
}

impl Texts {
    /// `main` is the workflow's name, `sources` has its text and those of all it imports, `asts` what they were parsed to.
    pub(crate) fn new<'a>(main: &str, sources: BTreeMap<String, String>, asts: impl Iterator<Item = &'a AST>) -> Self {
        let (mut functions, mut closures) = (Vec::new(), HashMap::<String, Vec<String>>::new());
        for ast in asts {
            for function in ast.iter_functions() {
                let name = function.name.to_string();
                if name.starts_with("anon$") {
                    closures.entry(name).or_default().push(ast.source().unwrap_or_default().into());
                } else {
                    functions.push((name, format!("{}({})", function.name, function.params.join(", "))));
                }
            }
        }
        Texts { main: main.into(), sources, functions, closures }
    }

    /// The file that a closure stands in, where Rhai says it runs in `source`: it takes one that a module calls for a part of
    /// that module.
    pub fn of_closure<'a>(&'a self, name: &str, source: &'a str) -> &'a str {
        match self.closures.get(name) {
            Some(files) if !files.iter().any(|file| file == source) => files.first().map_or(source, String::as_str),
            _ => source,
        }
    }

    /// The file in which `name` is called at this place, where Rhai says that it is in `source`; see
    /// [`of_closure`](Self::of_closure).
    pub fn of_call<'a>(&'a self, name: &str, source: &'a str, line: u32, column: u32) -> &'a str {
        let stands = |file: &str| {
            let line = source_line(self.text(file).unwrap_or_default(), line);
            line.chars().skip(column.saturating_sub(1) as usize).take(name.len()).eq(name.chars())
        };
        if source == self.main || line == 0 || stands(source) {
            return source;
        }
        let others = std::iter::once(&self.main).chain(self.sources.keys());
        others.map(String::as_str).find(|file| stands(file)).unwrap_or(source)
    }

    /// The name Rhai knows the workflow's own text under.
    pub fn main(&self) -> &str {
        &self.main
    }

    pub fn text(&self, source: &str) -> Option<&str> {
        self.sources.get(source).map(String::as_str)
    }

    /// The text of a file by its name in messages.
    pub fn of_file(&self, file: &str) -> Option<&str> {
        self.text(file).or_else(|| self.text(file.strip_suffix(".rhai")?))
    }

    /// Every text by the name Rhai knows it under.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub fn file_name(&self, source: &str) -> String {
        file_name(source)
    }

    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(|(name, _)| name.as_str())
    }

    pub fn functions_named(&self, name: &str) -> Vec<&str> {
        self.functions.iter().filter(|(own, _)| own == name).map(|(_, signature)| signature.as_str()).collect()
    }
}

/// The name of the file behind a module path.
pub(crate) fn file_name(path: &str) -> String {
    if path.starts_with("std/") { path.into() } else { format!("{path}.rhai") }
}

/// The line a place is on, without its end.
pub fn source_line(source: &str, line: u32) -> &str {
    match line {
        0 => "",
        _ => source.lines().nth(line as usize - 1).unwrap_or("").trim_end(),
    }
}
