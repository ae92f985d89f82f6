//! `[admin]`

use super::reader::Table;
use super::values::{self, ValueError};
use crate::admin::HttpSettings;
use crate::limit::Cidr;

/// `listen`: this host only.
const LISTEN: [&str; 1] = ["127.0.0.1:8053"];
/// How many addresses may be listened at.
const MAX_LISTEN: usize = 16;
/// `allow_from`: this host only.
const ALLOW_FROM: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// How many blocks that may have.
const MAX_ALLOW_FROM: usize = 1024;
/// How many names this server may be called by.
const MAX_HOSTS: usize = 64;

/// The whole section.
pub(super) fn read(mut table: Table<'_>) -> HttpSettings {
    let listen = match table.field("listen") {
        None => LISTEN.iter().filter_map(|text| values::listen(text).ok()).collect(),
        // As `file` of the hit log is turned off.
        Some(field) if field.is_text() && field.text() == Some("") => Vec::new(),
        Some(field) => field.read_all(0..=MAX_LISTEN, values::listen),
    };
    let allow_from = table.texts("allow_from", 1..=MAX_ALLOW_FROM, str::parse::<Cidr>);
    let allow_from = allow_from.unwrap_or_else(|| ALLOW_FROM.iter().filter_map(|text| text.parse().ok()).collect());
    let host = |text: &str| -> Result<String, ValueError> { Ok(values::name(text)?.to_string()) };
    let hosts = table.texts("hosts", 0..=MAX_HOSTS, host).unwrap_or_default();
    table.finish();
    HttpSettings { listen, allow_from, hosts }
}
