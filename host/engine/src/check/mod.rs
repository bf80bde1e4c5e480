//! What is wrong in a folder of scripts, found without running anything.
//!
//! [`check`] parses every file and walks its tree. One file can have several findings, each with a stable [`Code`]. An
//! `error` is what would fail when it is run; a `warning` is hardly ever meant; a `hint` is worth a look.

mod calls;
mod captures;
pub(crate) mod code;
mod flow;
mod names;
mod numbers;
mod options;
mod project;
mod report;
mod syntax;
mod texts;
pub(crate) mod tree;

pub use self::code::{Code, Severity};
pub use self::project::Folder;
pub use self::report::Finding;
use self::report::Report;
use crate::limits::SandboxConfig;

/// Everything there is to say about these files, by file and place.
pub fn check(folder: &Folder<'_>, config: &SandboxConfig) -> Vec<Finding> {
    let project = project::Project::read(folder, config);
    let mut found = Vec::new();
    for file in project.files() {
        let mut report = Report::new(&file.path, file.text);
        project.imports(file, &mut report);
        match &file.parsed {
            project::Parsed::Broken(error) => syntax::explain(file, error, &mut report),
            project::Parsed::TooLarge(diagnostic) => report.diagnostic(Code::Syntax, diagnostic),
            project::Parsed::Good { tree, header } => {
                header.iter().for_each(|wrong| report.diagnostic(Code::Header, wrong));
                names::check(&project, file, tree, &mut report);
                if file.role.durable() {
                    calls::check(&project, file, tree, &mut report);
                }
                flow::check(&project, file, tree, &mut report);
                captures::check(tree, &mut report);
                texts::check(file, &mut report);
                numbers::check(file, tree, &mut report);
            }
        }
        found.append(&mut report.finish());
    }
    found
}
