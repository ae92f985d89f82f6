//! Lines into a file that is rotated, or to standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::Settings;
use super::super::queue::Batch;
use super::{LOOK, Place, STALL, Wrote, is_timeout, stalled};
use crate::hits::{self, LogFile};
use crate::util::Now;

/// A file like the hit log's.
pub(super) struct Lines(LogFile);

impl Lines {
    /// Opens or creates it.
    pub(super) fn open(path: &Path, settings: &Settings) -> io::Result<Self> {
        let rotation = hits::Settings {
            file: Some(path.to_owned()),
            clients: settings.clients,
            max_size: settings.max_size,
            max_age: settings.max_age,
            keep: settings.keep,
        };
        LogFile::open(path, &rotation, Arc::default(), Now::read()).map(Self)
    }
}

impl Place for Lines {
    fn open(&mut self, _: &dyn Fn() -> bool) -> io::Result<()> {
        // It finds its file again by itself.
        Ok(())
    }

    fn write(&mut self, batch: &Batch, from: usize, _: &dyn Fn() -> bool) -> Wrote {
        let hits::Wrote { bytes, error } = self.0.write(batch.rest(from), Now::read());
        Wrote { sent: batch.whole(from, bytes), error, ..Wrote::default() }
    }

    fn check(&mut self) -> io::Result<()> {
        self.0.tick(Now::read())
    }

    fn close(&mut self) {}
}

/// Standard output, whatever that is.
#[derive(Default)]
pub(super) struct Stdout {
    file: Option<File>,
    /// The last line lacks its end.
    torn: bool,
}

impl Place for Stdout {
    fn open(&mut self, _: &dyn Fn() -> bool) -> io::Result<()> {
        // Past the buffer and the lock of `std::io::Stdout`: a pipe nobody reads must hold up nobody else.
        self.file = Some(io::stdout().as_fd().try_clone_to_owned()?.into());
        Ok(())
    }

    fn write(&mut self, batch: &Batch, from: usize, stop: &dyn Fn() -> bool) -> Wrote {
        let Some(file) = &mut self.file else { return Wrote::default() };
        if self.torn {
            if let Err(error) = file.write_all(b"\n") {
                return Wrote { error: Some(error), ..Wrote::default() };
            }
            self.torn = false;
        }
        let bytes = batch.rest(from);
        let mut patient = Patient { file, since: Instant::now(), stop };
        let (written, error) = super::write_all(&mut patient, bytes, stop);
        self.torn = !bytes.get(..written).unwrap_or_default().ends_with(b"\n") && written > 0;
        Wrote { sent: batch.whole(from, written), error, ..Wrote::default() }
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) {
        self.file = None;
    }
}

/// Waits where somebody else has made standard output non-blocking.
struct Patient<'a> {
    file: &'a mut File,
    since: Instant,
    stop: &'a dyn Fn() -> bool,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Err(error) if is_timeout(&error) && (self.stop)() => Err(error),
            Err(error) if is_timeout(&error) && self.since.elapsed() > STALL => Err(stalled()),
            Err(error) if is_timeout(&error) => {
                std::thread::sleep(LOOK);
                Err(error)
            }
            done => done,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
