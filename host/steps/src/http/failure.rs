//! What went wrong on the way, in plain words, and whether another attempt makes sense.

use std::error::Error;
use std::io;

use durhai::StepError;

use super::options::CONNECT_TIMEOUT;

/// Why a name was not connected to, on its way through the library.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAllowed(pub String);

/// A request that got no answer, or an answer that broke off. `asked` is the request in words.
///
/// Refusals and certificates that do not hold are fatal, anything else may be over by the next attempt.
pub fn explain(asked: &str, error: &reqwest::Error) -> StepError {
    for cause in chain(error) {
        if let Some(NotAllowed(why)) = cause.downcast_ref() {
            return StepError::fatal(why);
        }
        if let Some(rustls::Error::InvalidCertificate(why)) = tls(cause) {
            return StepError::fatal(format!(
                "{asked} failed: the certificate of the server does not hold ({why}); if it is signed by an authority \
                 of your own, name its certificate in durhai.toml: [http] ca_file"
            ));
        }
    }
    if error.is_builder() {
        return StepError::fatal(format!("{asked} cannot be sent: {}", causes(error)));
    }
    let io = chain(error).find_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind));
    let why = match io {
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused: nothing listens there".into(),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "the server closed the connection".into(),
        _ if error.is_connect() && error.is_timeout() => {
            format!("there was no connection within {} s", CONNECT_TIMEOUT.as_secs())
        }
        _ if error.is_body() || error.is_decode() => format!("the answer broke off: {}", causes(error)),
        _ => causes(error),
    };
    StepError::retry(format!("{asked} failed: {why}"))
}

/// Every cause below the error itself, whose own text repeats the URL; itself where there is none.
pub fn causes(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in chain(error).skip(1) {
        let text = cause.to_string();
        // That it was the client, and when, the reader knows.
        if !text.starts_with("client error (") && !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
    }
    if words.is_empty() { "the request is not well formed".into() } else { words.join(": ") }
}

fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| (*error).source())
}

/// The library hands TLS errors on within those of input and output, sometimes twice.
fn tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<io::Error>() {
        Some(error) => tls(error.get_ref()?),
        None => cause.downcast_ref(),
    }
}
