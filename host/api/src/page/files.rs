//! The files of `page/`: inside of the binary, and in debug builds as they are in that folder.

use std::borrow::Cow;

/// Each path with what is there, in their order. Empty in debug builds, see `build.rs`.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// `path` is one of plain names below the folder.
pub fn get(path: &str) -> Option<Cow<'static, [u8]>> {
    if FILES.is_empty() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page").join(path);
        return std::fs::read(file).ok().map(Cow::Owned);
    }
    let at = FILES.binary_search_by_key(&path, |(path, _)| path).ok()?;
    Some(Cow::Borrowed(FILES[at].1))
}
