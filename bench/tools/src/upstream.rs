//! A server that knows every name: A is 192.0.2.1 for an hour, every other type has no record.
//!
//! `upstream [--listen 127.0.0.1:0]`; prints the address. Over TCP too, where the port is free for it: dnsdist hands on what came
//! over TCP by TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

use crate::args::{Args, Result};
use crate::batch::{Batch, SIZE, With};

/// The address record: pointer to the question, A, IN, 3600 s, 192.0.2.1.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1];
/// The start of authority of the root, for answers without a record.
const AUTHORITY: [u8; 33] = [
    0, 0, 6, 0, 1, 0, 0, 0x0e, 0x10, 0, 22, 0, 0, 0, 0, 0, 1, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0,
    0, 0x0e, 0x10,
];
/// An OPT record with nothing in it.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// Serves until it is ended.
pub fn run(args: &Args) -> Result<()> {
    let socket = UdpSocket::bind(args.get("listen", "127.0.0.1:0".to_owned())?)?;
    crate::batch::tune(&socket, false);
    if let Ok(listener) = TcpListener::bind(socket.local_addr()?) {
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| stream_answers(stream)))));
    }
    println!("{}", socket.local_addr()?);
    let mut batch = Batch::new();
    loop {
        let count = batch.receive(&socket, With::Addresses, true)?;
        for index in 0..count {
            let (bytes, length) = batch.slot(index);
            answer(bytes, length);
        }
        batch.send(&socket, With::Addresses, count)?;
    }
}

/// Answers one connection to its end.
fn stream_answers(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut front = [0; 2];
    let mut bytes = [0; SIZE];
    loop {
        stream.read_exact(&mut front)?;
        let mut length = usize::from(u16::from_be_bytes(front));
        // A query is far shorter; there must be room for the answer too.
        let Some(query) = bytes.get_mut(..length).filter(|query| (12..SIZE / 2).contains(&query.len())) else { return Ok(()) };
        stream.read_exact(query)?;
        answer(&mut bytes, &mut length);
        let mut frame = (length as u16).to_be_bytes().to_vec();
        frame.extend_from_slice(&bytes[..length]);
        stream.write_all(&frame)?;
    }
}

/// Turns a query into its answer; what cannot be read is sent back as a header that says so.
fn answer(bytes: &mut [u8; SIZE], length: &mut usize) {
    let message = &bytes[..*length];
    let mut at = 12;
    while let Some(&label) = message.get(at).filter(|&&label| label != 0) {
        at += 1 + usize::from(label);
    }
    let Some(&[0, kind_high, kind_low, _, _]) = message.get(at..at + 5) else {
        bytes[2] |= 0x80;
        bytes[3] = 1;
        bytes[4..12].fill(0);
        *length = 12;
        return;
    };
    let edns = message.get(10..12).is_some_and(|count| count != [0, 0]);
    let record: &[u8] = if [kind_high, kind_low] == [0, 1] { &ADDRESS } else { &AUTHORITY };
    let mut end = at + 5;
    for piece in [record, if edns { &OPT } else { &[] }] {
        bytes[end..end + piece.len()].copy_from_slice(piece);
        end += piece.len();
    }
    bytes[2] = 0x80 | bytes[2] & 1;
    bytes[3] = 0x80;
    let (answers, authorities) = if record.len() == ADDRESS.len() { (1, 0) } else { (0, 1) };
    bytes[4..12].copy_from_slice(&[0, 1, 0, answers, 0, authorities, 0, u8::from(edns)]);
    *length = end;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    #[test]
    fn an_address_is_an_answer_that_fits() {
        let query = Query::parse("m miss.example.net", true).unwrap();
        let mut bytes = [0; SIZE];
        let mut length = query.wire.len();
        bytes[..length].copy_from_slice(&query.wire);
        answer(&mut bytes, &mut length);
        assert!(query.fits(&bytes[..length]));
        assert_eq!(length, query.question_end + 16 + 11);
    }

    #[test]
    fn garbage_is_a_header() {
        let mut bytes = [0xff; SIZE];
        let mut length = 40;
        answer(&mut bytes, &mut length);
        assert_eq!((length, bytes[3]), (12, 1));
    }
}
