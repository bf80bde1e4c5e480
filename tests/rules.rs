//! What is said of steps from outside their code: attempts, times, and secrets that must not be kept.

use std::collections::BTreeMap;
use std::time::Duration;

use durhai::{EventBody, Failure, Host, RetryPolicy, RunError, StepContext, StepError, StepRule, Value};
use durhai_testkit::TestHost;
use serde_json::json;

fn attempts(max_attempts: u32) -> RetryPolicy {
    RetryPolicy { max_attempts, initial: 0, ..RetryPolicy::default() }
}

fn rules(retry: Option<RetryPolicy>, timeout: Option<Duration>) -> BTreeMap<String, StepRule> {
    [("bad".to_owned(), StepRule { retry, timeout, ..StepRule::default() })].into()
}

async fn failure(host: &Host, workflow: &str) -> Failure {
    let run = host.run(workflow).start().await.unwrap();
    match run.output::<Value>().await {
        Err(RunError::Failed(_, failure)) => *failure,
        other => panic!("{workflow}: {other:?}"),
    }
}

/// What the call says counts most, then the rule of the step, then the header of the workflow.
#[tokio::test]
async fn the_nearest_policy_counts() {
    let host = TestHost::new()
        .step("bad", async |_: StepContext, _: Value| Err::<Value, _>(StepError::retry("no luck")))
        .workflow("header", "const WORKFLOW = #{ retry: #{ max_attempts: 6, initial: 0 } };\nuse_step(\"bad\")")
        .workflow("call", "use_step(\"bad\", (), #{ retry: #{ max_attempts: 3, initial: 0 } })")
        .workflow("never", "use_step(\"bad\", (), #{ retry: false })")
        .workflow("plain", "use_step(\"bad\", (), #{ label: \"x\" })")
        .builder()
        .step_rule("bad", StepRule { retry: Some(attempts(2)), ..StepRule::default() })
        .start()
        .await
        .unwrap();
    for (workflow, wanted) in [("header", 2), ("call", 3), ("never", 1), ("plain", 2)] {
        assert_eq!(failure(&host, workflow).await.attempts, wanted, "{workflow}");
    }
    host.set_step_rules(rules(Some(attempts(5)), None)).unwrap();
    assert_eq!(failure(&host, "plain").await.attempts, 5);
    host.set_step_rules(BTreeMap::new()).unwrap();
    assert_eq!(failure(&host, "header").await.attempts, 6);
    host.shutdown().await;
}

#[tokio::test]
async fn a_rule_ends_what_takes_too_long() {
    let host = TestHost::new()
        .step("bad", async |ctx: StepContext, _: Value| {
            ctx.cancelled().await;
            Err::<Value, _>(StepError::retry("told to stop"))
        })
        .workflow("rule", "use_step(\"bad\", (), #{ retry: false })")
        .workflow("call", "use_step(\"bad\", (), #{ retry: false, timeout: \"4ms\" })")
        .builder()
        .step_rule("bad", StepRule { timeout: Some(Duration::from_millis(3)), ..StepRule::default() })
        .start()
        .await
        .unwrap();
    for (workflow, wanted) in [("rule", "longer than 3ms"), ("call", "longer than 4ms")] {
        let failure = failure(&host, workflow).await;
        assert!(failure.message.contains(wanted), "{failure:?}");
    }
    let failure = host.call_step("bad", Value::Null).await.unwrap_err();
    assert!(failure.message.contains("longer than 3ms"), "{failure:?}");
    host.shutdown().await;
}

#[tokio::test]
async fn what_steps_hand_over_is_masked_before_it_is_kept() {
    let mask = |text: &str| text.contains("s3same").then(|| text.replace("s3same", "[hidden]"));
    let host = TestHost::new()
        .step("give", async |ctx: StepContext, _: Value| {
            ctx.log_with("info", "it is s3same", json!({ "key": "s3same" }));
            ctx.heartbeat("s3same");
            Ok::<_, StepError>(json!({ "s3same": ["a s3same b"] }))
        })
        .step("fail", async |_: StepContext, _: Value| {
            Err::<Value, _>(StepError::fatal("s3same was refused").data(json!("s3same")))
        })
        .workflow("w", "let a = use_step(\"give\"); try { use_step(\"fail\") } catch (e) { return [a, e]; }")
        .builder()
        .mask(mask)
        .start()
        .await
        .unwrap();
    let run = host.run("w").start().await.unwrap();
    let output: Value = run.output().await.unwrap();
    assert_eq!(output[0], json!({ "[hidden]": ["a [hidden] b"] }));
    assert_eq!(output[1]["message"], "[hidden] was refused");
    assert_eq!(output[1]["data"], "[hidden]");
    let events = run.events(1, 100).await.unwrap();
    assert!(events.iter().any(|event| matches!(event.body, EventBody::StepFailed { .. })));
    let logs = run.logs(0, 100).await.unwrap();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_eq!(
        (logs[0].line.step_id.as_ref().map(ToString::to_string), logs[0].line.attempt),
        (Some("1".into()), Some(1))
    );
    let kept = format!("{events:?}{logs:?}");
    assert!(!kept.contains("s3same") && kept.contains("it is [hidden]"), "{kept}");
    host.shutdown().await;
}
