//! A script as a tree that is easy to walk: closures stand where they are written, chains of methods are nested by what
//! they are called on, and Rhai's own shapes stay in this file. The graph is drawn from the same tree.

use std::collections::HashMap;

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, FnAccess, FnPtr, Module, Position, ScriptFuncDef, Shared, Stmt};

/// The text of one file.
#[derive(Debug, Default)]
pub struct Tree {
    pub body: Vec<Node>,
    /// In the order of the text.
    pub functions: Vec<Function>,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub params: Vec<String>,
    pub private: bool,
    pub at: Position,
    pub body: Vec<Node>,
}

/// An expression or a statement.
#[derive(Debug)]
pub struct Node {
    pub at: Position,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub enum NodeKind {
    Nothing,
    Unit,
    Bool(bool),
    /// Numbers, and what the parser has put together.
    Value(Dynamic),
    Text(String),
    Interpolated(Vec<Node>),
    Array(Vec<Node>),
    Map(Vec<Entry>),
    Variable {
        path: Vec<String>,
        name: String,
    },
    This,
    Property(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Call(Box<Call>),
    Closure {
        params: Vec<String>,
        body: Vec<Node>,
    },
    /// `&&`, `||`, `??`.
    Logic(&'static str, Vec<Node>),
    Block(Vec<Node>),
    If {
        condition: Box<Node>,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Switch {
        on: Box<Node>,
        /// What a case is for is not in Rhai's tree: its text has to do.
        cases: Vec<Case>,
    },
    /// `loop` has no condition.
    While {
        condition: Option<Box<Node>>,
        body: Vec<Node>,
    },
    Do {
        body: Vec<Node>,
        condition: Box<Node>,
        until: bool,
    },
    For {
        names: Vec<(String, Position)>,
        over: Box<Node>,
        body: Vec<Node>,
    },
    Let {
        name: String,
        at: Position,
        constant: bool,
        exported: bool,
        value: Box<Node>,
    },
    Assign {
        target: Box<Node>,
        /// `=`, `+=`, …
        operator: &'static str,
        value: Box<Node>,
    },
    Try {
        body: Vec<Node>,
        name: Option<(String, Position)>,
        handler: Vec<Node>,
    },
    Break(Option<Box<Node>>),
    Continue,
    Return(Option<Box<Node>>),
    Throw(Option<Box<Node>>),
    Import {
        path: Box<Node>,
        alias: Option<(String, Position)>,
    },
    Export(String),
}

#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub value: Node,
}

#[derive(Debug)]
pub struct Case {
    pub guard: Option<Node>,
    pub body: Node,
    pub default: bool,
}

#[derive(Debug)]
pub struct Call {
    /// `text` of `text::slug(x)`.
    pub path: Vec<String>,
    pub name: String,
    /// What a method is called on.
    pub receiver: Option<Node>,
    pub args: Vec<Node>,
    pub operator: bool,
}

impl Tree {
    /// `text` is what was parsed.
    pub fn of(ast: &AST, text: &str) -> Tree {
        let closures = ast.iter_fn_def().filter(|function| is_closure(&function.name));
        let reader = Reader { closures: closures.map(|function| (function.name.as_str(), function)).collect() };
        let named: Vec<_> = ast.iter_fn_def().filter(|function| !is_closure(&function.name)).collect();
        let lines: Vec<&str> = if named.is_empty() { Vec::new() } else { text.lines().collect() };
        let mut functions: Vec<_> = named.iter().map(|function| reader.function(function, &lines)).collect();
        functions.sort_by_key(|function| (function.at.line(), function.at.position()));
        Tree { body: reader.block(ast.statements()), functions }
    }

    /// Every node: of the body, then of the functions.
    pub fn each<'t>(&'t self, seen: &mut dyn FnMut(&'t Node)) {
        let functions = self.functions.iter().flat_map(|function| &function.body);
        self.body.iter().chain(functions).for_each(|node| node.each(seen));
    }
}

fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

/// Where the name of a function stands; its body begins at `body`.
fn name_position(lines: &[&str], name: &str, body: Position) -> Position {
    let (Some(line), Some(column)) = (body.line(), body.position()) else { return body };
    for number in (1..=line).rev().take(8) {
        let text: String = match number == line {
            true => lines.get(number - 1).map(|text| text.chars().take(column).collect()).unwrap_or_default(),
            false => lines.get(number - 1).map(|text| (*text).to_owned()).unwrap_or_default(),
        };
        let found = text.rfind("fn ").and_then(|from| Some(from + 3 + text[from + 3..].find(name)?));
        if let Some(found) = found {
            let column = text[..found].chars().count() + 1;
            return Position::new(number.min(65_535) as u16, column.min(65_535) as u16);
        }
    }
    body
}

struct Reader<'a> {
    closures: HashMap<&'a str, &'a Shared<ScriptFuncDef>>,
}

impl Reader<'_> {
    fn function(&self, function: &Shared<ScriptFuncDef>, lines: &[&str]) -> Function {
        Function {
            name: function.name.to_string(),
            params: function.params.iter().map(ToString::to_string).collect(),
            private: function.access == FnAccess::Private,
            at: name_position(lines, &function.name, function.body.start_position()),
            body: self.body(function),
        }
    }

    /// Rhai shows the statements of a function only while it walks along a whole tree, so one is made of the function.
    fn body(&self, function: &Shared<ScriptFuncDef>) -> Vec<Node> {
        let mut module = Module::new();
        module.set_script_fn(function.clone());
        let mut nodes = Vec::new();
        AST::new_from_module(module).walk(&mut |path: &[ASTNode<'_>]| {
            if let [ASTNode::Stmt(statement)] = path {
                nodes.push(self.statement(statement));
            }
            true
        });
        nodes.retain(|node| !matches!(node.kind, NodeKind::Nothing));
        nodes
    }

    fn block(&self, statements: &[Stmt]) -> Vec<Node> {
        let nodes = statements.iter().map(|statement| self.statement(statement));
        nodes.filter(|node| !matches!(node.kind, NodeKind::Nothing)).collect()
    }

    fn statement(&self, statement: &Stmt) -> Node {
        let boxed = |expr: &Expr| Box::new(self.expr(expr));
        let optional = |expr: &Option<Box<Expr>>| expr.as_deref().map(boxed);
        let kind = match statement {
            Stmt::FnCall(call, at) => return self.call(call, *at, None),
            Stmt::Expr(expr) => return self.expr(expr),
            Stmt::Block(block) => NodeKind::Block(self.block(block.statements())),
            Stmt::If(flow, _) => NodeKind::If {
                condition: boxed(&flow.expr),
                then: self.block(flow.body.statements()),
                otherwise: self.block(flow.branch.statements()),
            },
            Stmt::Switch(switch, _) => {
                let (on, cases) = &**switch;
                let case = |(at, case): (usize, &rhai::BinaryExpr)| Case {
                    guard: (!matches!(case.lhs, Expr::BoolConstant(true, at) if at.is_none()))
                        .then(|| self.expr(&case.lhs)),
                    body: self.expr(&case.rhs),
                    default: cases.def_case == Some(at),
                };
                NodeKind::Switch { on: boxed(on), cases: cases.expressions.iter().enumerate().map(case).collect() }
            }
            Stmt::While(flow, _) => NodeKind::While {
                condition: (!flow.expr.is_unit()).then(|| boxed(&flow.expr)),
                body: self.block(flow.body.statements()),
            },
            Stmt::Do(flow, flags, _) => NodeKind::Do {
                body: self.block(flow.body.statements()),
                condition: boxed(&flow.expr),
                until: flags.intersects(ASTFlags::NEGATED),
            },
            Stmt::For(inner, _) => {
                let (name, counter, flow) = &**inner;
                let names = [Some(name), counter.as_ref()].into_iter().flatten();
                NodeKind::For {
                    names: names.map(|name| (name.name.to_string(), name.pos)).collect(),
                    over: boxed(&flow.expr),
                    body: self.block(flow.body.statements()),
                }
            }
            Stmt::Var(var, flags, _) => NodeKind::Let {
                name: var.0.name.to_string(),
                at: var.0.pos,
                constant: flags.intersects(ASTFlags::CONSTANT),
                exported: flags.intersects(ASTFlags::EXPORTED),
                value: boxed(&var.1),
            },
            Stmt::Assignment(inner) => {
                let (operator, sides) = &**inner;
                let syntax = operator.get_op_assignment_info().map_or("=", |(_, _, _, syntax, ..)| syntax);
                NodeKind::Assign { target: boxed(&sides.lhs), operator: syntax, value: boxed(&sides.rhs) }
            }
            Stmt::TryCatch(flow, _) => NodeKind::Try {
                body: self.block(flow.body.statements()),
                name: match &flow.expr {
                    Expr::Variable(variable, _, at) => Some((variable.1.to_string(), *at)),
                    _ => None,
                },
                handler: self.block(flow.branch.statements()),
            },
            Stmt::BreakLoop(value, flags, _) if flags.intersects(ASTFlags::BREAK) => NodeKind::Break(optional(value)),
            Stmt::BreakLoop(..) => NodeKind::Continue,
            Stmt::Return(value, flags, _) if flags.intersects(ASTFlags::BREAK) => NodeKind::Throw(optional(value)),
            Stmt::Return(value, ..) => NodeKind::Return(optional(value)),
            Stmt::Import(import, _) => NodeKind::Import {
                path: boxed(&import.0),
                alias: (!import.1.name.is_empty()).then(|| (import.1.name.to_string(), import.1.pos)),
            },
            Stmt::Export(export, _) => NodeKind::Export(export.0.name.to_string()),
            // `Share` marks what a closure captures.
            _ => NodeKind::Nothing,
        };
        Node { at: statement_position(statement), kind }
    }

    fn expr(&self, expr: &Expr) -> Node {
        let all = |items: &[Expr]| items.iter().map(|item| self.expr(item)).collect::<Vec<_>>();
        let kind = match expr {
            Expr::Unit(_) => NodeKind::Unit,
            Expr::BoolConstant(yes, _) => NodeKind::Bool(*yes),
            Expr::IntegerConstant(int, _) => NodeKind::Value(Dynamic::from(*int)),
            Expr::FloatConstant(float, _) => NodeKind::Value(Dynamic::from(**float)),
            Expr::CharConstant(character, _) => NodeKind::Value(Dynamic::from(*character)),
            Expr::StringConstant(text, _) => NodeKind::Text(text.to_string()),
            Expr::DynamicConstant(value, _) => match value.read_lock::<FnPtr>() {
                Some(pointer) if is_closure(pointer.fn_name()) => self.closure(pointer.fn_name(), 0),
                _ => NodeKind::Value((**value).clone()),
            },
            Expr::InterpolatedString(parts, _) => NodeKind::Interpolated(all(parts)),
            Expr::Array(items, _) => NodeKind::Array(all(items)),
            Expr::Map(map, _) => {
                let entry = |(key, value): &(rhai::Ident, Expr)| Entry {
                    key: key.name.to_string(),
                    at: key.pos,
                    value: self.expr(value),
                };
                NodeKind::Map(map.0.iter().map(entry).collect())
            }
            Expr::Variable(variable, ..) => NodeKind::Variable {
                path: variable.2.path.iter().map(|part| part.name.to_string()).collect(),
                name: variable.1.to_string(),
            },
            Expr::ThisPtr(_) => NodeKind::This,
            Expr::FnCall(call, at) => return self.call(call, *at, None),
            Expr::Dot(sides, ..) => return self.chain(self.expr(&sides.lhs), &sides.rhs),
            Expr::Index(sides, flags, _) => return self.index(self.expr(&sides.lhs), &sides.rhs, *flags),
            Expr::And(items, _) => NodeKind::Logic("&&", all(items)),
            Expr::Or(items, _) => NodeKind::Logic("||", all(items)),
            Expr::Coalesce(items, _) => NodeKind::Logic("??", all(items)),
            Expr::Stmt(block) => {
                if let [Stmt::Share(_), Stmt::Expr(curry)] = block.statements()
                    && let Expr::FnCall(call, at) = &**curry
                    && let Some(Expr::DynamicConstant(value, _)) = call.args.first()
                    && let Some(pointer) = value.read_lock::<FnPtr>()
                {
                    return Node { at: *at, kind: self.closure(pointer.fn_name(), call.args.len() - 1) };
                }
                NodeKind::Block(self.block(block.statements()))
            }
            _ => NodeKind::Nothing,
        };
        Node { at: expr.start_position(), kind }
    }

    /// The first parameters are what it captures.
    fn closure(&self, name: &str, captured: usize) -> NodeKind {
        let Some(function) = self.closures.get(name) else { return NodeKind::Nothing };
        let params = function.params.iter().skip(captured).map(ToString::to_string).collect();
        NodeKind::Closure { params, body: self.body(function) }
    }

    fn call(&self, call: &rhai::FnCallExpr, at: Position, receiver: Option<Node>) -> Node {
        let call = Call {
            path: call.namespace.path.iter().map(|part| part.name.to_string()).collect(),
            name: call.name.to_string(),
            receiver,
            args: call.args.iter().map(|argument| self.expr(argument)).collect(),
            operator: call.op_token.is_some(),
        };
        Node { at, kind: NodeKind::Call(Box::new(call)) }
    }

    /// Rhai nests `a.b.c` to the right.
    fn chain(&self, receiver: Node, next: &Expr) -> Node {
        match next {
            Expr::Dot(sides, ..) => self.chain(self.chain(receiver, &sides.lhs), &sides.rhs),
            Expr::Index(sides, flags, _) => self.index(self.chain(receiver, &sides.lhs), &sides.rhs, *flags),
            Expr::Property(property, at) => {
                Node { at: *at, kind: NodeKind::Property(Box::new(receiver), property.2.to_string()) }
            }
            Expr::MethodCall(call, at) => self.call(call, *at, Some(receiver)),
            other => self.expr(other),
        }
    }

    fn index(&self, receiver: Node, next: &Expr, flags: ASTFlags) -> Node {
        let at = receiver.at;
        let indexed = |by: &Expr| Node { at, kind: NodeKind::Index(Box::new(receiver), Box::new(self.expr(by))) };
        match next {
            _ if flags.intersects(ASTFlags::BREAK) => indexed(next),
            Expr::Dot(sides, ..) => self.chain(indexed(&sides.lhs), &sides.rhs),
            Expr::Index(sides, flags, _) => self.index(indexed(&sides.lhs), &sides.rhs, *flags),
            other => indexed(other),
        }
    }
}

/// Rhai's own panics for an empty `Share`, which is never written down.
fn statement_position(statement: &Stmt) -> Position {
    match statement {
        Stmt::Share(names) if names.is_empty() => Position::NONE,
        Stmt::Assignment(inner) => inner.1.lhs.start_position(),
        other => other.position(),
    }
}

impl Node {
    /// What is directly inside, in the order of the text.
    pub fn children(&self) -> Vec<&Node> {
        fn boxed(node: &Option<Box<Node>>) -> Vec<&Node> {
            node.as_deref().into_iter().collect()
        }
        fn and<'a>(first: &'a Node, rest: &'a [Node]) -> Vec<&'a Node> {
            std::iter::once(first).chain(rest).collect()
        }
        match &self.kind {
            NodeKind::Interpolated(nodes)
            | NodeKind::Array(nodes)
            | NodeKind::Logic(_, nodes)
            | NodeKind::Block(nodes) => nodes.iter().collect(),
            NodeKind::Closure { body, .. } => body.iter().collect(),
            NodeKind::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
            NodeKind::Property(node, _) => vec![node],
            NodeKind::Index(node, by) => vec![node, by],
            NodeKind::Call(call) => call.receiver.iter().chain(&call.args).collect(),
            NodeKind::If { condition, then, otherwise } => and(condition, then).into_iter().chain(otherwise).collect(),
            NodeKind::Switch { on, cases } => {
                let cases = cases.iter().flat_map(|case| case.guard.iter().chain([&case.body]));
                std::iter::once(&**on).chain(cases).collect()
            }
            NodeKind::While { condition: None, body } => body.iter().collect(),
            NodeKind::While { condition: Some(condition), body } => and(condition, body),
            NodeKind::Do { body, condition, .. } => body.iter().chain([&**condition]).collect(),
            NodeKind::For { over, body, .. } => and(over, body),
            NodeKind::Let { value, .. } => vec![value],
            NodeKind::Assign { target, value, .. } => vec![target, value],
            NodeKind::Try { body, handler, .. } => body.iter().chain(handler).collect(),
            NodeKind::Break(node) | NodeKind::Return(node) | NodeKind::Throw(node) => boxed(node),
            NodeKind::Import { path, .. } => vec![path],
            _ => Vec::new(),
        }
    }

    /// This node and all below it, in the order of the text.
    pub fn each<'a>(&'a self, seen: &mut dyn FnMut(&'a Node)) {
        seen(self);
        self.children().into_iter().for_each(|child| child.each(seen));
    }

    pub fn call(&self) -> Option<&Call> {
        match &self.kind {
            NodeKind::Call(call) if !call.operator => Some(call),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value, if it is written out in full.
    pub fn literal(&self) -> Option<Dynamic> {
        match &self.kind {
            NodeKind::Unit => Some(Dynamic::UNIT),
            NodeKind::Bool(yes) => Some((*yes).into()),
            NodeKind::Value(value) => Some(value.clone()),
            NodeKind::Text(text) => Some(text.as_str().into()),
            NodeKind::Array(items) => items.iter().map(Node::literal).collect::<Option<rhai::Array>>().map(Into::into),
            NodeKind::Map(entries) => {
                let entry = |entry: &Entry| Some((entry.key.as_str().into(), entry.value.literal()?));
                entries.iter().map(entry).collect::<Option<rhai::Map>>().map(Into::into)
            }
            NodeKind::Call(call) if call.operator && call.name == "-" && call.args.len() == 1 => {
                let value = call.args[0].literal()?;
                let int = value.as_int().ok().and_then(i64::checked_neg).map(Dynamic::from);
                int.or_else(|| value.as_float().ok().map(|float| Dynamic::from(-float)))
            }
            _ => None,
        }
    }
}

/// The closure that makes the tasks in something like `list.map(|x| || …)`.
pub fn innermost(node: &Node) -> Option<&Node> {
    let mut found = None;
    node.each(&mut |node| {
        if matches!(node.kind, NodeKind::Closure { .. }) {
            found = Some(node);
        }
    });
    found
}
