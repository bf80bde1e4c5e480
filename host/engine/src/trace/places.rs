//! Which places of a text begin a statement, and which loops it has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rhai::{AST, ASTNode, Expr, FlowControl, Position, Stmt};

/// What a tracer must know of one file.
pub struct Places {
    /// As messages call it: `order.rhai`, `std/batch`.
    pub file: Arc<str>,
    lines: Vec<Arc<str>>,
    /// Expressions that are statements by themselves, by where Rhai reports them; where they begin.
    expressions: HashMap<Place, Place>,
    /// Where statements are that `${…}` holds: parts of the statement the string stands in.
    filled_in: HashSet<Place>,
    loops: Vec<Loop>,
    loop_at: HashMap<Place, usize>,
    body_at: HashMap<Place, usize>,
}

/// Line and column.
pub type Place = (u32, u32);

pub struct Loop {
    pub place: Place,
    from: Place,
    to: Place,
}

impl Places {
    pub fn new(file: &str, text: &str, ast: Option<&AST>) -> Self {
        let mut places = Places {
            file: file.into(),
            lines: text.lines().map(|line| Arc::from(line.trim_end())).collect(),
            expressions: HashMap::new(),
            filled_in: HashSet::new(),
            loops: Vec::new(),
            loop_at: HashMap::new(),
            body_at: HashMap::new(),
        };
        if let Some(ast) = ast {
            ast.walk(&mut |path: &[ASTNode<'_>]| {
                if let Some(ASTNode::Stmt(statement)) = path.last() {
                    let filled_in = |node: &ASTNode<'_>| matches!(node, ASTNode::Expr(Expr::InterpolatedString(..)));
                    match path.iter().any(filled_in) {
                        true => places.fill_in(statement),
                        false => places.add(statement),
                    }
                }
                true
            });
        }
        places
    }

    fn fill_in(&mut self, statement: &Stmt) {
        if !matches!(statement, Stmt::Share(_)) {
            self.filled_in.insert(place(statement.position()));
        }
    }

    fn add(&mut self, statement: &Stmt) {
        let flow: &FlowControl = match statement {
            Stmt::Expr(expression) => {
                self.expressions.insert(place(expression.position()), place(expression.start_position()));
                return;
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => flow,
            Stmt::For(parts, _) => &parts.2,
            _ => return,
        };
        let number = self.loops.len();
        let span = flow.body.span();
        let to = if span.end().is_none() { (u32::MAX, 0) } else { place(span.end()) };
        self.loops.push(Loop { place: place(statement.position()), from: place(span.start()), to });
        self.loop_at.insert(place(statement.position()), number);
        let seen = |statement: &&Stmt| !matches!(statement, Stmt::Noop(_) | Stmt::Share(_) | Stmt::Block(_));
        if let Some(first) = flow.body.statements().iter().find(seen) {
            self.body_at.insert(place(first.position()), number);
        }
    }

    /// Where the statement begins that an expression at this place is; `None`: it is a part of one.
    pub fn statement(&self, expression: &Expr, at: Place) -> Option<Place> {
        match expression {
            Expr::Stmt(_) => None,
            _ => self.expressions.get(&at).copied(),
        }
    }

    /// Whether a statement at this place is a part of another one.
    pub fn is_filled_in(&self, place: Place) -> bool {
        self.filled_in.contains(&place)
    }

    /// The loop whose statement is at this place.
    pub fn loop_at(&self, place: Place) -> Option<usize> {
        self.loop_at.get(&place).copied()
    }

    /// The loop whose body begins with the statement at this place.
    pub fn body_at(&self, place: Place) -> Option<usize> {
        self.body_at.get(&place).copied()
    }

    pub fn is_inside(&self, number: usize, place: Place) -> bool {
        let Loop { from, to, .. } = self.loops[number];
        from <= place && place <= to
    }

    pub fn place_of(&self, number: usize) -> Place {
        self.loops[number].place
    }

    pub fn line(&self, line: u32) -> Arc<str> {
        let found = (line as usize).checked_sub(1).and_then(|at| self.lines.get(at));
        found.cloned().unwrap_or_else(|| Arc::from(""))
    }

    pub fn line_count(&self) -> u32 {
        self.lines.len() as u32
    }
}

pub fn place(position: Position) -> Place {
    (position.line().unwrap_or(0) as u32, position.position().unwrap_or(0) as u32)
}
