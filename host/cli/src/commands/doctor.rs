//! `durhai doctor`: looks at every log, at the store and at the settings; with --repair it mends what can be mended.

use std::fs::File;
use std::path::{Path, PathBuf};

use durhai::{Damage, Diagnosis, SledWorld};
use serde_json::json;

use crate::args::{Allow, Doctor, Globals};
use crate::client::{Client, open_world, store_path};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::hosting;
use crate::output::Out;
use crate::times;

pub async fn doctor(globals: &Globals, args: Doctor, out: &Out) -> Outcome {
    if args.repair {
        return repair(globals, out).await;
    }
    let client = Client::connect(&globals.data).await?;
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

/// The store is made anew of what is sound; the damaged one stays beside it.
async fn repair(globals: &Globals, out: &Out) -> Outcome {
    if Client::served(&globals.data).await?.is_some() {
        return Err(Fail::usage(format!(
            "a host serves {}: end it first, a repair needs the store for itself",
            globals.data.display()
        )));
    }
    let store = store_path(&globals.data);
    if !store.exists() {
        return Err(Fail::unreachable(format!("there is no store at {}", store.display())));
    }
    let damaged = open_world(&globals.data, &store).await?;
    let stamp = times::now();
    let beside = |name: &str| globals.data.join(format!("{name}-{stamp}"));
    let (new, old, aside) =
        (beside("store.repaired"), beside("store.damaged"), globals.data.join(format!("aside-{stamp}.ndjson")));
    let done = tokio::task::block_in_place(|| {
        let done = mend(&damaged, &new, &aside);
        drop(damaged);
        done
    });
    let repaired = match done {
        Ok(repaired) if !repaired.findings.is_empty() => repaired,
        other => {
            // Nothing was changed, and nothing of it is needed.
            let _ = std::fs::remove_dir_all(&new);
            let _ = std::fs::remove_file(&aside);
            other?;
            match out.json {
                true => out.document(&json!({ "findings": [] })),
                false => out.line("every log and the store are as they should be; nothing was changed"),
            }
            return Ok(Exit::Done);
        }
    };
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
            out.line("what is not said to be done by a repair is still so: `durhai doctor` lists it");
        }
    }
    Ok(if left { Exit::Failed } else { Exit::Done })
}

fn mend(damaged: &SledWorld, new: &PathBuf, aside: &Path) -> Result<durhai::Repaired, Fail> {
    let cannot = |error: std::io::Error| Fail::unreachable(format!("{} cannot be written: {error}", aside.display()));
    let file = File::create(aside).map_err(cannot)?;
    let world = SledWorld::open(new)?;
    let repaired = durhai::repair(damaged, &world, file.try_clone().map_err(cannot)?)?;
    file.sync_all().map_err(cannot)?;
    Ok(repaired)
}
