//! What a host that serves tells, as events of its log: `--log-format json`.

use std::net::SocketAddr;
use std::path::Path;

use durhai::versions::Report;
use durhai::view::Committed;
use durhai::{EventBody, WorkflowView};
use durhai_steps::Reload;
use tracing::{error, info, warn};

pub fn opening(scripts: &Path, data: &Path, address: SocketAddr, workflows: &[WorkflowView]) {
    let (scripts, data) = (scripts.display().to_string(), data.display().to_string());
    let address = format!("http://{address}");
    let good = workflows.iter().filter(|workflow| workflow.version.is_some()).count();
    info!(address, scripts, data, pid = std::process::id(), workflows = good, "the host serves");
    for (workflow, why) in workflows.iter().filter_map(|workflow| Some((workflow, workflow.error.as_ref()?))) {
        warn!(workflow = workflow.name, error = why, "the workflow does not load");
    }
}

pub fn settings(reload: &Reload) {
    match reload {
        Reload::Applied { findings, .. } if findings.is_empty() => info!("{reload}"),
        Reload::Applied { .. } => warn!("{reload}"),
        Reload::Broken(_) => warn!("{reload}"),
    }
}

pub fn report(report: &Report) {
    match report {
        Report::Loaded { workflow, version } => info!(workflow, version = version.as_str(), "the workflow was loaded"),
        Report::Gated(report) => info!(workflow = report.workflow, served = report.served, "{report}"),
        Report::Broken { workflow, error } => {
            warn!(workflow, error, "the workflow does not load; what served before still does");
        }
        Report::Removed { workflow } => info!(workflow, "the workflow was removed; live runs go on"),
        Report::Doubtful { workflow, version, findings } => {
            let findings = findings.join("\n");
            warn!(
                workflow,
                version = version.as_str(),
                findings,
                "the workflow serves, and a check finds errors in it"
            );
        }
        // The host says it itself.
        Report::FolderGone { .. } | Report::FolderBack { .. } => {}
    }
}

/// The end of a run, or that a person is asked. That a run is parked the host says itself.
pub fn commit(commit: &Committed) {
    let Committed { run, workflow, version, events, status, .. } = commit;
    let (run, version) = (run.as_str(), version.as_str());
    if events.iter().any(|event| matches!(event.body, EventBody::Suspended { .. })) {
        return info!(run, workflow, version, status = %status, "the run asks a person");
    }
    match events.last().map(|event| &event.body) {
        Some(EventBody::RunFailed { error }) => {
            let (kind, message) = (error.kind.to_string(), &error.message);
            error!(run, workflow, version, status = %status, kind, error = message, "the run failed");
        }
        Some(EventBody::RunCancelled { reason }) => {
            info!(run, workflow, version, status = %status, reason, "the run was cancelled");
        }
        Some(EventBody::RunContinued { next }) => {
            info!(run, workflow, version, status = %status, next = next.as_str(), "the run goes on as another one");
        }
        Some(EventBody::RunCompleted { .. }) => info!(run, workflow, version, status = %status, "the run completed"),
        _ => {}
    }
}
