//! The files of a log: their names, appending to the last of them, and what a crash leaves at its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::line::{Line, Link, MAX_LINE};
use crate::util::{Digest, Hasher};

/// Side files of one segment before one gives up.
const MAX_TORN: u32 = 10_000;

/// The name of a segment.
pub(super) fn name(number: u64) -> String {
    format!("audit-{number:06}.jsonl")
}

/// The number in the name of a segment; `None` if it is none.
fn number(file: &str) -> Option<u64> {
    let number = file.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (name(number) == file).then_some(number)
}

/// The numbers of the segments in a folder, in order.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(entry?.file_name().to_str().and_then(number));
    }
    found.sort_unstable();
    Ok(found)
}

/// A segment that lines are appended to.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    pub(super) number: u64,
    /// Bytes of whole lines that are known to be on disk.
    pub(super) len: u64,
    /// More may stand behind them: an append failed and could not be taken back.
    unsure: bool,
}

impl Segment {
    /// A new one.
    pub(super) fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = folder.join(name(number));
        // What the authorities ordered and who did what is nothing for everybody's eyes.
        let file = OpenOptions::new().create_new(true).append(true).mode(0o640).open(&path)?;
        sync_folder(folder)?;
        Ok(Self { file, path, number, len: 0, unsure: false })
    }

    /// One that is there, with `len` bytes of whole lines.
    pub(super) fn open(folder: &Path, number: u64, len: u64) -> io::Result<Self> {
        let path = folder.join(name(number));
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self { file, path, number, len, unsure: false })
    }

    /// What another program did to it since the last append, if anything.
    pub(super) fn disturbed(&self) -> io::Result<Option<&'static str>> {
        let own = self.file.metadata()?;
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some("it was removed or renamed")),
            Err(error) => return Err(error),
        };
        if (own.dev(), own.ino()) != (found.dev(), found.ino()) {
            return Ok(Some("another file was put in its place"));
        }
        Ok(match own.len() {
            len if len < self.len => Some("its end was cut off"),
            len if len > self.len && !self.unsure => Some("something was appended to it"),
            _ => None,
        })
    }

    /// Appends whole lines and has them on disk, or leaves it as it was.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.unsure {
            self.file.set_len(self.len)?;
            self.unsure = false;
        }
        // After a failed sync nobody knows what is on disk: written again is better than believed.
        let done = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            self.unsure = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += lines.len() as u64;
        Ok(())
    }

    /// Its name without the folder.
    pub(super) fn name(&self) -> String {
        name(self.number)
    }
}

/// The last whole line of a segment, and what stands behind it.
pub(super) struct End {
    /// Where the chain stands after that line; `None` if there is no such line.
    pub(super) link: Option<Link>,
    /// Bytes up to the end of that line.
    pub(super) whole: u64,
    /// Bytes in all.
    pub(super) len: u64,
    /// What stands behind is what a crash leaves: part of a line, or a line of which blocks never reached the disk.
    /// A complete line that is wrong is not: that was somebody.
    pub(super) torn: bool,
}

/// Opens a segment for reading. A pipe would wait for its writer, and a device never end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))
    }
}

/// Looks for the end of a segment.
pub(super) fn end(path: &Path) -> io::Result<End> {
    let mut reader = BufReader::with_capacity(1 << 18, open(path)?);
    let mut found = End { link: None, whole: 0, len: 0, torn: false };
    let (mut line, mut lines, mut zeros) = (Vec::new(), 0, false);
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        found.len += read as u64;
        let text = line.strip_suffix(b"\n");
        if let Some(good) = text.and_then(Line::read).filter(Line::is_whole) {
            (found.link, found.whole) = (Some(good.link()), found.len);
            (lines, zeros) = (0, false);
        } else {
            lines += usize::from(text.is_some());
            zeros |= line.contains(&0);
        }
    }
    found.torn = found.whole < found.len && (lines == 0 || zeros);
    Ok(found)
}

/// What [`set_aside`] did.
pub(super) struct Aside {
    /// Name of the side file.
    pub(super) name: String,
    /// Of the bytes moved.
    pub(super) sha256: Digest,
}

/// Moves what stands behind the first `keep` bytes of a segment to a file of its own. A crash in the middle leaves
/// the bytes in both places, and the next start does it again.
pub(super) fn set_aside(folder: &Path, number: u64, keep: u64) -> io::Result<Aside> {
    let mut source = OpenOptions::new().read(true).write(true).open(folder.join(name(number)))?;
    source.seek(SeekFrom::Start(keep))?;
    let (side, mut file) = side_file(folder, number)?;
    let copied = copy(&mut source, &mut file).and_then(|sha256| file.sync_all().map(|()| sha256));
    let sha256 = match copied {
        Ok(sha256) => sha256,
        Err(error) => {
            // Half a copy on a full disk only makes it fuller; the bytes are still where they were.
            let _ = fs::remove_file(folder.join(&side));
            return Err(error);
        }
    };
    sync_folder(folder)?;
    source.set_len(keep)?;
    source.sync_all()?;
    Ok(Aside { name: side, sha256 })
}

/// A side file that was not there before.
fn side_file(folder: &Path, number: u64) -> io::Result<(String, File)> {
    for attempt in 1..=MAX_TORN {
        let side = format!("audit-{number:06}.torn-{attempt}");
        match OpenOptions::new().create_new(true).write(true).mode(0o640).open(folder.join(&side)) {
            Ok(file) => return Ok((side, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many side files of torn lines; move them elsewhere"))
}

/// Copies to the end.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        hasher.update(bytes);
        to.write_all(bytes)?;
    }
}

/// Has the names in a folder on disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_segments() {
        let dir = tempfile::tempdir().expect("a folder");
        let names = ["audit-000002.jsonl", "audit-000001.jsonl", "audit-1000000.jsonl"];
        for file in names.into_iter().chain(["audit-1.jsonl", "audit-0000001.jsonl", "audit-+00001.jsonl", "lock"]) {
            fs::write(dir.path().join(file), "").expect("written");
        }
        fs::write(dir.path().join("audit-000001.torn-1"), "").expect("written");
        assert_eq!(numbers(dir.path()).expect("listed"), [1, 2, 1_000_000]);
        assert_eq!(name(1_000_000), names[2]);
    }
}
