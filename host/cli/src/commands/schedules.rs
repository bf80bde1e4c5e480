//! `durhai schedules`: workflows that start by themselves.

use durhai::Host;
use durhai::versions::Serves;
use durhai::view::ScheduleView;
use serde_json::json;

use crate::args::{Globals, ScheduleAction, Schedules};
use crate::client::{Client, Local, Opened, open_or_served};
use crate::exit::{Exit, Fail, Outcome};
use crate::folder;
use crate::note::note;
use crate::output::Out;
use crate::text::quoted;
use crate::times;

pub async fn schedules(globals: &Globals, args: Schedules, out: &Out) -> Outcome {
    let client = match Client::connect(globals).await? {
        Client::Local(local) => {
            // Schedules are in the scripts, which a host that only looks at the store does not read.
            local.host.shutdown().await;
            drop(local);
            let root = folder::scripts(globals.scripts.as_deref())?;
            match open_or_served(globals).await? {
                Opened::Store(world) => {
                    let builder =
                        Host::builder().workflows(root).shared_world(world).adopt(false).watch(false).workers(1);
                    // To look at schedules is not to serve texts to other hosts.
                    let builder = builder.serves(Serves::HereOnly);
                    Client::Local(Local { host: builder.start().await? })
                }
                // It has begun meanwhile.
                Opened::Served(remote) => Client::Remote(remote),
            }
        }
        remote => remote,
    };
    let outcome = act(&client, args.action, out).await;
    client.close().await;
    outcome
}

async fn act(client: &Client, action: Option<ScheduleAction>, out: &Out) -> Outcome {
    let name = match action {
        None => {
            list(&client.schedules().await?, out);
            return Ok(Exit::Done);
        }
        // The run would begin here, where nothing stays to bring it to its end.
        Some(ScheduleAction::Trigger(workflow)) if client.is_local() => {
            return Err(Fail::unreachable("no host serves this folder, so nothing can be started now")
                .hint(format!("`durhai serve` makes one; `durhai run {}` runs it here.", quoted(&workflow.name))));
        }
        Some(ScheduleAction::Trigger(workflow)) => {
            let run = client.trigger_schedule(&workflow.name).await?;
            if out.json {
                out.document(&run)
            } else {
                out.line(run.id.as_str())
            }
            return Ok(Exit::Done);
        }
        Some(ScheduleAction::Pause(workflow)) => {
            client.pause_schedule(&workflow.name).await?;
            workflow.name
        }
        Some(ScheduleAction::Resume(workflow)) => {
            client.resume_schedule(&workflow.name).await?;
            workflow.name
        }
    };
    let all = client.schedules().await?;
    let schedule = all
        .iter()
        .find(|schedule| schedule.workflow == name)
        .ok_or_else(|| Fail::not_found(format!("the workflow {name:?} has no schedule")))?;
    if out.json {
        out.document(schedule);
    } else {
        out.line(format!("{name}: {}", state(schedule)));
    }
    Ok(Exit::Done)
}

fn list(found: &[ScheduleView], out: &Out) {
    if out.json {
        return out.document(&json!({ "schedules": found }));
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    out.table(&["WORKFLOW", "CRON", "TIMEZONE", "NEXT", "LAST", "RUN", "STATE"], &rows);
    if rows.is_empty() {
        note("no workflow has a schedule; `schedule: \"0 9 * * *\"` in its header gives it one");
    }
}

fn row(schedule: &ScheduleView) -> Vec<String> {
    let moment = |at: Option<u64>| at.map_or_else(|| "-".into(), times::rfc3339);
    let run = schedule.last_run.as_ref().map_or_else(|| "-".into(), ToString::to_string);
    vec![
        schedule.workflow.clone(),
        schedule.cron.clone(),
        schedule.timezone.clone(),
        moment(schedule.next),
        moment(schedule.last),
        run,
        state(schedule),
    ]
}

fn state(schedule: &ScheduleView) -> String {
    let state = match (schedule.paused, schedule.next) {
        (true, _) => "paused".into(),
        (false, Some(next)) => format!("due {}", times::from_now(next)),
        (false, None) => "never due again".into(),
    };
    match schedule.queued {
        0 => state,
        queued => format!("{state}, {queued} queued"),
    }
}
