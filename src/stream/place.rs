//! Where frames are written to: files, standard output, sockets.

mod datagrams;
mod lines;
mod socket;
mod tapes;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::frames::Framing;
use super::queue::Batch;
use super::{Kind, Settings, Target};
use datagrams::{Datagrams, To};
use lines::{Lines, Stdout};
use socket::{Address, Socket};
use tapes::Tapes;

/// Who takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(10);
/// How often one who waits for the other side looks whether it is over. Sockets have this as their timeout.
const LOOK: Duration = Duration::from_millis(250);

/// Somewhere to write frames to. Every call comes back, with an error if need be, soon after `stop` says so, unless the
/// kernel itself holds it.
pub(super) trait Place: Send {
    /// Connects, or opens the file.
    fn open(&mut self, stop: &dyn Fn() -> bool) -> io::Result<()>;

    /// Writes the frames of `batch` from number `from` on. After an error the place must be opened again.
    fn write(&mut self, batch: &Batch, from: usize, stop: &dyn Fn() -> bool) -> Wrote;

    /// Looks, about once a second, whether there is still somebody or something to write to.
    fn check(&mut self) -> io::Result<()>;

    /// Ends in an orderly way.
    fn close(&mut self);
}

/// What came of [`Place::write`].
#[derive(Debug, Default)]
pub(super) struct Wrote {
    /// Whole frames the system took.
    pub(super) sent: usize,
    /// Frames it took before of which it now says that nobody was there.
    pub(super) bounced: usize,
    /// Frames behind them that can never be written there.
    pub(super) refused: usize,
    /// Why not all of them. A frame that was cut by it is to be written again as a whole.
    pub(super) error: Option<io::Error>,
}

/// The place of a stream. Only files are opened already here, so that a mistake shows at once.
pub(super) fn open(settings: &Settings) -> io::Result<Box<dyn Place>> {
    let framing = Framing::of(settings.kind, &settings.to);
    Ok(match &settings.to {
        Target::File(path) if settings.kind == Kind::Dnstap => Box::new(Tapes::open(path, settings)?),
        Target::File(path) => Box::new(Lines::open(path, settings)?),
        Target::Stdout => Box::new(Stdout::default()),
        Target::Tcp(to) => Box::new(Socket::new(Address::Tcp(*to), framing)),
        Target::Udp(to) => Box::new(Datagrams::new(To::Udp(*to))),
        Target::Unix(path) if framing == Framing::Datagram => Box::new(Datagrams::new(To::Unix(path.clone()))),
        Target::Unix(path) => Box::new(Socket::new(Address::Unix(path.clone()), framing)),
    })
}

/// Like `Write::write_all` on something with the timeout [`LOOK`], but says how much was written, and gives up only after
/// [`STALL`] without progress.
fn write_all(to: &mut impl Write, bytes: &[u8], stop: &dyn Fn() -> bool) -> (usize, Option<io::Error>) {
    let mut written = 0;
    let mut moved = Instant::now();
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match to.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => {
                written += more;
                moved = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) && moved.elapsed() < STALL && !stop() => {}
            Err(error) if is_timeout(&error) => return (written, Some(stalled())),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Whether it only means that the time is over.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Nothing was taken for too long.
fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")
}
