//! Sockets, ids and wrong answers, against a server that says what it is told to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::state::MAX_WRONG;
use super::*;
use crate::name::Name;
use crate::upstream::Ask;

/// A server on loopback that sends, for each query, what `answers` makes of it.
struct Plain {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(SocketAddr, u16)>>>,
    stop: Arc<AtomicBool>,
}

impl Plain {
    fn start(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        let plain = Self { address, seen: Arc::default(), stop: Arc::default() };
        let (seen, stop) = (Arc::clone(&plain.seen), Arc::clone(&plain.stop));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                seen.lock().unwrap_or_else(PoisonError::into_inner).push((client, id));
                for answer in answers(&buffer[..len]) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        plain
    }

    fn seen(&self) -> Vec<(SocketAddr, u16)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The query as an answer without records.
fn answer(query: &[u8]) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    bytes
}

/// The same with another id.
fn forged(query: &[u8], by: u8) -> Vec<u8> {
    let mut bytes = answer(query);
    bytes[1] ^= by;
    bytes
}

fn question(name: &str) -> Question {
    let name = Name::parse(name).expect("a name");
    Question::new(&Ask { name, qtype: 1, qclass: 1, dnssec_ok: false, checking_disabled: false }, true)
}

#[tokio::test]
async fn ports_change_and_ids_are_random() {
    let server = Plain::start(|query| vec![answer(query)]);
    let datagrams = Datagrams::new();
    let way = datagrams.add(server.address);
    for number in 0..300 {
        let reply = datagrams.ask(way, question(&format!("n{number}.example")), false, false).await;
        assert!(!reply.expect("an answer").cut);
    }
    let (mut ports, mut ids) = (HashMap::new(), Vec::new());
    for (client, id) in server.seen() {
        *ports.entry(client.port()).or_insert(0_u32) += 1;
        ids.push(id);
    }
    assert!(ports.len() >= 16, "one of many by chance: {ports:?}");
    assert!(ports.values().all(|&uses| uses <= socket::USES), "{ports:?}");
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 280, "{} ids", ids.len());
}

#[tokio::test]
async fn wrong_answers_are_counted_and_waited_past() {
    let other = question("other.example");
    let server = Plain::start(move |query| {
        let mut elsewhere = other.bytes().to_vec();
        elsewhere[..2].copy_from_slice(&query[..2]);
        vec![forged(query, 1), answer(&elsewhere), query.to_vec(), vec![0; 5], answer(query)]
    });
    let datagrams = Datagrams::new();
    let way = datagrams.add(server.address);
    let reply = datagrams.ask(way, question("some.example"), false, false).await.expect("the right one");
    assert_eq!(reply.bytes[2] & 0x80, 0x80);
    assert_eq!(datagrams.strange(), Strange { ignored: 4, attacked: 0 });
}

#[tokio::test]
async fn many_wrong_answers_are_an_attack() {
    let server = Plain::start(|query| (1..=MAX_WRONG).map(|by| forged(query, by)).collect());
    let datagrams = Datagrams::new();
    let way = datagrams.add(server.address);
    let reply = datagrams.ask(way, question("some.example"), false, false).await;
    assert_eq!(reply.expect_err("no answer"), Trouble::Attacked);
    assert_eq!(datagrams.strange().attacked, 1);
}

#[tokio::test]
async fn a_long_answer_is_known_to_be_cut() {
    let server = Plain::start(|query| vec![[answer(query), vec![0; 6000]].concat()]);
    let datagrams = Datagrams::new();
    let way = datagrams.add(server.address);
    assert!(datagrams.ask(way, question("some.example"), false, false).await.expect("an answer").cut);
}

#[tokio::test]
async fn a_dead_port_is_told_at_once_and_questions_given_up_leave_nothing() {
    let dead = {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        server.local_addr().expect("a bound socket has an address")
    };
    let silent = Plain::start(|_| Vec::new());
    let datagrams = Datagrams::new();
    let (dead, silent) = (datagrams.add(dead), datagrams.add(silent.address));
    let reply = datagrams.ask(dead, question("some.example"), false, false).await;
    assert_eq!(reply.expect_err("nobody is there"), Trouble::Unreachable);
    for number in 0..50 {
        let asking = datagrams.ask(silent, question(&format!("n{number}.example")), false, false);
        assert!(tokio::time::timeout(Duration::from_millis(1), asking).await.is_err());
    }
    assert_eq!(datagrams.0.0.lock().under_way(), (0, 0));
}
