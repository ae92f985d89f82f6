//! An HTTP client that sends what it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::server::DEADLINE;

/// What came back.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    /// The value of a header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Asks for a page.
pub fn get(server: SocketAddr, path: &str) -> Response {
    get_with(server, path, "")
}

/// Asks for a page, with more headers.
pub fn get_with(server: SocketAddr, path: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{headers}\r\n");
    exchange(server, request.as_bytes()).unwrap_or_else(|| panic!("no answer to {request:?}"))
}

/// Sends these octets and reads to the end; none if the connection was cut without an answer.
pub fn exchange(server: SocketAddr, request: &[u8]) -> Option<Response> {
    let mut stream = connect(server);
    // It may be cut before all is sent; what was answered until then counts.
    let _ = stream.write_all(request);
    read(&mut stream)
}

/// Reads an answer to its end.
pub fn read(stream: &mut TcpStream) -> Option<Response> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!timed_out, "the connection stays open; it said {:?}", String::from_utf8_lossy(&bytes));
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Some(Response { status, head: head.to_owned(), body: body.to_owned() })
}
