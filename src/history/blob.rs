//! Contents: compressed and hashed as they stream by.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use super::error::HistoryError;
use super::files::Folder;
use super::version::FileEntry;
use crate::util::{Digest, Hasher};

/// Compression level: above it, the time doubles for a few percent.
const LEVEL: i32 = 3;
/// The largest window a reader gives memory to; our own level takes 2 MiB.
const MAX_WINDOW_LOG: u32 = 23;

impl Folder {
    /// Keeps a content, if it is what its entry says.
    pub(super) fn write_blob(&self, entry: &FileEntry, mut from: Box<dyn Read>) -> Result<(), HistoryError> {
        let mut same = false;
        let result = self.write_whole(&self.blob(entry.sha256), |file| {
            let mut encoder = zstd::Encoder::new(file, LEVEL)?;
            encoder.include_checksum(true)?;
            let mut hasher = Hasher::new();
            let mut buffer = vec![0; 1 << 16];
            // One byte more than expected is enough to see that it changed.
            let mut limited = from.by_ref().take(entry.size.saturating_add(1));
            loop {
                let read = match limited.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                let bytes = buffer.get(..read).unwrap_or_default();
                hasher.update(bytes);
                encoder.write_all(bytes)?;
            }
            encoder.finish()?;
            same = hasher.len() == entry.size && hasher.finish() == entry.sha256;
            if same { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        match result {
            Err(HistoryError::Io { error, .. }) if !same && error.kind() == io::ErrorKind::InvalidData => {
                Err(HistoryError::Changed { list: self.list.clone(), file: entry.file.clone() })
            }
            other => other,
        }
    }

    /// A content that checks itself as it is read.
    pub(super) fn open_blob(&self, entry: &FileEntry) -> Result<Content, HistoryError> {
        let path = self.blob(entry.sha256);
        let open = || {
            let mut decoder = zstd::Decoder::new(File::open(&path)?)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Ok(decoder)
        };
        let decoder = open().map_err(|error: io::Error| self.io("read", &path, error))?;
        Ok(Content { decoder, hasher: Hasher::new(), size: entry.size, sha256: entry.sha256, path })
    }

    /// What reading a content to its end failed of.
    pub(super) fn bad_blob(&self, entry: &FileEntry, error: io::Error) -> HistoryError {
        let path = self.blob(entry.sha256);
        match error.raw_os_error() {
            Some(_) => self.io("read", &path, error),
            None => HistoryError::Damaged { path, what: error.to_string() },
        }
    }
}

/// A kept content. Its last read fails if it is not what was kept.
pub struct Content {
    decoder: zstd::Decoder<'static, BufReader<File>>,
    /// Of what was read so far.
    hasher: Hasher,
    size: u64,
    sha256: Digest,
    path: PathBuf,
}

impl Content {
    /// Where it lies.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.decoder.read(buffer)?;
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if read > 0 {
            self.hasher.update(buffer.get(..read).unwrap_or_default());
            if self.hasher.len() > self.size {
                return wrong(format!("it is longer than the {} bytes that were kept", self.size));
            }
            return Ok(read);
        }
        let sha256 = self.hasher.clone().finish();
        if sha256 != self.sha256 {
            return wrong(format!("its content has SHA-256 {sha256}"));
        }
        Ok(0)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("path", &self.path).finish_non_exhaustive()
    }
}
