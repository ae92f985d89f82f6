//! The live file: whole lines are appended, it is rotated, and found again when someone moved it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Counters, Settings, rotate};
use crate::util::{Now, Throttle};

/// After a failed rotation the file grows on for this long before the next try, in milliseconds.
const ROTATE_AGAIN: i64 = 60_000;

/// The file lines go to.
pub struct LogFile {
    path: PathBuf,
    max_size: u64,
    max_age_ms: i64,
    keep: usize,
    open: Option<Open>,
    /// When a rotation failed last.
    failed_ms: Option<i64>,
    counters: Arc<Counters>,
    warnings: Throttle,
}

/// An open file.
struct Open {
    file: File,
    /// Device and inode, by which a moved file is noticed.
    identity: (u64, u64),
    /// When its first line was written, as well as can be known.
    born_ms: i64,
    /// Devices (`/dev/null`) are never rotated or cut.
    regular: bool,
    /// The last line lacks its end: the process before was killed in the middle of it.
    torn: bool,
}

/// What came of [`LogFile::write`].
pub struct Wrote {
    /// Bytes of whole lines that are in the file; never part of a line.
    pub bytes: usize,
    /// Why not all of them.
    pub error: Option<io::Error>,
}

impl LogFile {
    /// Opens `path` for appending, or creates it, and removes surplus rotated files.
    ///
    /// # Errors
    /// What the system says, or it is something other than a file.
    pub fn open(path: &Path, settings: &Settings, counters: Arc<Counters>, now: Now) -> io::Result<Self> {
        let log = Self {
            path: path.to_owned(),
            max_size: settings.max_size,
            max_age_ms: i64::try_from(settings.max_age.as_millis()).unwrap_or(i64::MAX),
            keep: settings.keep,
            open: Some(Open::new(path, now)?),
            failed_ms: None,
            counters,
            warnings: Throttle::new(ROTATE_AGAIN),
        };
        if let Ok(real) = fs::canonicalize(path)
            && log.open.as_ref().is_some_and(|open| open.regular)
        {
            log.prune(&real, now);
        }
        Ok(log)
    }

    /// As the operator wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `lines`, which ends with a newline, rotating between two lines where the size asks for it.
    pub fn write(&mut self, lines: &[u8], now: Now) -> Wrote {
        let mut bytes = 0;
        while let Some(rest) = lines.get(bytes..).filter(|rest| !rest.is_empty()) {
            match self.write_some(rest, now) {
                Ok(Some(written)) => bytes += written,
                Ok(None) => {}
                Err((written, error)) => return Wrote { bytes: bytes + written, error: Some(error) },
            }
        }
        Wrote { bytes, error: None }
    }

    /// To be called about once a second: a file that was moved or deleted is made anew, one that is old is rotated.
    ///
    /// # Errors
    /// What the system says.
    pub fn tick(&mut self, now: Now) -> io::Result<()> {
        let len = self.find(now)?;
        let Some(open) = self.open.as_mut().filter(|open| open.regular && len > 0) else { return Ok(()) };
        // A clock set back must not postpone the rotation by the length of the jump.
        open.born_ms = open.born_ms.min(now.unix_ms);
        if self.max_age_ms > 0 && now.unix_ms.saturating_sub(open.born_ms) >= self.max_age_ms && self.rotate(now) {
            self.find(now)?;
        }
        Ok(())
    }

    /// Appends as many of `lines` as the live file has room for; `None` if it was rotated instead.
    fn write_some(&mut self, lines: &[u8], now: Now) -> Result<Option<usize>, (usize, io::Error)> {
        let len = self.find(now).map_err(|error| (0, error))?;
        let room = usize::try_from(self.max_size.saturating_sub(len)).unwrap_or(usize::MAX);
        let Some(open) = &mut self.open else { return Err((0, io::ErrorKind::NotFound.into())) };
        if len == 0 {
            open.born_ms = now.unix_ms;
        }
        let mut take = lines.len();
        if open.regular && self.max_size > 0 && take > room {
            take = whole_lines(lines.get(..room).unwrap_or_default());
            if take == 0 && len > 0 && self.rotate(now) {
                return Ok(None);
            }
            if take == 0 {
                // A line longer than a file may be, or a file that cannot be rotated: better too long than lost.
                take = lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |end| end + 1);
            }
        }
        let Some(open) = &mut self.open else { return Err((0, io::ErrorKind::NotFound.into())) };
        open.append(lines.get(..take).unwrap_or(lines)).map(|()| Some(take))
    }

    /// Makes sure that the open file is the one at `path` and gives its length.
    fn find(&mut self, now: Now) -> io::Result<u64> {
        let moved = match (&self.open, fs::metadata(&self.path)) {
            (None, _) => true,
            (Some(open), Ok(found)) => identity(&found) != open.identity,
            (Some(_), Err(error)) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
        };
        if moved {
            self.open = None;
            self.open = Some(Open::new(&self.path, now)?);
        }
        let Some(open) = self.open.as_ref().filter(|open| open.regular) else { return Ok(0) };
        Ok(open.file.metadata()?.len())
    }

    /// Renames the live file; the next [`Self::find`] makes a new one. False if that was not possible, or not
    /// long ago.
    fn rotate(&mut self, now: Now) -> bool {
        // `abs`: a clock set back must not keep us waiting for the length of the jump.
        if self.failed_ms.is_some_and(|failed| now.unix_ms.saturating_sub(failed).saturating_abs() < ROTATE_AGAIN) {
            return false;
        }
        // The file itself is renamed, not a link to it in another folder.
        let renamed = fs::canonicalize(&self.path).and_then(|real| {
            fs::rename(&real, rotate::free_name(&real, now)?)?;
            Ok(real)
        });
        match renamed {
            Ok(real) => {
                self.open = None;
                self.failed_ms = None;
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                self.prune(&real, now);
                true
            }
            Err(error) => {
                self.failed_ms = Some(now.unix_ms);
                self.counters.rotations_failed.fetch_add(1, Ordering::Relaxed);
                let path = self.path.display();
                tracing::warn!("cannot rotate {path}: {error}; it grows on. Is its folder writable?");
                false
            }
        }
    }

    /// Removes surplus rotated files; what cannot be removed is reported and tried again at the next rotation.
    fn prune(&self, real: &Path, now: Now) {
        if let Err(error) = rotate::prune(real, self.keep)
            && self.warnings.pass(now).is_some()
        {
            tracing::warn!("cannot remove old files of {}: {error}", self.path.display());
        }
    }
}

impl Open {
    /// Opens or creates the file. What is neither a file nor a character device is refused: opening a pipe would
    /// wait for its reader.
    fn new(path: &Path, now: Now) -> io::Result<Self> {
        if let Ok(found) = fs::metadata(path)
            && !found.is_file()
            && !found.file_type().is_char_device()
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        // Who asked for what is nothing for everybody's eyes. Read access is for the look at the last byte.
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
        let meta = file.metadata()?;
        let regular = meta.is_file();
        let mut last = [b'\n'];
        if regular && let Some(at) = meta.len().checked_sub(1) {
            file.read_exact_at(&mut last, at)?;
        }
        let born_ms = if meta.len() == 0 { now.unix_ms } else { born(&meta).unwrap_or(now.unix_ms) };
        Ok(Self { file, identity: identity(&meta), born_ms, regular, torn: last != [b'\n'] })
    }

    /// Appends whole lines. On an error gives the bytes of the lines that are whole, and no part of another is left
    /// behind if that can be helped (else the next call ends it first).
    fn append(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn {
            write_all(&mut self.file, b"\n").map_err(|(_, error)| (0, error))?;
            self.torn = false;
        }
        write_all(&mut self.file, lines).map_err(|(written, error)| {
            let whole = whole_lines(lines.get(..written).unwrap_or(lines));
            self.torn = written > whole && self.cut(written - whole).is_err();
            (whole, error)
        })
    }

    /// Takes the last `bytes` of the file away again.
    fn cut(&self, bytes: usize) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        let left = len.checked_sub(bytes as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if self.regular { self.file.set_len(left) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

/// Like `Write::write_all`, but an error comes with how much was written.
fn write_all(file: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// The length of the whole lines `bytes` begins with.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1)
}

/// What tells one file from another.
fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// When a file was created, in milliseconds since the epoch, or else last changed.
fn born(meta: &Metadata) -> Option<i64> {
    let at = meta.created().or_else(|_| meta.modified()).ok()?;
    i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests;
