//! Which lines of workflows were run: from the traces of the runs of all tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai::logs::ReplayOptions;
use durhai::trace::Traced;
use parking_lot::Mutex;
use rhai::{AST, ASTNode, Engine, Stmt};

use crate::test_run::TestRun;

/// How often each line was run, by file (`order`, `lib/text`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    hits: BTreeMap<String, BTreeMap<usize, u64>>,
}

/// The result of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCoverage {
    pub path: PathBuf,
    /// Every line on which a statement begins, and how often it was run.
    pub lines: BTreeMap<usize, u64>,
}

impl Coverage {
    /// Runs the logs of all runs of a test again and counts.
    pub fn watch(&mut self, test_run: &mut TestRun) {
        let Ok(rows) = test_run.runs() else { return };
        let hits = Arc::new(Mutex::new(std::mem::take(&mut self.hits)));
        for row in rows {
            let ran = test_run.ask(|host| {
                let (id, hits) = (row.run.clone(), hits.clone());
                async move {
                    let count = move |event: durhai::trace::TraceEvent| {
                        if let Traced::Line { file, line, .. } = event.what {
                            let mut hits = hits.lock();
                            let name = file.strip_suffix(".rhai").unwrap_or(&file).to_owned();
                            *hits.entry(name).or_default().entry(line as usize).or_default() += 1;
                        }
                        true
                    };
                    host.get(id.as_str()).await?.trace(ReplayOptions::default(), count).await
                }
            });
            // A run that cannot be traced has no lines.
            drop(ran);
        }
        self.hits = std::mem::take(&mut *hits.lock());
    }

    pub fn add(&mut self, other: Coverage) {
        for (file, lines) in other.hits {
            let own = self.hits.entry(file).or_default();
            for (line, times) in lines {
                *own.entry(line).or_default() += times;
            }
        }
    }

    /// The files of a folder that were run, with every line that could have been.
    pub fn files(&self, folder: &Path) -> Vec<FileCoverage> {
        let mut files = Vec::new();
        for (name, hits) in self.hits.iter().filter(|(name, _)| !name.starts_with("std/")) {
            let path = folder.join(format!("{name}.rhai"));
            let Ok(source) = durhai::text::read_text(&path, u64::MAX - 1) else { continue };
            let mut lines: BTreeMap<usize, u64> = statements(&source).into_iter().map(|line| (line, 0)).collect();
            for (line, times) in hits {
                *lines.entry(*line).or_default() += times;
            }
            // As people write it.
            let here = std::env::current_dir().ok().and_then(|here| Some(path.strip_prefix(here).ok()?.to_path_buf()));
            files.push(FileCoverage { path: here.unwrap_or(path), lines });
        }
        files
    }
}

impl FileCoverage {
    pub fn hit(&self) -> usize {
        self.lines.values().filter(|times| **times > 0).count()
    }

    pub fn percent(&self) -> f64 {
        100.0 * self.hit() as f64 / self.lines.len().max(1) as f64
    }

    /// Lines that were never run: `3, 7-9`.
    pub fn missed(&self) -> String {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        // Lines without a statement do not break a range.
        let mut open = false;
        for (line, times) in &self.lines {
            match ranges.last_mut() {
                _ if *times > 0 => open = false,
                Some(range) if open => range.1 = *line,
                _ => {
                    ranges.push((*line, *line));
                    open = true;
                }
            }
        }
        let show = |(from, to): (usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
        ranges.into_iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

/// In the format of lcov, which editors and CI services read.
pub fn lcov(files: &[FileCoverage]) -> String {
    let mut out = String::new();
    for file in files {
        out.push_str(&format!("TN:\nSF:{}\n", file.path.display()));
        for (line, times) in &file.lines {
            out.push_str(&format!("DA:{line},{times}\n"));
        }
        out.push_str(&format!("LF:{}\nLH:{}\nend_of_record\n", file.lines.len(), file.hit()));
    }
    out
}

/// Lines on which a statement begins that is seen when it is run.
fn statements(source: &str) -> BTreeSet<usize> {
    let mut engine = Engine::new_raw();
    engine.set_max_expr_depths(0, 0).set_optimization_level(rhai::OptimizationLevel::None);
    // A text that does not compile has no lines; it was not run either.
    engine.compile(source).map(|ast| lines(&ast)).unwrap_or_default()
}

fn lines(ast: &AST) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(statement)) = path.last()
            && !matches!(statement, Stmt::Noop(_) | Stmt::Block(_) | Stmt::Share(_))
            && let Some(line) = statement.position().line()
        {
            lines.insert(line);
        }
        true
    });
    lines
}
