//! The server's end: connections in, requests on to who can answer them.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::api::{Answer, Asked, Refused, Request, Who};
use super::place::{Place, SOCKET};

/// Longer requests are refused.
const MAX_REQUEST: u64 = 1 << 20;
/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// Requests that wait to be answered.
const QUEUE: usize = 32;

/// The socket of a running server. Dropping it ends it and removes the file.
#[derive(Debug)]
pub struct Socket {
    place: Place,
    task: JoinHandle<()>,
}

impl Socket {
    /// Listens in `state_dir`; requests come out of the receiver. Needs a tokio runtime.
    ///
    /// # Errors
    /// Another server uses the folder, or the system refuses.
    pub fn open(state_dir: &Path) -> Result<(Self, mpsc::Receiver<Asked>), SocketError> {
        let shown = state_dir.join(SOCKET);
        let fail = |error| SocketError::Io(shown.clone(), error);
        let place = Place::of(state_dir).map_err(fail)?;
        match std::os::unix::net::UnixStream::connect(place.path()) {
            Ok(_) => return Err(SocketError::InUse(state_dir.to_owned())),
            // What a killed server left.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(place.path()).map_err(fail)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(place.path()).map_err(fail)?;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o600)).map_err(fail)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = tokio::spawn(accept(listener, sender));
        Ok((Self { place, task }, receiver))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(self.place.path());
    }
}

/// Takes connections for as long as somebody answers.
async fn accept(listener: UnixListener, sender: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No descriptors left, most likely: serving DNS goes on, and so does this.
                tracing::warn!(%error, "the control socket cannot take a connection; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let _place = place;
            // A client that goes away in the middle of its own request is nobody's loss.
            let _ = serve(stream, &sender).await;
        });
    }
}

/// Answers the requests of one connection, one after another.
async fn serve(stream: UnixStream, sender: &mpsc::Sender<Asked>) -> io::Result<()> {
    let who = Who { user: user_name(stream.peer_cred()?.uid()) };
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(MAX_REQUEST);
        match timeout(IDLE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(Err(error)) => return Err(error),
            _ => return Ok(()),
        }
        let whole = line.last() == Some(&b'\n');
        let answer =
            if whole { answer(&line, &who, sender).await } else { refuse("the request is cut off or too long") };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        timeout(IDLE, writer.write_all(&text)).await??;
        if !whole {
            return Ok(());
        }
    }
}

/// The answer to one line.
async fn answer(line: &[u8], who: &Who, sender: &mpsc::Sender<Asked>) -> Answer {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return refuse(&format!("not a request this version of qalqan knows: {error}")),
    };
    let (reply, answered) = oneshot::channel();
    if sender.send(Asked { request, who: who.clone(), reply }).await.is_err() {
        return refuse("the server is stopping");
    }
    match answered.await {
        Ok(result) => result.into(),
        Err(_) => refuse("the server is stopping, and may or may not have done it"),
    }
}

/// An answer that says no.
fn refuse(why: &str) -> Answer {
    Err(Refused(why.into())).into()
}

/// What the system calls a user.
fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    known.unwrap_or_else(|| format!("uid {uid}"))
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum SocketError {
    /// A server answers on it.
    InUse(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(state_dir) => write!(
                f,
                "another server uses the state folder {} already; stop it, or give each its own state_dir",
                state_dir.display()
            ),
            Self::Io(path, error) => {
                write!(f, "cannot listen at the control socket {}: {error}; make its folder writable", path.display())
            }
        }
    }
}

impl std::error::Error for SocketError {}
