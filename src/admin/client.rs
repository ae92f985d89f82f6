//! The command line's end of the socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::api::{Answer, Request};
use super::place::{Place, SOCKET};

/// How long a request may take: a rollback of millions of names is compiled meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer answers are not ours.
const MAX_ANSWER: u64 = 256 << 20;

/// Asks the server whose state is in `state_dir`, and waits for its answer.
///
/// # Errors
/// See [`AskError`].
pub fn ask<T: DeserializeOwned>(state_dir: &Path, request: &Request) -> Result<T, AskError> {
    let answer = exchange(state_dir, request).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(state_dir.to_owned()),
        _ => AskError::Io(state_dir.join(SOCKET), error),
    })?;
    match answer {
        Answer::Ok(value) => serde_json::from_value(value).map_err(|_| AskError::OtherVersion),
        Answer::Error(why) => Err(AskError::Refused(why)),
    }
}

/// One line there, one line back.
fn exchange(state_dir: &Path, request: &Request) -> io::Result<Answer> {
    let place = Place::of(state_dir)?;
    let mut stream = UnixStream::connect(place.path())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Why the server gave no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens.
    NotRunning(PathBuf),
    /// The socket cannot be used.
    Io(PathBuf, io::Error),
    /// The server said no.
    Refused(String),
    /// The server answers what this program does not understand.
    OtherVersion,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(state_dir) => write!(
                f,
                "no server is running with the state folder {}; start it, or name its configuration with --config FILE",
                state_dir.display()
            ),
            Self::Io(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot use {}: {error}; run this as the server's user or as root", path.display())
            }
            Self::Io(path, error) => write!(f, "cannot ask the server at {}: {error}", path.display()),
            Self::Refused(why) => f.write_str(why),
            Self::OtherVersion => {
                f.write_str("the running server is of another version of qalqan; restart it, or use its own program")
            }
        }
    }
}

impl std::error::Error for AskError {}
