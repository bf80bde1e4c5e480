//! `durhai hook`: a request to an open hook.

use serde_json::json;

use crate::args::{Globals, Hook};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::input;
use crate::note::note;
use crate::output::Out;

pub async fn hook(globals: &Globals, args: Hook, out: &Out) -> Outcome {
    let body = input::json(args.body.as_deref(), "the body")?;
    let token = token(&args.token)?;
    let client = Client::connect(globals).await?;
    let local = client.is_local();
    let done = client.deliver(token, &body, args.id.as_deref()).await;
    client.close().await;
    done?;
    if out.json {
        out.document(&json!({ "token": token, "delivered": true }));
    } else {
        out.line(format!("{token}: delivered"));
    }
    if local {
        note("It is recorded; the run sees it when a host runs: `durhai serve`.");
    }
    Ok(Exit::Done)
}

/// An address is what people have at hand.
fn token(text: &str) -> Result<&str, Fail> {
    let token = match text.split_once("/hooks/") {
        Some((_, token)) => token,
        None => text,
    };
    match token.is_empty() || token.contains('/') {
        true => Err(Fail::usage(format!("{text:?} is neither a hook's token nor its address"))),
        false => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_addresses() {
        for (text, wanted) in [
            ("abc", Some("abc")),
            ("http://127.0.0.1:7788/hooks/abc", Some("abc")),
            ("https://x.example/flows/hooks/a:b", Some("a:b")),
            ("/hooks/abc", Some("abc")),
            ("", None),
            ("http://x.example/other", None),
        ] {
            assert_eq!(token(text).ok(), wanted, "{text}");
        }
    }
}
