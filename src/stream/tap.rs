//! Frame Streams, the protocol dnstap goes over: control frames, and what is said with them.
//!
//! A control frame is an empty frame (length 0) followed by its own length, its type and its fields, all numbers of four
//! octets in network order. Writer and reader agree on what the frames hold before the first (READY, ACCEPT, START); at
//! the end comes STOP, and FINISH back. In a file there are only START and STOP.

use std::io::{self, Read};

/// What our frames hold.
pub(super) const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";
/// A control frame may be no longer.
const MOST: usize = 512;
/// The field of a control frame that names a content type.
const CONTENT_TYPE: u32 = 1;

/// Control frames.
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;

/// "I have this; do you take it?"
pub(super) fn ready() -> Vec<u8> {
    control(READY, Some(CONTENT))
}

/// "Here it comes."
pub(super) fn start() -> Vec<u8> {
    control(START, Some(CONTENT))
}

/// "That was all."
pub(super) fn stop() -> Vec<u8> {
    control(STOP, None)
}

/// Reads the answer to [`ready`].
///
/// # Errors
/// The reader takes something else, does not speak this protocol, or does not answer.
pub(super) fn read_accept(from: &mut impl Read) -> io::Result<()> {
    let frame = read_control(from)?;
    let (kind, mut fields) = number(&frame).ok_or_else(foreign)?;
    if kind != ACCEPT {
        return Err(foreign());
    }
    let mut types = 0;
    while let Some((CONTENT_TYPE, rest)) = number(fields) {
        let (length, rest) = number(rest).ok_or_else(foreign)?;
        let (content, rest) = rest.split_at_checked(length as usize).ok_or_else(foreign)?;
        if content == CONTENT {
            return Ok(());
        }
        types += 1;
        fields = rest;
    }
    // Who names nothing takes anything.
    if types == 0 { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "the reader does not take dnstap")) }
}

/// Reads the answer to [`stop`].
///
/// # Errors
/// The reader says something else, or nothing.
pub(super) fn read_finish(from: &mut impl Read) -> io::Result<()> {
    let frame = read_control(from)?;
    if number(&frame).is_some_and(|(kind, _)| kind == FINISH) { Ok(()) } else { Err(foreign()) }
}

/// A control frame with one content type or none.
fn control(kind: u32, content: Option<&[u8]>) -> Vec<u8> {
    let mut fields = kind.to_be_bytes().to_vec();
    if let Some(content) = content {
        fields.extend_from_slice(&CONTENT_TYPE.to_be_bytes());
        fields.extend_from_slice(&(content.len() as u32).to_be_bytes());
        fields.extend_from_slice(content);
    }
    [&0_u32.to_be_bytes()[..], &(fields.len() as u32).to_be_bytes(), &fields].concat()
}

/// Reads a control frame: its type and fields.
fn read_control(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    let (escape, rest) = number(&head).ok_or_else(foreign)?;
    let length = number(rest).map_or(0, |(length, _)| length as usize);
    if escape != 0 || !(4..=MOST).contains(&length) {
        return Err(foreign());
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// A number and what follows it.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Not what a reader of Frame Streams would say.
fn foreign() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the reader does not speak Frame Streams")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_frames_octet_by_octet() {
        let expected = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
        assert_eq!(ready(), expected, "as fstrm_capture -ddddd shows it");
        assert_eq!(stop(), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
    }

    #[test]
    fn a_reader_must_take_what_we_have() {
        let accept = |content: Option<&[u8]>| read_accept(&mut &control(ACCEPT, content)[..]);
        assert!(accept(Some(CONTENT)).is_ok() && accept(None).is_ok());
        assert!(accept(Some(b"protobuf:other")).is_err());
        let several = [control(ACCEPT, Some(b"x")), CONTENT_TYPE.to_be_bytes().to_vec()].concat();
        let mut both = [&several[..], &(CONTENT.len() as u32).to_be_bytes(), CONTENT].concat();
        both[7] += 8 + CONTENT.len() as u8;
        assert!(read_accept(&mut &both[..]).is_ok(), "any of several");
        for wrong in [&ready()[..], &stop(), b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0\0\0\0\xff\xff\xff\xff\0\0"]
        {
            assert!(read_accept(&mut &wrong[..]).is_err(), "{wrong:?}");
        }
        assert!(read_finish(&mut &control(FINISH, None)[..]).is_ok() && read_finish(&mut &stop()[..]).is_err());
    }

    proptest! {
        #[test]
        fn any_octets_are_an_answer_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..600)) {
            let framed = [&[0, 0, 0, 0, 0, 0, 2, 0][..], &octets].concat();
            // Never a panic, never more than is there.
            let _ = (read_accept(&mut &octets[..]), read_accept(&mut &framed[..]), read_finish(&mut &framed[..]));
        }
    }
}
