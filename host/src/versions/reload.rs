//! The thread that keeps the catalog true: it hears of saves, looks at what changed, and has new versions checked.
//!
//! The system tells of changes in a folder, not in a path: a folder that is moved away, made again or led elsewhere by a link is
//! another one, and nothing is told of it. So what the path leads to is looked at all the time, and every file now and then.
//!
//! Where hosts share a world it also looks what others brought, as often as the host says that it lives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use durhai_core::Version;
use durhai_engine::Sandbox;
use durhai_engine::check::Severity;
use durhai_world::WorldError;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use crate::error::HostError;
use crate::runtime::away::Away;
use crate::shared::Shared;
use crate::versions::candidate::Candidate;
use crate::versions::compat;
use crate::versions::scan::Scanner;
use crate::versions::stamp::{Identity, Stamp};
use crate::versions::watcher::Look;
use crate::view::Report;

/// Editors write a file in several steps; what comes within this time is looked at once.
const SETTLE: Duration = Duration::from_millis(60);

/// The same for a workflow that a caller wants to start, who waits for it.
const SETTLE_ONE: Duration = Duration::from_millis(20);

/// How often what the folder's path leads to is looked at.
const PULSE: Duration = Duration::from_millis(500);

/// How often every file is looked at although the system told of no change: some file systems tell of none, and queues overflow.
/// Where nothing tells of changes at all, each pulse.
const FLOOR: Duration = Duration::from_secs(3);

/// A new version may have to be checked against live runs first; until that is done, the one that serves does.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at the whole folder now, and says what changed.
pub(crate) async fn reload(host: &Shared) -> Result<Vec<Report>, HostError> {
    let (reply, answer) = oneshot::channel();
    host.runtime.watcher.tell(Look::Now(reply))?;
    answer.await.map_err(|_| HostError::Closed)
}

/// Looks at the text of one workflow if it is another one than when it was looked at last: a start after a save runs what
/// was saved. Costs a look at the stamps of its files where nothing changed.
pub(crate) async fn look_first(host: &Arc<Shared>, workflow: &str) -> Result<(), HostError> {
    if !host.versions.watched {
        return Ok(());
    }
    let (shared, name) = (host.clone(), workflow.to_owned());
    let asked = host.tokio.spawn_blocking(move || shared.versions.is_current(&name));
    if asked.await.map_err(|_| HostError::Closed)? {
        return Ok(());
    }
    let (reply, answer) = oneshot::channel();
    host.runtime.watcher.tell(Look::At(workflow.to_owned(), reply))?;
    let _ = tokio::time::timeout(TIMEOUT, answer).await;
    Ok(())
}

/// Until the host stops.
pub(crate) fn run(host: &Arc<Shared>, looks: &mpsc::Receiver<Look>, live: bool) {
    let tell = host.runtime.watcher.sender();
    // What was saved before anything watched.
    let _ = tell.send(Look::Changed);
    let eye = host.versions.folder.clone().filter(|_| live).map(|folder| Eye::new(&folder, tell));
    let mut watch = Watch {
        host: host.clone(),
        looks,
        sandbox: Rc::new(crate::versions::scan::sandbox(&host.config.sandbox)),
        eye,
        replies: Vec::new(),
        asked: Vec::new(),
        reports: Vec::new(),
        candidates: Vec::new(),
        checked: BTreeMap::new(),
        looked: Instant::now(),
        followed: Some(Instant::now()),
        only_followed: false,
        stop: false,
        again: false,
    };
    // Moves that a host before this one began.
    let mut unmoved: BTreeSet<String> = host.versions.all_serving().into_iter().map(|(name, _)| name).collect();
    let mut away = Away::new("looking at the scripts");
    let mut kept = |watch: &mut Watch<'_>, away: &mut Away| -> Result<(), WorldError> {
        while !watch.stop {
            if std::mem::take(&mut watch.again) {
                watch.settle()?;
            } else {
                watch.wait()?;
            }
            if watch.stop {
                break;
            }
            // Something was saved meanwhile: that is what counts.
            if watch.look(&mut unmoved)? {
                watch.answer();
                watch.check();
            } else {
                watch.again = true;
            }
            away.answered();
        }
        Ok(())
    };
    while let Err(error) = kept(&mut watch, &mut away) {
        if !host.is_away(&error) {
            return host.fail(Arc::new(error));
        }
        watch.pause(away.failed(&error));
    }
}

/// Watches the folder that a path leads to.
struct Eye {
    /// Which folder it is; none while there is none.
    identity: Option<Identity>,
    /// None where the system tells of no changes.
    watcher: Option<RecommendedWatcher>,
    tell: mpsc::Sender<Look>,
}

impl Eye {
    fn new(folder: &Path, tell: mpsc::Sender<Look>) -> Eye {
        let mut eye = Eye { identity: None, watcher: None, tell };
        let identity = Identity::at(folder).ok();
        eye.turn_to(folder, identity);
        eye
    }

    fn turn_to(&mut self, folder: &Path, identity: Option<Identity>) {
        self.identity = identity;
        // The old one first: what it still tells is about another folder.
        self.watcher = None;
        if identity.is_none() {
            return;
        }
        let tell = self.tell.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a file is an event too, and would make us look again for ever.
            let looked = event.is_ok_and(|event| {
                event.kind.is_access() && event.kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
            });
            if !looked {
                let _ = tell.send(Look::Changed);
            }
        });
        self.watcher = watcher.ok().and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive).ok()?;
            Some(watcher)
        });
    }
}

struct Watch<'a> {
    host: Arc<Shared>,
    looks: &'a mpsc::Receiver<Look>,
    sandbox: Rc<Sandbox>,
    /// None where saves are not picked up.
    eye: Option<Eye>,
    /// Those who want to hear what changed.
    replies: Vec<oneshot::Sender<Vec<Report>>>,
    /// Those who wait until a version was checked.
    asked: Vec<oneshot::Sender<()>>,
    /// What changed since a caller was answered.
    reports: Vec<Report>,
    /// What was found beside a look at everything, and has to be checked.
    candidates: Vec<Candidate>,
    /// Versions that were looked at for mistakes.
    checked: BTreeMap<String, Version>,
    /// When every file was looked at last.
    looked: Instant,
    /// When it was looked last what other hosts brought; none: it is to be looked now.
    followed: Option<Instant>,
    /// The texts of this host need not be looked at: only another one brought something.
    only_followed: bool,
    stop: bool,
    /// Something may have changed since the folder was looked at.
    again: bool,
}

impl Watch<'_> {
    fn scanner<'b>(&'b self, host: &'b Shared) -> Scanner<'b> {
        Scanner {
            catalog: &host.versions,
            world: &*host.store.world,
            sandbox: &self.sandbox,
            now: host.store.clock.now(),
        }
    }

    /// The world does not answer at this moment: everything is looked at again after a while. Callers that want to start a workflow
    /// are not held up; what the world says to them it says them itself.
    fn pause(&mut self, wait: Duration) {
        self.again = true;
        let until = Instant::now() + wait;
        while !self.stop {
            match self.looks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Look::Changed) => {}
                Ok(Look::Now(reply)) => self.replies.push(reply),
                Ok(Look::At(_, reply)) => drop(reply),
                Ok(Look::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => self.stop = true,
                Err(mpsc::RecvTimeoutError::Timeout) => return,
            }
        }
    }

    /// Sleeps until there is a reason to look at everything.
    fn wait(&mut self) -> Result<(), WorldError> {
        loop {
            let pulse = match &self.eye {
                Some(_) => PULSE,
                None if self.host.versions.any_refused() => FLOOR,
                None => Duration::MAX,
            };
            let pulse = if self.host.versions.is_shared() { pulse.min(self.host.store.lease.beat()) } else { pulse };
            let look = match pulse {
                Duration::MAX => self.looks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                pulse => self.looks.recv_timeout(pulse),
            };
            match look {
                Ok(Look::Changed) => return self.settle(),
                Ok(look) => self.hear(look)?,
                Err(mpsc::RecvTimeoutError::Disconnected) => self.stop = true,
                Err(mpsc::RecvTimeoutError::Timeout) if self.pulse() => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if self.stop || !self.replies.is_empty() || !self.candidates.is_empty() {
                return Ok(());
            }
            if self.follow()? {
                self.only_followed = true;
                return Ok(());
            }
        }
    }

    /// Looks what other hosts brought, if it is time for that; `true`: live runs are to be checked against it.
    fn follow(&mut self) -> Result<bool, WorldError> {
        let beat = self.host.store.lease.beat();
        if !self.host.versions.is_shared() || self.followed.is_some_and(|at| at.elapsed() < beat) {
            return Ok(false);
        }
        self.followed = Some(Instant::now());
        let host = self.host.clone();
        let found = self.scanner(&host).follow()?;
        if !found.reports.is_empty() || !found.candidates.is_empty() {
            host.observe.meters.reloaded(&found.reports);
            host.runtime.scheduler.wake();
            self.reports.extend(found.reports);
        }
        for candidate in found.candidates {
            self.candidates.retain(|other| other.workflow != candidate.workflow);
            self.candidates.push(candidate);
        }
        Ok(!self.candidates.is_empty())
    }

    /// Until nothing has come for a moment; a folder that never rests is looked at all the same.
    fn settle(&mut self) -> Result<(), WorldError> {
        for _ in 0..10 {
            match self.looks.recv_timeout(SETTLE) {
                Ok(Look::Changed) => {}
                Ok(look) => self.hear(look)?,
                Err(mpsc::RecvTimeoutError::Disconnected) => self.stop = true,
                Err(mpsc::RecvTimeoutError::Timeout) => break,
            }
            if self.stop || !self.replies.is_empty() {
                break;
            }
        }
        // What makes a change may have replaced the folder.
        self.pulse();
        Ok(())
    }

    /// Looks whether the path still leads to the folder that is watched; `true`: everything is to be looked at.
    fn pulse(&mut self) -> bool {
        let floor = self.looked.elapsed() >= FLOOR;
        let (Some(eye), Some(folder)) = (&mut self.eye, &self.host.versions.folder) else {
            return floor && self.host.versions.any_refused();
        };
        let identity = Identity::at(folder).ok();
        if identity == eye.identity {
            return floor || eye.watcher.is_none() && identity.is_some();
        }
        eye.turn_to(folder, identity);
        true
    }

    fn hear(&mut self, look: Look) -> Result<(), WorldError> {
        match look {
            Look::Changed => self.again = true,
            Look::Now(reply) => self.replies.push(reply),
            Look::At(workflow, reply) => self.look_at(&workflow, reply)?,
            Look::Stop => self.stop = true,
        }
        Ok(())
    }

    /// One workflow, for a caller that waits for it.
    fn look_at(&mut self, workflow: &str, reply: oneshot::Sender<()>) -> Result<(), WorldError> {
        let host = self.host.clone();
        if let Some(folder) = &host.versions.folder
            && let Some(file) = crate::versions::scripts::file_of(folder, workflow)
        {
            rest(&file);
        }
        let found = self.scanner(&host).look_at(workflow)?;
        if !found.reports.is_empty() {
            host.observe.meters.reloaded(&found.reports);
            host.runtime.scheduler.wake();
            self.reports.extend(found.reports);
        }
        if let Some(candidate) = found.candidates.into_iter().next() {
            self.candidates.retain(|other| other.workflow != candidate.workflow);
            self.candidates.push(candidate);
            self.asked.push(reply);
            return Ok(());
        }
        // The caller may have gone.
        let _ = reply.send(());
        Ok(())
    }

    /// What has come meanwhile.
    fn hear_all(&mut self) -> Result<(), WorldError> {
        loop {
            match self.looks.try_recv() {
                Ok(look) => self.hear(look)?,
                Err(mpsc::TryRecvError::Disconnected) => self.stop = true,
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
            }
            if self.stop {
                return Ok(());
            }
        }
    }

    /// Looks at every text: which versions are to be checked.
    fn scan(&mut self, host: &Shared) -> Result<Vec<Candidate>, WorldError> {
        self.looked = Instant::now();
        let sandbox = self.sandbox.clone();
        let scanner = Scanner {
            catalog: &host.versions,
            world: &*host.store.world,
            sandbox: &sandbox,
            now: host.store.clock.now(),
        };
        let found = scanner.scan(&mut || {
            self.hear_all()?;
            Ok(!self.stop)
        })?;
        host.observe.meters.reloaded(&found.reports);
        self.reports.extend(found.reports);
        Ok(found.candidates)
    }

    /// Looks at every text and has what is new checked; `false`: a newer save came in between.
    fn look(&mut self, unmoved: &mut BTreeSet<String>) -> Result<bool, WorldError> {
        let host = self.host.clone();
        let found = match std::mem::take(&mut self.only_followed) {
            true => Vec::new(),
            false => self.scan(&host)?,
        };
        self.follow()?;
        let asked = std::mem::take(&mut self.candidates);
        let asked = asked.into_iter().filter(|one| !found.iter().any(|other| other.workflow == one.workflow));
        let candidates: Vec<_> = host.versions.take_unchecked().into_iter().chain(asked.collect::<Vec<_>>()).collect();
        let mut candidates: VecDeque<_> = candidates.into_iter().chain(found).collect();
        while let Some(candidate) = candidates.pop_front() {
            let name = &candidate.workflow;
            let text = if candidate.followed { text_of(&host, name) } else { Some(candidate.version.clone()) };
            let serves_on = || host.versions.serving(name).is_ok_and(|serving| serving.version == candidate.version);
            let mut outdated = || self.is_outdated(name, text.as_ref()) || candidate.served && !serves_on();
            let decided = compat::decide(&host, &candidate, &mut outdated);
            let decided = match decided {
                Ok(decided) => decided,
                Err(error) => {
                    // They are given out once, and may be looked at again when the world answers.
                    candidates.push_front(candidate);
                    self.candidates.extend(candidates);
                    return Err(error);
                }
            };
            match decided {
                Some(told) => {
                    if told.is_empty() {
                        // A text of another host may have been faster.
                        self.followed = None;
                    }
                    host.observe.meters.reloaded(&told);
                    self.reports.extend(told);
                }
                None if self.stop || host.life.is_stopping() => return Ok(true),
                None => {
                    host.versions.look_again(name);
                    // The others are found again, but for those that serve.
                    self.candidates.extend(candidates.into_iter().filter(|other| other.served));
                    return Ok(false);
                }
            }
            // What another host brought it also moves.
            if !candidate.followed {
                unmoved.insert(name.clone());
            }
        }
        while let Some(name) = unmoved.pop_first() {
            let serves = host.versions.serving(&name).is_ok();
            let text = text_of(&host, &name);
            let mut outdated = || !serves || self.is_outdated(&name, text.as_ref());
            let resumed = compat::resume(&host, &name, &mut outdated);
            if !matches!(resumed, Ok(Some(_))) {
                unmoved.insert(name);
            }
            if resumed?.is_none() {
                return Ok(self.stop || host.life.is_stopping());
            }
        }
        Ok(true)
    }

    /// Asked while live runs are checked: whether the workflow's text is another one by now, or the host stops.
    fn is_outdated(&mut self, workflow: &str, version: Option<&Version>) -> bool {
        let mut changed = false;
        loop {
            match self.looks.try_recv() {
                Ok(Look::Changed) => changed = true,
                Ok(Look::Now(reply)) => {
                    changed = true;
                    self.replies.push(reply);
                }
                Ok(Look::At(other, reply)) if other == workflow => {
                    changed = true;
                    self.asked.push(reply);
                }
                // An error of the world comes to the check as well.
                Ok(Look::At(other, reply)) => changed |= self.look_at(&other, reply).is_err(),
                Ok(Look::Stop) | Err(mpsc::TryRecvError::Disconnected) => self.stop = true,
                Err(mpsc::TryRecvError::Empty) => break,
            }
            if self.stop {
                return true;
            }
        }
        // A check may take minutes: what other hosts bring serves here all the same. An error comes to the check as well.
        let _ = self.follow();
        // What is half written does not compile, and counts when it does.
        self.again |= changed;
        changed && self.scanner(&self.host).current(workflow).is_some_and(|now| Some(&now) != version)
    }

    /// Everything was looked at: the callers that asked hear of it.
    fn answer(&mut self) {
        if !self.reports.is_empty() {
            self.host.runtime.scheduler.wake();
        }
        // Where saves are not picked up, a look that nobody asked for (the first one) may have met one: the embedder that asks
        // next hears of it.
        if self.eye.is_some() || !self.replies.is_empty() {
            let reports = std::mem::take(&mut self.reports);
            for reply in self.replies.drain(..) {
                let _ = reply.send(reports.clone());
            }
        }
        // One that was found while another one was checked is checked next.
        if self.candidates.is_empty() {
            for reply in self.asked.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    /// What `check` finds wrong in versions that serve and were not looked at yet. They serve all the same: a text may be
    /// meant for another host.
    fn check(&mut self) {
        let host = self.host.clone();
        let serving = host.versions.all_serving();
        let (mut files, mut fresh) = (BTreeMap::new(), Vec::new());
        for (workflow, serving) in serving {
            if self.checked.get(&workflow) == Some(&serving.version) {
                continue;
            }
            // A world that fails says so elsewhere.
            let Ok(bundle) = host.versions.bundle(&*host.store.world, &serving.version) else { continue };
            let modules = bundle.modules.iter().filter(|(path, _)| !path.starts_with("std/"));
            let mut own: Vec<String> = modules.clone().map(|(path, _)| format!("{path}.rhai")).collect();
            files.extend(modules.map(|(path, text)| (format!("{path}.rhai"), text.clone())));
            own.push(format!("{workflow}.rhai"));
            files.insert(format!("{workflow}.rhai"), bundle.source.clone());
            self.checked.insert(workflow.clone(), serving.version.clone());
            fresh.push((workflow, serving.version, own));
        }
        if fresh.is_empty() {
            return;
        }
        let workflows = host.versions.names();
        let steps: Vec<String> = host.steps.registry.list().into_iter().map(|info| info.name).collect();
        let knows = |name: &str| host.steps.registry.knows(name);
        let folder =
            durhai_engine::check::Folder { files: &files, knows_step: &knows, steps: &steps, workflows: &workflows };
        let found = durhai_engine::check::check(&folder, &host.config.sandbox);
        for (workflow, version, own) in fresh {
            let errors =
                found.iter().filter(|finding| finding.severity == Severity::Error && own.contains(&finding.file));
            let findings: Vec<String> = errors.map(ToString::to_string).collect();
            if !findings.is_empty() {
                let report = Report::Doubtful {
                    workflow: workflow.clone(),
                    version: version.clone(),
                    findings: findings.clone(),
                };
                host.versions.found(&workflow, &version, findings);
                let _ = host.versions.reports.send(report);
            }
        }
    }
}

/// The version that the text of a workflow had at the last look. Another one may serve, which another host brought.
fn text_of(host: &Shared, workflow: &str) -> Option<Version> {
    host.versions.workflow(workflow).and_then(|known| known.text).map(|text| text.version)
}

/// Waits until a file that is being written rests: two looks in a row have seen the same. One that is empty is probably about to
/// be filled. Gives up after a fifth of a second.
fn rest(file: &Path) {
    let mut before = Stamp::of(file.to_path_buf());
    for _ in 0..10 {
        std::thread::sleep(SETTLE_ONE);
        let now = Stamp::of(file.to_path_buf());
        if now.looks_like(&before) && !now.is_empty() {
            return;
        }
        before = now;
    }
}
