//! The yardstick: flips the QR bit and sends back, 32 messages a call. What a server costs on top of it is its own.
//!
//! `echo [--listen 127.0.0.1:0]`; prints the address.

use std::net::UdpSocket;

use crate::args::{Args, Result};
use crate::batch::{Batch, With};

/// Serves until it is ended.
pub fn run(args: &Args) -> Result<()> {
    let socket = UdpSocket::bind(args.get("listen", "127.0.0.1:0".to_owned())?)?;
    println!("{}", socket.local_addr()?);
    let mut batch = Batch::new();
    loop {
        let count = batch.receive(&socket, With::Addresses, true)?;
        for index in 0..count {
            let (bytes, _) = batch.slot(index);
            bytes[2] ^= 0x80;
        }
        batch.send(&socket, With::Addresses, count)?;
    }
}
