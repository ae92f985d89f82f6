//! Where the socket lies, however long the path to it is.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Its name in `state_dir`.
pub const SOCKET: &str = "control.sock";
/// What fits into `sun_path` (unix(7)), the NUL at its end included.
const MAX_PATH: usize = 108;

/// A path to the socket that the system takes, valid for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Keeps the number in `path` open.
    _folder: Option<File>,
}

impl Place {
    /// Of the socket in `state_dir`.
    pub(super) fn of(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(SOCKET);
        if path.as_os_str().len() < MAX_PATH {
            return Ok(Self { path, _folder: None });
        }
        // Too long for the system: the folder by its descriptor is the same place in few letters.
        let folder = File::open(state_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
