//! The engine that workflows run on: the language, the durable calls, and how a bundle becomes a program.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use durhai_stdlib::language::{self, Imported, Imports, Scripts};
use durhai_stdlib::mend;
use rhai::{AST, ASTNode, Dynamic, Engine, Module, Position, Scope, Shared, Stmt};

use crate::bindings::caught::caught;
use crate::errors::diagnostic::{self, Diagnostic};
use crate::fiber;
use crate::limits::{SandboxConfig, ScriptLimits};
use crate::meter::{Pool, ScriptMemory};
use crate::program::Program;
use crate::program::bundle::Bundle;
use crate::program::modules::{self, Modules};
use crate::program::parse::{imports, parse};
use crate::program::texts::{Texts, file_name};
use crate::run::{current, operations};
use crate::trace::{Sink, Tracer, TracerOptions};
use crate::values::convert::Budget;
use crate::{bindings, header, natives, trace};

/// A Rhai engine in which workflows run. It belongs to one thread, like all that is compiled with it.
pub struct Sandbox {
    pub(crate) engine: Rc<Engine>,
    pub(crate) limits: ScriptLimits,
    pub(crate) memory: ScriptMemory,
    pub(crate) pool: Arc<Pool>,
}

impl Sandbox {
    pub fn new(config: &SandboxConfig) -> Self {
        Sandbox::make(config, false)
    }

    /// One whose runs can be watched: see [`Execution::traced`](crate::Execution::traced). Slower, and no different
    /// otherwise.
    pub fn traced(config: &SandboxConfig) -> Self {
        Sandbox::make(config, true)
    }

    fn make(config: &SandboxConfig, traced: bool) -> Self {
        let mut engine = language::engine(Scripts::Workflows, &config.limits.of_language(), caught);
        natives::register(&mut engine);
        for extend in &config.extend {
            extend(&mut engine);
        }
        // After the extensions, so that none of them takes the place of a durable call.
        bindings::register(&mut engine);

        // Files are behind no import: modules are those of the program that runs.
        engine.set_module_resolver(Imports(|_: &Engine, path: &str| Ok(modules::module(path).map(Imported::Module))));
        engine.on_progress(|_| (!operations::progress()).then_some(Dynamic::UNIT));
        if traced {
            trace::register(&mut engine);
        }
        let (limits, memory, pool) = (config.limits.clone(), config.memory, config.pool.clone());
        Sandbox { engine: Rc::new(engine), limits, memory, pool }
    }

    /// The native functions that scripts can call, with the types of what they take; for tests.
    #[doc(hidden)]
    pub fn natives(&self) -> Vec<(String, Vec<std::any::TypeId>)> {
        let native = |info: rhai::FuncInfo<'_>| {
            (info.script.is_none()).then(|| (info.metadata.name.to_string(), info.metadata.param_types.to_vec()))
        };
        self.engine.collect_fn_metadata(None, native, true)
    }

    /// What watches a run of a program that this sandbox compiled, see [`Execution::traced`](crate::Execution::traced).
    pub fn tracer(&self, program: &Program, options: TracerOptions, sink: Sink) -> Tracer {
        Tracer::new(&self.engine, program, options, sink)
    }

    /// Compiles a workflow with its modules. The modules' top level is run here, once, outside any run.
    pub fn compile(&self, bundle: &Bundle) -> Result<Program, Vec<Diagnostic>> {
        if bundle.edition > Bundle::EDITION {
            let message = format!(
                "this text is of edition {}, and this durhai knows editions up to {}: run it with a newer one",
                bundle.edition,
                Bundle::EDITION
            );
            return Err(vec![Diagnostic::new(&file_name(&bundle.name), "", Position::NONE, message)]);
        }
        let mend = |ast: &AST| if bundle.edition > 1 { mend::mend(ast) } else { ast.clone() };
        let mut wrong = Vec::new();
        let mut asts = Vec::new();
        let texts = bundle.modules.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        for (path, text) in [(bundle.name.as_str(), bundle.source.as_str())].into_iter().chain(texts) {
            match parse(&self.engine, &file_name(path), text) {
                Ok(mut ast) => {
                    ast.set_source(path);
                    asts.push((path, text, ast));
                }
                Err(diagnostic) => wrong.push(diagnostic),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut sources = bundle.modules.clone();
        sources.insert(bundle.name.clone(), bundle.source.clone());
        let texts = Rc::new(Texts::new(&bundle.name, sources, asts.iter().map(|(.., ast)| ast)));
        let (_, _, main) = asts.remove(0);
        let header = header::read(&main, &file_name(&bundle.name), &bundle.source, bundle.edition)?;
        let mut modules = Modules::new();
        while !asts.is_empty() {
            // Those whose imports are all there already; a bundle that was gathered has no circle.
            let ready = |(.., ast): &(&str, &str, AST)| {
                imports(ast).iter().all(|import| {
                    import
                        .path
                        .as_ref()
                        .is_some_and(|path| modules.contains_key(path) || !bundle.modules.contains_key(path))
                })
            };
            let Some(at) = asts.iter().position(ready) else {
                let (path, text, _) = asts[0];
                let message = "this module is part of a circle of imports, or imports a path that is no literal";
                return Err(vec![Diagnostic::new(&file_name(path), text, Position::NONE, message)]);
            };
            let (path, text, ast) = asts.remove(at);
            match self.load(path, text, ast, &mend, &modules, &texts) {
                Ok(module) => drop(modules.insert(path.to_string(), module)),
                Err(diagnostic) => return Err(vec![diagnostic]),
            }
        }
        let texts = Rc::into_inner(texts).expect("the loads are over");
        Ok(Program::new(mend(&main), modules, texts, bundle, header))
    }

    fn load(
        &self,
        path: &str,
        text: &str,
        ast: AST,
        mend: &dyn Fn(&AST) -> AST,
        modules: &Modules,
        texts: &Rc<Texts>,
    ) -> Result<Shared<Module>, Diagnostic> {
        if let Some(position) = captures(&ast) {
            let message = "a closure at the top level of a module cannot capture a variable: all runs would share it";
            let diagnostic = Diagnostic::new(&file_name(path), text, position, message);
            return Err(diagnostic.with_help("capture inside a function of the module, or use a constant"));
        }
        let ast = mend(&ast);
        let loaded = Rc::new(RefCell::new(None));
        let work = {
            let (engine, loaded, texts, path) = (self.engine.clone(), loaded.clone(), texts.clone(), path.to_string());
            move || {
                let result = Module::eval_ast_as_new(Scope::new(), &ast, &engine);
                let budget = Budget { bytes: 16 << 10, depth: 16 };
                let result = result.map_err(|error| diagnostic::failure(&error, &path, &texts, None, budget));
                *loaded.borrow_mut() = Some(result);
            }
        };
        let ran =
            catch_unwind(AssertUnwindSafe(|| current::load(Rc::new(modules.clone()), || fiber::on_large_stack(work))));
        let file = file_name(path);
        match (ran, loaded.take()) {
            (Ok(Ok(())), Some(Ok(mut module))) => {
                module.set_id(path);
                module.build_index();
                Ok(module.into())
            }
            (Ok(Ok(())), Some(Err(failure))) => Err(Diagnostic::from_failure(&file, text, &failure)),
            (Ok(Err(error)), _) => {
                Err(Diagnostic::new(&file, text, Position::NONE, format!("no stack to load it: {error}")))
            }
            (Err(_), _) => {
                let message = "this module cannot be loaded: a native function panicked";
                Err(Diagnostic::new(&file, text, Position::NONE, message))
            }
            (Ok(Ok(())), None) => unreachable!("the work is done when its stack comes back"),
        }
    }
}

/// Where the top level of a text captures a variable. (The bodies of functions and closures are kept apart from it.)
fn captures(ast: &AST) -> Option<Position> {
    let mut top = ast.clone();
    top.clear_functions();
    let mut found = None;
    top.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(share @ Stmt::Share(_))) = path.last() {
            found.get_or_insert(share.position());
        }
        found.is_none()
    });
    found
}
