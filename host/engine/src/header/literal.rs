//! Literal values in the text of a script, each with its place.

use durhai_core::Value;
use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, Position, Stmt};

use crate::values::show::article;

/// A value that is written out in the text.
pub struct Literal {
    pub position: Position,
    pub kind: LiteralKind,
}

pub enum LiteralKind {
    Unit,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Array(Vec<Literal>),
    Map(Vec<Entry>),
}

/// One entry of a map.
pub struct Entry {
    pub key: String,
    pub position: Position,
    pub value: Literal,
}

/// Place, message, help.
pub type Wrong = (Position, String, Option<String>);

/// The value of the constant `WORKFLOW` at the top level of a text; `None` if there is none.
pub fn find(ast: &AST) -> Result<Option<Literal>, Wrong> {
    let help = || Some("write it as `const WORKFLOW = #{ … };` at the top of the file, once".into());
    let mut found: Option<&Expr> = None;
    let mut places = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Var(var, flags, position))) = path.last()
            && var.0.name == "WORKFLOW"
        {
            places.push((path.len(), flags.intersects(ASTFlags::CONSTANT), *position));
        }
        true
    });
    for (depth, constant, position) in places {
        if depth > 1 {
            return Err((position, "the header stands inside of something else".into(), help()));
        }
        if !constant {
            return Err((position, "the header must be a constant".into(), help()));
        }
    }
    for statement in ast.statements() {
        if let Stmt::Var(var, _, position) = statement
            && var.0.name == "WORKFLOW"
        {
            if found.is_some() {
                return Err((*position, "there is a second header".into(), help()));
            }
            found = Some(&var.1);
        }
    }
    found.map(Literal::of).transpose()
}

impl Literal {
    /// Recurses at most as deeply as an expression may nest.
    fn of(expr: &Expr) -> Result<Self, Wrong> {
        let position = expr.start_position();
        let kind = match expr {
            Expr::Unit(_) => LiteralKind::Unit,
            Expr::BoolConstant(yes, _) => LiteralKind::Bool(*yes),
            Expr::IntegerConstant(int, _) => LiteralKind::Int(*int),
            Expr::FloatConstant(float, _) => LiteralKind::Float(**float),
            Expr::CharConstant(character, _) => LiteralKind::Text(character.to_string()),
            Expr::StringConstant(text, _) => LiteralKind::Text(text.to_string()),
            Expr::Array(items, _) => LiteralKind::Array(items.iter().map(Literal::of).collect::<Result<_, _>>()?),
            Expr::Map(map, _) => {
                let entry = |(key, value): &(rhai::Ident, Expr)| {
                    let value = Literal::of(value)?;
                    Ok(Entry { key: key.name.to_string(), position: key.pos, value })
                };
                LiteralKind::Map(map.0.iter().map(entry).collect::<Result<_, Wrong>>()?)
            }
            Expr::DynamicConstant(value, _) => constant(value, position),
            _ => {
                let help =
                    "the header is read without running the script: maps, arrays, strings, numbers, booleans and ()";
                return Err((position, "this is not a literal".into(), Some(help.into())));
            }
        };
        Ok(Literal { position, kind })
    }

    /// As JSON.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            LiteralKind::Unit => Value::Null,
            LiteralKind::Bool(yes) => (*yes).into(),
            LiteralKind::Int(int) => (*int).into(),
            LiteralKind::Float(float) => (*float).into(),
            LiteralKind::Text(text) => text.as_str().into(),
            LiteralKind::Array(items) => items.iter().map(Literal::to_value).collect(),
            LiteralKind::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect()
            }
        }
    }

    /// What a message calls a wrong value: `an integer (42)`.
    pub fn found(&self) -> String {
        let noun = match self.kind {
            LiteralKind::Unit => return "()".into(),
            LiteralKind::Bool(_) => "boolean",
            LiteralKind::Int(_) => "integer",
            LiteralKind::Float(_) => "float",
            LiteralKind::Text(_) => "string",
            LiteralKind::Array(_) => return article("array"),
            LiteralKind::Map(_) => return article("map"),
        };
        let text = self.to_value().to_string();
        if text.len() > 60 { article(noun) } else { format!("{} ({text})", article(noun)) }
    }

    /// The place of what a JSON pointer leads to, as far as it can be followed.
    pub fn at_path(&self, pointer: &str) -> Position {
        let mut at = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match &at.kind {
                LiteralKind::Map(entries) => entries.iter().find(|entry| entry.key == part).map(|entry| &entry.value),
                LiteralKind::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            at = next;
        }
        at.position
    }
}

/// A constant that the parser has put together; its parts have no places of their own.
fn constant(value: &Dynamic, position: Position) -> LiteralKind {
    let literal = |value: &Dynamic| Literal { position, kind: constant(value, position) };
    if let Ok(yes) = value.as_bool() {
        LiteralKind::Bool(yes)
    } else if let Ok(int) = value.as_int() {
        LiteralKind::Int(int)
    } else if let Ok(float) = value.as_float() {
        LiteralKind::Float(float)
    } else if let Ok(items) = value.as_array_ref() {
        LiteralKind::Array(items.iter().map(literal).collect())
    } else if let Ok(fields) = value.as_map_ref() {
        let entry = |(key, value): (&rhai::Identifier, &Dynamic)| Entry {
            key: key.to_string(),
            position,
            value: literal(value),
        };
        LiteralKind::Map(fields.iter().map(entry).collect())
    } else if value.is_unit() {
        LiteralKind::Unit
    } else {
        LiteralKind::Text(value.to_string())
    }
}
