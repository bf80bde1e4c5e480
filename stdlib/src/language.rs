//! The language of scripts: what is in it, what is off, and how much a text and its values may be.
//!
//! Workflows, their tests and the steps written in Rhai run on engines of their own; all of them are set up here, so that a
//! script means the same wherever it runs. What each engine adds (durable calls, doubles of steps, files) it adds itself.

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, OptimizationLevel, Position, Scope, Shared};

use crate::{mend, native};

type Thrown = Box<EvalAltResult>;

/// Whose scripts an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// They compute and nothing else: no clock, no effects.
    Workflows,
    /// As workflows, so that what a test computes is what they would.
    Tests,
    /// They have the clock of the machine, and may hold up their thread.
    Steps,
}

impl Scripts {
    /// Takes out what the language has and these scripts have not. `eval` makes code of text, which no check has seen. What
    /// `curry` gives counts towards no limit: a function pointer that holds itself doubled takes all memory in a few steps.
    fn switch_off(self, engine: &mut Engine) {
        let symbols: &[&str] = match self {
            Scripts::Workflows => &["eval", "curry"],
            Scripts::Tests => &["eval"],
            Scripts::Steps => &["curry"],
        };
        for symbol in symbols {
            engine.disable_symbol(*symbol);
        }
    }
}

/// How much a text and its values may be, the same in debug and release builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of function calls, those through closures and callbacks included.
    pub call_levels: usize,
    /// Levels of nesting in an expression or statement of the text.
    pub expression_depth: usize,
    /// Bytes of strings in one value, all that is nested in it included; 0 for no limit, as in the next two.
    pub string: usize,
    /// Elements of arrays in one value, likewise.
    pub array: usize,
    /// Entries of maps in one value, likewise.
    pub map: usize,
    /// Variables in scope at a time.
    pub variables: usize,
    /// Functions and closures in one file.
    pub functions: usize,
    /// Imports that are evaluated.
    pub modules: usize,
}

impl Default for Limits {
    /// Those of the text only.
    fn default() -> Self {
        Limits {
            call_levels: 64,
            expression_depth: 64,
            string: 0,
            array: 0,
            map: 0,
            variables: usize::MAX,
            functions: usize::MAX,
            modules: usize::MAX,
        }
    }
}

impl Limits {
    /// Makes an engine keep them. Operations are not among them: each engine counts those in a way of its own.
    pub fn apply(&self, engine: &mut Engine) {
        engine
            .set_max_call_levels(self.call_levels)
            .set_max_expr_depths(self.expression_depth, self.expression_depth)
            .set_max_string_size(self.string)
            .set_max_array_size(self.array)
            .set_max_map_size(self.map)
            .set_max_variables(self.variables)
            .set_max_functions(self.functions)
            .set_max_modules(self.modules)
            .set_max_operations(0);
    }
}

/// An engine that parses the texts of these scripts, and runs none.
pub fn parser(scripts: Scripts, limits: &Limits) -> Engine {
    let mut engine = Engine::new_raw();
    limits.apply(&mut engine);
    scripts.switch_off(&mut engine);
    engine
}

/// An engine for these scripts, with the functions of the standard library. What it compiles must be [mended](mend::mend)
/// before it runs; `caught` says what their `catch` is given for an error of the script itself, see [`mend::register`].
pub fn engine(scripts: Scripts, limits: &Limits, caught: impl Fn(&str, &EvalAltResult) -> Dynamic + 'static) -> Engine {
    let mut engine = match scripts {
        Scripts::Steps => Engine::new(),
        Scripts::Workflows | Scripts::Tests => computing(),
    };
    limits.apply(&mut engine);
    scripts.switch_off(&mut engine);
    // Folding constants would evaluate calls while parsing, and would drop the value of a `catch`; positions and order stay
    // as written.
    engine.set_optimization_level(OptimizationLevel::None);
    native::register(&mut engine);
    mend::register(&mut engine, caught);
    engine
}

/// What computes and nothing else. Left out are BasicTimePackage (the system's clock) and LanguageCorePackage (`sleep` that
/// blocks the thread).
fn computing() -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    engine
}

/// Compiles a text as it is to be run on an [`engine`]. Its errors name `file`.
pub fn compile(engine: &Engine, file: &str, text: &str) -> Result<AST, Thrown> {
    let mut ast = engine.compile(text)?;
    ast.set_source(file);
    Ok(mend::mend(&ast))
}

/// What the path of an import leads to.
pub enum Imported {
    Module(Shared<Module>),
    /// A text under the name of its file. Its top level runs at each import.
    Text(String, String),
    /// The same, [compiled](compile).
    Compiled(String, AST),
}

/// Resolves imports with a function: of a path, what it leads to, or `None` where there is nothing.
pub struct Imports<F>(pub F);

impl<F> ModuleResolver for Imports<F>
where
    F: Fn(&Engine, &str) -> Result<Option<Imported>, Thrown>,
{
    fn resolve(
        &self,
        engine: &Engine,
        _: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Thrown> {
        let (file, ast) = match (self.0)(engine, path)? {
            None => return Err(EvalAltResult::ErrorModuleNotFound(path.into(), position).into()),
            Some(Imported::Module(module)) => return Ok(module),
            Some(Imported::Text(file, text)) => {
                let ast = compile(engine, &file, &text);
                (file, ast)
            }
            Some(Imported::Compiled(file, ast)) => (file, Ok(ast)),
        };
        ast.and_then(|ast| Module::eval_ast_as_new(Scope::new(), &ast, engine))
            .map(Shared::new)
            .map_err(|error| EvalAltResult::ErrorInModule(file, error, position).into())
    }
}
