//! `[list.fetch]`: how a list from the web is fetched.

use std::path::Path;
use std::time::Duration;

use super::reader::{Field, Limits, Table};
use super::values;
use crate::fetch::{Address, Proxy, Settings, Source};
use crate::list::Format;
use crate::signature::PublicKey;
use crate::util::Digest;

/// `interval`
const INTERVAL: Limits<Duration> =
    Limits { default: Duration::from_secs(3600), min: Duration::from_secs(60), max: Duration::from_secs(30 * 86_400) };
/// `timeout`: a list of 50 MB takes a minute at 7 Mbit/s.
const TIMEOUT: Limits<Duration> =
    Limits { default: Duration::from_secs(60), min: Duration::from_secs(1), max: Duration::from_secs(3600) };

/// What the rest of the `[[list]]` says that matters here.
pub(super) struct List<'a> {
    pub name: &'a str,
    pub format: Format,
    pub max_bytes: u64,
    pub key: Option<&'a PublicKey>,
    /// Of the configuration file.
    pub folder: &'a Path,
    pub state_dir: &'a Path,
}

/// Whether a source is meant as an address rather than a path.
pub(super) fn is_address(source: &Field<'_>) -> bool {
    source.is_text() && source.text().is_some_and(|text| text.contains("://"))
}

/// Reads the table; `None` if the list is not from the web, or wrong.
pub(super) fn read(mut table: Table<'_>, source: Option<&Field<'_>>, list: &List<'_>) -> Option<Source> {
    let path = |text: &str| values::path(text).map(|path| list.folder.join(path));
    let interval = table.duration("interval", INTERVAL);
    let timeout = table.duration("timeout", TIMEOUT);
    let sha256 = table.text("sha256", str::parse::<Digest>);
    let token_file = table.text("token_file", path);
    let proxy = table.text("proxy", Proxy::parse);
    let ca_file = table.text("ca_file", path);
    let client = match (table.text("client_certificate", path), table.text("client_key", path)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            table.problem("`client_certificate` and `client_key` need each other");
            None
        }
    };
    let source = source.filter(|source| is_address(source));
    if source.is_none() && table.is_there() {
        table.problem("only for a list whose `source` is an address like https://lists.example/domains.txt");
    }
    table.finish();
    let source = source?;
    let address = source.read(Address::parse)?;
    if address.is_plain() && sha256.is_none() && list.key.is_none() {
        source.wrong(
            "what comes by http:// can be changed on the way; use https://, or give `public_key` (minisign) or \
             `sha256` in `fetch`",
        );
        return None;
    }
    if address.is_plain() && token_file.is_some() {
        source.wrong("by http:// anybody on the way could read the token; use https://");
        return None;
    }
    let zone = matches!(list.format, Format::Rpz | Format::Auto);
    let settings = Settings {
        address,
        interval,
        timeout,
        proxy,
        ca_file,
        client,
        token_file,
        sha256,
        public_key: list.key.cloned(),
        max_bytes: list.max_bytes,
        zone,
    };
    Some(Source::new(list.name, list.state_dir, settings))
}
