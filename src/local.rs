//! Names that are answered here and never forwarded: own names, special-use names, empty reverse zones,
//! the operator's zone files.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::name::Name;

/// What is answered locally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Own names and their addresses.
    pub hosts: Vec<(Name, Vec<IpAddr>)>,
    /// RFC 6761 and its kin: localhost, invalid, test, onion, home.arpa, alt, resolver.arpa.
    pub special_use: bool,
    /// Empty zones for private reverse lookups (RFC 6303).
    pub empty_zones: bool,
    /// Master files.
    pub zones: Vec<ZoneFile>,
}

/// A zone of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// The apex.
    pub name: Name,
    /// RFC 1035 master file, already joined with the folder of the configuration file.
    pub file: PathBuf,
}
