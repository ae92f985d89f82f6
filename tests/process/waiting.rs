//! Very many queries that wait for a slow upstream.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::support::client::{Ask, Udp, rtype};
use crate::support::server::{Folder, Server, Setup, eventually};

/// Queries that wait.
const COUNT: u16 = 10_000;
/// Memory the server may have meanwhile, in KiB: 16 KiB a query and what it has without them.
const MEMORY: u64 = 200 << 10;

/// An upstream that keeps back what is asked for names that begin with `n`, until told to answer.
struct Gate {
    address: SocketAddr,
    names: Arc<Mutex<HashSet<Vec<u8>>>>,
    open: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Gate {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        let gate = Self { address, names: Arc::default(), open: Arc::default(), stop: Arc::default() };
        let (names, open, stop) = (Arc::clone(&gate.names), Arc::clone(&gate.open), Arc::clone(&gate.stop));
        thread::spawn(move || {
            let mut held: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                if open.load(Ordering::Relaxed) {
                    for (reply, client) in held.drain(..held.len().min(50)) {
                        let _ = socket.send_to(&reply, client);
                    }
                }
                let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
                let reply = answer(&buffer[..len]);
                let name = &buffer[12..len];
                if buffer[13] == b'n' {
                    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                    names.lock().unwrap_or_else(PoisonError::into_inner).insert(name[..end].to_vec());
                    held.push((reply, client));
                } else {
                    let _ = socket.send_to(&reply, client);
                }
            }
        });
        gate
    }

    fn count(&self) -> usize {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn asked_for(&self, name: &str) -> bool {
        let wire = crate::support::client::wire(name);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(wire.strip_suffix(&[0]).unwrap_or(&wire))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// 192.0.2.4 for any question, without an OPT.
fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).expect("a name ends") + 5;
    let mut reply = query[..end].to_vec();
    reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend(*b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x04");
    reply
}

fn name(number: u16) -> String {
    format!("n{number}.example")
}

#[test]
fn ten_thousand_queries_wait_and_others_are_answered_meanwhile() {
    let gate = Gate::start();
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(gate.address).upstream("timeout = \"30s\"").list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    assert!(server.a("cached.example").is_address("192.0.2.4"));
    let client = Udp::to(server.udp[0]);
    let send = |number: u16| {
        let mut ask = Ask::new(&name(number), rtype::A);
        ask.id = number;
        client.send(&ask.bytes());
    };
    // A burst larger than a socket's buffer loses some, as on any network; who asked asks again, but not before it is
    // clear that no more of the first round arrive: questions that join others take places too.
    let mut left: Vec<u16> = (0..COUNT).collect();
    eventually(
        "all are asked for",
        || {
            left.retain(|&number| !gate.asked_for(&name(number)));
            for chunk in left.chunks(100) {
                chunk.iter().for_each(|&number| send(number));
                thread::sleep(Duration::from_millis(2));
            }
            let mut known = None;
            while known.replace(gate.count()) != Some(gate.count()) {
                thread::sleep(Duration::from_millis(300));
            }
            left.is_empty()
        },
        || server.stderr(),
    );
    // All ten thousand wait now.
    assert!(server.a("blocked.example").is_address("0.0.0.0"));
    assert!(server.a("cached.example").is_address("192.0.2.4"));
    assert!(server.ask_tcp(&Ask::new("cached.example", rtype::A)).is_address("192.0.2.4"));
    let reply = server.a("passed.example");
    assert!(reply.is_address("192.0.2.4"), "and there is room for more: {reply:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux tells");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let memory: u64 = memory.expect("a number");
    assert!(memory < MEMORY, "{memory} KiB");
    gate.open.store(true, Ordering::Relaxed);
    for number in 0..COUNT {
        let reply = server.a(&name(number));
        assert!(reply.is_address("192.0.2.4"), "{number}: {reply:?}");
    }
    server.stop();
    let queries = &folder.counters()["queries"];
    assert_eq!((queries["failed"].as_u64(), queries["overloaded"].as_u64()), (Some(0), Some(0)), "{queries}");
}
