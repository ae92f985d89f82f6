//! What the tests of this module share.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::report::Loaded;
use crate::config::{self, Settings};

/// A folder by its real path, removed with the guard.
pub(super) fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let real = dir.path().canonicalize().expect("real");
    (dir, real)
}

/// Settings with a list `l0`, `l1`, … for each source, as `qalqan.toml` in `dir` says them.
pub(super) fn settings(dir: &Path, sources: &[&str]) -> Settings {
    let path = dir.join("qalqan.toml");
    fs::write(&path, text(sources)).expect("written");
    config::load(&path).expect("settings")
}

/// The configuration file of [`settings`]. Nothing is found by the rescan within a test.
pub(super) fn text(sources: &[&str]) -> String {
    let list = |(at, source)| format!("[[list]]\nname = \"l{at}\"\nsource = \"{source}\"\n");
    let lists: String = sources.iter().enumerate().map(list).collect();
    format!("[reload]\nquiet = \"100ms\"\nrescan = \"1h\"\n\n{lists}")
}

/// The same by a shorter name: what a load is about is its lists.
pub(super) fn lists(dir: &Path, sources: &[&str]) -> Settings {
    settings(dir, sources)
}

/// The names in force.
pub(super) fn names(loaded: &Loaded) -> BTreeSet<String> {
    let rules = loaded
        .parts
        .iter()
        .flat_map(|part| part.rules.iter().enumerate().filter(|(at, _)| !part.holds(*at as u32)).map(|(_, rule)| rule));
    rules
        .map(|rule| {
            let mut name = String::new();
            crate::name::show(rule.name().wire(), &mut name).expect("a string takes all");
            name
        })
        .collect()
}

/// A set of names.
pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Writes a file whole, beside and then renamed into place.
pub(super) fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).expect("written");
    fs::rename(&beside, path).expect("renamed");
}
