//! Reads a file whole or not at all: what is still being written is not taken.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::report::LoadError;
use crate::list::{self, SourceFile, Spec};
use crate::signature;

/// How often a file that changes under the reading is read again.
const TRIES: usize = 5;

/// How long the signature of a changed file is waited for before the file counts as wrongly signed.
const SIGNATURE_GRACE: Duration = Duration::from_secs(10);

/// Two writes within this time may leave the same time stamp (coarse clocks, network file systems): a stat younger
/// than this is no proof that the content is the same.
const STAMP_DOUBT: Duration = Duration::from_secs(2);

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Unlike `modified` nobody can set it, so a copy with an old date is still noticed.
    changed: (i64, i64),
}

impl Stat {
    /// Of the file `path` leads to, through symbolic links.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::from(&meta))
    }

    /// How long ago something last changed it; `None` if its stamp lies in the future.
    fn age(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let seconds = u64::try_from(self.changed.0).ok()?;
        now.checked_sub(Duration::new(seconds, u32::try_from(self.changed.1).ok()?))
    }

    /// How much longer to wait until nobody has changed it for `quiet`. A stamp in the future (clock set back, other
    /// clock on a file server) tells nothing and is not waited for.
    fn unsettled(&self, quiet: Duration) -> Option<Duration> {
        self.age().and_then(|age| quiet.checked_sub(age)).filter(|left| !left.is_zero())
    }
}

impl From<&Metadata> for Stat {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A stat and whether an equal one later proves that the content is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    stat: Stat,
    proof: bool,
}

impl Seen {
    /// A file as it is now, before it is read.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let stat = Stat::of(path)?;
        Ok(Self { stat, proof: stat.age().is_some_and(|age| age > STAMP_DOUBT) })
    }

    /// The file surely is the same at both looks.
    pub(super) fn proves_same(&self, now: &Self) -> bool {
        self.proves(&now.stat)
    }

    /// The file surely has not changed since.
    pub(super) fn proves(&self, now: &Stat) -> bool {
        self.proof && self.stat == *now
    }
}

/// How long a whole load may wait for files that are being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    quiet: Duration,
    until: Instant,
}

impl Patience {
    /// Files changed less than half of `quiet` ago are not taken yet; they are waited for, at most `budget` in all.
    pub(super) fn new(quiet: Duration, budget: Duration) -> Self {
        // Half: the watcher has already waited the whole of it; file stamps lag a few milliseconds behind.
        Self { quiet: quiet / 2, until: Instant::now() + budget }
    }

    /// Waits, or says that there is no more time for it.
    fn wait(&self, time: Duration) -> bool {
        let now = Instant::now();
        if now + time > self.until {
            return false;
        }
        sleep(time);
        true
    }
}

/// The stat of a file nobody is writing at the moment.
///
/// `insist`: there is no last good state, so a file that is written endlessly is taken as it is rather than nothing.
pub(super) fn settled(file: &SourceFile, patience: &Patience, insist: bool) -> Result<Stat, LoadError> {
    loop {
        let stat = stat(file)?;
        match stat.unsettled(patience.quiet) {
            Some(left) if patience.wait(left) => {}
            Some(_) if !insist => return Err(LoadError::Unsettled(Arc::clone(&file.shown))),
            _ => return Ok(stat),
        }
    }
}

/// The whole content of a file as it was at one moment, and the stat that stands for it.
pub(super) fn read(spec: &Spec, file: &SourceFile) -> Result<(Vec<u8>, Seen), LoadError> {
    for _ in 0..TRIES {
        let before = stat(file)?;
        // Asked before reading: a write after it gets a stamp that is not older.
        let proof = before.age().is_some_and(|age| age > STAMP_DOUBT);
        let bytes = list::read(spec, file).map_err(|error| LoadError::Source(Arc::new(error)))?;
        let after = stat(file)?;
        if before == after && bytes.len() as u64 == after.size {
            vouched(spec, file, &after, &bytes)?;
            return Ok((bytes, Seen { stat: after, proof }));
        }
        sleep(Duration::from_millis(20));
    }
    Err(LoadError::Torn(Arc::clone(&file.shown)))
}

/// Whether the content is signed, where it has to be. A file that changed a moment ago may be ahead of its signature.
fn vouched(spec: &Spec, file: &SourceFile, stat: &Stat, bytes: &[u8]) -> Result<(), LoadError> {
    let Some(key) = &spec.public_key else { return Ok(()) };
    let path = signature::beside(&file.path);
    let read = || -> io::Result<Vec<u8>> {
        // As for lists: pipes and devices are never opened.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut signature = Vec::new();
        File::open(&path)?.take(signature::MAX_BYTES).read_to_end(&mut signature)?;
        Ok(signature)
    };
    let why = match read().map(|signature| key.verify(bytes, &signature)) {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(why)) => Some(why),
        Err(_) => None,
    };
    let awaited = stat.age().is_some_and(|age| age < SIGNATURE_GRACE);
    Err(LoadError::Signature { path: Arc::clone(&file.shown), why, awaited })
}

/// [`Stat::of`] with the path in the error.
fn stat(file: &SourceFile) -> Result<Stat, LoadError> {
    Stat::of(&file.path).map_err(|error| LoadError::Stat { path: Arc::clone(&file.shown), error: Arc::new(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_stat_is_no_proof_and_an_old_one_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        fs::write(&path, "one").expect("written");
        let stat = Stat::of(&path).expect("there");
        assert!(!Seen { stat, proof: false }.proves(&stat));
        assert!(Seen { stat, proof: true }.proves(&stat));
        fs::write(&path, "other").expect("written");
        assert!(!Seen { stat, proof: true }.proves(&Stat::of(&path).expect("there")));
    }

    #[test]
    fn a_signature_may_come_a_little_later_than_its_file_but_not_never() {
        // From the documentation of minisign-verify: a signature of `test`.
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
            RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
            trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
            wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
        let dir = tempfile::tempdir().expect("a folder");
        let file = SourceFile { path: dir.path().join("a"), shown: "a".into() };
        fs::write(&file.path, "test").expect("written");
        let mut spec = Spec::new("a", file.path.clone(), list::Format::Auto);
        spec.public_key = signature::PublicKey::parse(KEY).ok();
        let young = read(&spec, &file).map(drop).expect_err("no signature");
        assert!(young.passes() && young.to_string().contains("read once a.minisig has come"), "{young}");
        let old = Stat { changed: (1_700_000_000, 0), ..Stat::of(&file.path).expect("there") };
        let never = vouched(&spec, &file, &old, b"test").expect_err("no signature");
        assert!(!never.passes() && never.to_string().contains("there is no readable a.minisig"), "{never}");
        fs::write(signature::beside(&file.path), SIGNATURE).expect("written");
        assert!(read(&spec, &file).is_ok());
        let wrong = vouched(&spec, &file, &old, b"tent").expect_err("another content");
        assert!(!wrong.passes() && wrong.to_string().contains("not of this content"), "{wrong}");
        fs::remove_file(signature::beside(&file.path)).expect("removed");
        fs::create_dir(signature::beside(&file.path)).expect("made");
        assert!(vouched(&spec, &file, &old, b"test").is_err());
    }

    #[test]
    fn a_file_that_is_being_written_is_taken_only_if_there_is_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        fs::write(&path, "one").expect("written");
        let file = SourceFile { path, shown: "a".into() };
        let impatient = Patience::new(Duration::from_secs(7200), Duration::ZERO);
        assert!(matches!(settled(&file, &impatient, false), Err(LoadError::Unsettled(_))));
        assert!(settled(&file, &impatient, true).is_ok());
        let patient = Patience::new(Duration::from_millis(20), Duration::from_secs(3600));
        assert!(settled(&file, &patient, false).is_ok());
    }

    #[test]
    fn a_file_counts_as_settled_when_its_last_change_is_long_enough_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let at = |changed: i64| Stat { device: 1, inode: 1, size: 0, modified: (0, 0), changed: (changed, 0) };
        let quiet = Duration::from_secs(100);
        assert!(at(now - 10).unsettled(quiet).is_some_and(|left| left <= Duration::from_secs(90)));
        assert_eq!(at(now - 200).unsettled(quiet), None);
        assert_eq!(at(now + 50).unsettled(quiet), None, "a stamp in the future tells nothing");
        assert_eq!(at(now).unsettled(Duration::ZERO), None);
    }
}
