//! From the text of one file to its syntax tree, and what that imports.

use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};

use crate::errors::diagnostic::Diagnostic;

/// Bytes of one script file.
pub const MAX_SOURCE: usize = 1 << 20;

pub(crate) fn bad_path(path: &str) -> Option<&'static str> {
    let part = |part: &str| part.is_empty() || part == "." || part == "..";
    match path {
        "" => Some("the path is empty"),
        _ if path.ends_with(".rhai") => Some("leave out the ending .rhai"),
        _ if path.starts_with('/') || path.contains(['\\', ':', '\0']) => {
            Some("paths are relative to the scripts folder and separated by `/`")
        }
        _ if path.split('/').any(part) => Some("a path holds no `.`, no `..` and no empty part"),
        _ => None,
    }
}

pub(crate) struct Import {
    /// `None`: it is not a literal.
    pub path: Option<String>,
    pub position: Position,
}

/// Every import of a text, wherever it stands.
pub(crate) fn imports(ast: &AST) -> Vec<Import> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            let path = match &import.0 {
                Expr::StringConstant(path, _) => Some(path.to_string()),
                _ => None,
            };
            found.push(Import { path, position: import.0.start_position() });
        }
        true
    });
    found
}

/// Parses a text, after the checks that come before parsing.
pub(crate) fn parse(engine: &Engine, file: &str, source: &str) -> Result<AST, Diagnostic> {
    if source.len() > MAX_SOURCE {
        let message = format!("the script has {} bytes, the limit is {MAX_SOURCE}", source.len());
        return Err(Diagnostic::new(file, "", Position::NONE, message).with_help("move parts to modules"));
    }
    engine.compile(source).map_err(|error| Diagnostic::from_parse(file, source, &error))
}
