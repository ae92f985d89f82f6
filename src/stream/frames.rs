//! What stands around a frame so that the next one can be told from it.

use super::{Kind, Target};

/// Digits of a length and a space.
const COUNT: usize = 8;

/// How frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// A newline behind each.
    Line,
    /// Its length in digits and a space before each (RFC 5425 section 4.3, RFC 6587 section 3.4.1).
    Counted,
    /// A datagram each.
    Datagram,
    /// Frame Streams: its length in four octets before each.
    Tap,
}

impl Framing {
    /// How a kind of stream does it.
    pub(super) fn of(kind: Kind, to: &Target) -> Self {
        match (kind, to) {
            (Kind::Dnstap, _) => Self::Tap,
            (_, Target::Udp(_)) | (Kind::Journald, _) => Self::Datagram,
            (_, Target::File(_) | Target::Stdout) | (Kind::Json, _) => Self::Line,
            (_, Target::Tcp(_)) => Self::Counted,
            // Local syslog sockets are datagram sockets.
            (_, Target::Unix(_)) => Self::Datagram,
        }
    }

    /// Empties `frame` but for the room that [`Self::finish`] needs at its beginning.
    pub(super) fn begin(self, frame: &mut Vec<u8>) {
        frame.clear();
        let room = match self {
            Self::Line | Self::Datagram => 0,
            Self::Counted => COUNT,
            Self::Tap => size_of::<u32>(),
        };
        frame.resize(room, 0);
    }

    /// The frame as it is to be written.
    pub(super) fn finish(self, frame: &mut Vec<u8>) -> &[u8] {
        match self {
            Self::Datagram => {}
            Self::Line => frame.push(b'\n'),
            Self::Tap => {
                if let Some((length, message)) = frame.split_first_chunk_mut() {
                    *length = (message.len() as u32).to_be_bytes();
                }
            }
            Self::Counted => return count(frame),
        }
        frame
    }
}

/// Writes the length of what stands behind the first [`COUNT`] octets before it, and says where that begins.
fn count(frame: &mut [u8]) -> &[u8] {
    let mut left = frame.len().saturating_sub(COUNT);
    let mut at = COUNT - 1;
    if let Some(space) = frame.get_mut(at) {
        *space = b' ';
    }
    // Seven digits are more than a frame ever has.
    while left > 0 && at > 0 {
        at -= 1;
        if let Some(digit) = frame.get_mut(at) {
            *digit = b'0' + (left % 10) as u8;
        }
        left /= 10;
    }
    frame.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_the_standards_have_them() {
        let mut frame = b"left over".to_vec();
        let mut framed = |framing: Framing, message: &[u8]| {
            framing.begin(&mut frame);
            frame.extend_from_slice(message);
            framing.finish(&mut frame).to_vec()
        };
        assert_eq!(framed(Framing::Line, b"abc"), b"abc\n");
        assert_eq!(framed(Framing::Datagram, b"abc"), b"abc");
        assert_eq!(framed(Framing::Tap, b"abc"), b"\0\0\0\x03abc");
        assert_eq!(framed(Framing::Counted, b"abc"), b"3 abc");
        for length in [1, 9, 10, 99, 100, 65_535, 1_000_000] {
            let message = vec![b'x'; length];
            let expected = [format!("{length} ").as_bytes(), &message].concat();
            assert_eq!(framed(Framing::Counted, &message), expected);
        }
    }
}
