//! `durhai test`: the tests beside the workflows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durhai::StepSource;
use durhai_steps::{BuiltinSteps, DeclaredSteps, RhaiSteps, StepEnvHandle};
use durhai_trial::report::{self, Style};
use durhai_trial::{Mask, Options, Report, find, lcov, run};

use crate::args::{Globals, Test};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::output::Out;
use crate::text::quoted;

pub fn test(globals: &Globals, args: Test, out: &Out) -> Outcome {
    let groups = by_folder(globals, &args.paths)?;
    let defaults = Options::default();
    let mut options = Options {
        filter: args.filter,
        seed: args.seed,
        crashes: !args.no_crash,
        max_crashes: args.max_crashes,
        only: args.only,
        limit: args.limit.map(Duration::from_millis),
        jobs: args.jobs.map_or(defaults.jobs, usize::from),
        coverage: args.coverage || args.lcov.is_some(),
        ..defaults
    };
    // Colours leave no text as it is where there are none.
    let style = Style { color: !out.colored(1, "").is_empty() };
    let mut all = Report { files: Vec::new(), seed: options.seed, took: Duration::ZERO, coverage: Vec::new() };
    for (root, files) in groups {
        // A test must not do more on one machine than on another because of what a file grants to hosts.
        let mut source = hosting::source(globals, &root, &args.allow, &[])?.without_grants();
        let (rules, config) = source.load().map_err(Fail::usage)?;
        options.rules = rules;
        options.functions = hosting::functions(globals, &root, &args.functions)?;
        let step_env = StepEnvHandle::new(config);
        options.mask = Some(Mask::new(step_env.mask()));
        // As in a host.
        let steps: Vec<Arc<dyn StepSource>> = vec![
            Arc::new(DeclaredSteps::new(step_env.clone())),
            Arc::new(RhaiSteps::open(&root, step_env.clone())),
            Arc::new(BuiltinSteps::new(step_env)),
        ];
        // The runner has threads of its own and waits for them.
        let ran = tokio::task::block_in_place(|| {
            run(&root, &files, steps, &options, &mut |file| {
                if out.json {
                    report::rows(file).iter().for_each(|row| out.row(row));
                } else {
                    let text = report::file(file, style);
                    if !text.is_empty() {
                        out.line(text);
                    }
                }
            })
        });
        let ran = ran.map_err(|error| Fail::unreachable(format!("the tests cannot be run: {error}")))?;
        all.took += ran.took;
        all.files.extend(ran.files);
        all.coverage.extend(ran.coverage);
    }
    write(args.junit.as_deref(), || report::junit(&all))?;
    write(args.lcov.as_deref(), || lcov(&all.coverage))?;
    if out.json {
        out.row(&report::end(&all));
    } else {
        let failures = report::failures(&all, &again(std::env::args()), style);
        if !failures.is_empty() {
            out.line(format!("\n{}", failures.trim_end()));
        }
        out.line(format!("\n{}", report::summary(&all, style)));
    }
    if all.counts() == (0, 0) {
        return Err(match &options.filter {
            Some(filter) => Fail::not_found(format!("no test has {filter:?} in FILE::NAME")),
            None => Fail::not_found("these files have no tests: a test is a function whose name begins with test_"),
        });
    }
    Ok(if all.passed() { Exit::Done } else { Exit::Failed })
}

/// The beginning of a command that repeats a test: what was typed, without what chooses tests.
fn again(typed: impl Iterator<Item = String>) -> String {
    let mut command = String::from("durhai test");
    let mut value_follows = false;
    for word in typed.skip(1) {
        let with_value = ["--scripts", "--config", "--limit"].contains(&word.as_str());
        let starts = ["--scripts=", "--config=", "--limit=", "--allow", "--env-file"];
        let kept = starts.iter().any(|start| word.starts_with(start));
        if with_value || value_follows || kept || word == "-A" {
            command.push(' ');
            command.push_str(&quoted(&word));
        }
        value_follows = with_value;
    }
    command
}

/// Test files by the scripts folder they belong to.
fn by_folder(globals: &Globals, paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>, Fail> {
    let default = [folder::scripts(globals.scripts.as_deref())?];
    let paths = if paths.is_empty() { &default[..] } else { paths };
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in paths {
        let found = match path {
            path if path.is_dir() => find(path).map_err(|error| Fail::usage(format!("{}: {error}", path.display())))?,
            path if path.to_string_lossy().ends_with(".test.rhai") && path.is_file() => vec![path.clone()],
            path if path.exists() => {
                let text = format!("{} is no test: the names of tests end in .test.rhai", path.display());
                let own = path.with_extension("test.rhai");
                let hint = if own.is_file() { format!("Its tests are in {}.", own.display()) } else { String::new() };
                return Err(Fail::usage(text).hint(hint));
            }
            path => return Err(Fail::not_found(format!("there is no file or folder {}", path.display()))),
        };
        if found.is_empty() {
            let text = format!("there are no tests in {}: they are in files like order.test.rhai", path.display());
            return Err(Fail::not_found(text).hint("host/docs/testing.md says how one is written."));
        }
        let root = root_of(globals, path)?;
        let group = groups.entry(root).or_default();
        group.extend(found);
        group.sort();
        group.dedup();
    }
    Ok(groups)
}

/// The scripts folder that a test file or a folder of tests belongs to.
fn root_of(globals: &Globals, path: &Path) -> Result<PathBuf, Fail> {
    if globals.scripts.is_some() {
        return folder::scripts(globals.scripts.as_deref());
    }
    let dir = if path.is_dir() { Some(path) } else { path.parent() };
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().map_err(|error| Fail::usage(format!("{}: {error}", dir.display())))?;
    Ok(dir.ancestors().find(|dir| folder::is_root(dir)).unwrap_or(&dir).to_path_buf())
}

fn write(file: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Fail> {
    let Some(file) = file else { return Ok(()) };
    let no = |error| Fail::unreachable(format!("{} cannot be written: {error}", file.display()));
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(no)?;
    }
    std::fs::write(file, text()).map_err(no)
}

#[cfg(test)]
mod tests {
    use super::again;

    #[test]
    fn what_is_typed_to_repeat_a_test() {
        for (typed, kept) in [
            ("durhai test a --filter x", "durhai test"),
            ("durhai --scripts s test -A --seed 3", "durhai test --scripts s -A"),
            ("durhai test --limit 3s --allow-read=x,y b", "durhai test --limit 3s --allow-read=x,y"),
            ("durhai test --env-file=test.env --config c.toml", "durhai test --env-file=test.env --config c.toml"),
            ("durhai test --env-file x.test.rhai", "durhai test --env-file"),
        ] {
            assert_eq!(again(typed.split(' ').map(ToOwned::to_owned)), kept);
        }
    }
}
