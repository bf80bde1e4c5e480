//! A host with runs of every kind.

use std::sync::Arc;

use durhai::archive::{ExportOptions, ImportOptions};
use durhai::{Host, StepContext, StepError, Value};
use parking_lot::Mutex;
use serde_json::json;

/// Runs of each kind: what is asked of them ends many.
const EACH: usize = 12;

const WORKFLOWS: [(&str, &str); 7] = [
    (
        "adds",
        "let sum = 0; for i in 0..3 { sum += use_step(\"echo\", i); print(`sum ${sum}`); emit(sum); } set_state(\"sum\", sum); sum",
    ),
    ("waits", "set_status(\"waits\"); let got = wait_for(\"go\"); use_step(\"echo\", got)"),
    ("asks", "suspend(#{ price: 5 }, #{ label: \"price\", schema: #{ type: \"object\" } })"),
    ("fails", "use_step(\"burn\", input)"),
    ("team/hooks", "let hook = hook(#{ token: input }); loop { use_step(\"echo\", hook.wait()); }"),
    ("team/nightly", "const WORKFLOW = #{ schedule: \"0 3 1 1 *\" };\nuse_step(\"echo\", 1)"),
    ("broken", "let x = ;"),
];

/// A host, and what there is in it.
pub struct Sample {
    pub host: Host,
    runs: Vec<String>,
    /// Of hooks.
    tokens: Vec<String>,
    /// The file of a run.
    pub exported: Vec<u8>,
}

impl Sample {
    pub async fn new() -> Sample {
        let mut builder = Host::builder()
            .step("echo", |_: StepContext, value: Value| async move { Ok::<_, StepError>(value) })
            .step("burn", |_: StepContext, value: Value| async move {
                Err::<Value, _>(StepError::fatal("hot").data(value))
            });
        for (name, text) in WORKFLOWS {
            builder = builder.workflow(name, text);
        }
        let host = builder.start().await.expect("a host");
        let (mut runs, mut tokens) = (Vec::new(), Vec::new());
        for n in 0..EACH {
            for (workflow, input) in [
                ("adds", json!({ "n": n })),
                ("waits", json!(null)),
                ("asks", json!([n])),
                ("fails", json!("x")),
                ("team/hooks", json!(format!("token-{n}"))),
            ] {
                let id = format!("{}-{n}", workflow.replace('/', "-"));
                let run =
                    host.run(workflow).id(&id).input(&input).tag("n", n.to_string()).start().await.expect("a run");
                if matches!(workflow, "adds" | "fails") {
                    run.wait().await.expect("the end");
                }
                runs.push(id);
            }
            tokens.push(format!("token-{n}"));
            let parked = format!("parked-{n}");
            import(&host, &format!("waits-{n}"), &parked).await;
            runs.push(parked);
        }
        let exported = export(&host, "adds-0").await;
        Sample { host, runs, tokens, exported }
    }

    /// Names by kind.
    pub fn there(&self) -> Value {
        json!({
            "runs": self.runs,
            "tokens": self.tokens,
            "versions": ["serving"],
            "workflows": WORKFLOWS.map(|(name, _)| name),
            "schedules": ["team/nightly"],
            "steps": ["echo", "burn"],
        })
    }
}

/// A run that is imported is parked.
async fn import(host: &Host, of: &str, id: &str) {
    let options = ImportOptions { id: Some(id.into()), ..ImportOptions::default() };
    host.import(std::io::Cursor::new(export(host, of).await), options).await.expect("a run");
}

async fn export(host: &Host, of: &str) -> Vec<u8> {
    let file = Shared::default();
    let run = host.get(of).await.expect("the run");
    run.export(ExportOptions::default(), file.clone()).await.expect("a file");
    std::mem::take(&mut *file.0.lock())
}

/// Bytes that are written elsewhere.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
