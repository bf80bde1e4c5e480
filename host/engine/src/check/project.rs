//! All files of a folder, parsed, and what each of them can see: imports, functions, names of others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rhai::{Engine, OptimizationLevel, ParseError, Position};

use super::code::Code;
use super::report::Report;
use super::tree::{Node, NodeKind, Tree};
use crate::errors::diagnostic::Diagnostic;
use crate::errors::suggest;
use crate::header;
use crate::limits::SandboxConfig;
use crate::program::bundle::Bundle;
use crate::program::parse::{MAX_SOURCE, bad_path};
use crate::sandbox::Sandbox;

/// What a folder holds, and what its host has beside it.
pub struct Folder<'a> {
    /// The texts by their path from the folder: `billing/invoice.rhai`, `lib/money.rhai`, `steps/mail.rhai`,
    /// `order.test.rhai`.
    pub files: &'a BTreeMap<String, String>,
    /// Whether a workflow may call this step.
    pub knows_step: &'a dyn Fn(&str) -> bool,
    /// The steps that are known by name, for what was probably meant.
    pub steps: &'a [String],
    /// Workflows of the host that are no files.
    pub workflows: &'a [String],
}

pub struct Project<'a> {
    pub folder: &'a Folder<'a>,
    files: Vec<File<'a>>,
    /// By what an import names: `lib/money`, `std/batch`.
    by_key: HashMap<String, usize>,
    pub workflows: Vec<String>,
    /// What the engines have, by name with the numbers of arguments.
    workflow_functions: Functions,
    step_functions: Functions,
    /// Keys of maps anywhere: a method may be a closure that a map holds.
    pub keys: HashSet<String>,
    /// Functions that wait for a durable call, by file and name.
    waiting: HashSet<(usize, String)>,
}

pub type Functions = HashMap<String, BTreeSet<usize>>;

pub struct File<'a> {
    index: usize,
    pub path: String,
    /// The path without its ending.
    pub key: String,
    pub text: &'a str,
    pub role: Role,
    pub parsed: Parsed,
    imports: Vec<Import>,
}

pub enum Parsed {
    Good { tree: Tree, header: Vec<Diagnostic> },
    Broken(ParseError),
    TooLarge(Diagnostic),
}

pub struct Import {
    pub alias: String,
    pub at: Position,
    /// `None`: it is not a literal.
    pub path: Option<String>,
    pub target: Option<usize>,
}

/// What a file is for. A module is for all that import it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Role {
    pub workflow: bool,
    pub test: bool,
    pub step: bool,
    pub module: bool,
}

impl Role {
    fn of(path: &str) -> Role {
        let last = path.rsplit('/').next().unwrap_or(path);
        let inside = path.split('/').any(|part| part.starts_with(['_', '.']));
        match path {
            _ if path.starts_with("steps/") => Role { step: true, ..Role::default() },
            _ if path.starts_with("lib/") || inside => Role { module: true, ..Role::default() },
            _ if last.ends_with(".test.rhai") => Role { test: true, ..Role::default() },
            _ => Role { workflow: true, ..Role::default() },
        }
    }

    /// Whether durable calls may stand in it.
    pub fn durable(self) -> bool {
        self.workflow || (self.module && !self.step)
    }
}

impl<'a> Project<'a> {
    pub fn read(folder: &'a Folder<'a>, config: &SandboxConfig) -> Self {
        let sandbox = Sandbox::new(config);
        let steps = step_engine(config);
        let mut project = Project {
            folder,
            files: Vec::new(),
            by_key: HashMap::new(),
            workflows: folder.workflows.to_vec(),
            workflow_functions: functions_of(&sandbox.engine),
            step_functions: functions_of(&steps),
            keys: HashSet::new(),
            waiting: HashSet::new(),
        };
        for (name, arguments) in KEYWORDS {
            project.workflow_functions.entry((*name).into()).or_default().extend(*arguments);
            project.step_functions.entry((*name).into()).or_default().extend(*arguments);
        }
        for (name, arguments) in STEP_FUNCTIONS {
            project.step_functions.entry((*name).into()).or_default().extend(*arguments);
        }
        for (path, text) in folder.files {
            let role = Role::of(path);
            if role.workflow {
                project.workflows.push(path.trim_end_matches(".rhai").to_owned());
            }
            let engine = if role.step { &steps } else { &*sandbox.engine };
            project.parse(engine, path.clone(), text, role);
        }
        for name in durhai_stdlib::NAMES {
            if let Some(text) = durhai_stdlib::source(&name["std/".len()..]) {
                let role = Role { module: true, ..Role::default() };
                project.parse(&sandbox.engine, (*name).to_owned(), text, role);
            }
        }
        project.link();
        project.hand_down_roles();
        project.find_waiting();
        project
    }

    /// The files of the folder.
    pub fn files(&self) -> impl Iterator<Item = &File<'a>> {
        self.files.iter().filter(|file| !file.key.starts_with("std/"))
    }

    /// The module behind an alias of a file; `None` if its import leads nowhere.
    pub fn module(&self, file: &File<'_>, alias: &str) -> Option<Option<&File<'a>>> {
        let import = file.imports.iter().find(|import| import.alias == alias)?;
        Some(import.target.map(|target| &self.files[target]))
    }

    /// The numbers of arguments a native function of this name takes; `None` if there is none.
    pub fn native(&self, role: Role, name: &str) -> Option<BTreeSet<usize>> {
        let sandbox = (!role.step || role.workflow).then(|| self.workflow_functions.get(name)).flatten();
        let step = role.step.then(|| self.step_functions.get(name)).flatten();
        match (sandbox, step) {
            (None, None) => None,
            (one, other) => Some(one.into_iter().chain(other).flatten().copied().collect()),
        }
    }

    pub fn native_names(&self, role: Role) -> impl Iterator<Item = &str> {
        let functions = if role.step { &self.step_functions } else { &self.workflow_functions };
        functions.keys().map(String::as_str)
    }

    /// Whether something in here waits for a durable call when it is executed. A closure that is handed to a call counts, one
    /// that is only made does not.
    pub fn waits(&self, file: &File<'_>, node: &Node) -> bool {
        if matches!(node.kind, NodeKind::Closure { .. }) {
            return false;
        }
        if self.waits_itself(file, node) {
            return true;
        }
        let handed_on = node.call().is_some_and(|call| !["push", "insert", "curry"].contains(&call.name.as_str()));
        node.children().into_iter().any(|child| match &child.kind {
            NodeKind::Closure { body, .. } => handed_on && body.iter().any(|node| self.waits(file, node)),
            _ => self.waits(file, child),
        })
    }

    /// Whether the function of that name in this file waits for a durable call.
    pub fn function_waits(&self, file: &File<'_>, name: &str) -> bool {
        self.waiting.contains(&(file.index, name.to_owned()))
    }

    fn waits_itself(&self, file: &File<'_>, node: &Node) -> bool {
        let Some(call) = node.call() else { return false };
        match call.path.as_slice() {
            [] => {
                let method = call.receiver.is_some();
                let plain = WAITING.contains(&call.name.as_str())
                    || (method || !call.args.is_empty()) && ["wait", "join"].contains(&call.name.as_str());
                plain && !(method && call.name == "join" && !call.args.is_empty())
                    || self.function_waits(file, &call.name)
            }
            [alias] => {
                let module = self.module(file, alias).flatten();
                module.is_some_and(|module| self.function_waits(module, &call.name))
            }
            _ => false,
        }
    }

    /// Tells which imports are wrong.
    pub fn imports(&self, file: &File<'_>, report: &mut Report<'_>) {
        for import in &file.imports {
            let Some(path) = &import.path else {
                report.help(
                    Code::ImportComputed,
                    import.at,
                    "the path of an import must be a literal string",
                    "write the path as a string, so that it is known before the script runs",
                );
                continue;
            };
            if let Some(why) = bad_path(path) {
                report.add(Code::ImportMissing, import.at, format!("{path:?} cannot be imported: {why}"));
            } else if let Some(target) = import.target {
                if let Some(circle) = self.way(target, file.index) {
                    let names: Vec<_> = circle.iter().map(|at| self.files[*at].key.as_str()).collect();
                    let circle = format!("{} → {}", file.key, names.join(" → "));
                    report.help(
                        Code::ImportCircle,
                        import.at,
                        format!("modules import each other in a circle: {circle}"),
                        "move what both need into a third module",
                    );
                }
            } else {
                let keys = self.files.iter().filter(|file| file.role.module).map(|file| file.key.as_str());
                let help = match suggest::near(path, keys) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if path.starts_with("std/") => {
                        format!("the standard library has {}", durhai_stdlib::NAMES.join(", "))
                    }
                    None => format!("it would be the file {path}.rhai in the scripts folder"),
                };
                report.help(Code::ImportMissing, import.at, format!("there is no module {path:?}"), help);
            }
        }
    }

    /// The files from one to another along imports, both included.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut before = HashMap::from([(from, from)]);
        let mut open = std::collections::VecDeque::from([from]);
        while let Some(at) = open.pop_front() {
            if at == to {
                let mut way = vec![at];
                let mut at = at;
                while before[&at] != at {
                    at = before[&at];
                    way.push(at);
                }
                way.reverse();
                return Some(way);
            }
            for target in self.files[at].imports.iter().filter_map(|import| import.target) {
                if let std::collections::hash_map::Entry::Vacant(entry) = before.entry(target) {
                    entry.insert(at);
                    open.push_back(target);
                }
            }
        }
        None
    }

    fn parse(&mut self, engine: &Engine, path: String, text: &'a str, role: Role) {
        let mut imports = Vec::new();
        let parsed = if text.len() > MAX_SOURCE {
            let message = format!("the script has {} bytes, the limit is {MAX_SOURCE}", text.len());
            Parsed::TooLarge(Diagnostic::new(&path, "", Position::NONE, message).with_help("move parts to modules"))
        } else {
            match engine.compile(text) {
                Err(error) => Parsed::Broken(error),
                Ok(ast) => {
                    let header = match role.workflow {
                        true => header::read(&ast, &path, text, Bundle::EDITION).err().unwrap_or_default(),
                        false => Vec::new(),
                    };
                    let tree = Tree::of(&ast, text);
                    tree.each(&mut |node| self.note(node, &mut imports));
                    Parsed::Good { tree, header }
                }
            }
        };
        let key = path.trim_end_matches(".rhai").to_owned();
        let index = self.files.len();
        self.by_key.insert(key.clone(), index);
        self.files.push(File { index, path, key, text, role, parsed, imports });
    }

    fn note(&mut self, node: &Node, imports: &mut Vec<Import>) {
        match &node.kind {
            NodeKind::Import { path, alias } => imports.push(Import {
                alias: alias.as_ref().map(|(alias, _)| alias.clone()).unwrap_or_default(),
                at: path.at,
                path: path.text().map(ToOwned::to_owned),
                target: None,
            }),
            NodeKind::Map(entries) => self.keys.extend(entries.iter().map(|entry| entry.key.clone())),
            NodeKind::Assign { target, .. } => match &target.kind {
                NodeKind::Property(_, name) => drop(self.keys.insert(name.clone())),
                NodeKind::Index(_, by) => self.keys.extend(by.text().map(ToOwned::to_owned)),
                _ => {}
            },
            _ => {}
        }
    }

    fn link(&mut self) {
        let Project { files, by_key, .. } = self;
        for import in files.iter_mut().flat_map(|file| &mut file.imports) {
            import.target = import.path.as_ref().and_then(|path| by_key.get(path)).copied();
        }
    }

    /// A module is for what imports it, by however many steps.
    fn hand_down_roles(&mut self) {
        let mut open: Vec<usize> = (0..self.files.len()).filter(|at| !self.files[*at].role.module).collect();
        while let Some(at) = open.pop() {
            let role = self.files[at].role;
            let targets: Vec<usize> = self.files[at].imports.iter().filter_map(|import| import.target).collect();
            for target in targets {
                let before = self.files[target].role;
                let after = &mut self.files[target].role;
                after.step |= role.step;
                after.workflow |= role.workflow && before.module;
                if *after != before {
                    open.push(target);
                }
            }
        }
    }

    fn find_waiting(&mut self) {
        loop {
            let mut more = Vec::new();
            for file in &self.files {
                let Parsed::Good { tree, .. } = &file.parsed else { continue };
                for function in &tree.functions {
                    if !self.function_waits(file, &function.name)
                        && function.body.iter().any(|node| self.waits(file, node))
                    {
                        more.push((file.index, function.name.clone()));
                    }
                }
            }
            if more.is_empty() {
                return;
            }
            self.waiting.extend(more);
        }
    }
}

impl File<'_> {
    pub fn tree(&self) -> Option<&Tree> {
        match &self.parsed {
            Parsed::Good { tree, .. } => Some(tree),
            _ => None,
        }
    }
}

/// Calls after which a run waits, or may.
pub const WAITING: &[&str] = &[
    "use_step",
    "sleep",
    "sleep_until",
    "wait_for",
    "suspend",
    "run_workflow",
    "start_workflow",
    "continue_as_new",
    "parallel",
    "foreach",
    "race",
    "with_timeout",
    "task",
    "hook",
];

/// What is in the language itself. A closure takes any number of arguments.
const KEYWORDS: &[(&str, &[usize])] = &[
    ("Fn", &[1]),
    ("call", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("curry", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("type_of", &[1]),
    ("is_def_var", &[1]),
    ("is_def_fn", &[2]),
    ("is_shared", &[1]),
    ("print", &[1]),
    ("debug", &[1]),
];

/// What steps have beside the language, see `durhai_steps`.
const STEP_FUNCTIONS: &[(&str, &[usize])] = &[
    ("attempt", &[0]),
    ("run_id", &[0]),
    ("step_id", &[0]),
    ("idempotency_key", &[0]),
    ("workflow_name", &[0]),
    ("log", &[2, 3]),
    ("heartbeat", &[1]),
    ("is_cancelled", &[0]),
    ("sleep", &[1]),
    ("now", &[0]),
    ("fatal", &[1, 2]),
    ("retry_after", &[2, 3]),
    ("secret", &[1]),
];

/// Modules that steps have without an import; what is in them belongs to `durhai_steps`.
pub const STEP_MODULES: &[&str] = &["file", "http", "exec", "env", "sql", "hash", "json", "text", "time"];

fn step_engine(config: &SandboxConfig) -> Engine {
    let mut engine = Engine::new();
    config.limits.of_language().apply(&mut engine);
    engine.set_optimization_level(OptimizationLevel::None);
    durhai_stdlib::register(&mut engine);
    engine
}

fn functions_of(engine: &Engine) -> Functions {
    let mut functions = Functions::new();
    let pair = |info: rhai::FuncInfo<'_>| {
        (info.namespace.is_empty() && rhai::is_valid_identifier(&info.metadata.name))
            .then(|| (info.metadata.name.to_string(), info.metadata.num_params))
    };
    for (name, arguments) in engine.collect_fn_metadata(None, pair, true) {
        functions.entry(name).or_default().insert(arguments);
    }
    functions
}

/// The functions of a file by name, with what they take; without `private` ones for those outside.
pub fn own_functions(tree: &Tree, outside: bool) -> BTreeMap<&str, Vec<&super::tree::Function>> {
    let mut own: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for function in tree.functions.iter().filter(|function| !(outside && function.private)) {
        own.entry(&function.name).or_default().push(function);
    }
    own
}
