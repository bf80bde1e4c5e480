//! Three traps of Rhai, taken out of a text after it was parsed, so that every place in it stays where it is:
//!
//! - Rhai writes each element of a `for` into one variable, so closures made in the loop all see the last one. Here a turn
//!   whose variable was captured leaves it to the closure, and the next turn gets a new one.
//! - Rhai drops the value of a `catch` block, while that of its `try` counts. Here both count.
//! - Rhai shows a `catch` its own words for an error of the script, without the calls that led to it. Here the engine that
//!   [registers](register) it says what it is given.
//!
//! [`mend`] puts nodes into the tree that only [`register`] can name; no text can. The text must have been parsed without
//! optimization: that would drop the value of a `catch` already.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::{
    AST, ASTNode, CustomExpr, Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression, Ident, ImmutableString,
    Map, Module, Position, ScriptFuncDef, Stmt, StmtBlock,
};

use crate::words;

type Outcome = Result<Dynamic, Box<EvalAltResult>>;

/// The names of the nodes. Blanks keep the parser from ever reading the first two.
const TURN: &str = "turn of for";
const TRY: &str = "try and catch";
const BODY: &str = "__mended_body";

/// Gives an engine what mended texts need. `caught` is told the name of the file (as [`AST::set_source`] was) and an error
/// of the script itself, and gives what `catch` is given.
pub fn register(engine: &mut Engine, caught: impl Fn(&str, &EvalAltResult) -> Dynamic + 'static) {
    let handlers = engine
        .register_custom_syntax_handler(TURN, false, turn)
        .and_then(|engine| {
            engine.register_custom_syntax_handler(TRY, false, move |context, inputs, state| {
                attempt(context, inputs, state, &caught)
            })
        })
        .and_then(|engine| engine.register_custom_syntax_handler(BODY, false, body));
    debug_assert!(handlers.is_ok(), "Rhai refuses handlers only where it has no syntax tree");
}

/// The text as it is to be run, on an engine that is [registered](register).
#[must_use]
pub fn mend(ast: &AST) -> AST {
    let file = ImmutableString::from(ast.source().unwrap_or_default());
    let mut mender = Mender { file, changed: false };
    let mut functions = Module::new();
    let mut any = false;
    for function in ast.iter_fn_def() {
        let mut statements = statements_of(function);
        mender.changed = false;
        statements.iter_mut().for_each(|statement| mender.statement(statement));
        let mended = mender.changed.then(|| payload(function, statements)).flatten();
        any |= mended.is_some();
        match mended {
            Some(mended) => drop(functions.set_script_fn(mended)),
            None => drop(functions.set_script_fn(function.clone())),
        }
    }
    let mut statements = ast.statements().to_vec();
    mender.changed = false;
    statements.iter_mut().for_each(|statement| mender.statement(statement));
    if !any && !mender.changed {
        return ast.clone();
    }
    let mut mended = AST::new(statements, functions);
    if let Some(source) = ast.source() {
        mended.set_source(source);
    }
    mended
}

/// What a `catch` may be given of an error of the script, where the engine knows no more: `#{ kind: "script", message, file, line,
/// column }`.
#[must_use]
pub fn told(file: &str, error: &EvalAltResult) -> Map {
    let (mut file, mut inner) = (file, error);
    while let EvalAltResult::ErrorInFunctionCall(_, source, next, _) | EvalAltResult::ErrorInModule(source, next, _) =
        inner
    {
        file = if source.is_empty() { file } else { source };
        inner = next;
    }
    let at = inner.position();
    let message = words::of_step(inner);
    let number = |number: Option<usize>| number.map_or(Dynamic::UNIT, |number| (number as i64).into());
    Map::from([
        ("kind".into(), "script".into()),
        ("message".into(), message.into()),
        ("file".into(), file.into()),
        ("line".into(), number(at.line())),
        ("column".into(), number(at.position())),
    ])
}

/// Whether a node stands for a `try` of the text; the others stand for nothing in it.
#[must_use]
pub fn is_try(node: &CustomExpr) -> bool {
    node.tokens.first().is_some_and(|name| name == TRY)
}

struct Mender {
    file: ImmutableString,
    changed: bool,
}

impl Mender {
    fn statement(&mut self, statement: &mut Stmt) {
        match statement {
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expr(&mut flow.expr);
                self.block(&mut flow.body);
                self.block(&mut flow.branch);
            }
            Stmt::For(parts, _) => {
                let (name, counter, flow) = &mut **parts;
                let captured: Vec<_> =
                    [Some(&*name), counter.as_ref()].into_iter().flatten().filter(|n| shares(&flow.body, n)).collect();
                let names: rhai::Array = captured.iter().map(|name| name.name.clone().into()).collect();
                let any = !captured.is_empty();
                self.expr(&mut flow.expr);
                self.block(&mut flow.body);
                if any {
                    self.changed = true;
                    let span = flow.body.span();
                    let body = std::mem::take(&mut flow.body);
                    let turn = node(TURN, vec![Expr::Stmt(body.into())], names.into(), Position::NONE);
                    flow.body = StmtBlock::new([Stmt::Expr(turn.into())], span.start(), span.end());
                }
            }
            Stmt::TryCatch(flow, at) => {
                self.block(&mut flow.body);
                self.block(&mut flow.branch);
                self.changed = true;
                let name = match &flow.expr {
                    Expr::Variable(variable, ..) => variable.1.clone().into(),
                    _ => Dynamic::UNIT,
                };
                let blocks = [&mut flow.body, &mut flow.branch];
                let blocks = blocks.map(|block| Expr::Stmt(std::mem::take(block).into())).to_vec();
                let state = vec![name, self.file.clone().into()].into();
                *statement = Stmt::Expr(node(TRY, blocks, state, *at).into());
            }
            Stmt::Switch(switch, _) => {
                self.expr(&mut switch.0);
                for case in &mut switch.1.expressions {
                    self.expr(&mut case.lhs);
                    self.expr(&mut case.rhs);
                }
            }
            Stmt::Var(var, ..) => self.expr(&mut var.1),
            Stmt::Assignment(sides) => {
                self.expr(&mut sides.1.lhs);
                self.expr(&mut sides.1.rhs);
            }
            Stmt::FnCall(call, _) => call.args.iter_mut().for_each(|argument| self.expr(argument)),
            Stmt::Block(block) => self.block(block),
            Stmt::Expr(expr) => self.expr(expr),
            Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => self.expr(expr),
            Stmt::Import(import, _) => self.expr(&mut import.0),
            // What is left holds no expressions.
            _ => {}
        }
    }

    fn block(&mut self, block: &mut StmtBlock) {
        block.statements_mut().iter_mut().for_each(|statement| self.statement(statement));
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Stmt(block) => self.block(block),
            Expr::InterpolatedString(items, _) | Expr::Array(items, _) => {
                items.iter_mut().for_each(|item| self.expr(item));
            }
            Expr::Map(map, _) => map.0.iter_mut().for_each(|(_, value)| self.expr(value)),
            Expr::FnCall(call, _) | Expr::MethodCall(call, _) => {
                call.args.iter_mut().for_each(|argument| self.expr(argument));
            }
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                self.expr(&mut sides.lhs);
                self.expr(&mut sides.rhs);
            }
            Expr::And(items, _) | Expr::Or(items, _) | Expr::Coalesce(items, _) => {
                items.iter_mut().for_each(|item| self.expr(item));
            }
            // What is left is a constant or a name.
            _ => {}
        }
    }
}

/// Whether a closure that is made in here captures a variable of this name.
fn shares(block: &StmtBlock, name: &Ident) -> bool {
    let mut found = false;
    let mut look = |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Share(names))) = path.last() {
            found |= names.iter().any(|(captured, _)| captured.name == name.name);
        }
        !found
    };
    for statement in block.statements() {
        statement.walk(&mut Vec::new(), &mut look);
    }
    found
}

fn node(name: &str, inputs: Vec<Expr>, state: Dynamic, at: Position) -> Expr {
    let custom = CustomExpr {
        inputs: inputs.into_iter().collect(),
        tokens: [ImmutableString::from(name)].into_iter().collect(),
        state,
        scope_may_be_changed: false,
        self_terminated: true,
    };
    Expr::Custom(custom.into(), at)
}

// ---- while the script runs

/// The body of a `for` once. The state holds the variables of the loop that closures capture.
fn turn(context: &mut EvalContext<'_, '_, '_, '_, '_, '_>, inputs: &[Expression<'_>], state: &Dynamic) -> Outcome {
    let result = match inputs {
        [body] => context.eval_expression_tree(body),
        _ => Ok(Dynamic::UNIT),
    };
    if let Ok(names) = state.as_array_ref() {
        for name in names.iter().filter_map(|name| name.as_immutable_string_ref().ok()) {
            // The closure keeps what it captured; the loop goes on with a variable of its own.
            if let Some(variable) = context.scope_mut().get_mut(&name).filter(|variable| variable.is_shared()) {
                *variable = Dynamic::UNIT;
            }
        }
    }
    result
}

/// `try { … } catch (e) { … }`. The state holds the name of the variable, or `()`, and that of the file.
fn attempt(
    context: &mut EvalContext<'_, '_, '_, '_, '_, '_>,
    inputs: &[Expression<'_>],
    state: &Dynamic,
    caught: &dyn Fn(&str, &EvalAltResult) -> Dynamic,
) -> Outcome {
    let ([tried, handler], Ok(state)) = (inputs, state.as_array_ref()) else { return Ok(Dynamic::UNIT) };
    let error = match context.eval_expression_tree(tried) {
        Err(error) if !error.is_pseudo_error() && error.is_catchable() => error,
        other => return other,
    };
    let height = context.scope().len();
    if let Some(name) = state.first().and_then(|name| name.as_immutable_string_ref().ok()) {
        if height >= context.engine().max_variables() {
            return Err(EvalAltResult::ErrorTooManyVariables(handler.position()).into());
        }
        let value = match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => value.clone(),
            _ => {
                let file = state.get(1).and_then(|file| file.as_immutable_string_ref().ok());
                caught(file.as_deref().map_or("", |file| file.as_str()), &error)
            }
        };
        context.scope_mut().push(name.as_str(), value);
    }
    let result = context.eval_expression_tree(handler);
    context.scope_mut().rewind(height);
    match result {
        // `throw;` throws on what was caught, as it came.
        Err(again) if matches!(&*again, EvalAltResult::ErrorRuntime(value, _) if value.is_unit()) => Err(error),
        other => other,
    }
}

// ---- functions

/// The statements of a function. Rhai shows them only while it walks along a whole tree, so one is made of the function.
fn statements_of(function: &rhai::Shared<ScriptFuncDef>) -> Vec<Stmt> {
    let mut module = Module::new();
    module.set_script_fn(function.clone());
    let mut statements = Vec::new();
    AST::new_from_module(module).walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(statement)] = path {
            statements.push((*statement).clone());
        }
        true
    });
    statements
}

/// Statements as the state of a node.
#[derive(Clone)]
struct Statements(Rc<Expr>);

/// The function with another body. Rhai lets only its parser make a body, so one is parsed that holds a single node, and
/// the statements are in that node's state. It stands where the body began.
fn payload(function: &ScriptFuncDef, statements: Vec<Stmt>) -> Option<ScriptFuncDef> {
    let begins = function.body.start_position();
    let block = StmtBlock::new(statements, begins, function.body.end_position());
    let held = RefCell::new(Some(Dynamic::from(Statements(Rc::new(Expr::Stmt(block.into()))))));
    let mut parser = Engine::new_raw();
    let parse = move |_: &[ImmutableString], _: &str, state: &mut Dynamic| {
        if let Some(statements) = held.borrow_mut().take() {
            *state = statements;
        }
        Ok(None)
    };
    parser.register_custom_syntax_with_state_raw(BODY, parse, false, body);
    let (line, column) = (begins.line().unwrap_or(1), begins.position().unwrap_or(1));
    let (lines, blanks) = ("\n".repeat(line - 1), " ".repeat(column - 1));
    let parsed = parser.compile(format!("fn f(){{{lines}{blanks}{BODY}}}")).ok()?;
    let body = parsed.iter_fn_def().next()?.body.clone();
    Some(ScriptFuncDef { body, ..function.clone() })
}

fn body(context: &mut EvalContext<'_, '_, '_, '_, '_, '_>, _: &[Expression<'_>], state: &Dynamic) -> Outcome {
    match state.read_lock::<Statements>() {
        Some(statements) => {
            let statements = statements.0.clone();
            context.eval_expression_tree(&Expression::from(&*statements))
        }
        // The script has a variable of this name.
        None => Err(EvalAltResult::ErrorVariableNotFound(BODY.into(), Position::NONE).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let mut engine = Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        register(&mut engine, |file, error| format!("{file}: {}", error.unwrap_inner()).into());
        engine
    }

    fn run(script: &str) -> Result<String, String> {
        let engine = engine();
        let mut ast = engine.compile(script).map_err(|error| format!("{script}: {error}"))?;
        ast.set_source("here");
        let result = engine.eval_ast::<Dynamic>(&mend(&ast));
        result.map(|value| value.to_string()).map_err(|error| error.to_string())
    }

    const CALLED: &str = "f.map(|g| g.call())";

    #[test]
    fn a_closure_sees_the_turn_it_was_made_in() {
        for (script, gives) in [
            ("for i in 0..3 { f.push(|| i); }", "[0, 1, 2]"),
            ("for (x, i) in [5, 6] { f.push(|| x * 10 + i); }", "[50, 61]"),
            ("for i in 0..2 { for j in 0..2 { f.push(|| i * 10 + j); } }", "[0, 1, 10, 11]"),
            // What the turn does to its variable is seen, what others do is not.
            ("for i in 0..3 { f.push(|| i); i += 10; }", "[10, 11, 12]"),
            ("for i in 0..2 { let add = || { i += 5; i }; f.push(add); f.push(|| i); }", "[5, 5, 6, 6]"),
            ("for i in 0..5 { if i == 1 { continue; } f.push(|| i); if i == 3 { break; } }", "[0, 2, 3]"),
            ("for i in 0..2 { let g = || i; f.push(|| g.call()); }", "[0, 1]"),
            ("for i in 0..2 { let k = i; f.push(|| k); }", "[0, 1]"),
            ("let i = 7; for i in 0..2 { f.push(|| i); } f.push(|| i);", "[0, 1, 7]"),
            ("let n = 1; for i in 0..2 { f.push(|| i + n); n += 1; }", "[3, 4]"),
            ("let k = 0; while k < 2 { let i = k; f.push(|| i); k += 1; }", "[0, 1]"),
            ("let k = 0; loop { let i = k; f.push(|| i); k += 1; if k == 2 { break; } }", "[0, 1]"),
            ("for i in 0..2 { f += if i == 0 { [|| i] } else { [|| -i] }; }", "[0, -1]"),
            ("for i in 0..2 { try { f.push(|| i); throw 1; } catch { f.push(|| i * 2); } }", "[0, 0, 1, 2]"),
        ] {
            let script = format!("let f = []; {script} {CALLED}");
            assert_eq!(run(&script), Ok(gives.into()), "{script}");
        }
        let function = format!("fn made(n) {{ let f = []; for i in 0..n {{ f.push(|| i); }} {CALLED} }} made(3)");
        assert_eq!(run(&function), Ok("[0, 1, 2]".into()));
        let closure =
            format!("let made = |n| {{ let f = []; for i in 0..n {{ f.push(|| i); }} {CALLED} }}; made.call(3)");
        assert_eq!(run(&closure), Ok("[0, 1, 2]".into()));
    }

    #[test]
    fn the_value_of_a_catch_counts_like_that_of_its_try() {
        for (script, gives) in [
            ("try { throw 1; } catch { 2 }", "2"),
            ("try { 1 } catch { 2 }", "1"),
            ("try { throw 1; } catch (e) { e + 1 }", "2"),
            ("let x = { try { throw 1; } catch { 2 } }; x", "2"),
            ("fn f(x) { try { if x { throw 1; } 5 } catch (e) { e + x } } f(0 == 1) + 1", "6"),
            ("fn f() { try { throw 1; } catch { 2 } } f()", "2"),
            ("if true { try { throw 1; } catch { 2 } } else { 3 }", "2"),
            ("switch 1 { 1 => { try { throw 1; } catch { 2 } }, _ => 3 }", "2"),
            ("try { try { throw 1; } catch { throw 7; } } catch (e) { e }", "7"),
            ("try { try { throw 1; } catch { throw; } } catch (e) { e }", "1"),
            ("try { 2; } catch { 3; }", "2"),
            ("try { throw 1; } catch { 3; }", "3"),
            ("try { throw 1; } catch { let x = 2; }", ""),
            ("try { throw 1; } catch { }", ""),
            ("let e = 5; try { throw 1; } catch (e) { e = 9; } e", "5"),
            ("fn f() { try { return 4; } catch { 5 } } f()", "4"),
            ("fn f() { try { throw 1; } catch { return 4; } } f()", "4"),
            ("let n = 0; loop { try { n += 1; if n < 3 { continue; } break; } catch { 0 } } n", "3"),
            ("const C = 5; try { throw C; } catch (e) { e = 6; e }", "6"),
            ("let x = 3; x.f(); fn f() { try { throw 1; } catch { this += 1; } } x", "4"),
        ] {
            assert_eq!(run(script), Ok(gives.into()), "{script}");
        }
    }

    #[test]
    fn an_error_of_the_script_is_told_and_thrown_on_as_it_came() {
        let told = run("fn f(x) {\n x.nothing() }\ntry { f(1) } catch (e) { e }");
        assert_eq!(told, Ok("here: Function not found: nothing (i64) (line 2, position 4)".into()));
        let on = run("fn f(x) {\n x.nothing() }\ntry {\n f(1) } catch (e) {\n throw; }").unwrap_err();
        assert!(on.contains("line 2, position 4") && on.contains("line 4, position 2"), "{on}");
    }

    #[test]
    fn what_is_told_without_more() {
        let mut engine = Engine::new();
        register(&mut engine, |file, error| told(file, error).into());
        let mut ast = engine.compile(
            "fn f(x) {\n x.nothing() }\ntry { f(1) } catch (e) { [e.kind, e.message, e.file, e.line, e.column] }",
        );
        ast.as_mut().expect("a script").set_source("here");
        let caught = engine.eval_ast::<Dynamic>(&mend(&ast.expect("a script"))).expect("it is caught").to_string();
        assert_eq!(caught, "[\"script\", \"there is no function nothing(integer)\", \"here\", 2, 4]");
    }

    #[test]
    fn what_has_no_trap_is_left_alone() {
        let engine = engine();
        let ast = engine.compile("fn f(x) { x } let g = |x| x; for i in 0..3 { f(i); } g.call(1)").expect("a script");
        let mended = mend(&ast);
        assert!(rhai::Shared::ptr_eq(ast.shared_lib(), mended.shared_lib()));
    }

    #[test]
    fn a_name_of_the_mender_is_no_name_for_scripts() {
        assert!(run("__mended_body").is_err());
    }
}
