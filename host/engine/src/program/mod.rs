//! Programs: what is compiled from a workflow's text with all it imports.

pub mod bundle;
pub mod modules;
pub mod parse;
pub mod texts;

use std::rc::Rc;
use std::sync::Arc;

use durhai_core::Version;
use rhai::AST;

use self::bundle::Bundle;
use self::modules::Modules;
use self::texts::Texts;
use crate::header::Header;

/// A compiled workflow. It belongs to the thread of the sandbox that made it.
pub struct Program {
    pub(crate) ast: AST,
    pub(crate) modules: Rc<Modules>,
    texts: Texts,
    version: Version,
    description: String,
    header: Arc<Header>,
    edition: u32,
}

impl Program {
    pub(crate) fn new(ast: AST, modules: Modules, texts: Texts, bundle: &Bundle, header: Header) -> Self {
        Program {
            ast,
            modules: Rc::new(modules),
            texts,
            version: bundle.version(),
            description: description(&bundle.source),
            header: Arc::new(header),
            edition: bundle.edition,
        }
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        self.texts.main()
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// See [`Bundle::EDITION`].
    pub(crate) fn edition(&self) -> u32 {
        self.edition
    }

    /// The `//!` comment at the top of the file; empty if there is none.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the workflow says about itself in `const WORKFLOW`.
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// The text of a file: of the workflow for `None`, of a module by its path (what `Site::file` holds).
    pub fn text(&self, file: Option<&str>) -> Option<&str> {
        self.texts.text(file.unwrap_or(self.texts.main()))
    }

    pub fn texts(&self) -> &Texts {
        &self.texts
    }
}

fn description(source: &str) -> String {
    let lines = source.lines().skip_while(|line| line.trim().is_empty() || line.starts_with("#!"));
    let lines = lines.map_while(|line| line.trim_start().strip_prefix("//!"));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_string()
}
