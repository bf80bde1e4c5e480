//! `durhai doctor`: looks at every log, at the store and at the settings; with --repair it mends what can be mended.

use std::fs::File;
use std::path::{Path, PathBuf};

use durhai::archive::{Damage, Diagnosis, Files, Salvaged};
use durhai::{RunId, SledWorld, World, WorldError};
use serde_json::json;

use crate::args::{Allow, Doctor, Globals};
use crate::client::{Client, open_sled};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::output::Out;
use crate::times;

pub async fn doctor(globals: &Globals, args: Doctor, out: &Out) -> Outcome {
    if args.repair {
        return repair(globals, out).await;
    }
    if let Some(exit) = look_at_files(globals, out).await? {
        return Ok(exit);
    }
    let client = Client::connect(globals).await?;
    let diagnosis = client.doctor().await;
    client.close().await;
    let diagnosis = diagnosis?;
    let root = folder::scripts(globals.scripts.as_deref())?;
    let settings = hosting::source(globals, &root, &Allow::default(), &[])?.findings();
    let sound = diagnosis.findings.is_empty() && settings.is_empty();
    if out.json {
        let Diagnosis { runs, events, findings } = &diagnosis;
        out.document(&json!({ "runs": runs, "events": events, "findings": findings, "settings": settings }));
    } else if sound {
        out.line("every log, the store and the settings are as they should be");
    } else {
        show(&diagnosis.findings, out);
        if !settings.is_empty() {
            out.line("the settings");
            settings.iter().for_each(|finding| out.line(format!("  {finding}")));
        }
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

/// Under the run, what is wrong with it and what to do.
fn show(findings: &[Damage], out: &Out) {
    let mut before = None;
    for Damage { run, what, todo, .. } in findings {
        if before != Some(run) {
            out.line(run.as_ref().map_or("the store".to_owned(), |run| format!("run {run}")));
        }
        before = Some(run);
        out.line(format!("  {what}"));
        out.line(format!("    -> {todo}"));
    }
}

/// Whether the files of a store that no process has open are damaged. Then it is not opened to look further, as that changes it.
async fn look_at_files(globals: &Globals, out: &Out) -> Result<Option<Exit>, Fail> {
    let store = globals.store_path();
    if globals.database().is_some() || Client::served(globals).await?.is_some() {
        return Ok(None);
    }
    let Files { aside, damage } = match SledWorld::examine(&store) {
        Ok(files) => files,
        // Another command has it for a moment, and has looked.
        Err(WorldError::Locked(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let todo = "`durhai doctor --repair`: it saves what can be read into a new store, and names what cannot";
    let aside = aside.iter().map(|path| {
        let what = format!("{} is damaged, and can be made anew from the data file", path.display());
        finding(None, what, "the next command that opens the store sets it aside; `durhai doctor --repair` does, too")
    });
    let findings: Vec<Damage> = aside.chain(damage.into_iter().map(|what| finding(None, what, todo))).collect();
    if findings.is_empty() {
        return Ok(None);
    }
    match out.json {
        true => out.document(&json!({ "findings": findings })),
        false => {
            show(&findings, out);
            out.line("nothing was changed, and the store was not opened to look further");
        }
    }
    Ok(Some(Exit::Failed))
}

fn finding(run: Option<RunId>, what: impl Into<String>, todo: &str) -> Damage {
    Damage { run, what: what.into(), todo: todo.into(), mendable: true }
}

/// A store to repair.
struct Patient {
    world: SledWorld,
    /// What is known of it already.
    findings: Vec<Damage>,
    /// It was put together from what can be read of the files, in this folder.
    saved: Option<PathBuf>,
    /// Something is wrong with the data file, so that a new one is needed in any case.
    anew: bool,
}

/// The store as it is, or, where that cannot be read as a whole, what can be saved of it.
async fn patient(globals: &Globals, store: &Path, saved: PathBuf) -> Result<Patient, Fail> {
    let files = SledWorld::examine(store).unwrap_or_default();
    let world = match SledWorld::open(store) {
        Ok(world) => Some(world),
        Err(WorldError::Corrupt(_)) => None,
        // Says who has it, or waits for him.
        Err(_) => Some(open_sled(&globals.data, store).await?),
    };
    let mut findings: Vec<Damage> = Vec::new();
    if let Some(world) = world {
        findings.extend(world.set_aside().iter().map(|said| finding(None, said, "done")));
        // What cannot be read shows only when everything is.
        if tokio::task::block_in_place(|| world.verify(&mut |_| {})).is_ok() {
            let unused = |what: &String| finding(None, what, "nothing in use was there: done");
            findings.extend(files.damage.iter().map(unused));
            return Ok(Patient { world, findings, saved: None, anew: !files.damage.is_empty() });
        }
    }
    let done = tokio::task::block_in_place(|| SledWorld::salvage(store, &saved))?;
    let Salvaged { damage, parked, lost, missing, .. } = done;
    findings.extend(damage.into_iter().map(|what| finding(None, what, "done: what can be read is saved")));
    let backup = "restore a backup, if one has it";
    findings.extend(missing.into_iter().map(|what| Damage { mendable: false, ..finding(None, what, backup) }));
    findings.extend(lost.into_iter().map(|run| {
        let what = "nothing of it can be read but its name";
        Damage { mendable: false, ..finding(Some(run), what, "restore a backup, if one has it, or start it again") }
    }));
    findings.extend(parked.into_iter().map(|run| {
        let what = "what was written of it last may be lost: it is parked";
        finding(Some(run), what, "look at `durhai events RUN`; `durhai unpark RUN` makes again what is missing")
    }));
    let world = SledWorld::open(&saved)?;
    Ok(Patient { world, findings, saved: Some(saved), anew: true })
}

/// That the store is one on this machine, and nobody has it.
async fn may_be_repaired(globals: &Globals) -> Result<(), Fail> {
    if globals.database().is_some() {
        return Err(Fail::usage("a database is repaired by PostgreSQL's own means, or restored from a backup of it")
            .hint("`durhai doctor` without --repair says what is wrong."));
    }
    if Client::served(globals).await?.is_some() {
        return Err(Fail::usage(format!(
            "a host serves {}: end it first, a repair needs the store for itself",
            globals.data.display()
        )));
    }
    Ok(())
}

/// The store is made anew of what is sound; the damaged one stays beside it.
async fn repair(globals: &Globals, out: &Out) -> Outcome {
    may_be_repaired(globals).await?;
    let store = globals.store_path();
    if !store.exists() {
        return Err(Fail::unreachable(format!("there is no store at {}", store.display())));
    }
    let stamp = times::now();
    let beside = |name: &str| globals.data.join(format!("{name}-{stamp}"));
    let (new, old, aside) =
        (beside("store.repaired"), beside("store.damaged"), globals.data.join(format!("aside-{stamp}.ndjson")));
    let Patient { world, findings, saved, anew } = patient(globals, &store, beside("store.saved")).await?;
    let done = tokio::task::block_in_place(|| {
        let done = mend(&world, saved.is_some(), &new, &aside);
        drop(world);
        if let Some(saved) = &saved {
            // All of it is in the new one, or nothing is.
            let _ = std::fs::remove_dir_all(saved);
        }
        done
    });
    let mut repaired = match done {
        Ok(repaired) if anew || !repaired.findings.is_empty() => repaired,
        other => {
            // Nothing was changed, and nothing of it is needed.
            let _ = std::fs::remove_dir_all(&new);
            let _ = std::fs::remove_file(&aside);
            other?;
            match out.json {
                true => out.document(&json!({ "findings": findings })),
                false => {
                    show(&findings, out);
                    out.line(match findings.is_empty() {
                        true => "every log and the store are as they should be; nothing was changed",
                        false => "every log and the store are as they should be",
                    });
                }
            }
            return Ok(Exit::Done);
        }
    };
    repaired.findings.extend(findings);
    repaired.findings.sort();
    let swap = || {
        std::fs::rename(&store, &old)?;
        std::fs::rename(&new, &store)
    };
    swap().map_err(|error| {
        Fail::unreachable(format!(
            "the repaired store is at {}, and cannot be moved to {}: {error}",
            new.display(),
            store.display()
        ))
    })?;
    let left = repaired.findings.iter().any(|damage| !damage.mendable);
    if out.json {
        out.document(&json!({ "findings": repaired.findings, "runs": repaired.runs, "set_aside": repaired.set_aside,
            "aside": aside, "damaged": old }));
    } else {
        show(&repaired.findings, out);
        out.line(format!(
            "mended, with {} runs; {} entries were left out or changed",
            repaired.runs, repaired.set_aside
        ));
        out.line(format!("  {} has each of them as it was, and why", aside.display()));
        out.line(format!("  {} is the store as it was: remove it when you are content", old.display()));
        if left {
            out.line(
                "what is not said to be done by a repair is still so: `durhai doctor` lists what it can see of it",
            );
        }
    }
    Ok(if left { Exit::Failed } else { Exit::Done })
}

fn mend(damaged: &SledWorld, saved: bool, new: &PathBuf, aside: &Path) -> Result<durhai::archive::Repaired, Fail> {
    let cannot = |error: std::io::Error| Fail::unreachable(format!("{} cannot be written: {error}", aside.display()));
    let file = File::create(aside).map_err(cannot)?;
    let world = SledWorld::open(new)?;
    let out = file.try_clone().map_err(cannot)?;
    let repaired = match saved {
        true => durhai::archive::rebuild(damaged, &world, out)?,
        false => durhai::archive::repair(damaged, &world, out)?,
    };
    file.sync_all().map_err(cannot)?;
    Ok(repaired)
}
