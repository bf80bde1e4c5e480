//! Who belongs to whose trace, and what observers are told.

use std::sync::Arc;

use durhai::logs::Fork;
use durhai::observe::{AttemptEnded, AttemptOutcome, Observer, RunEnded, TraceContext, TraceId};
use durhai::{EventBody, Host, Run, Status, StepContext, StepError, StepId, Value};
use durhai_testkit::TestHost;
use parking_lot::Mutex;
use serde_json::json;

const STARTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";

#[derive(Default)]
struct Notes {
    attempts: Mutex<Vec<AttemptEnded>>,
    runs: Mutex<Vec<RunEnded>>,
}

impl Observer for Notes {
    fn samples(&self, _: &TraceId, starter: Option<&TraceContext>) -> bool {
        starter.is_none()
    }

    fn attempt_ended(&self, attempt: &AttemptEnded) {
        self.attempts.lock().push(attempt.clone());
    }

    fn run_ended(&self, run: &RunEnded) {
        self.runs.lock().push(run.clone());
    }
}

impl Notes {
    fn run(&self, id: &str) -> RunEnded {
        let runs = self.runs.lock();
        let found: Vec<_> = runs.iter().filter(|run| run.run.as_str() == id).collect();
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        found[0].clone()
    }
}

const CHAIN: &str = r#"
    use_step("tell");
    if input < 2 { continue_as_new(input + 1); }
    input
"#;

fn test_host() -> TestHost {
    TestHost::new()
        .workflow("chain", CHAIN)
        .workflow("parent", "use_step(\"tell\"); run_workflow(\"chain\", 2)")
        .workflow("slow", "use_step(\"slow\", (), #{ timeout: \"1ms\", retry: false })")
        .step("tell", async |ctx: StepContext, _: Value| Ok::<_, StepError>(ctx.traceparent()))
        .step("slow", async |ctx: StepContext, _: Value| {
            ctx.cancelled().await;
            Ok::<_, StepError>(())
        })
}

async fn ended(run: &Run) -> Status {
    run.wait().await.unwrap().status
}

/// What was recorded with the creation of a run.
async fn recorded(host: &Host, id: &str) -> Option<TraceContext> {
    let events = host.get(id).await.unwrap().events(1, 1).await.unwrap();
    let EventBody::RunCreated(created) = &events[0].body else { panic!("{events:?}") };
    created.traceparent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_stays_with_its_starter_and_a_fork_does_not() {
    let notes = Arc::new(Notes::default());
    let host = test_host().builder().observe(notes.clone()).start().await.unwrap();
    let starter = TraceContext::parse(STARTER).unwrap();
    let led = host.run("chain").id("led").input(&1).traceparent(STARTER).start().await.unwrap();
    assert_eq!(ended(&led).await, Status::Completed);
    for id in ["led", "led+2"] {
        let run = notes.run(id);
        assert_eq!((run.starter, run.context.trace), (Some(starter), starter.trace), "{id}");
        assert_eq!(run.context.flags, 2, "not recorded, the other flag as it came");
        assert_eq!(recorded(&host, id).await, Some(starter), "{id}");
    }
    assert_eq!((notes.run("led").status, notes.run("led+2").status), (Status::Continued, Status::Completed));

    let alone = host.run("chain").id("alone").input(&1).start().await.unwrap();
    ended(&alone).await;
    let (first, second) = (notes.run("alone"), notes.run("alone+2"));
    assert!(first.context.trace != second.context.trace && first.starter.is_none() && second.starter.is_none());
    assert_eq!((first.context.flags, recorded(&host, "alone").await), (1, None));

    let fork = host.get("led+2").await.unwrap().fork(Fork::at(StepId::parse("1").unwrap()).id("forked")).await.unwrap();
    ended(&fork).await;
    let fork = notes.run("forked");
    assert_eq!((fork.starter, fork.origin.as_ref().map(|run| run.as_str())), (None, Some("led+2")));
    assert_ne!(fork.context.trace, starter.trace);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_under_the_span_of_their_parent() {
    let notes = Arc::new(Notes::default());
    let host = test_host().builder().observe(notes.clone()).start().await.unwrap();
    let run = host.run("parent").id("p").start().await.unwrap();
    assert_eq!(ended(&run).await, Status::Completed);
    let (parent, child) = (notes.run("p"), notes.run("p:2"));
    assert_eq!((child.starter, child.parent.as_ref()), (Some(parent.context), Some(&parent.run)));
    assert_eq!(child.context.trace, parent.context.trace);
    // What the child's step sent is what was told of it.
    let attempts = notes.attempts.lock().clone();
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.run.as_str(), attempt.parent)).collect();
    assert_eq!(told, [("p", parent.context.span), ("p:2", child.context.span)]);
    for (id, attempt) in ["p", "p:2"].iter().zip(&attempts) {
        let events = host.get(id).await.unwrap().events(1, 100).await.unwrap();
        let sent = events.iter().find_map(|event| match &event.body {
            EventBody::StepCompleted { output } => Some(Value::clone(output)),
            _ => None,
        });
        assert_eq!(sent, Some(json!(attempt.context.to_string())));
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long() {
    let notes = Arc::new(Notes::default());
    let host = test_host().builder().observe(notes.clone()).start().await.unwrap();
    assert_eq!(ended(&host.run("slow").id("s").start().await.unwrap()).await, Status::Failed);
    let attempt = notes.attempts.lock()[0].clone();
    assert_eq!((attempt.outcome, &*attempt.step, attempt.attempt), (AttemptOutcome::TimedOut, "slow", 1));
    assert!(attempt.error.unwrap().message.contains("longer than 1ms"));
    assert!(attempt.took.as_millis() >= 1 && attempt.ended >= attempt.began);
    let run = notes.run("s");
    assert_eq!((run.status, run.error.unwrap().kind), (Status::Failed, durhai::FailureKind::Timeout));
    assert!(run.started_at.is_some_and(|at| at >= run.created_at && at <= run.ended_at));
    host.shutdown().await;
}
