//! The certificate: made for trying, changed under a running server, broken, expired.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::dot::{Dot, figure, mock};
use crate::support::client::{Ask, rtype};
use crate::support::encrypted::{encrypted, tls, trusting};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup, eventually};

/// A list and every encrypted listener, in a folder.
fn setup(mock: &Mock, folder: &Folder) -> Setup {
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").admin("listen = [\"127.0.0.1:0\"]");
    encrypted(setup, folder)
}

/// A pair for `dns.example`, valid until the first day of this year.
fn pair(until: i32) -> (String, String) {
    let mut params = CertificateParams::new(["dns.example".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// Whether a client that trusts the certificate in the folder is served.
fn served(server: &Server) -> bool {
    asked(&mut Dot(tls(server.at("dot"), &server.folder, "dot")))
}

/// Whether there is an answer.
fn asked(dot: &mut Dot) -> bool {
    dot.ask(&Ask::new("blocked.example", rtype::A)).is_ok_and(|reply| reply.is_address("0.0.0.0"))
}

#[test]
fn a_pair_for_trying_is_made_once() {
    let folder = Folder::new();
    let args = ["cert", "--name", "Dns.Example", "--name", "192.0.2.53", "--out", "etc/tls"];
    let made = Ran::of(&folder, &args);
    assert_eq!(made.code, Some(0), "{made:?}");
    let modes = ["cert.pem", "key.pem"].map(|file| {
        let path = folder.path("etc/tls").join(file);
        assert!(made.stdout.contains(&path.display().to_string()), "{}", made.stdout);
        path.metadata().expect("it is there").permissions().mode() & 0o777
    });
    assert_eq!(modes[1], 0o600, "nobody else reads the key");
    assert_eq!(modes[0] & 0o644, modes[0], "nobody else writes the certificate");
    let before = ["etc/tls/cert.pem", "etc/tls/key.pem"].map(|file| folder.read(file));
    let again = Ran::of(&folder, &args);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(before, ["etc/tls/cert.pem", "etc/tls/key.pem"].map(|file| folder.read(file)));
    std::fs::remove_file(folder.path("etc/tls/cert.pem")).expect("it was there");
    assert_eq!(Ran::of(&folder, &args).code, Some(2), "nor is a key alone written over");
    assert!(!folder.path("etc/tls/cert.pem").exists());

    let bad = Ran::of(&folder, &["cert", "--name", "no name"]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("neither a domain name nor an IP address"), "{}", bad.stderr);
    assert!(!folder.path("tls").exists(), "nothing is left behind");

    folder.write("config.toml", "[tls]\ncertificate = \"x/cert.pem\"\nkey = \"x/key.pem\"\ndot = [\"127.0.0.1:0\"]");
    assert_eq!(Ran::of(&folder, &["cert", "--name", "dns.example", "--out", "x"]).code, Some(0));
    let report = Ran::of(&folder, &["check", "--json"]).json();
    let certificate = &report["certificate"];
    assert_eq!((&certificate["name"], &certificate["remark"]), (&"dns.example".into(), &serde_json::Value::Null));
    assert_eq!(certificate["names"], serde_json::json!(["dns.example", "*.dns.example", "localhost"]));
    assert!(certificate["days_left"].as_i64().is_some_and(|days| (363..=365).contains(&days)), "{certificate}");
}

#[test]
fn a_new_certificate_is_shown_at_once_and_a_broken_one_is_not() {
    let mock = mock();
    let folder = Folder::new();
    let server = Server::start(&folder, &setup(&mock, &folder));
    let first = Arc::new(trusting(&folder, "dot"));
    let mut kept = Dot(tls(server.at("dot"), &folder, "dot"));
    assert!(asked(&mut kept));
    let expiry = |server: &Server| figure(server, "qalqan_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry(&server), 67_090_118_400, "rcgen's own: until 4096");

    let (certificate, key) = pair(2055);
    folder.replace("key.pem", &key);
    folder.replace("cert.pem", &certificate);
    server.says("a new certificate is shown");
    assert!(served(&server), "by who trusts the new one");
    let stream = std::net::TcpStream::connect(server.at("dot")).expect("the server accepts");
    assert!(!asked(&mut Dot::over(stream, &first)), "not by who trusts the old one");
    assert!(asked(&mut kept), "who was there before stays");
    assert_eq!(expiry(&server), 2_682_374_400);

    // A key of another certificate, then no certificate at all.
    folder.replace("key.pem", pair(2055).1);
    server.says("cert.pem: its key is another than the one in");
    eventually("it is told", || figure(&server, "qalqan_tls_certificate_broken") == 1, || server.stderr());
    assert!(served(&server), "the last good one is shown");
    folder.replace("cert.pem", "-----BEGIN NOTHING-----\n-----END NOTHING-----\n");
    server.says("cert.pem: there is no certificate in it");
    assert!(served_with(&server, &certificate), "still");
    let check = server.run(&["check"]);
    assert_eq!(check.code, Some(2));
    assert!(check.stdout.contains("cert.pem: there is no certificate in it"), "{check:?}");
    server.signal("HUP");
    server.says("cannot be used; the last good one is shown");

    folder.replace("key.pem", &key);
    folder.replace("cert.pem", &certificate);
    eventually("it is well again", || figure(&server, "qalqan_tls_certificate_broken") == 0, || server.stderr());
    assert!(served(&server));
}

/// Whether a client is served that trusts this certificate, whatever stands in the folder.
fn served_with(server: &Server, certificate: &str) -> bool {
    let aside = Folder::new();
    aside.write("cert.pem", certificate);
    asked(&mut Dot(tls(server.at("dot"), &aside, "dot")))
}

#[test]
fn a_pair_that_cannot_be_used_is_told_with_all_else_that_is_wrong() {
    let folder = Folder::new();
    let config = "[upstream]\nservers = [\"udp://127.0.0.1:1\"]\n[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = []\n[tls]\ndot = [\"192.0.2.1:853\"]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    let refused = |says: &[&str]| {
        let (code, said) = Server::refuses(&folder, config);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cannot listen on 192.0.2.1:853 (DOT)") && said.contains("change [tls] dot"), "{said}");
        assert!(says.iter().all(|text| said.contains(text)), "{says:?}: {said}");
        let check = Ran::of(&folder, &["check"]);
        assert_eq!(check.code, Some(2));
        assert!(says.iter().all(|text| check.stdout.contains(text)), "{says:?}: {check:?}");
    };
    let (certificate, key) = pair(2055);
    refused(&["cannot read", "cert.pem", "No such file"]);
    folder.write("cert.pem", &certificate);
    refused(&["cannot read", "key.pem", "No such file"]);
    folder.write("key.pem", "");
    refused(&["key.pem: there is no private key in it"]);
    folder.write("key.pem", pair(2055).1);
    refused(&["cannot use the certificate", "cert.pem: its key is another than the one in", "key.pem"]);
    folder.write("key.pem", &key);
    folder.write("cert.pem", &key);
    refused(&["cert.pem: there is no certificate in it"]);
    folder.write("cert.pem", certificate.replacen("MII", "MIJ", 1));
    refused(&["cannot use the certificate", "cert.pem"]);
    folder.write("cert.pem", "x".repeat(2 << 20));
    refused(&["cert.pem: too large for a certificate"]);
}

#[test]
fn an_expired_certificate_is_said_and_the_rest_goes_on() {
    let mock = mock();
    let folder = Folder::new();
    let setup = setup(&mock, &folder);
    let (certificate, key) = pair(2021);
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &key);
    let server = Server::start(&folder, &setup);
    server.says("the certificate expired on 2021-01-01: clients refuse it; renew it");
    assert!(server.a("blocked.example").is_address("0.0.0.0"), "UDP does not mind");
    assert!(!served(&server), "clients do");
    let check = server.run(&["check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("the certificate expired on 2021-01-01"), "{check:?}");
    let before = server.stderr().matches("expired on").count();
    server.signal("HUP");
    eventually("it is said again", || server.stderr().matches("expired on").count() > before, || server.stderr());
}
