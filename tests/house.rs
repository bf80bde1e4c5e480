//! That the rooms of the house stay where they are: which file imports which, how long functions are, how many names the
//! library shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may import each other in one circle, at most.
const CIRCLE: usize = 4;

/// Lines of a function, at most; one that is longer says why in a comment that begins with `// Long`, above it.
const FUNCTION: usize = 80;

/// Names at the root of the library, at most. What is less often needed is in a module.
const ROOT_NAMES: usize = 45;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folders with the sources of each crate.
fn crates() -> Vec<PathBuf> {
    let mut found = vec![root().join("host/src"), root().join("stdlib/src")];
    for entry in fs::read_dir(root().join("host")).unwrap().flatten() {
        let src = entry.path().join("src");
        if src.is_dir() {
            found.push(src);
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// Modules of a crate by their path (`runtime/worker/turns`), with their text. Tests at the end of a file are left out:
/// they may use what they like.
fn modules(src: &Path) -> BTreeMap<String, String> {
    let mut open = vec![src.to_path_buf()];
    let mut found = BTreeMap::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let name = path.strip_prefix(src).unwrap().with_extension("");
                let name = name.to_str().unwrap().trim_end_matches("/mod").to_owned();
                found.insert(name, text.to_owned());
            }
        }
    }
    found
}

/// The text without comments, whose paths are links for readers.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path that a text names from `crate`, `self` or `super` on: of imports, with groups taken apart, and inline.
fn paths(text: &str) -> Vec<String> {
    let code = code(text);
    let (mut found, mut inline) = (Vec::new(), String::new());
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let begins = at == 0 || rest[..at].ends_with(['\n', ' ', ')']);
        inline.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        let Some(end) = rest.find(';').filter(|_| begins) else { continue };
        expand("", &rest[..end].split_whitespace().collect::<Vec<_>>().join(" "), &mut found);
        rest = &rest[end..];
    }
    inline.push_str(rest);
    for start in ["crate::", "super::"] {
        for (at, _) in inline.match_indices(start) {
            let path = inline[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
            found.extend(path.map(|path| path.trim_end_matches(':').to_owned()));
        }
    }
    found.retain(|path| ["crate", "self", "super"].contains(&path.split("::").next().unwrap_or_default()));
    found
}

fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        found.push(format!("{before}{}", tree.split(" as ").next().unwrap_or_default()));
        return;
    };
    // What is no import, but a sentence in a text, may have no end.
    let Some(end) = tree.rfind('}').filter(|end| *end > open) else { return };
    let (head, body) = (&tree[..open], &tree[open + 1..end]);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !body[start..at].trim().is_empty() {
                    expand(&format!("{before}{head}"), &body[start..at], found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Which module imports which.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, text) in modules {
        let own: Vec<&str> = if name == "lib" || name == "main" { Vec::new() } else { name.split('/').collect() };
        for path in paths(text) {
            let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
            let mut base = match parts.remove(0) {
                "crate" => Vec::new(),
                "self" => own.clone(),
                _ => own[..own.len().saturating_sub(1)].to_vec(),
            };
            while parts.first() == Some(&"super") {
                parts.remove(0);
                base.pop();
            }
            base.extend(parts);
            let target = (1..=base.len()).rev().find_map(|length| {
                let (found, _) = modules.get_key_value(&base[..length].join("/"))?;
                Some(found.as_str())
            });
            if let Some(target) = target.filter(|target| *target != name) {
                edges.entry(name).or_default().insert(target);
            }
        }
    }
    edges
}

/// All that can be reached from a module.
fn reached<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        for next in edges.get(at).into_iter().flatten() {
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    seen
}

#[test]
fn imports_lead_in_no_wide_circle() {
    for src in crates() {
        let modules = modules(&src);
        let edges = imports(&modules);
        let below: BTreeMap<&str, BTreeSet<&str>> =
            modules.keys().map(|name| (name.as_str(), reached(&edges, name))).collect();
        for (name, reached) in &below {
            let circle: Vec<&&str> = reached.iter().filter(|other| below[**other].contains(name)).collect();
            assert!(
                circle.len() <= CIRCLE,
                "{}: these files import each other in one circle: {circle:?}",
                src.strip_prefix(root()).unwrap().display()
            );
        }
    }
}

/// The reader of imports sees what there is to see.
#[test]
fn circles_are_found() {
    let modules = BTreeMap::from([
        ("a".to_owned(), "use crate::b::{self, c::{D, E as F}};".to_owned()),
        ("b".to_owned(), "pub(crate) use self::c::D;\nfn f() { crate::a::g() }".to_owned()),
        ("b/c".to_owned(), "use super::Thing;\n// use crate::d;".to_owned()),
        ("d".to_owned(), "use std::fmt;".to_owned()),
    ]);
    let edges = imports(&modules);
    assert_eq!(edges["a"], BTreeSet::from(["b", "b/c"]));
    assert_eq!(edges["b"], BTreeSet::from(["a", "b/c"]));
    assert_eq!(edges["b/c"], BTreeSet::from(["b"]));
    assert_eq!(reached(&edges, "a"), BTreeSet::from(["a", "b", "b/c"]));
    assert!(!edges.contains_key("d"));
}

/// `Host`, `Run`, `Start` and `HostBuilder` stand over the wings: no wing knows them, so each can be read without.
#[test]
fn no_wing_imports_the_facade() {
    let modules = modules(&root().join("host/src"));
    let facade = ["host", "run", "start", "builder", "lib"];
    for (name, used) in imports(&modules) {
        let wrong: Vec<_> = used.iter().filter(|used| facade.contains(used)).collect();
        assert!(facade.contains(&name) || wrong.is_empty(), "{name} imports {wrong:?}");
    }
}

/// Functions in the sources, longer than that, without a reason beside them.
#[test]
fn functions_are_short_or_say_why_not() {
    let mut wrong = Vec::new();
    for src in crates() {
        for (name, text) in modules(&src) {
            if name.ends_with("tests") {
                continue;
            }
            let lines: Vec<&str> = text.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                let indent = line.len() - line.trim_start().len();
                let head = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
                let head = head.split(['(', '"']).next().unwrap_or_default();
                let is_function = head.split_whitespace().any(|word| word == "fn")
                    && !head.starts_with("//")
                    && !line.trim_end().ends_with(';');
                if !is_function {
                    continue;
                }
                let close = format!("{}}}", " ".repeat(indent));
                let Some(length) = lines[at..].iter().position(|line| *line == close) else { continue };
                let above = lines[..at].iter().rev().take_while(|line| {
                    let line = line.trim_start();
                    line.starts_with("//") || line.starts_with("#[")
                });
                if length + 1 > FUNCTION && !above.into_iter().any(|line| line.trim_start().starts_with("// Long ")) {
                    wrong.push(format!("{}/{name}.rs:{}: {} lines", src.display(), at + 1, length + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "more than {FUNCTION} lines, and no `// Long because …` above that says why: {wrong:#?}");
}

#[test]
fn the_root_of_the_library_is_small() {
    let text = fs::read_to_string(root().join("host/src/lib.rs")).unwrap();
    let text = code(&text);
    let mut names = Vec::new();
    // What is inside of modules has four spaces before it.
    for part in text.split("\npub use ").skip(1) {
        let Some(end) = part.find(';') else { continue };
        expand("", &part[..end].split_whitespace().collect::<Vec<_>>().join(" "), &mut names);
    }
    assert!(names.len() > 20, "{names:?}");
    assert!(names.len() <= ROOT_NAMES, "{} names at the root, {ROOT_NAMES} is the most: {names:?}", names.len());
}

/// What a merge leaves in a file that it could not join: neither side of it is true.
#[test]
fn no_file_holds_two_sides_of_a_merge() {
    let (mut open, mut files) = (vec![root()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            match entry.file_type().unwrap() {
                kind if kind.is_file() => files.push(path),
                kind if kind.is_dir() && ![".git", "target", "node_modules"].map(Into::into).contains(&name) => {
                    open.push(path)
                }
                _ => {}
            }
        }
    }
    let marks = ["<", ">", "|"].map(|mark| format!("{} ", mark.repeat(7)));
    let mut found = Vec::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.starts_with(mark)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(files.len() > 500 && found.is_empty(), "{found:#?}");
}
