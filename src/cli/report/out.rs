//! Files that are there when they are complete, with their SHA-256 beside them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::util::{Digest, Hasher, TEMPORARY};

/// Files under way. Dropped before [`Self::keep`], they go away again.
#[derive(Debug)]
pub(super) struct Files {
    out: PathBuf,
    done: Vec<Done>,
}

/// One that is complete, but not in its place yet.
#[derive(Debug)]
struct Done {
    beside: PathBuf,
    path: PathBuf,
    digest: Digest,
}

/// Could not be written.
#[derive(Debug)]
pub(super) struct WriteError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}; nothing of the report is kept", self.path.display(), self.error)
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Files {
    /// For a report at `out`.
    pub(super) fn new(out: &Path) -> Self {
        Self { out: out.to_owned(), done: Vec::new() }
    }

    /// The report's own path with something behind it.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.out.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// Writes one file: the report itself, or with a suffix one beside it.
    pub(super) fn write(
        &mut self,
        suffix: &str,
        write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        let path = self.beside(suffix);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!("{TEMPORARY}{}-{name}", std::process::id()));
        let digest = file(&beside, write).inspect_err(|_| _ = fs::remove_file(&beside));
        let digest = digest.map_err(|error| WriteError { path: path.clone(), error })?;
        self.done.push(Done { beside, path, digest });
        Ok(())
    }

    /// Writes the digests of all files, as `sha256sum -c` reads them, and puts everything in its place. Gives the
    /// digest of the report itself.
    pub(super) fn keep(mut self) -> Result<Digest, WriteError> {
        let mut sums = String::new();
        for done in &self.done {
            let name = done.path.file_name().unwrap_or_default().to_string_lossy();
            // As coreutils do with names that would break a line.
            let (mark, name) = if name.contains(['\\', '\n', '\r']) {
                ("\\", name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"))
            } else {
                ("", name.into_owned())
            };
            sums += &format!("{mark}{}  {name}\n", done.digest);
        }
        self.write(".sha256", |to| to.write_all(sums.as_bytes()))?;
        let digest = self.done.first().map_or(Digest::ZERO, |done| done.digest);
        for done in &self.done {
            let moved = fs::rename(&done.beside, &done.path);
            moved.map_err(|error| WriteError { path: done.path.clone(), error })?;
        }
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Everything is in its place; that a crash could still undo it is worth no error.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        self.done.clear();
        Ok(digest)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for done in &self.done {
            let _ = fs::remove_file(&done.beside);
        }
    }
}

/// A whole file on disk, and its digest.
fn file(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> io::Result<Digest> {
    let mut to = Tee { file: BufWriter::with_capacity(1 << 16, File::create(path)?), hasher: Hasher::new() };
    write(&mut to)?;
    let Tee { file, hasher } = to;
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(hasher.finish())
}

/// Writes and hashes.
struct Tee {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn sha256sum_finds_the_digests_right() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["report.csv", "есеп қазан.csv", "back\\slash.csv"] {
            let mut files = Files::new(&folder.path().join(name));
            files.write("", |to| to.write_all(b"one")).expect("written");
            files.write(".about.json", |to| to.write_all(b"two")).expect("written");
            assert_eq!(files.keep().expect("kept"), Digest::of(b"one"));
            let sums = format!("{name}.sha256");
            let run =
                Command::new("sha256sum").args(["-c", "--strict", "--", &sums]).current_dir(folder.path()).output();
            let run = run.expect("sha256sum runs");
            assert!(run.status.success(), "{run:?}");
            assert_eq!(String::from_utf8_lossy(&run.stdout).lines().count(), 2);
        }
    }

    #[test]
    fn what_is_not_complete_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.csv");
        fs::write(&path, "old").expect("written");
        let mut files = Files::new(&path);
        files.write("", |to| to.write_all(b"new")).expect("written");
        let failed = files.write(".about.json", |to| {
            to.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        let said = failed.expect_err("failed").to_string();
        assert!(said.ends_with("report.csv.about.json: the disk is full; nothing of the report is kept"), "{said}");
        drop(files);
        assert_eq!(fs::read(&path).expect("read"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
        let nowhere = Files::new(&folder.path().join("no/such/folder/report.csv")).write("", |_| Ok(()));
        assert!(nowhere.expect_err("no folder").to_string().contains("No such file or directory"));
    }
}
