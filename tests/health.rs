//! Whether a host of a shared world does its work at this moment, and why not.

use std::sync::Arc;
use std::time::Duration;

use durhai::metrics::MetricValue;
use durhai::{Host, World};
use durhai_testkit::{FarWorld, PATIENCE, TestHost};
use durhai_world::Holder;

/// Longer than any pause of a busy machine.
const LONG: Duration = Duration::from_secs(600);

async fn host(test: &TestHost, lease: Duration) -> (Arc<FarWorld>, Host) {
    let world = Arc::new(FarWorld::new(test.world.clone()));
    (world.clone(), test.builder_on(world).lease(lease).start().await.unwrap())
}

/// Waits until it does its work, or says this of why it does not.
async fn says(host: &Host, why: Option<&str>) {
    let waits = async {
        loop {
            let health = host.health();
            assert_eq!(health.ok, health.error.is_none());
            if health.error.as_deref().is_none_or(|error| why.is_some_and(|why| error.contains(why)))
                && health.ok == why.is_none()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waits).await.is_err() {
        panic!("expected {why:?}, found {:?}", host.health());
    }
}

async fn value(host: &Host, name: &str) -> Option<f64> {
    let metrics = host.metrics().await;
    let family = metrics.family(name).unwrap_or_else(|| panic!("no family {name}"));
    family.series.first().map(|series| match &series.value {
        MetricValue::Number(number) => *number,
        MetricValue::Histogram(of) => of.count as f64,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_not_heard_of_begins_no_steps_and_says_so() {
    let test = TestHost::new();
    let (world, host) = host(&test, Duration::from_millis(600)).await;
    says(&host, None).await;
    assert_eq!(
        (value(&host, "durhai_lease_seconds").await, value(&host, "durhai_hosts").await),
        (Some(0.6), Some(1.0))
    );
    world.hold("renew");
    world.holds("renew").await;
    says(&host, Some("begins no steps until it is heard of")).await;
    assert_eq!(value(&host, "durhai_host_ready").await, Some(0.0));
    assert!(value(&host, "durhai_lease_age_seconds").await.unwrap() > 0.5);
    world.release();
    says(&host, None).await;
    assert_eq!(value(&host, "durhai_lease_resets_total").await, Some(0.0));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_declared_dead_says_so_until_it_is_heard_of_again() {
    let test = TestHost::new();
    let (world, host) = host(&test, Duration::from_secs(1)).await;
    says(&host, None).await;
    // It hears of its death, and is not answered under its new name.
    world.hold("renew");
    world.holds("renew").await;
    let other = Holder { name: "other".into(), lease: 1_000 };
    test.world.renew(&other, durhai::clock::Clock::now(&*test.clock) + 60_000).unwrap();
    world.hold("renew");
    world.release();
    says(&host, Some("declared this one dead")).await;
    assert_eq!(value(&host, "durhai_lease_resets_total").await, Some(1.0));
    assert_eq!(value(&host, "durhai_hosts").await, Some(1.0), "the other one");
    world.release();
    says(&host, None).await;
    host.shutdown().await;
}

/// The thread that asks for what is due gets no answer, and nobody else asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_does_not_answer_is_told_of() {
    let test = TestHost::new();
    let (world, host) = host(&test, LONG).await;
    says(&host, None).await;
    assert_eq!(value(&host, "durhai_world_silence_seconds").await, Some(0.0));
    assert!(value(&host, "durhai_read_seconds").await.unwrap() > 0.0);
    world.hold("claim");
    test.clock.advance(5_000);
    world.holds("claim").await;
    says(&host, Some("has not answered for")).await;
    world.release();
    says(&host, None).await;
    assert_eq!(value(&host, "durhai_reads_failed_total").await, Some(0.0));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_is_not_shared_has_no_lease() {
    let test = TestHost::new();
    let host = test.start().await;
    assert!(host.health().ok);
    for name in
        ["durhai_lease_age_seconds", "durhai_world_silence_seconds", "durhai_read_seconds", "durhai_link_resumes_total"]
    {
        assert_eq!(value(&host, name).await, None, "{name}");
    }
    assert_eq!((value(&host, "durhai_hosts").await, value(&host, "durhai_host_ready").await), (Some(1.0), Some(1.0)));
    host.shutdown().await;
}
