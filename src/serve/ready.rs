//! The ready file: who waits for us learns the addresses from it.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The ready file cannot be written.
#[derive(Debug)]
pub struct ReadyError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for ReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(
            f,
            "cannot write the ready file {path}: {}; create its folder, or change [server] ready_file",
            self.error
        )
    }
}

impl std::error::Error for ReadyError {}

/// The file's content.
#[derive(Serialize)]
struct Ready {
    pid: u32,
    listen: Vec<Listening>,
}

/// One address.
#[derive(Serialize)]
struct Listening {
    transport: &'static str,
    address: SocketAddr,
}

/// Writes the file whole: under another name first, then renamed.
///
/// # Errors
/// [`ReadyError`] names the path.
pub fn write(path: &Path, addresses: &[(&'static str, SocketAddr)]) -> Result<(), ReadyError> {
    let listen = addresses.iter().map(|&(transport, address)| Listening { transport, address }).collect();
    let ready = Ready { pid: std::process::id(), listen };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let put = || -> io::Result<()> {
        let mut text = serde_json::to_vec(&ready)?;
        text.push(b'\n');
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, path)
    };
    put().map_err(|error| ReadyError { path: path.to_owned(), error })
}
