//! Programs: a workflow's text with all it imports, and what is compiled from it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use durhai_core::Version;
use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};
use serde::{Deserialize, Serialize};

use crate::current::Modules;
use crate::diagnostic::{Diagnostic, source_line};
use crate::header::Header;
use crate::sandbox::ScriptLimits;

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

/// A compiled workflow. It belongs to the thread of the sandbox that made it.
pub struct Program {
    pub(crate) ast: AST,
    pub(crate) modules: Rc<Modules>,
    texts: Texts,
    version: Version,
    description: String,
    header: Arc<Header>,
    edition: u32,
}

/// The texts of a program by the name Rhai knows them under, and the functions they define.
pub struct Texts {
    main: String,
    sources: BTreeMap<String, String>,
    /// Name and signature.
    functions: Vec<(String, String)>,
    /// The files of closures, by the names Rhai gives them.
    closures: HashMap<String, Vec<String>>,
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
        let mut engine = Engine::new_raw();
        ScriptLimits::default().apply(&mut engine);
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

pub(crate) fn bad_path(path: &str) -> Option<&'static str> {
    let part = |part: &str| part.is_empty() || part == "." || part == "..";
    match path {
        "" => Some("the path is empty"),
        _ if path.ends_with(".rhai") => Some("leave out the ending .rhai"),
        _ if path.starts_with('/') || path.contains(['\\', ':', '\0']) => {
            Some("paths are relative to the scripts folder and separated by `/`")
        }
        _ if path.split('/').any(part) => Some("a path holds no `.`, no `..` and no empty part"),
        _ => None,
    }
}

pub(crate) struct Import {
    /// `None`: it is not a literal.
    pub path: Option<String>,
    pub position: Position,
}

/// Every import of a text, wherever it stands.
pub(crate) fn imports(ast: &AST) -> Vec<Import> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            let path = match &import.0 {
                Expr::StringConstant(path, _) => Some(path.to_string()),
                _ => None,
            };
            found.push(Import { path, position: import.0.start_position() });
        }
        true
    });
    found
}

/// Parses a text, after the checks that come before parsing.
pub(crate) fn parse(engine: &Engine, file: &str, source: &str) -> Result<AST, Diagnostic> {
    if source.len() > MAX_SOURCE {
        let message = format!("the script has {} bytes, the limit is {MAX_SOURCE}", source.len());
        return Err(Diagnostic::new(file, "", Position::NONE, message).with_help("move parts to modules"));
    }
    engine.compile(source).map_err(|error| Diagnostic::from_parse(file, source, &error))
}

/// Bytes of one script file.
pub const MAX_SOURCE: usize = 1 << 20;

/// The name of the file behind a module path.
pub(crate) fn file_name(path: &str) -> String {
    if path.starts_with("std/") { path.into() } else { format!("{path}.rhai") }
}

impl Program {
    pub(crate) fn new(ast: AST, modules: Modules, texts: Texts, bundle: &Bundle, header: Header) -> Self {
        Program {
            ast,
            modules: Rc::new(modules),
            texts,
            version: bundle.version(),
            description: description(&bundle.source),
            header: Arc::new(header),
            edition: bundle.edition,
        }
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        &self.texts.main
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// See [`Bundle::EDITION`].
    pub(crate) fn edition(&self) -> u32 {
        self.edition
    }

    /// The `//!` comment at the top of the file; empty if there is none.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the workflow says about itself in `const WORKFLOW`.
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// The text of a file: of the workflow for `None`, of a module by its path (what `Site::file` holds).
    pub fn text(&self, file: Option<&str>) -> Option<&str> {
        self.texts.text(file.unwrap_or(&self.texts.main))
    }

    pub fn texts(&self) -> &Texts {
        &self.texts
    }
}

impl Texts {
    pub(crate) fn new<'a>(bundle: &Bundle, asts: impl Iterator<Item = &'a AST>) -> Self {
        let mut sources = bundle.modules.clone();
        sources.insert(bundle.name.clone(), bundle.source.clone());
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
        Texts { main: bundle.name.clone(), sources, functions, closures }
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

fn description(source: &str) -> String {
    let lines = source.lines().skip_while(|line| line.trim().is_empty() || line.starts_with("#!"));
    let lines = lines.map_while(|line| line.trim_start().strip_prefix("//!"));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_string()
}
