//! The shipped configuration and samples, seen with other people's clients.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, repository};

/// Where the shipped configuration listens and what it asks; the test changes nothing else.
const CHANGES: [(&str, &str); 3] = [
    ("listen = [\"127.0.0.1:5353\"]", "listen = [\"127.0.0.1:0\"]"),
    ("listen = [\"127.0.0.1:8053\"]", "listen = [\"127.0.0.1:0\"]"),
    ("ready_file = \"\"", "ready_file = \"ready.json\""),
];

/// The shipped files in a folder of their own.
fn shipped(mock: &Mock) -> (Arc<Folder>, Server) {
    let folder = Folder::new();
    let mut config = fs::read_to_string(repository().join("config.toml")).expect("the shipped configuration");
    let upstream = format!("servers = [\"udp://{}\"]", mock.address());
    for (from, to) in CHANGES.into_iter().chain([("servers = [\"system\"]", upstream.as_str())]) {
        assert_eq!(config.matches(from).count(), 1, "{from}");
        config = config.replace(from, to);
    }
    folder.write("config.toml", config);
    for source in ["blocklists", "blocklists/orders"] {
        for entry in fs::read_dir(repository().join(source)).expect("the samples").flatten() {
            if entry.path().is_file() {
                let name = entry.file_name().into_string().expect("UTF-8");
                folder.write(&format!("{source}/{name}"), fs::read(entry.path()).expect("read"));
            }
        }
    }
    let server = Server::start_as_is(&folder);
    (folder, server)
}

/// What a client prints; `None`, said aloud, where it is not installed, which in CI it must be.
fn run(client: &str, server: &Server, arguments: &[&str]) -> Option<String> {
    let port = server.udp[0].port().to_string();
    let output = Command::new(client).args(["@127.0.0.1", "-p", &port, "+edns=0"]).args(arguments).output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{client} {arguments:?}: {text}");
            Some(text)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have {client}: {error}");
            eprintln!("skipped: no {client} here: {error}");
            None
        }
    }
}

/// What both clients print for a sinkholed sample, over both transports.
fn shows_the_block(client: &str) {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = shipped(&mock);
    for name in ["coinbase.com", "www.coinbase.com"] {
        for transport in ["+notcp", "+tcp"] {
            let Some(text) = run(client, &server, &[transport, name, "A"]) else { return };
            let at = || format!("{client} {transport} {name}:\n{text}");
            assert!(text.contains("NOERROR") && text.contains("0.0.0.0"), "{}", at());
            assert!(text.contains("EDE: 16 (Censored)"), "{}", at());
            assert!(text.contains("Blocked by order SAMPLE-1 of Sample Authority (not a real order)"), "{}", at());
            assert!(text.contains(&format!("{name}.")) && !text.contains("WARNING"), "{}", at());
        }
    }
    let text = run(client, &server, &["free.example", "A"]).expect("it ran before");
    assert!(text.contains("198.51.100.7") && !text.contains("EDE"), "{text}");
    let text = run(client, &server, &["lifted.example", "A"]).expect("it ran before");
    assert!(text.contains("198.51.100.7"), "a revoked order blocks nothing: {text}");
    for name in ["exchange.example", "www.broker.example", "a.tenants.example"] {
        let text = run(client, &server, &["+short", name, "AAAA"]).expect("it ran before");
        assert_eq!(text.trim(), "::", "{name}");
    }
    for name in ["status.exchange.example", "tenants.example", "x.www.broker.example", "binance.kz"] {
        let text = run(client, &server, &["+short", name, "A"]).expect("it ran before");
        assert_eq!(text.trim(), "198.51.100.7", "{name}");
    }
    server.stop();
    let hits = folder.hits();
    assert_eq!(hits.len(), 7, "{hits:#?}");
    assert!(hits.iter().all(|hit| hit["client"] == "127.0.0.0/24"), "{hits:#?}");
}

#[test]
fn dig_shows_the_sample_order() {
    shows_the_block("dig");
}

#[test]
fn kdig_shows_the_sample_order() {
    shows_the_block("kdig");
}
