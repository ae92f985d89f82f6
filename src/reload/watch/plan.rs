//! Which folders a set of paths depends on, found by walking them as the kernel does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// More folders are not watched.
pub(super) const MAX_FOLDERS: usize = 512;
/// More symbolic links inside list folders are not followed.
const MAX_ENTRIES: usize = 4096;
/// The kernel's limit of links in one path.
const MAX_LINKS: usize = 40;
/// A path of more components is none.
const MAX_STEPS: usize = 1024;

/// Folders by their real path, and which of their entries matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) folders: BTreeMap<PathBuf, Names>,
    /// There is more than is watched.
    pub(super) cut: bool,
}

/// Entries of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Each: it is a list folder.
    All,
    /// These: a log beside a list must not keep the list from becoming quiet.
    These(BTreeSet<OsString>),
}

impl Plan {
    /// Of files and folders; those that do not exist are waited for where they would appear.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let mut plan = Self::default();
        let mut entries = 0;
        for path in paths {
            let Some(end) = plan.follow(path) else { continue };
            let Ok(listing) = fs::read_dir(&end) else { continue };
            plan.all(end);
            for entry in listing.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
                entries += 1;
                if entries > MAX_ENTRIES {
                    plan.cut = true;
                    break;
                }
                plan.follow(&entry.path());
            }
        }
        plan
    }

    /// Whether a change of the entry `path`, or of a watched folder itself, may matter.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        if self.folders.contains_key(path) {
            return true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        match self.folders.get(folder) {
            Some(Names::All) => true,
            Some(Names::These(names)) => names.contains(name),
            None => false,
        }
    }

    /// Walks `path` to its end, which is returned if there is one, and takes up what decides where it ends: the last
    /// entry, each link on the way, the entry that is missing, and the folder entry before each of these.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut todo: Vec<Step> = steps(path);
        let mut real = PathBuf::from("/");
        let mut before: Option<(PathBuf, OsString)> = None;
        let mut last: Option<(PathBuf, OsString)> = None;
        let (mut links, mut taken) = (0, 0);
        while let Some(step) = todo.pop() {
            taken += 1;
            if taken > MAX_STEPS {
                return None;
            }
            let name = match step {
                Step::Root => {
                    real = PathBuf::from("/");
                    continue;
                }
                Step::Up => {
                    real.pop();
                    continue;
                }
                Step::Into(name) => name,
            };
            before = last.replace((real.clone(), name.clone()));
            let here = real.join(&name);
            match fs::symlink_metadata(&here) {
                Ok(meta) if meta.is_symlink() => {
                    self.these([&before, &last]);
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    todo.extend(steps(&fs::read_link(&here).ok()?));
                }
                Ok(_) => real = here,
                Err(_) => {
                    self.these([&before, &last]);
                    return None;
                }
            }
        }
        self.these([&before, &last]);
        Some(real)
    }

    /// Takes up entries of folders.
    fn these(&mut self, entries: [&Option<(PathBuf, OsString)>; 2]) {
        for (folder, name) in entries.into_iter().flatten() {
            if self.has_room(folder) {
                let names = self.folders.entry(folder.clone()).or_insert_with(|| Names::These(BTreeSet::new()));
                if let Names::These(names) = names {
                    names.insert(name.clone());
                }
            }
        }
    }

    /// Takes up a whole folder.
    fn all(&mut self, folder: PathBuf) {
        if self.has_room(&folder) {
            self.folders.insert(folder, Names::All);
        }
    }

    /// Whether `folder` is in the plan or may be added.
    fn has_room(&mut self, folder: &Path) -> bool {
        let room = self.folders.len() < MAX_FOLDERS || self.folders.contains_key(folder);
        self.cut |= !room;
        room
    }
}

/// One step of a walk.
enum Step {
    Root,
    Up,
    Into(OsString),
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<Step> {
    let step = |component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    let mut steps: Vec<Step> = path.components().filter_map(step).collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A temporary folder by its real path.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let real = dir.path().canonicalize().expect("real");
        (dir, real)
    }

    #[test]
    fn every_hop_of_a_config_map_is_watched() {
        let (_guard, dir) = folder();
        fs::create_dir_all(dir.join("map/..v1")).expect("made");
        fs::write(dir.join("map/..v1/list.txt"), "a.example").expect("written");
        symlink("..v1", dir.join("map/..data")).expect("linked");
        symlink("..data/list.txt", dir.join("map/list.txt")).expect("linked");
        let plan = Plan::of([dir.join("map/list.txt").as_path()].into_iter());
        for entry in ["map/list.txt", "map/..data", "map/..v1", "map/..v1/list.txt", "map"] {
            assert!(plan.concerns(&dir.join(entry)), "{entry}");
        }
        assert!(!plan.concerns(&dir.join("map/hits.jsonl")), "a log beside the list");
        assert!(!plan.concerns(&dir.join("elsewhere")));
    }

    #[test]
    fn links_in_a_list_folder_lead_to_their_targets_and_plain_files_cost_nothing() {
        let (_guard, dir) = folder();
        fs::create_dir_all(dir.join("orders")).expect("made");
        fs::create_dir_all(dir.join("far/away")).expect("made");
        fs::write(dir.join("far/away/x.toml"), "").expect("written");
        symlink("../far/away/x.toml", dir.join("orders/x.toml")).expect("linked");
        let few = Plan::of([dir.join("orders").as_path()].into_iter());
        (0..300).for_each(|n| fs::write(dir.join(format!("orders/{n}.toml")), "").expect("written"));
        let many = Plan::of([dir.join("orders").as_path()].into_iter());
        assert_eq!(few, many);
        assert!(many.concerns(&dir.join("far/away/x.toml")) && many.concerns(&dir.join("orders/new.toml")));
        assert!(many.concerns(&dir.join("orders")), "the folder replaced");
    }

    #[test]
    fn what_is_not_there_is_awaited_and_loops_end() {
        let (_guard, dir) = folder();
        let plan = Plan::of([dir.join("not/yet/list.txt").as_path()].into_iter());
        assert!(plan.concerns(&dir.join("not")));
        symlink("loop", dir.join("loop")).expect("linked");
        assert!(Plan::of([dir.join("loop/list.txt").as_path()].into_iter()).concerns(&dir.join("loop")));
    }

    #[test]
    fn more_folders_than_the_limit_are_left_to_the_rescan() {
        let (_guard, dir) = folder();
        let paths: Vec<PathBuf> = (0..MAX_FOLDERS + 5).map(|n| dir.join(format!("{n}/list"))).collect();
        paths.iter().for_each(|path| fs::create_dir_all(path.with_file_name("")).expect("made"));
        let plan = Plan::of(paths.iter().map(PathBuf::as_path));
        assert!(plan.cut && plan.folders.len() == MAX_FOLDERS, "{}", plan.folders.len());
    }
}
