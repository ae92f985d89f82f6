//! Which versions go when there are too many.

use std::collections::HashMap;
use std::fs;

use super::error::HistoryError;
use super::files::{BLOB, Folder, TEMPORARY};
use super::{Limits, Pruned};
use crate::util::Digest;

/// Removes what is beyond the limits. A version goes before its contents do: a crash in between leaves contents that
/// no version has, which go the next time.
pub(super) fn prune(folder: &Folder, list: &str, limits: Limits) -> Result<Pruned, HistoryError> {
    let numbers = folder.numbers()?;
    // A pin that cannot be read may mean any version.
    let pinned = folder.pin()?.map(|pin| pin.number);
    let mut contents = Contents::of(folder)?;
    let (mut versions, mut settled) = (Vec::new(), None);
    for &number in &numbers {
        let files = match folder.version(list, number) {
            Ok(version) if version.is_for_all() => {
                settled = Some(number);
                Some(version.what.files.iter().map(|file| file.sha256).collect::<Vec<_>>())
            }
            Ok(version) => Some(version.what.files.iter().map(|file| file.sha256).collect::<Vec<_>>()),
            // Nobody knows what it has, so nothing is removed that it might.
            Err(HistoryError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        match &files {
            Some(files) => contents.count(files),
            None => contents.unknown += 1,
        }
        versions.push((number, files));
    }
    let mut pruned = Pruned::default();
    let mut left = versions.len();
    for (number, files) in &versions {
        let too_many = left > limits.versions || contents.bytes > limits.bytes;
        if !too_many {
            break;
        }
        if Some(number) == numbers.last() || [settled, pinned].contains(&Some(*number)) {
            continue;
        }
        folder.remove(&folder.version_path(*number))?;
        left -= 1;
        match files {
            Some(files) => contents.release(files),
            None => contents.unknown -= 1,
        }
        pruned.versions.push(*number);
    }
    pruned.contents = contents.remove_unused(folder)?;
    pruned.bytes = contents.sizes.values().map(|content| content.bytes).sum();
    folder.sweep()?;
    Ok(pruned)
}

/// The contents of a folder.
struct Contents {
    sizes: HashMap<Digest, Used>,
    /// Bytes of those that a version has.
    bytes: u64,
    /// Versions of which nobody knows what they have.
    unknown: usize,
}

/// One content.
#[derive(Default)]
struct Used {
    bytes: u64,
    versions: usize,
}

impl Contents {
    /// What is there.
    fn of(folder: &Folder) -> Result<Self, HistoryError> {
        let mut sizes = HashMap::new();
        for name in folder.names()?.iter().filter(|name| !name.starts_with(TEMPORARY)) {
            let Some(sha256) = name.strip_suffix(BLOB).and_then(|hash| hash.parse().ok()) else { continue };
            let path = folder.blob(sha256);
            let bytes = fs::metadata(&path).map_err(|error| folder.io("read", &path, error))?.len();
            sizes.insert(sha256, Used { bytes, versions: 0 });
        }
        Ok(Self { sizes, bytes: 0, unknown: 0 })
    }

    /// A version has these.
    fn count(&mut self, files: &[Digest]) {
        for sha256 in files {
            let Some(content) = self.sizes.get_mut(sha256) else { continue };
            if content.versions == 0 {
                self.bytes += content.bytes;
            }
            content.versions += 1;
        }
    }

    /// It has them no longer.
    fn release(&mut self, files: &[Digest]) {
        for sha256 in files {
            let Some(content) = self.sizes.get_mut(sha256) else { continue };
            content.versions -= 1;
            if content.versions == 0 {
                self.bytes -= content.bytes;
            }
        }
    }

    /// Removes those that no version has.
    fn remove_unused(&mut self, folder: &Folder) -> Result<usize, HistoryError> {
        if self.unknown > 0 {
            return Ok(0);
        }
        let unused: Vec<Digest> =
            self.sizes.iter().filter(|(_, content)| content.versions == 0).map(|(sha256, _)| *sha256).collect();
        for sha256 in &unused {
            folder.remove(&folder.blob(*sha256))?;
            self.sizes.remove(sha256);
        }
        Ok(unused.len())
    }
}
