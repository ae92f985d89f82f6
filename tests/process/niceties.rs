//! What answers say beside the answer, seen with dig and kdig: cookies, NSID, keepalive, padding, CH names; ANY; canary
//! names; the way to encrypted transports.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::client::{Ask, Reply, Tcp, Udp, rcode, rtype};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};

/// EDNS option: cookie.
const COOKIE: u16 = 10;
/// The secrets of two cookies.
const SECRETS: [&str; 2] = ["e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962"];

/// What a client prints; `None`, said aloud, where it is not installed, which in CI it must be.
fn run(client: &str, server: SocketAddr, arguments: &[&str]) -> Option<String> {
    let port = server.port().to_string();
    match Command::new(client).args(["@127.0.0.1", "-p", &port]).args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have {client}: {error}");
            eprintln!("skipped: no {client} here: {error}");
            None
        }
    }
}

/// `text` has all of these in it.
fn shows(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

/// A query with an option.
fn with(name: &str, qtype: u16, code: u16, data: &[u8]) -> Ask {
    let mut ask = Ask::new(name, qtype).edns();
    ask.edns.get_or_insert_default().options.push((code, data.to_vec()));
    ask
}

/// The cookie in an answer.
fn cookie(reply: &Reply) -> Vec<u8> {
    let edns = reply.edns.as_ref().unwrap_or_else(|| panic!("no OPT: {reply:?}"));
    let found = edns.options.iter().find(|(code, _)| *code == COOKIE);
    found.unwrap_or_else(|| panic!("no cookie: {reply:?}")).1.clone()
}

#[test]
fn every_answer_has_the_cookie_wherever_it_is_from() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("block", "block.txt", "");
    let server = Server::start(&folder, &setup);
    for (name, qtype) in [
        ("blocked.example", rtype::A),
        ("asked.example", rtype::A),
        ("asked.example", rtype::A),
        ("localhost", rtype::A),
        ("any.example", rtype::ANY),
        ("transfer.example", rtype::AXFR),
    ] {
        let ask = with(name, qtype, COOKIE, &[3; 8]);
        for reply in [server.ask(&ask), server.ask_tcp(&ask)] {
            let first = cookie(&reply);
            assert_eq!((first.len(), &first[..9]), (24, &[3, 3, 3, 3, 3, 3, 3, 3, 1][..]), "{name}");
            let again = server.ask(&with(name, qtype, COOKIE, &first));
            assert_eq!(cookie(&again), first, "{name}: the same while it is young");
        }
    }
    let wrong = server.ask(&with("asked.example", rtype::A, COOKIE, &[3; 9]));
    assert_eq!(wrong.rcode, rcode::FORMERR);
    server.stop();
    let queries = &folder.counters()["queries"];
    assert_eq!(
        (&queries["cookie_new"], &queries["cookie_valid"], &queries["cookie_wrong"]),
        (&12.into(), &12.into(), &0.into())
    );
}

#[test]
fn dig_and_kdig_learn_a_cookie_where_one_is_demanded() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let server = Server::start(&Folder::new(), &Setup::new(mock.address()).server("require_cookies = true"));
    let Some(text) = run("dig", server.udp[0], &["+cookie", "free.example", "A"]) else { return };
    shows(&text, &["BADCOOKIE, retrying", "status: NOERROR", "(good)", "198.51.100.7"]);
    let text = run("dig", server.udp[0], &["+cookie", "+nobadcookie", "free.example", "A"]).expect("it ran before");
    shows(&text, &["status: BADCOOKIE", "(good)"]);
    let text = run("dig", server.udp[0], &["+nocookie", "free.example", "A"]).expect("it ran before");
    shows(&text, &["status: NOERROR", "198.51.100.7"]);
    assert!(!text.contains("COOKIE"), "{text}");
    let text = run("dig", server.tcp[0], &["+tcp", "+cookie", "free.example", "A"]).expect("it ran before");
    shows(&text, &["status: NOERROR", "(good)"]);
    assert!(!text.contains("BADCOOKIE"), "{text}");
    let Some(text) = run("kdig", server.udp[0], &["+cookie", "free.example", "A"]) else { return };
    shows(&text, &["status: NOERROR", "198.51.100.7", "COOKIE:"]);
    server.stop();
}

#[test]
fn a_fleet_shares_secrets_and_changes_them_without_a_wrong_cookie() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let setup = Setup::new(mock.address()).server("cookie_secret_file = \"cookies\"\nrequire_cookies = true");
    let [one, two] = SECRETS;
    let start = |secrets: &str| {
        let folder = Folder::new();
        folder.write("cookies", secrets);
        Server::start(&folder, &setup)
    };
    let (first, second) = (start(&format!("{one}\n")), start(&format!("{one}\n{two}\n")));
    let fresh = |server: &Server, own: u8| {
        let reply = server.ask(&with("free.example", rtype::A, COOKIE, &[own; 8]));
        assert_eq!(reply.rcode, 23, "{reply:?}");
        cookie(&reply)
    };
    let good = |server: &Server, cookie: &[u8]| {
        server.ask(&with("free.example", rtype::A, COOKIE, cookie)).rcode == rcode::NOERROR
    };
    let old = fresh(&first, 1);
    assert!(good(&second, &old));
    // The lines are swapped, and the first server learns of it by SIGHUP.
    second.folder.write("cookies", format!("{two}\n{one}\n"));
    first.folder.write("cookies", format!("{two}\n{one}\n"));
    first.signal("HUP");
    second.signal("HUP");
    let changed = |server: &Server| {
        eventually(
            "cookies are made with the new secret",
            || fresh(server, 2)[8..] != old[8..] && !good_alone(one, &fresh(server, 2), &setup),
            String::new,
        );
    };
    changed(&first);
    changed(&second);
    let new = fresh(&first, 3);
    for server in [&first, &second] {
        assert!(good(server, &old) && good(server, &new));
    }
    // A file that makes no sense changes nothing.
    first.folder.write("cookies", "secret\n");
    first.signal("HUP");
    first.says("cookies:1:1: a cookie secret is 32 hexadecimal digits");
    assert!(good(&first, &old) && good(&first, &new));
    first.stop();
    second.stop();
    let folder = Folder::new();
    folder.write("cookies", "secret\n");
    let (code, said) = Server::refuses(&folder, &setup.text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cookies:1:1: a cookie secret is 32 hexadecimal digits"), "{said}");
}

/// Whether a server with this secret alone takes the cookie.
fn good_alone(secret: &str, cookie: &[u8], setup: &Setup) -> bool {
    let folder = Folder::new();
    folder.write("cookies", secret);
    let server = Server::start(&folder, setup);
    server.ask(&with("free.example", rtype::A, COOKIE, cookie)).rcode == rcode::NOERROR
}

#[test]
fn who_this_is_is_told_where_it_is_set_and_else_refused() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let told = Setup::new(mock.address()).server("nsid = \"ns1.almaty\"\nidentity = \"ns1\"\nversion = \"a resolver\"");
    let server = Server::start(&Folder::new(), &told);
    let Some(text) = run("dig", server.udp[0], &["+nsid", "free.example", "A"]) else { return };
    shows(&text, &["NSID: 6e 73 31 2e 61 6c 6d 61 74 79 (\"ns1.almaty\")", "198.51.100.7"]);
    for transport in ["+notcp", "+tcp"] {
        for (name, shown) in
            [("id.server", "\"ns1\""), ("hostname.bind", "\"ns1\""), ("version.bind", "\"a resolver\"")]
        {
            let text = run("dig", server.udp[0], &[transport, "+short", "CH", "TXT", name]).expect("it ran before");
            assert_eq!(text.trim(), shown, "{transport} {name}");
        }
    }
    let quiet = Server::start(&Folder::new(), &Setup::new(mock.address()));
    for name in ["id.server", "hostname.bind", "version.bind", "version.server"] {
        let text = run("dig", quiet.udp[0], &["CH", "TXT", name]).expect("it ran before");
        shows(&text, &["status: REFUSED", "ANSWER: 0"]);
    }
    let text = run("dig", quiet.udp[0], &["+nsid", "free.example"]).expect("it ran before");
    assert!(!text.contains("NSID"), "{text}");
}

#[test]
fn idle_time_is_told_over_tcp_and_any_is_answered_with_little() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("block", "block.txt", "").more("[server.tcp]\nidle = \"7500ms\"");
    let server = Server::start(&folder, &setup);
    for (name, qtype) in [("blocked.example", rtype::A), ("free.example", rtype::A)] {
        let ask = with(name, qtype, 11, &[]);
        let option = |reply: Reply| reply.edns.and_then(|edns| edns.options.into_iter().find(|(code, _)| *code == 11));
        assert_eq!(option(server.ask_tcp(&ask)), Some((11, vec![0, 75])), "{name}");
        assert_eq!(option(server.ask(&ask)), None, "{name}");
        assert_eq!(option(Tcp::to(server.tcp[0]).ask(&Ask::new(name, qtype).edns())), None, "only who asks is told");
    }
    let any = |name: &str| {
        let ask = Ask::new(name, rtype::ANY).edns();
        let (udp, tcp) = (server.ask(&ask), server.ask_tcp(&ask));
        assert_eq!(udp.clone().comparable(), tcp.comparable(), "{name}");
        udp
    };
    let free = any("free.example");
    assert_eq!((free.rcode, free.data(rtype::HINFO)), (rcode::NOERROR, vec!["RFC8482 "]), "{free:?}");
    let blocked = any("blocked.example");
    assert_eq!(
        (blocked.rcode, blocked.answers.len(), blocked.authorities.len()),
        (rcode::NOERROR, 0, 1),
        "{blocked:?}"
    );
    let asked = mock.total();
    any("free.example");
    assert_eq!(mock.total(), asked, "nobody is asked for ANY");
    let Some(text) = run("dig", server.tcp[0], &["+tcp", "+keepalive", "free.example", "A"]) else { return };
    shows(&text, &["TCP KEEPALIVE: 7.5 secs", "198.51.100.7"]);
    let text = run("dig", server.tcp[0], &["+tcp", "free.example", "ANY"]).expect("it ran before");
    shows(&text, &["\"RFC8482\" \"\""]);
}

#[test]
fn canary_names_are_denied_where_that_is_wanted_and_rules_go_first() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let names = ["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"];
    let plain = Server::start(&Folder::new(), &Setup::new(mock.address()));
    for name in names {
        assert!(plain.a(name).is_address("198.51.100.7"), "by default it is a name like others");
    }
    let folder = Folder::new();
    folder.write("block.txt", "mask.icloud.com\n");
    folder.write("allow.txt", "mask-h2.icloud.com\n");
    let lists = Setup::new(mock.address())
        .list("block", "block.txt", "answer = \"nxdomain\"")
        .list("allow", "allow.txt", "role = \"allow\"")
        .more("[local]\ncanary = [\"firefox\", \"icloud\"]");
    let asked = mock.total();
    let server = Server::start(&folder, &lists);
    for qtype in [rtype::A, rtype::AAAA, rtype::HTTPS] {
        let reply = server.ask(&Ask::new("Use-Application-DNS.net", qtype).edns());
        assert_eq!((reply.rcode, reply.answers.len(), reply.authorities.len()), (rcode::NOERROR, 0, 1), "{reply:?}");
    }
    assert_eq!(mock.total(), asked, "nobody else is asked");
    assert_eq!(server.a("mask.icloud.com").rcode, rcode::NXDOMAIN, "the list's answer");
    assert!(server.a("mask-h2.icloud.com").is_address("198.51.100.7"), "the exception counts");
    server.stop();
    let queries = &folder.counters()["queries"];
    assert_eq!((&queries["canary"], &queries["blocked"], &queries["local"]), (&3.into(), &1.into(), &0.into()));
    assert_eq!(folder.hits().len(), 1, "no list was hit for a canary name");
}

#[test]
fn clients_find_the_encrypted_transports_and_answers_there_are_padded() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    let pair = rcgen::generate_simple_self_signed(vec!["*.dns.example".into(), "dns.example".into()]);
    let pair = pair.expect("a certificate");
    folder.write("cert.pem", pair.cert.pem());
    folder.write("key.pem", pair.signing_key.serialize_pem());
    let listen = ["dot", "doh", "doh3", "doq"].map(|key| format!("{key} = [\"127.0.0.1:0\"]\n")).concat();
    let tls = format!("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n{listen}");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("block", "block.txt", "").more(&tls));
    let [dot, doh, doh3, doq] = ["dot", "doh", "doh3", "doq"].map(|transport| server.at(transport));
    let mut expected: Vec<(String, u16)> = vec![("dot".into(), dot.port()), ("doq".into(), doq.port())];
    match doh.port() == doh3.port() {
        true => expected.push(("h2,h3".into(), doh.port())),
        false => expected.extend([("h2".into(), doh.port()), ("h3".into(), doh3.port())]),
    }
    expected.sort();
    for owner in ["_dns.resolver.arpa", "_dns.dns.example"] {
        let reply = server.ask(&Ask::new(owner, rtype::SVCB).edns());
        let word = |text: &str, key: &str| {
            let found = text.split_whitespace().find_map(|word| word.strip_prefix(key));
            found.unwrap_or_else(|| panic!("no {key} in {text}")).replace('"', "")
        };
        let mut services = Vec::new();
        for text in reply.answers.iter().map(|rec| rec.data.as_str()) {
            assert!(text.contains(" dns.example. ") && text.contains("127.0.0.1"), "{text}");
            let alpn = word(text, "alpn=");
            assert_eq!(alpn.starts_with('h'), text.contains("/dns-query"), "{text}");
            services.push((alpn.trim_matches(',').to_owned(), word(text, "port=").parse().expect("a port")));
        }
        services.sort();
        assert_eq!(services, expected, "{reply:?}");
        assert_eq!(reply.additionals.iter().map(|rec| rec.data.as_str()).collect::<Vec<_>>(), ["127.0.0.1"]);
    }
    let other = server.ask(&Ask::new("other.resolver.arpa", rtype::SVCB));
    assert_eq!((other.rcode, mock.total()), (rcode::NXDOMAIN, 0), "never forwarded");
    if let Some(text) = run("dig", server.udp[0], &["_dns.resolver.arpa", "SVCB"]) {
        shows(&text, &[&format!("dns.example. alpn=\"dot\" port={} ipv4hint=127.0.0.1", dot.port())]);
    }
    for (name, address) in
        [("blocked.example", "0.0.0.0"), ("free.example", "198.51.100.7"), ("free.example", "198.51.100.7")]
    {
        for (way, to) in [("+tls", dot), ("+https", doh), ("+quic", doq)] {
            let Some(text) = run("kdig", to, &[way, "+padding", name, "A"]) else { return };
            shows(&text, &[address, "PADDING:", "Received 468 B"]);
            let text = run("kdig", to, &[way, "+nopadding", name, "A"]).expect("it ran before");
            shows(&text, &[address]);
            assert!(!text.contains("PADDING:"), "{text}");
        }
    }
    for (way, to) in [("+tls", dot), ("+https", doh)] {
        let asked = [way, "+keepalive", "+padding=128", "+cookie", "free.example", "A"];
        let Some(text) = run("dig", to, &asked) else { return };
        shows(&text, &["(good)", "PAD", "MSG SIZE  rcvd: 468"]);
        assert_eq!(text.contains("TCP KEEPALIVE: 10.0 secs"), way == "+tls", "{text}");
    }
    assert!(Udp::to(server.udp[0]).ask(&with("free.example", rtype::A, 12, &[0; 9])).expect("an answer").len < 100);
    server.stop();
}
