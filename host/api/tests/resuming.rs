//! Streams that break at any place and go on behind the last message: nothing is missed, nothing comes twice.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::common::Messages;
use durhai::{Host, StepContext, StepError};
use durhai_api::{Config, router};

const TEXT: &str = r#"
    for i in 0..input {
        print(`line ${i}`);
        emit(i);
        use_step("echo", i);
    }
    print("last");
    emit(input);
"#;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        self.0 = hasher.finish();
        self.0 % bound
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_nothing_is_missed_and_nothing_comes_twice() {
    let seed = std::env::var("DURHAI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("DURHAI_SEED={seed}");
    let host = Host::builder()
        .workflow("loops", TEXT)
        .step("echo", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n) })
        .start()
        .await
        .expect("a host");
    let router = router(host.clone(), Config::default());
    let mut numbers = Numbers(seed);
    for (path, first, last) in [("events", 1, 403), ("logs", 0, 200), ("output", 0, 200)] {
        // It goes on while it is followed.
        let run = host.run("loops").input(&200).start().await.expect("a run");
        let path = format!("/api/v1/runs/{}/{path}", run.id());
        let (mut next, mut breaks, mut ended) = (first, 0, false);
        while !ended {
            let mut messages = Messages::open(&router, &path, (next > first).then(|| next - 1)).await;
            let stays = numbers.below(60);
            for _ in 0..stays {
                let message = messages.next().await.expect("a message");
                if message.event == "end" {
                    ended = true;
                    assert_eq!(message.data["status"], "completed");
                    assert!(messages.next().await.is_none(), "nothing follows the end");
                    break;
                }
                assert_eq!(message.id, Some(next.to_string()), "{path} after {breaks} breaks");
                next += 1;
            }
            breaks += 1;
        }
        assert_eq!(next - 1, last, "{path}");
        assert!(breaks > 3, "{path}");
    }
    host.shutdown().await;
}
