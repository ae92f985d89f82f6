//! Where a fetched list is kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Settings;
use crate::util::slug;

/// Begins the names of files that are being written.
const TEMPORARY: &str = ".new-";
/// Nobody writes this long.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
/// Beside the list.
const META: &str = "meta.json";

/// A list from the web and its place in the state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The list's name.
    pub list: String,
    /// The file a reload reads.
    pub file: PathBuf,
    /// From where and how.
    pub settings: Settings,
}

impl Source {
    /// The list's place follows from its name and from everything that says what may stand there: another address,
    /// key or hash is another place, so that nothing is used that was fetched under weaker ones.
    pub fn new(list: &str, state_dir: &Path, settings: Settings) -> Self {
        let key = settings.public_key.as_ref().map_or("", |key| key.as_str());
        let pin = settings.sha256.map(|pin| pin.to_string()).unwrap_or_default();
        let folder = slug(&[list, settings.address.as_str(), key, &pin].join("\n"));
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
        let readable: String = list.chars().map(plain).take(40).collect();
        // A name of its own: one that begins with a dot or ends in `.minisig` would be left out of a folder.
        let file = root(state_dir).join(folder).join(format!("{readable}.list"));
        Self { list: list.to_owned(), file, settings }
    }

    /// A fetch was accepted once.
    pub fn is_there(&self) -> bool {
        self.file.is_file()
    }

    /// What is known of earlier fetches.
    pub(super) fn meta(&self) -> PathBuf {
        self.file.with_file_name(META)
    }
}

/// Removes what is kept of lists that are not among `sources`, and what an end in the middle of a write left behind;
/// says nothing of failures, for it costs space only.
pub(super) fn forget_others(sources: &[Source]) {
    let Some(root) = sources.first().and_then(|source| source.file.parent()?.parent()) else { return };
    let used: Vec<&Path> = sources.iter().filter_map(|source| source.file.parent()).collect();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let folder = entry.path();
        // Only what looks like ours.
        if !used.contains(&folder.as_path()) && folder.join(META).is_file() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
    for file in used.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        let age = file.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if file.file_name().to_string_lossy().starts_with(TEMPORARY) && age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Writes beside, syncs, renames into place: a reader or a crash sees the old or the new file, never a part.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The server and `qalqan fetch` may write the same file at once.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!("{TEMPORARY}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, path)).and_then(|()| File::open(folder)?.sync_all());
    if done.is_err() {
        // Half a list on a full disk only makes it fuller.
        let _ = fs::remove_file(&beside);
    }
    done
}

/// Where all fetched lists are.
fn root(state_dir: &Path) -> PathBuf {
    state_dir.join("fetch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::settings;
    use crate::signature::PublicKey;

    #[test]
    fn whatever_says_what_may_stand_there_makes_another_place() {
        let base = settings("https://lists.example/a");
        let mut places = [base.clone(), settings("https://lists.example/b"), base.clone(), base.clone()];
        places[2].sha256 = Some(crate::util::Digest([7; 32]));
        places[3].public_key =
            Some(PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").expect("a key"));
        let place = |list: &str, settings: &Settings| Source::new(list, Path::new("/state"), settings.clone()).file;
        let mut files: Vec<PathBuf> = places.iter().map(|settings| place("l", settings)).collect();
        files.push(place("../L", &base));
        files.push(place(".x.minisig", &base));
        assert!(
            files.iter().all(|file| file.starts_with("/state/fetch") && file.components().count() == 5),
            "{files:?}"
        );
        files.sort();
        files.dedup();
        assert_eq!(files.len(), 6);
        // How it is fetched does not matter.
        let patient = Settings { interval: base.interval * 2, ..base.clone() };
        assert_eq!(place("l", &patient), place("l", &base));
    }

    #[test]
    fn lists_that_are_gone_are_forgotten_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = Source::new("keep", dir.path(), settings("https://lists.example/a"));
        let gone = Source::new("gone", dir.path(), settings("https://lists.example/a"));
        for source in [&keep, &gone] {
            replace(&source.file, b"a.example").expect("written");
            replace(&source.meta(), b"{}").expect("written");
        }
        let other = root(dir.path()).join("notes");
        fs::create_dir(&other).expect("made");
        let aside = |name: &str| keep.file.with_file_name(format!("{TEMPORARY}{name}"));
        fs::write(aside("young"), "half").expect("written");
        let old = File::create(aside("old")).expect("written");
        old.set_modified(std::time::SystemTime::now() - 2 * LEFT_BEHIND).expect("set");
        forget_others(std::slice::from_ref(&keep));
        assert!(keep.is_there() && !gone.is_there() && other.exists());
        assert_eq!(fs::read_dir(keep.file.parent().expect("a folder")).expect("listed").count(), 3, "old halves go");
        assert!(aside("young").exists(), "somebody may be writing it");
    }
}
