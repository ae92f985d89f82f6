//! Going through a log line by line, in bounded memory, and seeing where the chain breaks.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::line::{Line, Link, MAX_LINE};
use super::segment;
use crate::util::Digest;

/// How often the end of a last line is waited for, which a running server may be writing.
const PATIENCE: u32 = 10;
/// How long each time.
const PAUSE: Duration = Duration::from_millis(20);

/// The first place where a chain is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The segment.
    pub file: PathBuf,
    /// The line in it.
    pub line: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// It is no JSON, or not of our form.
    NotALine,
    /// It never ends, as far as anybody wants to read.
    TooLong,
    /// The log ends in the middle of it.
    Torn,
    /// Its bytes do not give its hash.
    Edited {
        /// What it says.
        says: Digest,
        /// What they give.
        gives: Digest,
    },
    /// Lines before it are missing.
    Missing {
        /// The first that should be here.
        expected: u64,
        /// The one that is.
        found: u64,
    },
    /// It should have come before, or stands here twice.
    OutOfOrder {
        /// The one that should be here.
        expected: u64,
        /// The one that is.
        found: u64,
    },
    /// It follows another line than the one that stands before it.
    Unchained {
        /// The hash of its predecessor that it says.
        says: Digest,
        /// The hash of the line that is there.
        is: Digest,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALine => f.write_str("this is no line of an audit log"),
            Self::TooLong => write!(f, "the line is longer than {MAX_LINE} bytes"),
            Self::Torn => f.write_str("the log ends in the middle of this line"),
            Self::Edited { says, gives } => {
                write!(f, "the line was edited: its hash is given as {says}, but its bytes give {gives}")
            }
            Self::Missing { expected, found } if expected + 1 == *found => {
                write!(f, "event {expected} is missing here")
            }
            Self::Missing { expected, found } => write!(f, "events {expected} to {} are missing here", found - 1),
            Self::OutOfOrder { expected, found } => {
                write!(f, "event {expected} should stand here, but event {found} does: lines were moved or put in")
            }
            Self::Unchained { says, is } => write!(
                f,
                "the line follows a line with SHA-256 {says}, but the one before it has {is}: that one was replaced"
            ),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.fault)
    }
}

/// A log that cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// There is none.
    NoLog {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// The system refused.
    Io {
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLog { folder } => write!(
                f,
                "there is no audit log in {}; is this the configuration the server runs with?",
                folder.display()
            ),
            Self::Io { path, error } => write!(f, "cannot read the audit log {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ReadError {}

/// Walks the segments that were there when it began.
pub(super) struct Walker {
    folder: PathBuf,
    /// Last first.
    left: Vec<u64>,
    open: Option<Open>,
    line: Vec<u8>,
    /// Where the chain should go on; `None` after a line that says nothing about that.
    link: Option<Link>,
    patience: u32,
    pub(super) files: u64,
}

/// The segment that is being read.
struct Open {
    path: PathBuf,
    reader: BufReader<File>,
    /// Number of the line read last.
    number: u64,
}

/// One line.
pub(super) struct Step<'a> {
    /// Its segment.
    pub(super) path: &'a Path,
    /// Its number there.
    pub(super) number: u64,
    /// Without its newline.
    pub(super) bytes: &'a [u8],
    /// What it says; `None` if it cannot be read.
    pub(super) line: Option<Line<'a>>,
    /// What is wrong with it, or with the chain at this place.
    pub(super) fault: Option<Fault>,
}

impl Step<'_> {
    /// The fault with its place.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.fault.map(|fault| Broken { file: self.path.to_owned(), line: self.number, fault })
    }
}

impl Walker {
    /// At the beginning of the log in `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self, ReadError> {
        Self::with(folder, PATIENCE)
    }

    /// With another patience.
    pub(super) fn with(folder: &Path, patience: u32) -> Result<Self, ReadError> {
        let mut left = segment::numbers(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::NoLog { folder: folder.to_owned() },
            _ => ReadError::Io { path: folder.to_owned(), error },
        })?;
        if left.is_empty() {
            return Err(ReadError::NoLog { folder: folder.to_owned() });
        }
        left.reverse();
        let folder = folder.to_owned();
        Ok(Self { folder, left, open: None, line: Vec::new(), link: Some(Link::START), patience, files: 0 })
    }

    /// The next line; `None` after the last.
    pub(super) fn step(&mut self) -> Result<Option<Step<'_>>, ReadError> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                closed => {
                    let Some(number) = self.left.pop() else { return Ok(None) };
                    let path = self.folder.join(segment::name(number));
                    let file = segment::open(&path).map_err(|error| ReadError::Io { path: path.clone(), error })?;
                    self.files += 1;
                    closed.insert(Open { path, reader: BufReader::with_capacity(1 << 18, file), number: 0 })
                }
            };
            self.line.clear();
            let patience = if self.left.is_empty() { self.patience } else { 0 };
            let ended = read_line(&mut open.reader, &mut self.line, patience);
            let ended = ended.map_err(|error| ReadError::Io { path: open.path.clone(), error })?;
            if self.line.is_empty() && ended == Ended::Early {
                self.open = None;
                continue;
            }
            open.number += 1;
            break Ok(Some(self.judge(ended)));
        }
    }

    /// Compares the line that was read with the chain, which goes on behind it whatever is wrong with it.
    fn judge(&mut self, ended: Ended) -> Step<'_> {
        let (path, number) = self.open.as_ref().map_or((self.folder.as_path(), 0), |open| (&open.path, open.number));
        let bytes = self.line.as_slice();
        let line = if ended == Ended::Whole { Line::read(bytes) } else { None };
        let fault = match (ended, &line) {
            (Ended::TooLong, _) => Some(Fault::TooLong),
            (Ended::Early, _) => Some(Fault::Torn),
            (Ended::Whole, None) => Some(Fault::NotALine),
            (Ended::Whole, Some(line)) => fault(line, self.link),
        };
        self.link = line.as_ref().map(Line::link);
        Step { path, number, bytes, line, fault }
    }
}

/// What is wrong with a line that should go on from `link`.
fn fault(line: &Line<'_>, link: Option<Link>) -> Option<Fault> {
    if !line.is_whole() {
        return Some(Fault::Edited { says: line.head.hash, gives: line.computed });
    }
    let link = link?;
    let (expected, found) = (link.head.seq.saturating_add(1), line.head.seq);
    if found > expected {
        Some(Fault::Missing { expected, found })
    } else if found < expected {
        Some(Fault::OutOfOrder { expected, found })
    } else if line.prev != link.whole {
        Some(Fault::Unchained { says: line.prev, is: link.whole })
    } else {
        None
    }
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// With a newline, which is taken away.
    Whole,
    /// With the file.
    Early,
    /// Not within the limit; the rest of it is skipped.
    TooLong,
}

/// Reads one line, waiting `patience` times for the rest of one that is being written.
fn read_line(reader: &mut BufReader<File>, line: &mut Vec<u8>, mut patience: u32) -> io::Result<Ended> {
    loop {
        let room = (MAX_LINE - line.len()) as u64;
        reader.by_ref().take(room).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Ended::Whole);
        }
        if line.len() >= MAX_LINE {
            reader.skip_until(b'\n')?;
            return Ok(Ended::TooLong);
        }
        if line.is_empty() || patience == 0 {
            return Ok(Ended::Early);
        }
        patience -= 1;
        thread::sleep(PAUSE);
    }
}
