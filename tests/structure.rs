//! The house's rules, held by reading the sources: who may use whom, where `unsafe` stands, how long a file is.
#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module of `src/` may use besides itself and the foundation. `docs/architecture.md` has the same
/// table with the reasons.
const USES: &[(&str, &[&str])] = &[
    // The foundation.
    ("error", &[]),
    ("shape", &[]),
    ("random", &[]),
    ("tensor", &[]),
    ("names", &[]),
    ("machine", &[]),
    // The engine.
    ("op", &[]),
    ("ops", &["op"]),
    ("graph", &["op"]),
    ("optim", &[]),
    ("nn", &["graph", "op", "ops"]),
    ("exec", &["graph", "nn", "op", "optim"]),
    ("models", &["audio", "graph", "nn", "optim"]),
    // Sound, songs and files.
    ("io", &[]),
    ("audio", &["io"]),
    ("data", &["audio", "io"]),
    // What is made of both.
    ("train", &["audio", "data", "exec", "io", "models", "optim"]),
    ("verify", &["exec", "io", "models", "optim"]),
    ("report", &["audio", "data", "io", "train"]),
    (
        "cli",
        &[
            "audio", "data", "exec", "graph", "io", "machine", "models", "nn", "optim", "report",
            "train", "verify",
        ],
    ),
];

/// What every module may use.
const FOUNDATION: &[&str] = &["error", "shape", "tensor", "random", "names"];

/// Modules that may name a thread pool: `exec` runs shards, the others work through songs or over flat slices.
const PARALLEL: &[&str] = &["audio", "cli", "data", "exec", "optim", "train"];

const MOST_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this extension, build products left out, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text without comments, and without what stands between double quotes.
///
/// Simple on purpose: raw strings with quotes inside and block comments do not occur in `src/`.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|&c| c == '\n');
                code.push('\n');
            }
            '"' => {
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                code.push_str("\"\"");
            }
            // A quote as a character would open a string; a lifetime has no closing mark.
            '\'' => {
                let rest: String = chars.clone().take(3).collect();
                let len = match rest.as_bytes() {
                    [b'\\', _, b'\''] => 3,
                    [b'"', b'\'', ..] => 2,
                    _ => 0,
                };
                chars.by_ref().take(len).for_each(drop);
            }
            c => code.push(c),
        }
    }
    code
}

/// The modules that follow `crate::`, also in `crate::{a, b::c}`.
fn used(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        let word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(word).collect()
    };
    let mut found = BTreeSet::new();
    for (at, mark) in code.match_indices("crate::") {
        // `$crate::` and `sonograd_kernels_crate::` are others.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + mark.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.insert(name(&list[start..i]));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    // `crate::Error` and the other names that lib.rs hands on are of the foundation.
    found.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    found
}

/// The top-level module that a file of `src/` belongs to.
fn module(path: &Path) -> String {
    let path = path.strip_prefix(root().join("src")).unwrap();
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_string()
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let table: BTreeMap<&str, &[&str]> = USES.iter().copied().collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files(&root().join("src"), "rs") {
        let module = module(&path);
        // A module's tests may look down from above: a plan is tested on whole models.
        let tests = path.ends_with("tests.rs") || path.ends_with("exec/check.rs");
        if ["lib", "main"].contains(&&*module) || tests {
            continue;
        }
        let Some(allowed) = table.get(&*module) else {
            faults.push(format!("src/{module} is not in the table"));
            continue;
        };
        let code = code(&read(&path));
        for other in used(&code) {
            let own = other == module || FOUNDATION.contains(&&*other);
            if !own && !allowed.contains(&&*other) {
                faults.push(format!("{}: {module} uses {other}", path.display()));
            }
        }
        if code.contains("rayon") && !PARALLEL.contains(&&*module) {
            faults.push(format!("{}: {module} knows of threads", path.display()));
        }
        seen.insert(module);
    }
    for (module, _) in USES {
        if !seen.contains(*module) {
            faults.push(format!("the table has {module}, src/ has not"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The table itself has an order: no module uses, by any way round, one that uses it.
#[test]
fn the_table_has_no_circle() {
    let mut left: BTreeMap<&str, &[&str]> = USES.iter().copied().collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|other| !left.contains_key(other)))
            .map(|(&module, _)| module)
            .collect();
        assert!(!free.is_empty(), "a circle: {:?}", left.keys());
        left.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn the_table_is_the_documented_one() {
    let text = read(&root().join("docs/architecture.md"));
    let rows: BTreeMap<String, BTreeSet<String>> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let module = cells.next()?.trim().trim_end_matches('`').to_string();
            let uses = cells.next()?.split('`').skip(1).step_by(2);
            Some((module, uses.map(str::to_string).collect()))
        })
        .collect();
    for (module, uses) in USES {
        let uses: BTreeSet<String> = uses.iter().map(|other| other.to_string()).collect();
        assert_eq!(
            rows.get(*module),
            Some(&uses),
            "the row of {module} in docs/architecture.md"
        );
    }
}

#[test]
fn unsafe_stands_in_the_kernels_alone() {
    for path in files(&root().join("src"), "rs") {
        let code = code(&read(&path));
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        assert!(
            !code.split(word).any(|name| name == "unsafe"),
            "{}: `unsafe` belongs into kernels/",
            path.display()
        );
    }
    for file in ["src/lib.rs", "src/main.rs"] {
        let text = read(&root().join(file));
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file}");
    }
}

#[test]
fn files_are_short_and_none_is_mod_rs() {
    for folder in ["src", "kernels/src", "tests", "kernels/tests", "benches"] {
        for path in files(&root().join(folder), "rs") {
            let lines = read(&path).lines().count();
            let path = path.display();
            assert!(lines <= MOST_LINES, "{path}: {lines} lines");
            assert!(!path.to_string().ends_with("mod.rs"), "{path}");
        }
    }
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    // Put together here, so that this file does not hold them.
    let places = ["work", "root"].map(|name| format!("/{name}/"));
    let mut paths = vec![root().join("README.md"), root().join("Cargo.toml")];
    for (folder, extension) in [
        ("src", "rs"),
        ("kernels", "rs"),
        ("tests", "rs"),
        ("benches", "rs"),
        ("docs", "md"),
    ] {
        paths.extend(files(&root().join(folder), extension));
    }
    for path in paths {
        let text = read(&path);
        let temporary = ["src", "docs"]
            .iter()
            .any(|part| path.starts_with(root().join(part)))
            .then(|| format!("/{}/", "tmp"));
        for place in places.iter().chain(&temporary) {
            for (i, line) in text.lines().enumerate() {
                // Links to sites have such parts too.
                let local = line.contains(place.as_str()) && !line.contains("://");
                let (path, line) = (path.display(), i + 1);
                assert!(!local, "{path}:{line} names {place}");
            }
        }
    }
}

#[test]
fn the_reader_sees_what_it_should() {
    let text = "use crate::{Error, a::{b, c}, d}; // crate::e\nfn f<'a>() { g(\"crate::h\", '\"'); crate::i::j(); }";
    let names: Vec<String> = used(&code(text)).into_iter().collect();
    assert_eq!(names, ["a", "d", "i"]);
    assert!(!code("let x = \"unsafe \\\" unsafe\"; // unsafe").contains("unsafe"));
}
