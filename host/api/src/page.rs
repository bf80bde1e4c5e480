//! The page: the files of `page/`, inside of the binary. Debug builds read them from that folder at each request, so that
//! an edit shows without a build.
//!
//! The files hold no data, so they need no token. What they may do in a browser is in [`POLICY`]: scripts and styles are
//! files from here, and nothing is asked of another host.

mod files;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::app::Shared;
use crate::problem::{Problem, ProblemKind};

/// The Content-Security-Policy of the page.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Features of browsers that the page has no use for.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), \
     publickey-credentials-get=(), serial=(), usb=()";

/// Smaller files are sent as they are.
const WORTH_PACKING: usize = 512;

const INDEX: &str = "index.html";

/// Compressed files by path, each with the digest of what was compressed.
type Packed = Arc<Mutex<HashMap<String, ([u8; 32], Bytes)>>>;

/// `GET /` is `index.html`, `GET /page/PATH` a file beside it. Nothing in the files says where they are served: all they ask
/// for is named from where they are.
pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/", get(index)).route("/page/{*path}", get(file)).with_state(Packed::default())
}

/// What every answer says, of the page and of the API: it is what its type says, and for pages of this origin only.
pub(crate) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // The page says otherwise.
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn index(State(packed): State<Packed>, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    answer(&packed, INDEX, &way_down(uri.path()), &headers)
}

async fn file(State(packed): State<Packed>, path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    match path {
        Ok(Path(path)) if path == INDEX => answer(&packed, INDEX, "../", &headers),
        Ok(Path(path)) if is_plain(&path) => answer(&packed, &path, "", &headers),
        _ => missing(),
    }
}

/// From the address that a browser has to what is below it: `/flows/` has its files at `page/…`, `/flows` at `./flows/page/…`.
fn way_down(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.is_empty() {
        return String::new();
    }
    // It goes into an attribute: what a strange client may put into a path must not end it.
    let mut way = String::from("./");
    for byte in last.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => way.push(byte.into()),
            _ if b"-._~%!$()*+,;=:@".contains(&byte) => way.push(byte.into()),
            _ => way.push_str(&format!("%{byte:02X}")),
        }
    }
    way.push('/');
    way
}

/// The page as it is found at another address: its links lead the other way.
fn lead(page: &[u8], way: &str) -> Bytes {
    String::from_utf8_lossy(page).replace("\"page/", &format!("\"{way}page/")).into()
}

fn missing() -> Response {
    Problem::new(ProblemKind::NotFound, "the page has no such file").into_response()
}

/// Names as the files have them: no way leads out of the folder, and hidden files stay hidden.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    path.split('/').all(|name| !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain))
}

/// `way`: from where the page is to its files, where it is not beside them.
fn answer(packed: &Packed, path: &str, way: &str, asked: &HeaderMap) -> Response {
    let Some(file) = files::get(path) else { return missing() };
    let (kind, packs) = kind(path);
    let body = match file {
        file if !way.is_empty() => lead(&file, way),
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let digest = Sha256::digest(&body).into();
    // What clients choose the form of is not kept.
    let packs = packs && way.is_empty();
    let zip = packs && body.len() >= WORTH_PACKING && accepts_gzip(asked);
    let tag = tag(&digest, zip);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // It may be kept, but each use asks first: a new binary has a new page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept-Encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known, &tag));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("digits in quotes are a header value"));
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if zip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (headers, pack(packed, path, digest, &body)).into_response();
    }
    (headers, body).into_response()
}

/// Each form of a file has its own.
fn tag(digest: &[u8; 32], zip: bool) -> String {
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}{}\"", if zip { "-gzip" } else { "" })
}

/// Whether an `If-None-Match` has this tag. A weak one counts: a proxy may have made it so.
fn names(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn accepts_gzip(asked: &HeaderMap) -> bool {
    asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| {
                part.strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|quality| quality == 0.0))
            });
            gzip && !refused
        })
    })
}

fn pack(packed: &Packed, path: &str, digest: [u8; 32], body: &Bytes) -> Bytes {
    let mut packed = packed.lock();
    match packed.get(path) {
        Some((of, zipped)) if *of == digest => zipped.clone(),
        _ => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::best());
            let written = encoder.write_all(body).and_then(|()| encoder.finish());
            let zipped = Bytes::from(written.expect("memory takes what is written"));
            packed.insert(path.to_owned(), (digest, zipped.clone()));
            zipped
        }
    }
}

/// The media type of a file, and whether compression makes it smaller.
fn kind(path: &str) -> (&'static str, bool) {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => ("text/html; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "json" | "map" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "svg" => ("image/svg+xml", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "png" => ("image/png", false),
        "ico" => ("image/x-icon", false),
        "woff2" => ("font/woff2", false),
        _ => ("application/octet-stream", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_no_files() {
        for good in ["index.html", "app.js", "views/run-view.js", "a_b.min.css"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in
            ["", "/", "a//b", "../Cargo.toml", "a/../b", ".", "a/.", ".git", "a\\b", "a\0b", "a b", "c:x", "%2e", "é"]
        {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn links_lead_from_where_the_page_is() {
        for (path, way) in [
            ("/", ""),
            ("/flows/", ""),
            ("/flows", "./flows/"),
            ("/my/flows", "./flows/"),
            ("/a:b", "./a:b/"),
            ("/%20x", "./%20x/"),
            ("/a\"><script>'&", "./a%22%3E%3Cscript%3E%27%26/"),
        ] {
            assert_eq!(way_down(path), way, "{path}");
        }
        let led = lead(b"<a href=\"page/a.js\"><a href=\"x/page/b\">", "./flows/");
        assert_eq!(led, Bytes::from_static(b"<a href=\"./flows/page/a.js\"><a href=\"x/page/b\">"));
    }

    #[test]
    fn compression_is_for_who_asks() {
        for (value, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=1.0", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("", false),
            ("xgzip", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), accepted, "{value:?}");
        }
    }
}
