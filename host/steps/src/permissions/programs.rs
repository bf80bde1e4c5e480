//! Which programs may be run.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use durhai::StepError;

use super::Permissions;
use super::sealed::{covers, seal};

/// What `--allow-exec` grants. Who may run a program that runs others (a shell, an interpreter, `env`, `git`) may run
/// whatever that one can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExecGrant {
    #[default]
    Nothing,
    Everything,
    /// These, each found once, when it was granted.
    Programs(Vec<GrantedProgram>),
}

/// A program that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedProgram {
    /// As it was granted: a name, or a path.
    asked: String,
    /// Where it was found, links of its folder followed. This is what runs, so that a program with many names does what
    /// the granted name means.
    found: PathBuf,
    /// What it was, if it is a link: it must stay so.
    target: PathBuf,
    /// Both, and every link between them.
    guarded: Vec<PathBuf>,
}

impl ExecGrant {
    /// From the value of a flag: none is everything, else programs separated by commas. A name is looked for in
    /// `search`, the value of `PATH`; a relative path starts at the current folder. Now, and not again: what is put in
    /// front of it later is not granted.
    pub fn parse(value: Option<&str>, search: &str) -> Result<Self, String> {
        let Some(list) = value else { return Ok(ExecGrant::Everything) };
        let names = list.split(',').filter(|name| !name.is_empty());
        names.map(|name| grant(name, search)).collect::<Result<_, _>>().map(ExecGrant::Programs)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: ExecGrant) -> Self {
        match (self, other) {
            (ExecGrant::Everything, _) | (_, ExecGrant::Everything) => ExecGrant::Everything,
            (ExecGrant::Nothing, grant) | (grant, ExecGrant::Nothing) => grant,
            (ExecGrant::Programs(mut programs), ExecGrant::Programs(more)) => {
                programs.extend(more);
                ExecGrant::Programs(programs)
            }
        }
    }

    /// The part of a granted program that this path is, also a link on the way to it: who may run it must not change it.
    pub(super) fn guards(&self, resolved: &Path) -> Option<&Path> {
        let ExecGrant::Programs(programs) = self else { return None };
        let mut guarded = programs.iter().flat_map(|program| &program.guarded).map(PathBuf::as_path);
        guarded.find(|path| covers(path, resolved))
    }
}

impl Permissions {
    /// The file to run for a name or path in a script. Refused where it was not granted, whether there is such a program
    /// or not.
    pub(crate) fn program(&self, asked: &str, search: &str) -> Result<PathBuf, StepError> {
        if asked.is_empty() || asked.contains('\0') {
            return Err(StepError::fatal(format!("{asked:?} is no name of a program")));
        }
        let programs = match &self.exec {
            ExecGrant::Everything => return find(asked, search).map_err(StepError::fatal),
            ExecGrant::Programs(programs) => &programs[..],
            ExecGrant::Nothing => &[],
        };
        let found = || if programs.is_empty() { None } else { find(asked, search).ok() };
        let granted = match programs.iter().find(|program| program.asked == asked && is_name(asked)) {
            Some(program) => Some(program),
            None => found().and_then(|found| programs.iter().find(|program| program.found == found)),
        };
        let Some(program) = granted else {
            return Err(StepError::fatal(format!(
                "running {asked} is not allowed: grant it with --allow-exec={asked}"
            )));
        };
        match program.found.canonicalize() {
            Ok(target) if target == program.target => Ok(program.found.clone()),
            Ok(target) => Err(StepError::fatal(format!(
                "running {asked} is not allowed: {} led to {} when it was granted and leads to {} now; grant it again with \
                 --allow-exec={asked}",
                program.found.display(),
                program.target.display(),
                target.display(),
            ))),
            Err(error) => Err(StepError::fatal(format!(
                "the program {asked} was found at {} when it was granted and cannot be run now: {error}",
                program.found.display()
            ))),
        }
    }
}

fn grant(asked: &str, search: &str) -> Result<GrantedProgram, String> {
    let found = find(asked, search)?;
    let target = found.canonicalize().map_err(|error| format!("{}: {error}", found.display()))?;
    let guarded = seal(&found);
    Ok(GrantedProgram { asked: asked.into(), found, target, guarded })
}

/// Where a program is: a name in the folders of `search`, a path from the current folder. Links of the folder are
/// followed, one at the end is not.
pub(crate) fn find(asked: &str, search: &str) -> Result<PathBuf, String> {
    if !is_name(asked) {
        return look(Path::new(asked)).map_err(|why| format!("there is no program at {asked}: {why}"));
    }
    // A relative folder in PATH would mean another program in each current folder.
    let folders = std::env::split_paths(search).filter(|folder| folder.is_absolute());
    let missing = || match search {
        "" => format!("there is no program {asked}: PATH, where it is looked for, is empty or not set"),
        _ => format!("there is no program {asked} in the folders of PATH ({search})"),
    };
    folders.filter_map(|folder| look(&folder.join(asked)).ok()).next().ok_or_else(missing)
}

/// A name is looked for in `PATH`; all else is a path.
fn is_name(asked: &str) -> bool {
    !asked.contains(['/', MAIN_SEPARATOR]) && !matches!(asked, "." | "..")
}

fn look(path: &Path) -> Result<PathBuf, String> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("this is a folder".into());
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let found = folder.canonicalize().map_err(|error| error.to_string())?.join(name);
    #[cfg(windows)]
    let found = if found.extension().is_none() { found.with_extension("exe") } else { found };
    let about = found.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("this is no file".into());
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o111 == 0 {
        return Err("this file is not executable".into());
    }
    Ok(found)
}
