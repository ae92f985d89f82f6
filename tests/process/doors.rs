//! Clients told apart by the door they come through: the path of DoH, the server's name in TLS.

use std::io::{Read, Write};

use crate::support::client::{Ask, Reply, rtype};
use crate::support::encrypted::{DNS_MESSAGE, Http1, Quic, encrypted, parameter, tls_by_name};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// All clients here have the address of the group that is exempt, unless a door says more.
const GROUPS: &str = concat!(
    "[[clients]]\nname = \"kids\"\nvia = [\"kids\"]\nanswer = { ipv4 = [\"192.0.2.53\"] }\n",
    "[[clients]]\nname = \"here\"\nfrom = [\"127.0.0.0/8\"]\nexempt = true\n",
);

/// A query with ID 0.
fn query() -> Ask {
    Ask { id: 0, ..Ask::new("blocked.example", rtype::A).edns() }
}

/// What comes to a client of DoH that asks at this path, on a connection to a server of this name.
fn by_path(server: &Server, name: &'static str, path: &str) -> Reply {
    let mut http = Http1(tls_by_name(name, server.at("doh"), &server.folder, "http/1.1"));
    http.send(format!("GET {path}?dns={} HTTP/1.1\r\nHost: dns.example\r\n\r\n", parameter(&query().bytes())));
    let get = http.page().expect("an answer");
    assert_eq!((get.status, get.header("content-type")), (200, DNS_MESSAGE), "{path}");
    Reply::read(&get.body)
}

/// What comes to a client of DoT.
fn by_dot(server: &Server, name: &'static str) -> Reply {
    let mut stream = tls_by_name(name, server.at("dot"), &server.folder, "dot");
    let message = query().bytes();
    stream.write_all(&(message.len() as u16).to_be_bytes()).and_then(|()| stream.write_all(&message)).expect("taken");
    let mut front = [0; 2];
    stream.read_exact(&mut front).expect("an answer");
    let mut answer = vec![0; usize::from(u16::from_be_bytes(front))];
    stream.read_exact(&mut answer).expect("all of it");
    Reply::read(&answer)
}

#[test]
fn a_door_says_whose_client_it_is_over_every_encrypted_transport() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("block", "block.txt", "").more(GROUPS);
    let server = Server::start(&folder, &encrypted(setup, &folder));
    assert!(server.a("blocked.example").is_address(FREE), "by its address");
    for (name, path, address) in [
        ("dns.example", "/dns-query", FREE),
        ("dns.example", "/dns-query/kids", "192.0.2.53"),
        ("dns.example", "/dns-query/KIDS", "192.0.2.53"),
        ("dns.example", "/dns-query/nobody", FREE),
        ("kids.dns.example", "/dns-query", "192.0.2.53"),
        ("kids.dns.example", "/dns-query/nobody", "192.0.2.53"),
        ("nobody.dns.example", "/dns-query", FREE),
    ] {
        assert!(by_path(&server, name, path).is_address(address), "{name} {path}");
    }
    for (name, address) in [("dns.example", FREE), ("kids.dns.example", "192.0.2.53"), ("nobody.dns.example", FREE)] {
        assert!(by_dot(&server, name).is_address(address), "{name} by DoT");
        let quic = Quic::by_name(name, server.at("doq"), &folder, "doq").expect("a handshake");
        assert!(quic.ask(&query()).is_address(address), "{name} by DoQ");
    }
    let mut http3 = Quic::http3(server.at("doh3"), &folder);
    for (path, address) in [("/dns-query", FREE), ("/dns-query/kids", "192.0.2.53")] {
        let page = http3.request("POST", path, &query().bytes()).expect("an answer");
        assert!(page.status == 200 && Reply::read(&page.body).is_address(address), "{path} by HTTP/3");
    }
    server.stop();
    let groups = folder.counters()["groups"].clone();
    assert_eq!(
        (&groups[1]["name"], &groups[1]["queries"], &groups[1]["blocked"]),
        (&"kids".into(), &7.into(), &7.into())
    );
    assert!(folder.hits().iter().all(|hit| hit["group"] == "kids") && folder.hits().len() == 7);
}
