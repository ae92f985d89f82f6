//! Groups of clients that are told apart by the server name they ask for, or by the path.

use crate::dot::Dot;
use crate::support::client::{Ask, Reply, rtype};
use crate::support::encrypted::{Http1, Quic, encrypted, parameter, tls_by};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};

/// What the group gets for a name on its list, and everybody else for one on the other.
const KIDS: &str = "192.0.2.53";
const ALL: &str = "0.0.0.0";
/// What is not blocked.
const FREE: &str = "198.51.100.7";

/// What came, as an address.
fn address(reply: &Reply) -> String {
    reply.data(rtype::A).join(" ")
}

/// Both names asked over one connection.
fn both(mut ask: impl FnMut(&Ask) -> Reply) -> [String; 2] {
    ["ads.example", "adult.example"].map(|name| address(&ask(&Ask { id: 0, ..Ask::new(name, rtype::A) })))
}

#[test]
fn clients_come_through_doors_by_name_and_by_path() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("ads.txt", "ads.example\n");
    folder.write("adult.txt", "adult.example\n");
    let groups = concat!(
        "[[clients]]\nname = \"all\"\nfrom = [\"127.0.0.0/8\"]\nlists = [\"ads\"]\n",
        "[[clients]]\nname = \"kids\"\nvia = [\"kids\"]\nlists = [\"adult\"]\nanswer = { ipv4 = [\"192.0.2.53\"] }\n",
    );
    let setup = Setup::new(mock.address()).list("ads", "ads.txt", "").list("adult", "adult.txt", "").more(groups);
    let server = Server::start(&folder, &encrypted(setup, &folder));
    let (kids, others) = ([FREE, KIDS], [ALL, FREE]);
    for (name, gets) in [
        ("kids.dns.example", kids),
        ("KIDS.dns.example", kids),
        ("dns.example", others),
        ("nobody.dns.example", others),
        ("localhost", others),
    ] {
        let mut dot = Dot(tls_by(server.at("dot"), &folder, "dot", name));
        assert_eq!(both(|ask| dot.ask(ask).expect("an answer")), gets, "DoT by {name}");
        let doq = Quic::by(server.at("doq"), &folder, "doq", name).expect("a connection");
        assert_eq!(both(|ask| doq.ask(ask)), gets, "DoQ by {name}");
        let mut http = Http1(tls_by(server.at("doh"), &folder, "http/1.1", name));
        let mut get = |path: &str, ask: &Ask| {
            let query = parameter(&ask.bytes());
            http.send(format!("GET {path}?dns={query} HTTP/1.1\r\nHost: dns.example\r\n\r\n"));
            Reply::read(&http.page().expect("an answer").body)
        };
        assert_eq!(both(|ask| get("/dns-query", ask)), gets, "DoH by {name}");
        assert_eq!(both(|ask| get("/dns-query/kids", ask)), kids, "the path goes before the name");
        assert_eq!(both(|ask| get("/dns-query/nobody", ask)), gets, "but not one that nobody has");
    }
    let mut http3 = Quic::http3(server.at("doh3"), &folder);
    let mut get = |path: &str, ask: &Ask| {
        let path = format!("{path}?dns={}", parameter(&ask.bytes()));
        Reply::read(&http3.request("GET", &path, &[]).expect("an answer").body)
    };
    assert_eq!(both(|ask| get("/dns-query", ask)), others);
    assert_eq!(both(|ask| get("/dns-query/Kids", ask)), kids);
}
