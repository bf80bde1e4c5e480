//! What the documentation of the library promises, as far as a plain Rhai engine can keep it: the modules that need no
//! durable call. The examples of all of them run in the real host in `tests/stdlib.rs` of the workspace.

use durhai_stdlib::{NAMES, PURE, docs, register, source};
use rhai::{Array, Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

/// Resolves `std/…` only.
struct Library;

impl ModuleResolver for Library {
    fn resolve(
        &self,
        engine: &Engine,
        _: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let text = path.strip_prefix("std/").and_then(source);
        let text = text.ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.into(), position))?;
        Ok(Module::eval_ast_as_new(Scope::new(), &engine.compile(text)?, engine)?.into())
    }
}

fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_max_expr_depths(64, 64).set_max_call_levels(64).set_module_resolver(Library);
    register(&mut engine);
    engine
}

#[test]
fn the_examples_of_the_pure_modules_hold_on_a_plain_engine() {
    let engine = engine();
    let imports: String =
        PURE.iter().map(|name| format!("import {name:?} as {};\n", name.trim_start_matches("std/"))).collect();
    let (mut run, mut wrong) = (0, Vec::new());
    for module in docs::docs().into_iter().filter(|module| module.pure) {
        for function in &module.functions {
            for example in &function.examples {
                let place = format!("{}::{}", module.alias, function.name);
                let script = docs::script(example).unwrap_or_else(|why| panic!("{place}: {why}"));
                let checks = match engine.eval::<Array>(&format!("{imports}{script}")) {
                    Ok(checks) => checks,
                    Err(error) => {
                        wrong.push(format!("{place}: {error}\n{script}"));
                        continue;
                    }
                };
                for check in checks {
                    let check = check.into_array().expect("a pair");
                    let [found, expected] = [0, 1].map(|at| format!("{:?}", check[at]));
                    if found != expected {
                        wrong.push(format!("{place}:\n   found {found}\nexpected {expected}"));
                    }
                    run += 1;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run > 100, "{run}");
}

#[test]
fn every_function_is_described_and_shown() {
    let modules = docs::docs();
    assert_eq!(modules.iter().map(|module| module.name).collect::<Vec<_>>(), NAMES);
    for module in &modules {
        assert!(module.text.contains(&format!("`import \"{}\" as {};`", module.name, module.alias)), "{}", module.name);
        // What the parser of comments sees is what there is.
        let ast = engine().compile(source(module.alias).expect("a text")).expect("it compiles");
        let public = |function: &rhai::ScriptFnMetadata<'_>| {
            !function.name.starts_with("anon$") && matches!(function.access, rhai::FnAccess::Public)
        };
        let forms: usize = module.functions.iter().map(|function| function.forms.len()).sum();
        assert_eq!(forms, ast.iter_functions().filter(public).count(), "{}", module.name);
        for function in &module.functions {
            let place = format!("{}::{}", module.alias, function.name);
            assert!(!function.text.is_empty(), "{place} has no comment");
            assert!(!function.examples.is_empty(), "{place} has no example");
            assert!(function.examples.iter().any(|example| example.contains(&format!("{place}("))), "{place}");
        }
    }
}

#[test]
fn the_readme_is_what_the_comments_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == docs::readme(), "stdlib/README.md is old: run `cargo xtask docs`");
}
