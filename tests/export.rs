//! Runs and whole worlds as files: what comes back is what was, and goes on like it.

mod backups;
mod files;
mod imports;

use std::io::Write;
use std::sync::Arc;

use durhai::Run;
use durhai::archive::ExportOptions;
use durhai_testkit::TestHost;
use parking_lot::Mutex;

/// Written to by a host, read by a test.
#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().clone()
    }
}

pub const PARENT: &str = r#"
    set_state("seen", #{ n: 1 });
    emit("first");
    emit("other", 2);
    print("begun");
    let dice = rand(1, 1000000);
    let child = run_workflow("child", #{ n: 7 });
    let a = use_step("echo", #{ dice: dice, run: run_id() });
    let hook = hook();
    print(hook.url);
    let answer = wait_for("go");
    emit("second");
    let more = rand(1, 1000000);
    [dice, more, child, a.dice, answer]
"#;

const CHILD: &str = r#"use_step("echo", input.n) + 1"#;

fn test_host() -> TestHost {
    TestHost::new().echo().workflow("parent", PARENT).workflow("child", CHILD)
}

pub async fn exported(run: &Run, options: ExportOptions) -> Vec<u8> {
    let page = Page::default();
    let summary = run.export(options, page.clone()).await.unwrap();
    let bytes = page.bytes();
    assert!(summary.bytes < bytes.len() as u64 && summary.runs > 0, "{summary:?}");
    bytes
}
