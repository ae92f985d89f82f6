//! `[tls]`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Limits, Table};
use super::values::{self, ValueError};
use crate::serve::TlsSettings;

/// How many addresses each transport may have.
const MAX_LISTEN: usize = 64;
/// `doh_path`: what RFC 8484 has in its examples, and what clients try.
const DOH_PATH: &str = "/dns-query";
/// The longest path.
const MAX_PATH: usize = 200;
/// `handshake`: a few round trips, however slow the line.
const HANDSHAKE: Limits<Duration> =
    Limits { default: Duration::from_secs(5), min: Duration::from_millis(100), max: Duration::from_secs(60) };
/// `max_handshakes`: some kilobytes each; a finished one takes a fraction of a second.
const MAX_HANDSHAKES: Limits<usize> = Limits { default: 1000, min: 1, max: 100_000 };

/// The section; `None` if nothing is to be encrypted. `plain` is where UDP and TCP are served.
pub(super) fn read(mut table: Table<'_>, folder: &Path, plain: &[SocketAddr]) -> Option<TlsSettings> {
    let file = |text: &str| -> Result<PathBuf, ValueError> { values::path(text).map(|path| folder.join(path)) };
    let certificate = table.text("certificate", file);
    let key = table.text("key", file);
    let name = table.text("name", values::name);
    let mut none = true;
    let mut addresses = |key| {
        let addresses = table.texts(key, 0..=MAX_LISTEN, values::listen);
        none &= addresses.is_none();
        addresses.unwrap_or_default()
    };
    let (dot, doh, doh3, doq) = (addresses("dot"), addresses("doh"), addresses("doh3"), addresses("doq"));
    let doh_path = table.text("doh_path", path).unwrap_or_else(|| DOH_PATH.into());
    let handshake = table.duration("handshake", HANDSHAKE);
    let max_handshakes = table.count("max_handshakes", MAX_HANDSHAKES);
    for (one, addresses, other, others) in [
        ("dot", &dot, "[tls] doh", &doh[..]),
        ("dot", &dot, "[server] listen", plain),
        ("doh", &doh, "[server] listen", plain),
        ("doh3", &doh3, "[tls] doq", &doq),
        ("doh3", &doh3, "[server] listen", plain),
        ("doq", &doq, "[server] listen", plain),
    ] {
        if let Some(both) = addresses.iter().find(|address| address.port() != 0 && others.contains(address)) {
            table.problem(format_args!("{both} stands in `{one}` and in {other}: give each a port of its own"));
        }
    }
    let settings = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            if none {
                table.problem(
                    "there is a certificate but no address to show it at: give one in `dot`, `doh`, `doh3` or `doq`",
                );
            }
            Some(TlsSettings { certificate, key, name, dot, doh, doh3, doq, doh_path, handshake, max_handshakes })
        }
        (None, None) => {
            if [&dot, &doh, &doh3, &doq].iter().any(|addresses| !addresses.is_empty()) {
                table.problem("`certificate` and `key` are needed; `qalqan cert` makes a pair for trying");
            }
            None
        }
        (certificate, _) => {
            let missing = if certificate.is_some() { "key" } else { "certificate" };
            table.problem(format_args!("`{missing}` is missing: a certificate and its key are given together"));
            None
        }
    };
    table.finish();
    settings
}

/// A path as it stands in a URL, of which there may be longer ones.
fn path(text: &str) -> Result<String, ValueError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    let parts = text.strip_prefix('/').map(|rest| rest.split('/'));
    let all_good = parts.is_some_and(|mut parts| parts.all(|part| !part.is_empty() && part.bytes().all(good)));
    if all_good && text.len() <= MAX_PATH { Ok(text.into()) } else { Err(ValueError::UrlPath) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::tests::{bad, good};

    #[test]
    fn encrypted_listeners_need_a_pair_and_a_port_of_their_own() {
        assert_eq!(good("[tls]\nhandshake = \"2s\"").server.tls, None);
        let pair = "[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\n";
        let text = format!("{pair}dot = [\"127.0.0.1:853\"]\ndoq = [\"127.0.0.1:853\"]\nname = \"Dns.Example\"");
        let tls = good(&text).server.tls.expect("set");
        assert_eq!((tls.certificate.as_path(), tls.key.as_path()), (Path::new("etc/c.pem"), Path::new("/k.pem")));
        assert_eq!((tls.dot.len(), tls.doh.len(), tls.doq.len()), (1, 0, 1));
        assert_eq!((tls.doh_path.as_str(), tls.handshake.as_secs()), ("/dns-query", 5));
        assert_eq!(tls.name.map(|name| name.to_string()).as_deref(), Some("dns.example"));
        let anew = |more: &str| good("").restart_needed(&good(&format!("{pair}dot = [\"127.0.0.1:853\"]\n{more}")));
        assert_eq!(anew(""), ["tls"]);
        let keys = good(&text).restart_needed(&good(&text.replace("c.pem", "d.pem").replace("8.53", "8.54")));
        assert!(keys.is_empty(), "another file is read while running: {keys:?}");
        assert_eq!(good(&text).restart_needed(&good(&text.replace("Dns.", "d."))), ["tls.name"]);
        assert_eq!(good(&text).changed(&good(&text.replace("Dns.", "d."))), ["tls"]);
        for (text, problem) in [
            ("[tls]\ndot = [\"127.0.0.1:853\"]".to_owned(), "1:1: [tls]: `certificate` and `key` are needed"),
            ("[tls]\nkey = \"k\"".to_owned(), "1:1: [tls]: `certificate` is missing"),
            ("[tls]\ncertificate = \"k\"".to_owned(), "1:1: [tls]: `key` is missing"),
            (pair.to_owned(), "no address to show it at"),
            (format!("{pair}dot = [\"127.0.0.1\"]"), "4:8: [tls] dot = \"127.0.0.1\": the port is missing"),
            (format!("{pair}dot = [\"[::1]:1\"]\ndoh = [\"[::1]:1\"]"), "[::1]:1 stands in `dot` and in [tls] doh"),
            (format!("{pair}doq = [\"127.0.0.1:5353\"]"), "127.0.0.1:5353 stands in `doq` and in [server] listen"),
            (format!("{pair}doh = [\"[::1]:1\"]\ndoh_path = \"dns\""), "not the path of a URL"),
            (format!("{pair}doh = [\"[::1]:1\"]\ndoh_path = \"/a//b\""), "not the path of a URL"),
            (format!("{pair}doh = [\"[::1]:1\"]\ndoh_path = \"/a?b\""), "not the path of a URL"),
            (format!("{pair}doh = [\"[::1]:1\"]\nhandshake = \"0s\""), "must be from 100ms to 1m"),
        ] {
            let found = bad(&text);
            assert!(found.len() == 1 && found[0].contains(problem), "{text}: {found:?}");
        }
    }
}
