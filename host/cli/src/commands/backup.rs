//! `durhai backup`: the whole store as a file, while it is in use.

use super::export::{Target, told};
use crate::args;
use crate::client::Client;
use crate::exit::Outcome;
use crate::output::Out;

pub async fn backup(globals: &args::Globals, args: args::Backup, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let done = match Target::open(args.output.as_deref()) {
        Ok(mut target) => match target.writer() {
            Ok(writer) => client.backup(writer).await.and_then(|()| target.done()),
            Err(fail) => Err(fail),
        },
        Err(fail) => Err(fail),
    };
    client.close().await;
    told(done?, out)
}
