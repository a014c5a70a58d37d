//! Keeps the house in the shape that its plan gives it: which crate may use which, and what no file may speak of.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Each crate with all crates of the workspace that it may use. A line names only crates of lines above it, so the arrows can form no
/// circle.
const ARROWS: &[(&str, &[&str])] = &[
    ("raft", &[]),
    ("storage", &["raft"]),
    ("replica", &["raft", "storage"]),
    ("proto", &[]),
    ("discovery", &[]),
    ("trust", &[]),
    ("dial", &["trust"]),
    ("client", &["proto", "discovery", "trust", "dial"]),
    ("server", &["raft", "storage", "replica", "proto", "discovery", "trust", "dial"]),
    ("xtask", &[]),
    ("check", &[]),
    ("sim", &["raft", "storage", "replica", "check"]),
    ("fuzz", &["raft", "storage", "replica", "proto", "discovery", "trust"]),
    ("rigs", &["proto", "discovery", "trust", "dial", "client", "check"]),
];

/// Crates that may use no other crate at all, from wherever.
const ALONE: &[&str] = &["raft", "xtask", "check"];
/// But for somebody else's checker, which the tests of ours are held against.
const SECOND_OPINION: (&str, &str) = ("check", "stateright");

/// Asynchronous IO stays at the rim, so that what keeps data safe can be run by a simulator.
const MAY_USE_TOKIO: &[&str] = &["server", "client", "discovery", "dial", "rigs"];
const MAY_USE_TONIC: &[&str] = &["server", "client", "discovery", "dial", "rigs", "proto"];

#[test]
fn arrows_between_crates_point_one_way() {
    for (place, (name, uses)) in ARROWS.iter().enumerate() {
        for used in *uses {
            assert!(ARROWS[..place].iter().any(|(above, _)| above == used), "{name} -> {used} points downward in the table");
        }
    }
    let manifests = manifests();
    for name in manifests.keys() {
        assert!(ARROWS.iter().any(|(known, _)| known == name), "{name} is a new crate: give it a line in this table");
    }
    for (name, allowed) in ARROWS {
        let manifest = manifests.get(*name).unwrap_or_else(|| panic!("{name} is gone: remove its line"));
        for used in &manifest.dependencies {
            let known = ARROWS.iter().any(|(known, _)| known == used);
            assert!(!known || allowed.contains(&used.as_str()), "{name} must not use {used} ({})", manifest.path.display());
        }
    }
}

#[test]
fn the_core_and_the_tools_stand_alone_and_async_io_stays_at_the_rim() {
    for (name, manifest) in manifests() {
        let allowed = |rule: &[&str]| rule.contains(&name.as_str());
        for used in &manifest.dependencies {
            let where_ = manifest.path.display();
            let second_opinion = (name.as_str(), used.as_str()) == SECOND_OPINION;
            assert!(!allowed(ALONE) || second_opinion, "{name} must use no crate, not even {used} ({where_})");
            assert!(!used.starts_with("tokio") || allowed(MAY_USE_TOKIO), "{name} must not use {used} ({where_})");
            assert!(!used.starts_with("tonic") || allowed(MAY_USE_TONIC), "{name} must not use {used} ({where_})");
        }
    }
}

#[test]
fn binaries_are_built_without_test_features() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\ndefault-members = [\"crates/server\", \"crates/client\"]\n"));
    for (name, manifest) in manifests() {
        assert!(!manifest.default_features.contains("planted"), "{name}'s default features plant a fault");
    }
}

/// A test that an ordinary run leaves out is run by a stage that starts real clusters, and those live in one place; or it is a part of a test that
/// runs it, in a process of its own, by name.
#[test]
fn no_test_is_left_out_for_good() {
    let mark = ["#[", "ignore"].concat();
    for (path, text) in texts() {
        let runs_its_own = text.contains("--ignored");
        if path.extension().is_some_and(|kind| kind == "rs") && !path.starts_with(root().join("tests/rigs")) && !runs_its_own {
            assert!(!text.contains(&mark), "{}", path.display());
        }
    }
}

#[test]
fn every_test_file_of_the_rigs_is_run_by_a_stage() {
    let stages = fs::read_to_string(root().join("crates/xtask/src/stage.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests/rigs/tests")).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(stages.contains(&format!("\"{name}\"")), "no stage runs {}", path.display());
        }
    }
}

/// The repository speaks of the project alone. The words are cut in two here, so that this file passes its own test.
#[test]
fn no_file_speaks_of_the_places_and_papers_it_was_made_with() {
    let papers = [("DESIGN", ".md"), ("DESIGN", " section"), ("SAFETY", ".md"), ("SAFETY", " rule"), ("CLI", ".md")];
    let hosts = [
        ("crates", ".io"),
        ("pypi", ".org"),
        ("npmjs", ".com"),
        ("npmjs", ".org"),
        ("deb.debian", ".org"),
        ("ghcr", ".io"),
        ("docker", ".io"),
    ];
    let places = [("/wo", "rk/"), ("/ro", "ot/"), ("/home", "/user"), ("/tmp/", "helper")];
    let phrases = [("this ", "session"), ("sub", "agent"), ("coding ", "agent")];
    let forbidden: Vec<String> =
        papers.iter().chain(&hosts).chain(&places).chain(&phrases).map(|(start, end)| format!("{start}{end}")).collect();
    let mut found = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let named = forbidden.iter().find(|word| line.contains(word.as_str())).cloned().or_else(|| issue_number(line));
            found.extend(named.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The word with a number behind it, or a number sign in brackets: a pointer into a tracker that a reader of the file does not have.
fn issue_number(line: &str) -> Option<String> {
    let lower = line.to_lowercase();
    let numbered = |at: usize, word: &str| {
        let behind = lower[at + word.len()..].trim_start().trim_start_matches('#');
        behind.starts_with(|c: char| c.is_ascii_digit())
    };
    let word = "issue";
    let in_words = lower.match_indices(word).any(|(at, _)| numbered(at, word));
    let in_brackets = lower.match_indices("(#").any(|(at, _)| numbered(at, "(#"));
    (in_words || in_brackets).then(|| "a number in a tracker".into())
}

struct Manifest {
    path: PathBuf,
    /// Of every kind: normal, for tests, for build scripts, for one target.
    dependencies: Vec<String>,
    default_features: String,
}

fn manifests() -> BTreeMap<String, Manifest> {
    let mut found = BTreeMap::new();
    for folder in ["crates", "tests"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path().join("Cargo.toml");
            if let Ok(text) = fs::read_to_string(&path) {
                let (name, manifest) = read_manifest(path, &text);
                found.insert(name, manifest);
            }
        }
    }
    assert!(found.len() > 5, "the crates are not where this test looks for them");
    found
}

/// Reads the few lines that matter; cargo itself has checked the rest.
fn read_manifest(path: PathBuf, text: &str) -> (String, Manifest) {
    let mut section = String::new();
    let mut name = None;
    let mut manifest = Manifest { path, dependencies: Vec::new(), default_features: String::new() };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = header.trim_matches(['[', ']']).to_owned();
            // `[dependencies.name]`
            if let Some((kind, dependency)) = section.rsplit_once('.')
                && kind.ends_with("dependencies")
            {
                manifest.dependencies.push(dependency.to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim();
        if section.ends_with("dependencies") {
            let renamed = value.split_once("package").map(|(_, rest)| rest.split('"').nth(1).unwrap_or("").to_owned());
            manifest.dependencies.push(renamed.unwrap_or_else(|| key.split('.').next().unwrap_or(key).to_owned()));
        } else if section == "package" && key == "name" {
            name = Some(value.trim().trim_matches('"').to_owned());
        } else if section == "features" && key == "default" {
            manifest.default_features = value.to_owned();
        }
    }
    (name.expect("a package has a name"), manifest)
}

/// Every text file of the repository, but for cargo's own lock file.
fn texts() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || matches!(name.as_str(), ".git" | "target" | "Cargo.lock") {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found
}

fn root() -> PathBuf {
    // As it is now, not as it was when this was compiled: a build folder outlives the folder of the sources.
    let own = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests"));
    own.ancestors().nth(2).unwrap().to_path_buf()
}
