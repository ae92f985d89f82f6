//! DNS over QUIC (RFC 9250): one query a stream, with its length before it.

use std::time::Duration;

use quinn::{ReadError, RecvStream, SendStream, VarInt};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::super::desk::{AtOnce, leave};
use super::Guest;
use crate::name::NameBuf;
use crate::stats::Counter;
use crate::wire::{self, STREAM_MAX};

/// DOQ_NO_ERROR
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);
/// DOQ_INTERNAL_ERROR
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
/// DOQ_PROTOCOL_ERROR
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
/// DOQ_EXCESSIVE_LOAD
pub(super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
/// DOQ_UNSPECIFIED_ERROR
const UNSPECIFIED_ERROR: VarInt = VarInt::from_u32(5);
/// The octets that say how long a message is.
const FRONT: usize = 2;

/// Why a stream gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The client breaks the rules: that ends the connection (RFC 9250 section 4.3.3).
    Protocol(&'static str),
    /// The client has gone, or takes the query back.
    Gone,
    /// The stream is reset with this code.
    Reset(VarInt),
}

/// Serves a connection until it ends.
pub(super) async fn serve(guest: &Guest) {
    let streams = async {
        while let Some(((send, receive), place)) = guest.next(accept(guest)).await {
            let guest = guest.clone();
            AtOnce.run(async move {
                let _place = place;
                stream(&guest, send, receive).await;
            });
        }
    };
    tokio::select! {
        () = streams => {}
        () = guest.end() => guest.finish().await,
    }
}

/// The next stream.
async fn accept(guest: &Guest) -> Option<(SendStream, RecvStream)> {
    guest.connection.accept_bi().await.ok()
}

/// Serves one stream.
async fn stream(guest: &Guest, mut send: SendStream, mut receive: RecvStream) {
    match answer(guest, &mut send, &mut receive).await {
        Ok(()) => guest.delivered(send.stopped()).await,
        Err(Fault::Gone) => {}
        Err(Fault::Protocol(why)) => {
            guest.desk.shared().decider.count(Counter::DoqMisused);
            guest.connection.close(PROTOCOL_ERROR, why.as_bytes());
        }
        Err(Fault::Reset(code)) => {
            // Closed already: then there is nothing to reset.
            let _ = receive.stop(code);
            let _ = send.reset(code);
        }
    }
}

/// Reads the query and sends the answer.
async fn answer(guest: &Guest, send: &mut SendStream, receive: &mut RecvStream) -> Result<(), Fault> {
    let patience = guest.patience();
    let reading = timeout(patience, read(receive)).await;
    let (frame, _leave) = reading.map_err(|_| Fault::Reset(UNSPECIFIED_ERROR))??;
    let query = message(&frame)?;
    let mut answer = guest.desk.answer(query, guest.peer(), FRONT).await.ok_or(Fault::Reset(INTERNAL_ERROR))?;
    let len = (answer.len() - FRONT) as u16;
    if let Some(front) = answer.first_chunk_mut::<FRONT>() {
        *front = len.to_be_bytes();
    }
    write(send, answer, patience).await
}

/// Everything up to the end of the stream.
async fn read(receive: &mut RecvStream) -> Result<(Vec<u8>, Option<SemaphorePermit<'static>>), Fault> {
    let (mut frame, mut held) = (Vec::new(), None);
    loop {
        match receive.read_chunk(FRONT + STREAM_MAX, true).await {
            Ok(Some(chunk)) => frame.extend_from_slice(&chunk.bytes),
            Ok(None) => return Ok((frame, held)),
            Err(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => return Err(Fault::Gone),
            Err(_) => return Err(Fault::Reset(INTERNAL_ERROR)),
        }
        if let Some(front) = frame.first_chunk::<FRONT>()
            && frame.len() > FRONT + usize::from(u16::from_be_bytes(*front))
        {
            return Err(Fault::Protocol("more than one query on a stream"));
        }
        if held.is_none() {
            held = leave(frame.len()).map_err(|_| Fault::Reset(EXCESSIVE_LOAD))?;
        }
    }
}

/// The query in a stream that has ended.
fn message(frame: &[u8]) -> Result<&[u8], Fault> {
    let (front, message) = frame.split_first_chunk::<FRONT>().ok_or(Fault::Protocol("the stream ends early"))?;
    if message.len() < usize::from(u16::from_be_bytes(*front)) {
        return Err(Fault::Protocol("the stream ends early"));
    }
    // RFC 9250 section 4.2.1.
    match message.first_chunk() {
        Some([0, 0]) if asks_keepalive(message) => Err(Fault::Protocol("edns-tcp-keepalive is for TCP")),
        Some([0, 0]) => Ok(message),
        Some(_) => Err(Fault::Protocol("the message ID is not 0")),
        None => Err(Fault::Protocol("no query")),
    }
}

/// It has an option that nobody may send here (RFC 9250 section 5.5.2).
fn asks_keepalive(message: &[u8]) -> bool {
    let query = wire::parse(message, &mut NameBuf::new());
    query.is_ok_and(|query| query.edns.is_some_and(|edns| edns.asks.keepalive))
}

/// Sends the answer, which ends the stream.
async fn write(send: &mut SendStream, answer: Vec<u8>, patience: Duration) -> Result<(), Fault> {
    match timeout(patience, send.write_chunk(answer.into())).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Fault::Gone),
        Err(_) => return Err(Fault::Reset(UNSPECIFIED_ERROR)),
    }
    send.finish().map_err(|_| Fault::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_one_whole_query_with_id_0() {
        assert_eq!(message(&[0, 3, 0, 0, 7]), Ok(&[0, 0, 7][..]));
        for frame in [&[][..], &[0], &[0, 3, 0, 0], &[0, 0], &[0, 1, 0], &[0, 3, 0, 1, 7], &[0, 2, 1, 0]] {
            assert!(matches!(message(frame), Err(Fault::Protocol(_))), "{frame:?}");
        }
    }

    #[test]
    fn what_is_for_tcp_alone_is_a_fault() {
        for (code, good) in [(11, false), (12, true)] {
            let mut query = wire::question(b"\x01a\0", 1);
            query[11] = 1;
            query.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, code, 0, 0]);
            let frame = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
            assert_eq!(message(&frame).is_ok(), good, "option {code}");
        }
    }
}
