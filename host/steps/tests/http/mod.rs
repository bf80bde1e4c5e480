//! HTTP from steps, against servers that the tests start on loopback.

mod credentials;
mod limits;
mod outcomes;
mod reach;
mod scripts;
pub mod server;
mod services;
mod tls;
mod traces;

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use durhai::{Failure, Host, MemoryWorld, Run, RunView, Value};
use durhai_steps::{
    BuiltinSteps, DeclaredSteps, NetGrant, Permissions, Resolver, RhaiSteps, StepEnvConfig, StepEnvHandle,
};
use serde_json::json;

/// Calls one step, with no wait between attempts.
const CALL: &str = r#"
    let retry = #{ initial: 0, max_attempts: input.attempts ?? 4 };
    use_step(input.step, input["with"], #{ retry: retry })
"#;

/// A host with the steps of this crate, and a folder for scripts.
pub struct Place {
    pub host: Host,
    pub step_env: StepEnvHandle,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub async fn new(config: StepEnvConfig) -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("steps")).unwrap();
        let step_env = StepEnvHandle::new(config);
        let host = Host::builder()
            .world(MemoryWorld::new())
            .workflow("call", CALL)
            .workflow("hasty", r#"use_step("http.get", input, #{ retry: false, timeout: "50ms" })"#)
            .steps(Arc::new(RhaiSteps::open(folder.path(), step_env.clone())))
            .steps(Arc::new(BuiltinSteps::new(step_env.clone())))
            .steps(Arc::new(DeclaredSteps::new(step_env.clone())))
            .mask(step_env.mask())
            .start()
            .await
            .unwrap();
        Place { host, step_env, folder }
    }

    /// One that may speak to these.
    pub async fn granted(hosts: &str) -> Place {
        Place::new(config(hosts)).await
    }

    pub async fn start(&self, id: &str, step: &str, with: &Value, attempts: u32) -> Run {
        let input = json!({ "step": step, "with": with, "attempts": attempts });
        self.host.run("call").id(id).input(&input).start().await.unwrap()
    }

    pub async fn run(&self, step: &str, with: Value) -> RunView {
        let run = self.start(&format!("run-{}", unique()), step, &with, 4).await;
        run.wait().await.unwrap()
    }

    /// The output of a step that must succeed.
    pub async fn done(&self, step: &str, with: Value) -> Value {
        let asked = with.to_string();
        let view = self.run(step, with).await;
        assert_eq!(view.error, None, "{step} {asked}");
        view.output
    }

    /// The failure of a step that must fail.
    pub async fn fails(&self, step: &str, with: Value) -> Failure {
        let asked = with.to_string();
        let view = self.run(step, with).await;
        view.error.unwrap_or_else(|| panic!("{step} {asked} gave {}", view.output))
    }

    /// Adds the file `steps/NAME.rhai`.
    pub fn script(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join("steps").join(format!("{name}.rhai")), text).unwrap();
    }
}

pub fn config(hosts: &str) -> StepEnvConfig {
    let net = NetGrant::parse(Some(hosts)).unwrap();
    StepEnvConfig { permissions: Permissions { net, ..Permissions::none() }, ..StepEnvConfig::default() }
}

/// Every name stands for these addresses.
pub fn resolves_to(addresses: &[&str]) -> Resolver {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Resolver::new(move |_| {
        let addresses = addresses.clone();
        async move { Ok(addresses) }
    })
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
