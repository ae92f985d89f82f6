//! `[dnssec]` and `[upstream.recursion]`.

use std::net::IpAddr;
use std::path::Path;

use super::reader::Table;
use super::sections::optional_path;
use super::values::{self, ValueError};
use crate::limit::{Cidr, CidrError};
use crate::name::Name;
use crate::upstream::{DnssecSettings, Network, RecursionSettings};

/// How many names nothing is validated below.
const MAX_NEGATIVE: usize = 1000;
/// How many blocks of addresses a choice of them may have.
const MAX_NETWORKS: usize = 256;

/// The whole section.
pub(super) fn read(mut table: Table<'_>, folder: &Path) -> DnssecSettings {
    let validate = table.choice("mode", &[("pass", false), ("validate", true)], false);
    let trust_anchor = table.text("trust_anchor", optional_path(folder)).flatten();
    let negative = table.texts("negative_trust_anchors", 0..=MAX_NEGATIVE, zone);
    table.finish();
    DnssecSettings { validate, trust_anchor, negative_trust_anchors: negative.unwrap_or_default() }
}

/// `[upstream.recursion]`
pub(super) fn recursion(mut table: Table<'_>, folder: &Path) -> RecursionSettings {
    let root_hints = table.text("root_hints", optional_path(folder)).flatten();
    let mut networks = |key| table.texts(key, 0..=MAX_NETWORKS, network).unwrap_or_default();
    let (allow_servers, deny_answers) = (networks("allow_servers"), networks("deny_answers"));
    table.finish();
    RecursionSettings { root_hints, allow_servers, deny_answers }
}

/// A block of addresses, or one address.
fn network(text: &str) -> Result<Network, CidrError> {
    text.parse::<Cidr>()?;
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(whole), str::parse).map_err(|_| CidrError::Prefix)?;
    Ok(Network { address, bits })
}

/// A name, the root among them.
fn zone(text: &str) -> Result<Name, ValueError> {
    if text == "." { Ok(Name::root()) } else { values::name(text) }
}
