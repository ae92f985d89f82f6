//! dnstap into a file: one Frame Streams file after the other, as readers know no second one behind the first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::Settings;
use super::super::queue::Batch;
use super::super::tap;
use super::{Place, Wrote};
use crate::hits;
use crate::util::Now;

/// A file that begins anew when it has grown too large or too old, and at every start.
pub(super) struct Tapes {
    path: PathBuf,
    max_size: u64,
    max_age: Duration,
    keep: usize,
    tape: Option<Tape>,
}

/// The one being written.
struct Tape {
    file: File,
    /// Device and inode, by which a moved file is noticed.
    identity: (u64, u64),
    len: u64,
    frames: u64,
    since: Instant,
}

impl Tapes {
    /// Opens the first one.
    pub(super) fn open(path: &Path, settings: &Settings) -> io::Result<Self> {
        let Settings { max_size, max_age, keep, .. } = *settings;
        let mut tapes = Self { path: path.to_owned(), max_size, max_age, keep, tape: None };
        tapes.tape = Some(tapes.begin()?);
        Ok(tapes)
    }

    /// Moves away what is there, and begins a file.
    fn begin(&self) -> io::Result<Tape> {
        match fs::metadata(&self.path) {
            Ok(found) if !found.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
            }
            Ok(found) if found.len() > 0 => fs::rename(&self.path, hits::free_name(&self.path, Now::read())?)?,
            _ => {}
        }
        // Who asked for what is nothing for everybody's eyes.
        let options = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path);
        let mut file = options?;
        let start = tap::start();
        file.write_all(&start)?;
        let found = file.metadata()?;
        hits::prune(&self.path, self.keep)?;
        let identity = (found.dev(), found.ino());
        Ok(Tape { file, identity, len: start.len() as u64, frames: 0, since: Instant::now() })
    }

    /// Ends the file at hand and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        self.close();
        self.tape = Some(self.begin()?);
        Ok(())
    }

    /// How many frames from `from` on still go into the file at hand: one at least if it has none yet.
    fn fitting(&self, batch: &Batch, from: usize) -> usize {
        let left = batch.frames().saturating_sub(from);
        let Some(tape) = self.tape.as_ref().filter(|_| self.max_size > 0) else { return left };
        let room = self.max_size.saturating_sub(tape.len + tap::stop().len() as u64);
        let fits = batch.whole(from, usize::try_from(room).unwrap_or(usize::MAX >> 1));
        if tape.frames == 0 { fits.max(1).min(left) } else { fits }
    }
}

impl Place for Tapes {
    fn open(&mut self, _: &dyn Fn() -> bool) -> io::Result<()> {
        if self.tape.is_none() {
            self.tape = Some(self.begin()?);
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch, from: usize, _: &dyn Fn() -> bool) -> Wrote {
        let mut sent = 0;
        while from + sent < batch.frames() {
            let fits = self.fitting(batch, from + sent);
            if fits == 0 {
                if let Err(error) = self.rotate() {
                    return Wrote { sent, error: Some(error), ..Wrote::default() };
                }
                continue;
            }
            let Some(tape) = &mut self.tape else { break };
            let rest = batch.rest(from + sent);
            let bytes = rest.len() - batch.rest(from + sent + fits).len();
            if let Err(error) = tape.file.write_all(rest.get(..bytes).unwrap_or_default()) {
                // No part of a frame is left behind, or else the file is given up.
                if tape.file.set_len(tape.len).is_err() {
                    self.tape = None;
                }
                return Wrote { sent, error: Some(error), ..Wrote::default() };
            }
            tape.len += bytes as u64;
            tape.frames += fits as u64;
            sent += fits;
        }
        Wrote { sent, ..Wrote::default() }
    }

    fn check(&mut self) -> io::Result<()> {
        let Some(tape) = &self.tape else { return self.open(&|| false) };
        let moved = match fs::metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) != tape.identity,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let old = self.max_age > Duration::ZERO && tape.frames > 0 && tape.since.elapsed() >= self.max_age;
        if moved || old { self.rotate() } else { Ok(()) }
    }

    fn close(&mut self) {
        if let Some(mut tape) = self.tape.take() {
            // Readers take a file without its end as well.
            let _ = tape.file.write_all(&tap::stop());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::settings;
    use crate::stream::{Kind, Target};

    /// The frames of a file that is one whole stream.
    fn frames(path: &Path) -> Vec<Vec<u8>> {
        let bytes = fs::read(path).expect("a file");
        let inside = bytes.strip_prefix(&tap::start()[..]).and_then(|rest| rest.strip_suffix(&tap::stop()[..]));
        let mut rest = inside.unwrap_or_else(|| panic!("{} is not whole: {bytes:?}", path.display()));
        let mut frames = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk() {
            let (frame, more) = more.split_at(u32::from_be_bytes(*length) as usize);
            frames.push(frame.to_vec());
            rest = more;
        }
        frames
    }

    /// Frames of 14 octets, numbered.
    fn batch(numbers: std::ops::Range<u8>) -> Batch {
        let mut batch = Batch::default();
        numbers.for_each(|number| batch.push(&[&[0, 0, 0, 10][..], &[number; 10]].concat()));
        batch
    }

    #[test]
    fn each_file_is_a_stream_of_its_own_and_none_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hits.tap");
        let mut settings = settings(Kind::Dnstap, Target::File(path.clone()));
        // Room for three frames and a half beside START and STOP.
        settings.max_size = (tap::start().len() + tap::stop().len() + 50) as u64;
        let mut tapes = Tapes::open(&path, &settings).expect("opened");
        let wrote = tapes.write(&batch(0..10), 2, &|| false);
        assert_eq!((wrote.sent, wrote.error.is_none()), (8, true));
        tapes.close();
        // A second start begins anew, too.
        let mut again = Tapes::open(&path, &settings).expect("opened");
        assert_eq!(again.write(&batch(10..11), 0, &|| false).sent, 1);
        fs::rename(&path, folder.path().join("elsewhere")).expect("moved");
        again.check().expect("found again");
        assert_eq!(again.write(&batch(11..12), 0, &|| false).sent, 1);
        again.close();
        let mut files: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        files.sort();
        let mut found: Vec<u8> = files.iter().flat_map(|path| frames(path)).map(|frame| frame[0]).collect();
        found.sort_unstable();
        assert_eq!((files.len(), found), (5, (2..12).collect()));
        assert!(files.iter().all(|path| fs::metadata(path).expect("a file").len() <= settings.max_size));
    }

    #[test]
    fn a_frame_longer_than_a_file_may_be_has_one_for_itself_and_old_files_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hits.tap");
        let mut settings = settings(Kind::Dnstap, Target::File(path.clone()));
        (settings.max_size, settings.keep) = (1, 2);
        let mut tapes = Tapes::open(&path, &settings).expect("opened");
        assert_eq!(tapes.write(&batch(0..9), 0, &|| false).sent, 9);
        tapes.close();
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
        assert_eq!(frames(&path), [[8; 10]]);
        let folder_itself = Target::File(folder.path().to_owned());
        assert!(Tapes::open(folder.path(), &crate::stream::tests::settings(Kind::Dnstap, folder_itself)).is_err());
    }
}
