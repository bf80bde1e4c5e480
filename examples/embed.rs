//! A host inside a program of one's own: `cargo run --example embed`. Kill it in its five seconds and run it again: it
//! goes on, and nothing is charged twice.

use durhai::{Host, SledWorld, StepContext, StepError};
use serde_json::json;

const ORDER: &str = r#"
    let paid = use_step("charge", input.cents);
    sleep("5s");
    `paid ${paid}`
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder()
        .world(SledWorld::open(".durhai/embed")?)
        .workflow("order", ORDER)
        .step("charge", |ctx: StepContext, cents: i64| async move {
            println!("charging {cents}, key {}", ctx.idempotency_key());
            Ok::<_, StepError>(cents)
        })
        .start()
        .await?;
    let run = host.run("order").id("order-42").input(&json!({ "cents": 500 })).start().await?;
    println!("{}", run.output::<String>().await?);
    host.shutdown().await;
    Ok(())
}
