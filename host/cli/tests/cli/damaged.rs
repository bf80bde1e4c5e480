//! A store whose files are damaged.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::folder::Folder;

/// A file of the store whose name begins so.
fn file(folder: &Folder, begins: &str) -> PathBuf {
    let inner = folder.path().join(".durhai/store/sled");
    let mut all: Vec<_> =
        std::fs::read_dir(inner).expect("readable").map(|one| one.expect("readable").path()).collect();
    all.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)));
    all.sort();
    all.pop().expect("there is one")
}

fn filled() -> Folder {
    let folder = Folder::new();
    for n in 0..12 {
        folder.durhai(&["run", "echo", "--id", &format!("run-{n}"), "--input", &n.to_string(), "-q"]).is(0);
    }
    folder.durhai(&["start", "gate", "--id", "live"]).is(0);
    folder
}

fn runs(folder: &Folder) -> usize {
    folder.durhai(&["list", "--json"]).is(0).json()["runs"].as_array().expect("runs").len()
}

fn beside(data: &Path, begins: &str) -> usize {
    let all = std::fs::read_dir(data).expect("readable").map(|one| one.expect("readable").file_name());
    all.filter(|name| name.to_string_lossy().starts_with(begins)).count()
}

#[test]
fn a_file_that_is_made_anew_does_not_keep_a_store_shut() {
    for name in ["snap.", "conf"] {
        let folder = filled();
        let path = file(&folder, name);
        std::fs::write(&path, b"this is nothing that sled has written").expect("written");
        let said = folder.durhai(&["doctor", "--json"]).is(1).json();
        let what = said["findings"][0]["what"].as_str().expect("a text");
        assert!(what.contains(name) && what.contains("made anew"), "{what}");
        assert!(std::fs::read(&path).expect("it is still there").starts_with(b"this is nothing"), "looked at only");
        if name == "conf" {
            let repaired = folder.durhai(&["doctor", "--repair", "--json"]).is(0).json();
            assert!(repaired["findings"].to_string().contains("is set aside"), "{repaired}");
            assert_eq!(beside(&folder.path().join(".durhai"), "store.damaged-"), 0, "nothing else was wrong");
        } else {
            folder.durhai(&["list"]).is(0).says("is set aside");
        }
        assert_eq!(runs(&folder), 13);
        folder.durhai(&["doctor"]).is(0);
        let (_host, _) = folder.serve(&[]);
        folder.durhai(&["signal", "live", "go"]).is(0);
    }
}

#[test]
fn a_damaged_data_file_is_refused_and_what_reads_is_saved() {
    // Cut in the middle, and a page of nothing.
    for cut in [true, false] {
        let folder = filled();
        let path = file(&folder, "db");
        let mut bytes = std::fs::read(&path).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("something") + 1;
        match cut {
            true => bytes.truncate(used / 2),
            false => bytes[used / 2..used / 2 + 400].fill(0),
        }
        std::fs::write(&path, &bytes).expect("written");
        let found = folder.durhai(&["doctor"]);
        assert_eq!(found.code, Some(1), "{found:?}");
        folder.durhai(&["list"]).is(4).says("durhai doctor --repair");
        assert_eq!(std::fs::read(&path).expect("readable"), bytes, "nothing was changed");
        let repaired = folder.durhai(&["doctor", "--repair", "--json"]);
        assert!(matches!(repaired.code, Some(0 | 1)), "{repaired:?}");
        let report = repaired.json();
        assert!(!report["findings"].as_array().expect("findings").is_empty(), "{report}");
        let data = folder.path().join(".durhai");
        assert_eq!((beside(&data, "store.damaged-"), beside(&data, "aside-"), beside(&data, "store.saved")), (1, 1, 0));
        let named = |text: &Value| report["findings"].to_string().contains(text.as_str().unwrap_or("?"));
        for n in 0..12 {
            let id = format!("run-{n}");
            let shown = folder.durhai(&["show", &id, "--json"]);
            match shown.code {
                Some(0) => {}
                _ => assert!(
                    named(&id.as_str().into()) || report["findings"].to_string().contains("may be lost"),
                    "{report}"
                ),
            }
        }
        folder.durhai(&["doctor"]);
        let (_host, _) = folder.serve(&[]);
        folder.durhai(&["start", "echo", "--id", "new", "--input", "1", "--wait"]).is(0);
    }
}
