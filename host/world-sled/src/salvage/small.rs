//! The files that sled makes anew when they are missing: `conf`, how it was set up, and `snap.*`, a sum of its log.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What sled writes into `conf` as it is set up here.
const CONF: &[&str] = &["segment_size: 524288", "use_compression: false"];

/// Those that are damaged.
pub fn damaged(inner: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut damaged = Vec::new();
    let conf = inner.join("conf");
    if conf.exists() && !is_conf(&std::fs::read(&conf)?) {
        damaged.push(conf);
    }
    for path in sums(inner)? {
        if sum(&std::fs::read(&path)?).is_none() {
            damaged.push(path);
        }
    }
    Ok(damaged)
}

/// Renames them, so that they are there for who wants to know.
pub fn set_aside(files: &[PathBuf]) -> std::io::Result<Vec<String>> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_millis());
    let mut said = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // sled looks at everything whose name begins with `snap.`.
        let aside = path.with_file_name(format!("damaged-{now}-{name}"));
        std::fs::rename(path, &aside)?;
        said.push(format!(
            "{} was damaged and is set aside as {}; it is made anew from the data file",
            path.display(),
            aside.file_name().unwrap_or_default().to_string_lossy()
        ));
    }
    Ok(said)
}

/// Up to where in the log all was there when sled opened the store last; 0 if nothing tells.
pub fn summed_up(inner: &Path) -> std::io::Result<u64> {
    let Some(newest) = sums(inner)?.pop() else { return Ok(0) };
    Ok(sum(&std::fs::read(newest)?).unwrap_or(0))
}

fn sums(inner: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(inner)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that was being written is removed, whatever is in it.
        if name.starts_with("snap.") && !name.ends_with(".generating") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Up to where in the log it sums up; none if it is damaged.
fn sum(bytes: &[u8]) -> Option<u64> {
    let (body, end) = bytes.split_last_chunk::<12>()?;
    let sound = crc32fast::hash(body) == u32::from_le_bytes(*end.last_chunk()?);
    // One more than the number, so that 0 says that there is none.
    let stable = i64::from_le_bytes(*body.first_chunk()?);
    sound.then(|| u64::try_from(stable - 1).unwrap_or(0))
}

fn is_conf(bytes: &[u8]) -> bool {
    // sled takes one as short as that for none.
    if bytes.len() <= 8 {
        return true;
    }
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else { return false };
    let text = String::from_utf8_lossy(body);
    crc32fast::hash(body) == u32::from_le_bytes(*sum) && CONF.iter().all(|line| text.lines().any(|one| one == *line))
}
