//! One file of step functions with all it imports: texts, and what was found in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use durhai_stdlib::language::{self, Limits, Scripts};
use rhai::{AST, ASTNode, Engine, Expr, FnAccess, Position, Stmt};

/// A longer script is refused.
const MAX_SCRIPT: u64 = 1024 * 1024;

/// The texts that an attempt runs, whatever is in the folder meanwhile.
#[derive(Debug)]
pub struct Program {
    /// Another one for every load.
    pub id: u64,
    /// The name of the step file below the folder: `steps/mail.rhai`.
    pub file: String,
    /// Every text by the name of its file, that of [`file`](Self::file) included.
    pub texts: BTreeMap<String, Arc<str>>,
    pub functions: BTreeMap<String, Function>,
}

/// A step.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub takes_input: bool,
    pub description: String,
}

/// A file as it was when it was read; another stamp means another text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub path: PathBuf,
    found: Option<(SystemTime, u64, u64)>,
}

/// Reads and checks a step file. The stamps of all files that were looked at come with either outcome. An error is
/// what is wrong, with file, line, column and the line itself.
pub fn load(root: &Path, file: &str) -> (Result<Program, String>, Vec<Stamp>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut loader = Loader {
        root,
        engine: language::parser(Scripts::Steps, &LIMITS),
        texts: BTreeMap::new(),
        stamps: Vec::new(),
        open: Vec::new(),
    };
    let loaded = loader.load(file).map(|ast| {
        let text = loader.texts[file].clone();
        let functions = functions(&ast, &text);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Program { id, file: file.into(), texts: std::mem::take(&mut loader.texts), functions }
    });
    (loaded, loader.stamps)
}

/// The file that `import "path"` means.
pub fn module_file(path: &str) -> String {
    format!("{path}.rhai")
}

/// Something is wrong at a place: `file:line:column: message`, the line, and a caret under the place.
pub fn point(file: &str, text: Option<&str>, position: Position, message: &str) -> String {
    let Some(line) = position.line() else { return format!("{file}: {message}") };
    let column = position.position().unwrap_or(1);
    let mut shown = format!("{file}:{line}:{column}: {message}");
    if let Some(source) = text.and_then(|text| text.lines().nth(line - 1)) {
        // Tabs are kept, so that the caret stands right whatever they are shown as.
        let indent: String =
            source.chars().take(column - 1).map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
        let margin = line.to_string().len();
        shown.push_str(&format!("\n {line} | {}\n {:margin$} | {indent}^", source.trim_end(), ""));
    }
    shown
}

/// Limits of texts and values, the same for parsing and running. Values so that a mistake in a script does not take the
/// memory of the whole host; together they are held by [`Bounds::memory`](crate::effects::Bounds::memory).
pub const LIMITS: Limits = Limits {
    call_levels: MAX_CALLS,
    expression_depth: 64,
    string: 16 * 1024 * 1024,
    array: 1_000_000,
    map: 1_000_000,
    variables: 1_000,
    functions: 1_000,
    modules: 100,
};

/// Calls inside calls, the same in debug and release builds, so that a step behaves the same. The threads have the
/// stack for it, see [`crate::pool`].
pub const MAX_CALLS: usize = 100;

impl Stamp {
    pub fn of(path: PathBuf) -> Self {
        let found = fs::metadata(&path).ok().map(|metadata| {
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let inode = 0;
            (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), inode)
        });
        Stamp { path, found }
    }

    pub fn exists(&self) -> bool {
        self.found.is_some()
    }

    pub fn is_current(&self) -> bool {
        Stamp::of(self.path.clone()) == *self
    }
}

struct Loader<'a> {
    root: &'a Path,
    engine: Engine,
    texts: BTreeMap<String, Arc<str>>,
    stamps: Vec<Stamp>,
    /// The files whose imports are being followed.
    open: Vec<String>,
}

impl Loader<'_> {
    fn load(&mut self, file: &str) -> Result<AST, String> {
        let text = self.read(file).map_err(|error| format!("{file}: {error}"))?;
        let ast = self
            .engine
            .compile(&*text)
            .map_err(|error| point(file, Some(&text), error.position(), &error.err_type().to_string()))?;
        self.texts.insert(file.into(), text.clone());
        self.open.push(file.into());
        for (import, position) in imports(&ast) {
            let wrong = |message: &str| point(file, Some(&text), position, message);
            let Some(path) = import else {
                return Err(wrong("import takes a literal text here, so that it is known before the step runs"));
            };
            if path.starts_with("std/") {
                if durhai_stdlib::PURE.contains(&&*path) {
                    continue;
                }
                return Err(wrong(&match durhai_stdlib::NAMES.contains(&&*path) {
                    true => format!("import {path:?}: it is made of durable calls, which only workflows have"),
                    false => format!(
                        "import {path:?}: there is no such module; steps have {}",
                        durhai_stdlib::PURE.join(", ")
                    ),
                }));
            }
            if !is_inside(&path) {
                return Err(wrong(&format!(
                    "import {path:?} leads out of the scripts folder: write the path from there, without `..`"
                )));
            }
            let module = module_file(&path);
            if self.open.contains(&module) {
                return Err(wrong(&format!("import {path:?} leads back to itself: {}", self.open.join(" -> "))));
            }
            if !self.texts.contains_key(&module) {
                self.load(&module).map_err(|error| match self.root.join(&module).exists() {
                    true => error,
                    false => wrong(&format!("import {path:?}: there is no {module} in the scripts folder")),
                })?;
            }
        }
        self.open.pop();
        Ok(ast)
    }

    fn read(&mut self, file: &str) -> Result<Arc<str>, String> {
        let path = self.root.join(file);
        // Before the text is read: a save in between is then seen as one.
        let stamp = Stamp::of(path.clone());
        self.stamps.push(stamp);
        let inside = path.canonicalize().and_then(|real| Ok(real.starts_with(self.root.canonicalize()?)));
        if !inside.map_err(|error| error.to_string())? {
            return Err("it is a link that leads out of the scripts folder".into());
        }
        durhai::text::read_text(&path, MAX_SCRIPT).map(Arc::from).map_err(|error| error.to_string())
    }
}

/// Whether every part of a path is a plain name.
pub fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']))
}

/// What is imported anywhere in a text, and where. None for a path that is computed.
fn imports(ast: &AST) -> Vec<(Option<String>, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            found.push(match &import.0 {
                Expr::StringConstant(path, position) => (Some(path.to_string()), *position),
                other => (None, other.position()),
            });
        }
        true
    });
    found
}

/// Every public function with one parameter or none.
fn functions(ast: &AST, text: &str) -> BTreeMap<String, Function> {
    let described = descriptions(text);
    let mut found: BTreeMap<String, Function> = BTreeMap::new();
    for function in ast.iter_functions() {
        if function.access == FnAccess::Private || function.params.len() > 1 || function.name.starts_with("anon$") {
            continue;
        }
        let takes_input = function.params.len() == 1;
        let description = described.get(function.name).cloned().unwrap_or_default();
        let step = found.entry(function.name.into()).or_insert(Function { takes_input, description });
        // Of two with the same name the one that takes the input is meant.
        step.takes_input |= takes_input;
    }
    found
}

/// The `///` comments that stand right above functions, by name. Rhai keeps them only with a feature that costs every
/// engine in the process, so the lines are read here.
fn descriptions(text: &str) -> BTreeMap<&str, String> {
    let mut found = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            lines.push(comment.strip_prefix(' ').unwrap_or(comment));
            continue;
        }
        if let Some(rest) = line.strip_prefix("fn ")
            && let Some((name, _)) = rest.split_once('(')
            && !lines.is_empty()
        {
            found.insert(name.trim(), lines.join("\n").trim().to_owned());
        }
        lines.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn public_functions_with_one_parameter_or_none_are_steps() {
        let text = "import \"lib/x\" as x;\n/// Sends it.\n///\n/// Twice.\nfn send(input) { x::y() }\n\n/// lost\n\nfn ping() {}\nprivate fn hidden(input) {}\nfn helper(a, b) { [1].map(|x| x) }\n";
        let folder = folder(&[("steps/mail.rhai", text), ("lib/x.rhai", "fn y() { 1 }")]);
        let (program, stamps) = load(folder.path(), "steps/mail.rhai");
        let program = program.unwrap();
        let found: Vec<_> =
            program.functions.iter().map(|(n, f)| (n.as_str(), f.takes_input, f.description.as_str())).collect();
        assert_eq!(found, [("ping", false, ""), ("send", true, "Sends it.\n\nTwice.")]);
        assert_eq!(program.texts.keys().collect::<Vec<_>>(), ["lib/x.rhai", "steps/mail.rhai"]);
        assert_eq!(stamps.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_place() {
        let table: [(&[(&str, &str)], &str); 7] = [
            (
                &[("steps/a.rhai", "fn f() {\n    let x = ;\n}")],
                "steps/a.rhai:2:13: Unexpected ';'\n 2 |     let x = ;\n   |             ^",
            ),
            (
                &[("steps/a.rhai", "import \"lib/b\" as b;"), ("lib/b.rhai", "fn f( {}")],
                "lib/b.rhai:1:7: Expecting ')'",
            ),
            (
                &[("steps/a.rhai", "import \"lib/b\" as b;")],
                "steps/a.rhai:1:8: import \"lib/b\": there is no lib/b.rhai",
            ),
            (&[("steps/a.rhai", "import \"../b\" as b;")], "leads out of the scripts folder"),
            (&[("steps/a.rhai", "import \"/etc/b\" as b;")], "leads out of the scripts folder"),
            (&[("steps/a.rhai", "let n = \"lib/b\"; import n as b;")], "steps/a.rhai:1:25: import takes a literal"),
            (
                &[("steps/a.rhai", "import \"lib/b\" as b;"), ("lib/b.rhai", "import \"lib/b\" as b;")],
                "lib/b.rhai:1:8: import \"lib/b\" leads back to itself",
            ),
        ];
        for (files, wanted) in table {
            let folder = folder(files);
            let (program, stamps) = load(folder.path(), "steps/a.rhai");
            let error = program.unwrap_err();
            assert!(error.contains(wanted), "{error}\n--- wanted\n{wanted}");
            assert!(stamps[0].exists());
        }
    }
}
