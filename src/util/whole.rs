//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Begins the names of files that are being written.
pub const TEMPORARY: &str = ".tmp-";

/// Writes beside, syncs, renames into place: a reader or a crash sees the old or the new content, never a part.
///
/// # Errors
/// What the system says; the old content is still there then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{TEMPORARY}{}-{name}", std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, path)).and_then(|()| match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    });
    // Half a copy on a full disk only makes it fuller.
    done.inspect_err(|_| _ = fs::remove_file(&beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_content_stays_when_the_new_cannot_be_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        write_whole(&path, b"one").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"one");
        fs::create_dir(dir.path().join("b")).expect("made");
        fs::write(dir.path().join("b/in the way"), "").expect("written");
        assert!(write_whole(&dir.path().join("b"), b"two").is_err(), "a folder is in the way");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2, "nothing is left lying about");
    }
}
