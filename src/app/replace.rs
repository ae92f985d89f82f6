//! Small files in `state_dir` that others read while we write.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Replaces the file as a whole: readers see the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new: PathBuf = path.with_extension("json.new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}
