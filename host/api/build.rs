//! The files of `page/` inside of the binary: a table of them, by their paths below it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let (from, to) = (folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR"));
    let page = Path::new(&from).join("page");
    // Debug builds read it from the folder.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let mut files = Vec::new();
    if release {
        println!("cargo::rerun-if-changed=page");
        add(&page, "", &mut files)?;
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
    // In the order in which they are looked for.
    files.sort();
    let rows = files.iter().map(|(name, path)| format!("    ({name:?}, include_bytes!({path:?})),\n"));
    let table = format!("&[\n{}]", rows.collect::<String>());
    fs::write(Path::new(&to).join("page.rs"), table)
}

fn add(folder: &Path, below: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), format!("{below}{}", entry.file_name().display()));
        match path.is_dir() {
            true => add(&path, &format!("{name}/"), files)?,
            false => files.push((name, path)),
        }
    }
    Ok(())
}

fn folder(variable: &str) -> String {
    env::var(variable).expect("Cargo sets it")
}
