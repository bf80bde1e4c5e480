//! Bundles: a workflow's text with all it imports, gathered without running it.

use std::collections::BTreeMap;

use durhai_core::Version;
use durhai_stdlib::language::{self, Scripts};
use rhai::{Engine, OptimizationLevel};
use serde::{Deserialize, Serialize};

use super::parse::{bad_path, imports, parse};
use super::texts::file_name;
use crate::errors::diagnostic::Diagnostic;
use crate::limits::ScriptLimits;

/// All the text a run needs: it is stored with the run's version, so that a run goes on with its own text on any host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The workflow's name, for messages; not part of the version.
    pub name: String,
    pub source: String,
    /// What is imported, by path (`lib/money`, `std/batch`), the modules' own imports included.
    pub modules: BTreeMap<String, String>,
    /// How the texts are read, see [`Bundle::EDITION`]. Those that were stored before there were editions are of the first.
    #[serde(default = "first_edition", skip_serializing_if = "is_first_edition")]
    pub edition: u32,
}

fn first_edition() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_first_edition(edition: &u32) -> bool {
    *edition == 1
}

impl Bundle {
    /// A workflow that imports nothing.
    pub fn single(name: &str, source: &str) -> Self {
        Bundle { name: name.into(), source: source.into(), modules: BTreeMap::new(), edition: Self::EDITION }
    }

    /// Finds all that a workflow imports, without running it. `read` gives the text of a path like `lib/money`, which
    /// never holds `..` and is never absolute; modules of the standard library are added without asking it.
    pub fn gather(
        name: &str,
        source: &str,
        read: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Bundle, Vec<Diagnostic>> {
        // What some editors put in front of a text is no part of it.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let mut engine = language::parser(Scripts::Workflows, &ScriptLimits::default().of_language());
        // An import stands where it is written, also where a folded condition would leave it out.
        engine.set_optimization_level(OptimizationLevel::None);
        let mut gather = Gather { engine, read, modules: BTreeMap::new(), open: Vec::new(), wrong: Vec::new() };
        gather.visit(&format!("{name}.rhai"), source);
        match gather.wrong.is_empty() {
            true => Ok(Bundle { modules: gather.modules, ..Bundle::single(name, source) }),
            false => Err(gather.wrong),
        }
    }

    /// How texts are read that are new. A run goes on with the edition of its text, so that its log goes on fitting.
    ///
    /// 1: as Rhai reads them. 2: a closure made in a `for` loop sees the variable as it is in that turn, the value of a
    /// `catch` block counts, and what it catches of an error of the script is a map like that of a failed call.
    pub const EDITION: u32 = 2;

    /// The digest of the text, all it imports, the version of the standard library and the edition.
    pub fn version(&self) -> Version {
        self.version_with(Self::STD)
    }

    /// The version of the standard library that a new version is made with.
    pub const STD: &str = durhai_stdlib::VERSION;

    /// The same under another version of the standard library.
    pub fn version_with(&self, std: &str) -> Version {
        let main = [("main", self.source.as_str()), ("std", std)];
        let modules = self.modules.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        // The digests of the first edition were there before there were editions.
        let number = self.edition.to_string();
        let edition = (self.edition > 1).then_some(("edition", number.as_str()));
        Version::of(main.into_iter().chain(modules).chain(edition))
    }
}

struct Gather<'a> {
    engine: Engine,
    read: &'a mut dyn FnMut(&str) -> Option<String>,
    modules: BTreeMap<String, String>,
    /// Modules whose imports are being looked at, outermost first.
    open: Vec<String>,
    wrong: Vec<Diagnostic>,
}

impl Gather<'_> {
    fn visit(&mut self, file: &str, source: &str) {
        let ast = match parse(&self.engine, file, source) {
            Ok(ast) => ast,
            Err(diagnostic) => return self.wrong.push(diagnostic),
        };
        for import in imports(&ast) {
            let refuse = |message: String| Diagnostic::new(file, source, import.position, message);
            let Some(path) = import.path else {
                let help = "write the path as a string, so that it is known before the script runs";
                self.wrong.push(refuse("the path of an import must be a literal string".into()).with_help(help));
                continue;
            };
            if let Some(why) = bad_path(&path) {
                self.wrong.push(refuse(format!("{path:?} cannot be imported: {why}")));
            } else if let Some(at) = self.open.iter().position(|open| *open == path) {
                let circle: Vec<_> = self.open[at..].iter().chain([&path]).map(String::as_str).collect();
                self.wrong.push(refuse(format!("modules import each other in a circle: {}", circle.join(" → "))));
            } else if !self.modules.contains_key(&path) {
                let text = match path.starts_with("std/") {
                    true => durhai_stdlib::source(&path["std/".len()..]).map(str::to_string),
                    false => (self.read)(&path).map(|text| match text.strip_prefix('\u{feff}') {
                        Some(plain) => plain.to_owned(),
                        None => text,
                    }),
                };
                let Some(text) = text else {
                    self.wrong.push(missing(&path, &refuse));
                    continue;
                };
                self.modules.insert(path.clone(), text.clone());
                self.open.push(path.clone());
                self.visit(&file_name(&path), &text);
                self.open.pop();
            }
        }
    }
}

fn missing(path: &str, refuse: &dyn Fn(String) -> Diagnostic) -> Diagnostic {
    match path.strip_prefix("std/") {
        Some(_) => {
            let help = format!("the standard library has {}", durhai_stdlib::NAMES.join(", "));
            refuse(format!("there is no module {path:?}")).with_help(help)
        }
        None => refuse(format!("there is no module {path:?}"))
            .with_help(format!("it would be the file {path}.rhai in the scripts folder")),
    }
}
