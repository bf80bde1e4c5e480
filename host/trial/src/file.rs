//! A test file: what is in it, and its script.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use durhai_stdlib::language::{self, Imported, Imports, Limits, Scripts};
use durhai_stdlib::mend;
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Scope};

use durhai::check::AssumedFunction;

use crate::api::{self, Hand};
use crate::context::{Doomed, Finding, TestContext, of_error};
use crate::expect;
use crate::test_run::Setting;

/// Bytes of a script of tests, or of a module.
const MAX_TEXT: u64 = 1 << 20;

/// A test: a function of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestInfo {
    pub name: String,
    pub line: usize,
    /// Whether it is repeated with crashes.
    pub crashes: bool,
}

/// A test file that was read. It belongs to one thread.
pub struct TestFile {
    pub path: PathBuf,
    pub source: String,
    pub tests: Vec<TestInfo>,
    /// How long one repetition of one test may take.
    pub limit: Option<Duration>,
    engine: Engine,
    ast: AST,
    hand: Hand,
    before: bool,
    pub arities: Rc<BTreeMap<String, usize>>,
    /// Functions of workflow scripts that are written in here: `fn function_price(…)` stands for `price`.
    pub stand_ins: Vec<AssumedFunction>,
    /// When the script has taken too long.
    deadline: Rc<RefCell<Option<Instant>>>,
}

impl TestFile {
    /// Reads and compiles it; it imports from the folder of the setting.
    pub fn read(path: &Path, setting: &Setting) -> Result<TestFile, Finding> {
        let source = durhai::text::read_text(path, MAX_TEXT)
            .map_err(|error| Finding::new(format!("it cannot be read: {error}")))?;
        let (hand, deadline) = (Hand::default(), Rc::new(RefCell::new(None)));
        let mut engine = engine(&hand, &deadline, &setting.folder);
        setting.extend.iter().for_each(|extend| extend.apply(&mut engine));
        let ast =
            engine.compile(&source).map_err(|error| Finding::new(error.err_type().to_string()).at(error.position()))?;
        let mut arities = BTreeMap::new();
        for function in ast.iter_fn_def() {
            let most = arities.entry(function.name.to_string()).or_insert(0);
            *most = function.params.len().max(*most);
        }
        let header = Header::read(&source)?;
        let tests = tests(&source, &ast, header.crashes)?;
        let before = ast.iter_fn_def().any(|function| function.name == "before_each" && function.params.is_empty());
        let arities = Rc::new(arities);
        let shown = path.display().to_string();
        let stand_in = |function: &rhai::ScriptFuncDef| -> Option<Result<AssumedFunction, Finding>> {
            let name = function.name.strip_prefix("function_")?;
            let made = AssumedFunction::new(name, function.params.len());
            let made = made.and_then(|made| made.stand_in_by(&shown, &source, &function.name));
            Some(made.map_err(Finding::new))
        };
        let stand_ins = ast.iter_fn_def().filter_map(|function| stand_in(function)).collect::<Result<_, _>>()?;
        Ok(TestFile {
            stand_ins,
            path: path.into(),
            source,
            tests,
            limit: header.limit,
            engine,
            ast: mend::mend(&ast),
            hand,
            before,
            arities,
            deadline,
        })
    }

    /// Runs one test in a context that is new.
    pub fn run(&self, test: &str, context: Rc<TestContext>) -> Result<(), Finding> {
        *self.deadline.borrow_mut() = Some(context.test_run.borrow().limit());
        *self.hand.borrow_mut() = Some(context.clone());
        let mut result = Ok(());
        let names = [("before_each", self.before), (test, true)];
        for name in names.into_iter().filter(|(_, there)| *there).map(|(name, _)| name) {
            let mut scope = Scope::new();
            let options = CallFnOptions::new().eval_ast(true).rewind_scope(true);
            result = self.engine.call_fn_with_options::<Dynamic>(options, &mut scope, &self.ast, name, ()).map(drop);
            if result.is_err() {
                break;
            }
        }
        *self.hand.borrow_mut() = None;
        // What was found sticks, also where the script caught it.
        if let Some(found) = context.finding.borrow().clone() {
            let mut found = found;
            if let Err(error) = &result {
                add_stack(&mut found, error);
            }
            return Err(found);
        }
        result.map_err(|error| {
            let mut finding = of_error(&error);
            add_stack(&mut finding, &error);
            if let EvalAltResult::ErrorTerminated(..) = error.unwrap_inner() {
                finding.message = "the script of the test does not come to an end: stopped".into();
            }
            finding
        })
    }
}

/// Functions of the test that were being called, outermost last.
fn add_stack(finding: &mut Finding, error: &EvalAltResult) {
    let mut stack = Vec::new();
    let mut inner = error;
    while let EvalAltResult::ErrorInFunctionCall(name, _, deeper, position) = inner {
        if position.line().is_some_and(|line| line != finding.line) {
            let name = if name.starts_with("anon$") { "a closure" } else { name };
            stack.push(format!("in {name}, called at line {}", position.line().unwrap_or(0)));
        }
        inner = deeper;
    }
    if let EvalAltResult::ErrorRuntime(value, _) = inner
        && value.is::<Doomed>()
        && finding.line == 0
    {
        *finding = finding.clone().at(inner.position());
    }
    finding.notes.extend(stack.into_iter().rev());
}

/// What the comments at the top of a file say.
struct Header {
    crashes: bool,
    limit: Option<Duration>,
}

impl Header {
    fn read(source: &str) -> Result<Header, Finding> {
        let mut header = Header { crashes: true, limit: None };
        for (number, line) in source.lines().enumerate().take_while(|(_, line)| line.starts_with("//!")) {
            let text = line.trim_start_matches("//!").trim();
            let wrong = |why: String| Finding { line: number + 1, column: 1, ..Finding::new(why) };
            if let Some(value) = text.strip_prefix("crashes:") {
                header.crashes = on_off(value).map_err(wrong)?;
            } else if let Some(value) = text.strip_prefix("limit:") {
                let ms = durhai::duration::parse(value).map_err(wrong)?;
                header.limit = Some(Duration::from_millis(ms));
            }
        }
        Ok(header)
    }
}

fn on_off(value: &str) -> Result<bool, String> {
    match value.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("`crashes:` is `on` or `off`, not {other:?}")),
    }
}

/// Functions whose name begins with `test_`, in the order of the file.
fn tests(source: &str, ast: &AST, crashes: bool) -> Result<Vec<TestInfo>, Finding> {
    let mut tests = Vec::new();
    for function in ast.iter_fn_def().filter(|function| function.name.starts_with("test_")) {
        let name = function.name.to_string();
        let lines: Vec<_> = source.lines().collect();
        let begins = format!("fn {name}");
        let at = lines.iter().position(|line| {
            line.trim_start().strip_prefix(&begins).is_some_and(|rest| rest.trim_start().starts_with('('))
        });
        let line = at.map_or(0, |at| at + 1);
        if !function.params.is_empty() {
            let text = format!("the test {name} takes parameters; a test has none");
            return Err(Finding { line, column: 1, ..Finding::new(text) });
        }
        let above = lines[..at.unwrap_or(0)].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
        let said = above.filter_map(|line| line.trim_start().trim_start_matches('/').trim().strip_prefix("crashes:"));
        let mut own = crashes;
        for value in said {
            own = on_off(value).map_err(|why| Finding { line, column: 1, ..Finding::new(why) })?;
        }
        tests.push(TestInfo { name, line, crashes: own });
    }
    tests.sort_by_key(|test| test.line);
    Ok(tests)
}

fn engine(hand: &Hand, deadline: &Rc<RefCell<Option<Instant>>>, folder: &Path) -> Engine {
    let caught = |file: &str, error: &EvalAltResult| mend::told(file, error).into();
    let mut engine = language::engine(Scripts::Tests, &Limits::default(), caught);
    api::register(&mut engine, hand);
    expect::register(&mut engine, hand);
    let folder = folder.to_owned();
    engine.set_module_resolver(Imports(move |_: &Engine, path: &str| import(&folder, path)));
    let stop = deadline.clone();
    engine.on_progress(move |operations| {
        let late = || stop.borrow().is_some_and(|deadline| Instant::now() > deadline);
        (operations % 4_096 == 0 && late()).then_some(Dynamic::UNIT)
    });
    let print = |hand: &Hand| {
        let hand = hand.clone();
        move |text: &str| {
            if let Some(context) = &*hand.borrow() {
                context.printed.borrow_mut().push(text.into());
            }
        }
    };
    let plain = print(hand);
    engine.on_print(plain);
    let debug = print(hand);
    engine.on_debug(move |text, _, _| debug(text));
    engine
}

/// `lib/…` in the scripts folder, and the standard library.
fn import(folder: &Path, path: &str) -> Result<Option<Imported>, Box<EvalAltResult>> {
    let inside = !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
    let text = match path.strip_prefix("std/") {
        Some(name) => durhai_stdlib::source(name).map(ToOwned::to_owned),
        None if inside => {
            let file = folder.join(format!("{path}.rhai"));
            match durhai::text::read_text(&file, MAX_TEXT) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(format!("{} cannot be read: {error}", file.display()).into()),
            }
        }
        None => None,
    };
    Ok(text.map(|text| Imported::Text(path.into(), text)))
}
