//! Looking at texts: what is in the folder is read and compiled, and the catalog is told what that means.

use std::path::Path;

use durhai_core::{Millis, Version};
use durhai_engine::header::OnReload;
use durhai_engine::{Bundle, Program, Sandbox, SandboxConfig};
use durhai_world::{World, WorldError};

use crate::error::Unready;
use crate::versions::candidate::{self, Candidate};
use crate::versions::catalog::Catalog;
use crate::versions::lifecycle::{Change, Workflow};
use crate::versions::newest::{self, Saved};
use crate::versions::serving::Serving;
use crate::versions::stamp::Stamp;
use crate::versions::{known, scripts, texts};
use crate::view::Report;

/// What a look at texts brought.
#[derive(Default)]
pub(crate) struct Found {
    pub reports: Vec<Report>,
    /// Versions that are to be checked against live runs before they serve.
    pub candidates: Vec<Candidate>,
}

/// A workflow's text as it is found.
enum Text {
    /// There is none (any more).
    Gone,
    There(String),
    /// There is one, and this is why it cannot be read.
    Unreadable(String),
}

/// One thread's look at texts.
pub(crate) struct Scanner<'a> {
    pub catalog: &'a Catalog,
    pub world: &'a dyn World,
    pub sandbox: &'a Sandbox,
    pub now: Millis,
}

/// A sandbox only to compile with.
pub(crate) fn sandbox(config: &SandboxConfig) -> Sandbox {
    Sandbox::new(config)
}

impl Scanner<'_> {
    /// Looks at every text: what changed, and which versions have to be checked. `between` is called between two of them;
    /// `false` ends it.
    pub fn scan(&self, between: &mut dyn FnMut() -> Result<bool, WorldError>) -> Result<Found, WorldError> {
        let (catalog, mut found) = (self.catalog, Found::default());
        for (name, source) in &catalog.own {
            // It never changes: it is looked at until it serves.
            let waits = catalog
                .workflow(name)
                .is_none_or(|known| !known.is_present() || known.is_under_way() || known.blocking().is_some());
            if waits {
                self.take(name, (Text::There(source.clone()), Vec::new()), &mut found)?;
            }
        }
        let Some(folder) = &catalog.folder else { return Ok(found) };
        let mut whole = true;
        let listed = match scripts::workflows(folder) {
            Ok(listed) => listed,
            Err(error) => {
                // A folder that cannot be read says nothing about the workflows in it.
                let why = format!("the folder {} cannot be read: {error}", folder.display());
                found.reports.extend(catalog.set_gone(Some(why)));
                return Ok(found);
            }
        };
        found.reports.extend(catalog.set_gone(None));
        let is_own = |name: &String| catalog.own.contains_key(name);
        for gone in catalog.known_names() {
            if listed.workflows.contains_key(&gone) || is_own(&gone) {
                continue;
            }
            let text = match listed.unlisted(&gone) {
                Some(why) => Text::Unreadable(why.clone()),
                None => Text::Gone,
            };
            self.take(&gone, (text, Vec::new()), &mut found)?;
        }
        for (name, file) in listed.workflows.into_iter().filter(|(name, _)| !is_own(name)) {
            if !between()? {
                whole = false;
                break;
            }
            if self.is_settled(&name) {
                continue;
            }
            let text = match file {
                Ok(file) => self.read(&file),
                Err(why) => (Text::Unreadable(why), Vec::new()),
            };
            self.take(&name, text, &mut found)?;
        }
        if whole {
            catalog.set_opened();
        }
        Ok(found)
    }

    /// Looks at one workflow of the folder, as `scan` looks at all.
    pub fn look_at(&self, name: &str) -> Result<Found, WorldError> {
        let mut found = Found::default();
        let Some(folder) = self.catalog.folder.as_ref().filter(|_| !self.catalog.own.contains_key(name)) else {
            return Ok(found);
        };
        // A folder that is not there says nothing about the workflows in it.
        let Some(file) = scripts::file_of(folder, name).filter(|_| folder.is_dir()) else { return Ok(found) };
        self.take(name, self.read(&file), &mut found)?;
        Ok(found)
    }

    /// The version that a workflow's text has now, if it compiles.
    pub fn current(&self, name: &str) -> Option<Version> {
        let source = match self.catalog.own.get(name) {
            Some(source) => source.clone(),
            None => {
                let folder = self.catalog.folder.as_ref()?;
                scripts::read_script(folder, &folder.join(format!("{name}.rhai"))).ok()??
            }
        };
        Some(self.compile(name, &source, &mut Vec::new()).ok()?.0.version())
    }

    /// Takes a workflow's text (or its absence) as it is now. `stamps` are those of the files that were looked at so far.
    fn take(&self, name: &str, (text, mut stamps): (Text, Vec<Stamp>), found: &mut Found) -> Result<(), WorldError> {
        let compiled = match text {
            Text::Gone => None,
            Text::There(source) => Some(self.compile(name, &source, &mut stamps)),
            Text::Unreadable(why) => Some(Err(why)),
        };
        match compiled {
            None => found.reports.extend(self.catalog.apply(name, Change::Gone)),
            Some(Ok((bundle, program))) => self.take_version(name, bundle, &program, found)?,
            Some(Err(error)) => {
                self.serve_last(name)?;
                found.reports.extend(self.catalog.apply(name, Change::Broken { error }));
            }
        }
        // Last: a start that compares them before asks for a look, and so gets what was saved.
        self.catalog.set_stamps(name, stamps);
        Ok(())
    }

    /// A text compiled: it serves at once, unless live runs have another version.
    fn take_version(&self, name: &str, bundle: Bundle, program: &Program, found: &mut Found) -> Result<(), WorldError> {
        let (catalog, world) = (self.catalog, self.world);
        let version = bundle.version();
        let before = catalog.workflow(name).unwrap_or_default();
        if before.is_settled_at(&version) {
            let free = before.blocking().map(|blocking| candidate::out_of_the_way(world, blocking)).transpose()?;
            if free != Some(true) {
                if free.is_some() && catalog.is_shared() {
                    known::note(world, (self.now, Some(self.now)), name, &version)?;
                }
                return Ok(());
            }
        }
        // First said, then put: a host that removes texts of no use spares what is wanted.
        let saved = self.saved(name, &version, &before)?;
        texts::put(world, &version, &bundle)?;
        catalog.set_text(name, saved.clone());
        let comes_up = before.serving.is_none();
        self.serve_last(name)?;
        if let Some(pointed) = self.overtaken(name, &saved)? {
            return self.follow_one(name, pointed, found);
        }
        let from = catalog.workflow(name).and_then(|known| known.serving).map(|serving| serving.version);
        let mut candidate = Candidate {
            workflow: name.into(),
            from: from.unwrap_or_else(|| version.clone()),
            version: version.clone(),
            saved: saved.at,
            bundle: catalog.texts.keep(version.clone(), bundle),
            header: program.header().clone(),
            description: program.description().to_owned(),
            served: false,
            followed: false,
        };
        // A host for itself moves no runs that others have.
        if candidate.from == version || catalog.is_apart() || !candidate::any_live(world, name)? {
            found.reports.extend(catalog.serve(world, &candidate, false)?.into_iter().flatten());
            return Ok(());
        }
        catalog.apply(name, Change::Compiled { version });
        // A host that comes up has nothing to wait for where the check decides over runs only.
        if comes_up && candidate.header.on_reload != OnReload::Refuse {
            candidate.served = true;
            candidate::note_upgrade(world, &candidate)?;
            catalog.apply(name, Change::CheckBegins);
            if catalog.serve(world, &candidate, true)?.is_some() {
                catalog.check_later(candidate);
            }
        } else {
            found.candidates.push(candidate);
        }
        Ok(())
    }

    /// When the text that was found was saved, which the world remembers. It is the same save until the text is another one.
    fn saved(&self, name: &str, version: &Version, before: &Workflow) -> Result<Saved, WorldError> {
        if let Some(text) = before.text.as_ref().filter(|text| text.version == *version) {
            return Ok(text.clone());
        }
        let is_shared = self.catalog.is_shared();
        if self.catalog.is_apart() {
            return Ok(Saved { at: self.now, version: version.clone() });
        }
        // Later than what serves, whatever the clocks of other hosts say.
        let pointed = if is_shared { newest::pointed(self.world, name)? } else { None };
        let now = pointed.as_ref().map_or(self.now, |pointed| self.now.max(pointed.at + 1));
        let first_seen = known::note(self.world, (now, is_shared.then_some(self.now)), name, version)?;
        // A save is new by that act, also of what serves.
        let is_from_before = self.catalog.is_from_before(name);
        if let Some(pointed) = pointed.filter(|pointed| pointed.version == *version && is_from_before) {
            return Ok(pointed);
        }
        let at = if is_from_before { first_seen } else { now };
        Ok(Saved { at, version: version.clone() })
    }

    /// The text that serves in all hosts, if it was saved later than this one.
    fn overtaken(&self, name: &str, text: &Saved) -> Result<Option<Saved>, WorldError> {
        if !self.catalog.is_shared() {
            return Ok(None);
        }
        let pointed = newest::pointed(self.world, name)?;
        let Some(pointed) = pointed.filter(|pointed| pointed.version != text.version && pointed > text) else {
            return Ok(None);
        };
        self.catalog.apply(name, Change::Overtaken { version: text.version.clone(), pointed: pointed.clone() });
        if let Some(behind) = self.catalog.workflow(name).and_then(|workflow| workflow.behind()) {
            tracing::warn!(workflow = name, "{behind}");
        }
        Ok(Some(pointed))
    }

    /// The version that served when the host was last up still does.
    fn serve_last(&self, name: &str) -> Result<(), WorldError> {
        if self.catalog.workflow(name).is_some_and(|known| known.serving.is_some()) {
            return Ok(());
        }
        let Some(version) = known::pointed(self.world, name)? else { return Ok(()) };
        let bundle = match self.catalog.bundle(self.world, &version) {
            Ok(bundle) => bundle,
            Err(Unready::World(error)) => return Err(error),
            Err(Unready::Wrong(_)) => return Ok(()),
        };
        if let Ok(program) = self.sandbox.compile(&bundle) {
            let serving = Serving { version, header: program.header().clone() };
            self.catalog.serve_as_before(name, serving, program.description().to_owned());
        }
        Ok(())
    }

    /// What was looked at last is what is there, and waits for nothing.
    fn is_settled(&self, name: &str) -> bool {
        self.catalog.workflow(name).is_some_and(|known| {
            let waits = known.is_under_way() || known.blocking().is_some();
            known.is_present() && !waits && !known.stamps.is_empty() && known.stamps.iter().all(Stamp::is_current)
        })
    }

    fn read(&self, file: &Path) -> (Text, Vec<Stamp>) {
        let stamps = vec![Stamp::of(file.to_path_buf())];
        let text = match self.catalog.folder.as_ref().map(|folder| scripts::read_script(folder, file)) {
            Some(Ok(Some(text))) => Text::There(text),
            Some(Err(why)) => Text::Unreadable(why),
            Some(Ok(None)) | None => Text::Gone,
        };
        (text, stamps)
    }

    fn compile(&self, name: &str, source: &str, stamps: &mut Vec<Stamp>) -> Result<(Bundle, Program), String> {
        let all = |diagnostics: Vec<durhai_engine::Diagnostic>| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let bundle = scripts::gather(self.catalog.folder.as_deref(), name, source, stamps).map_err(all)?;
        let program = self.sandbox.compile(&bundle).map_err(all)?;
        Ok((bundle, program))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use durhai_core::{RunId, Status, Value, Version};
    use durhai_engine::{Sandbox, SandboxConfig};
    use durhai_world::{Chunk, Commit, Create, Holder, MemoryWorld, Row, World, Write};

    use crate::versions::catalog::Catalog;
    use crate::versions::scan::{Found, Scanner};
    use crate::view::Report;

    struct Site {
        dir: tempfile::TempDir,
        catalog: Catalog,
        world: MemoryWorld,
        sandbox: Sandbox,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let catalog = Catalog::new(Some(dir.path().to_owned()), true, [], None);
            Site { dir, catalog, world: MemoryWorld::new(), sandbox: Sandbox::new(&SandboxConfig::default()) }
        }

        fn save(&self, text: &str) {
            fs::write(Path::new(self.dir.path()).join("w.rhai"), text).expect("saved");
        }

        fn scan(&self) -> Found {
            let (catalog, world, sandbox) = (&self.catalog, &self.world, &self.sandbox);
            Scanner { catalog, world, sandbox, now: 5 }.scan(&mut || Ok(true)).expect("a world in memory")
        }

        fn serving(&self) -> Version {
            self.catalog.serving("w").ok().expect("it serves").version
        }

        /// A live run of the version that serves.
        fn begin(&self, run: &RunId) {
            let row = Row {
                run: run.clone(),
                workflow: "w".into(),
                version: self.serving(),
                status: Status::Running,
                tags: Default::default(),
                parent: None,
                created_at: 1,
                started_at: Some(1),
                ended_at: None,
                wake_at: None,
                note: Value::Null,
                purge_at: None,
                concurrency: None,
            };
            let events = Chunk { first: 1, count: 1, bytes: b"{}".to_vec() };
            let create = Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() };
            let written = self.world.write(vec![Write::Create(Box::new(create))]).expect("a world in memory");
            assert!(written[0].is_ok());
        }

        fn end(&self, run: &RunId) {
            let holder = Holder { name: "h".into(), lease: 1_000 };
            let claim = self.world.claim_run(run, &holder, 6).expect("a world in memory").expect("it is free");
            let mut commit = Commit::new(run.clone(), claim.fence);
            commit.row = Some(Row { status: Status::Completed, ended_at: Some(6), ..claim.row });
            let written = self.world.write(vec![Write::Commit(Box::new(commit))]).expect("a world in memory");
            assert!(written[0].is_ok());
        }
    }

    /// A version that live runs are to be checked against is found again until it was: the check may have been interrupted,
    /// or its turn not have come. When the last live run has ended meanwhile it serves, and that is reported.
    #[test]
    fn what_waits_for_a_check_is_found_again() {
        let (site, run) = (Site::new(), RunId::new("r").expect("a name"));
        site.save("1");
        assert_eq!((site.scan().reports.len(), site.scan().reports.len()), (1, 0));
        let first = site.serving();
        site.begin(&run);
        for policy in ["pin", "refuse"] {
            site.save(&format!("const WORKFLOW = #{{ on_reload: {policy:?} }}; 2"));
            for _ in 0..3 {
                let found = site.scan();
                assert_eq!((found.reports.len(), found.candidates.len()), (0, 1), "{policy}");
                assert_eq!(site.serving(), first);
            }
        }
        site.end(&run);
        let found = site.scan();
        assert!(matches!(found.reports.as_slice(), [Report::Loaded { .. }]), "{:?}", found.reports);
        assert_ne!(site.serving(), first);
        assert_eq!((site.scan().reports.len(), site.scan().candidates.len()), (0, 0));
    }
}
