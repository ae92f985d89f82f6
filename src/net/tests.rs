//! Batches over real loopback sockets.

use std::net::{IpAddr, Ipv4Addr, UdpSocket as Client};
use std::time::Duration;

use super::*;

/// Serves `count` datagrams by sending each back with its client's port appended.
fn echo(socket: &UdpSocket, count: usize) {
    let mut batch = Batch::new();
    let mut poller = Poller::new([socket]);
    let mut served = 0;
    while served < count {
        poller.wait(1000);
        let done = batch.serve(socket, |datagram| {
            datagram.out[..datagram.message.len()].copy_from_slice(datagram.message);
            datagram.message.len()
        });
        match done {
            Ok(done) => served += done.received,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn a_hundred_datagrams_come_back_each_to_its_sender() {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    let server = socket.local();
    let clients: Vec<_> = (0..4).map(|_| Client::bind("127.0.0.1:0").expect("client")).collect();
    for round in 0..25_u8 {
        for (index, client) in clients.iter().enumerate() {
            client.send_to(&[index as u8, round], server).expect("send");
        }
    }
    echo(&socket, 100);
    for (index, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        for round in 0..25_u8 {
            let mut buffer = [0; 16];
            let (len, from) = client.recv_from(&mut buffer).expect("answer");
            assert_eq!((&buffer[..len], from), (&[index as u8, round][..], server));
        }
    }
}

#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    for (bind, asked) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1")] {
        let Ok(socket) = UdpSocket::bind(bind.parse().expect("an address")) else { continue };
        let asked = SocketAddr::new(asked.parse().expect("an address"), socket.local().port());
        let own = if asked.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
        let client = Client::bind(own).expect("client");
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        client.send_to(b"batch", asked).expect("send");
        echo(&socket, 1);
        let mut buffer = [0; 16];
        assert_eq!(client.recv_from(&mut buffer).expect("answer"), (5, asked));

        // The single send of the slow path takes the same way.
        let to = client.local_addr().expect("bound");
        let mut batch = Batch::new();
        client.send_to(b"single", asked).expect("send");
        Poller::new([&socket]).wait(1000);
        let mut source = None;
        batch
            .serve(&socket, |datagram| {
                source = datagram.source;
                0
            })
            .expect("one datagram");
        assert_eq!(source.map(|source| source.address), Some(asked.ip()));
        socket.send(b"single", to, source).expect("send");
        assert_eq!(client.recv_from(&mut buffer).expect("answer"), (6, asked));
    }
}

#[test]
fn an_address_in_use_is_noticed_in_spite_of_reuse_port() {
    let first = UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("bind");
    let error = UdpSocket::probe(first.local()).expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    UdpSocket::bind(first.local()).expect("a second worker may bind");
    assert_eq!(first.local().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

#[test]
fn this_host_has_the_name_the_system_says() {
    let said = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux says");
    assert_eq!(host_name().as_deref(), Some(said.trim()));
}

#[test]
fn a_reader_that_accepts_nobody_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reader");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    socket.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
    socket.listen(1).expect("listening");
    let tries: Vec<_> = (0..8).map(|_| connect_unix(&path, Duration::from_millis(20))).collect();
    let error = tries.iter().find_map(|tried| tried.as_ref().err()).expect("the backlog is full");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(tries[0].is_ok(), "the first found room");
}
