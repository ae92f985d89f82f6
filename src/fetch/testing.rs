//! What the tests of this module share.

use std::time::Duration;

use super::{Address, Settings};

/// The plainest settings of a list at this address.
pub(super) fn settings(address: &str) -> Settings {
    Settings {
        address: Address::parse(address).expect("an address"),
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(10),
        proxy: None,
        ca_file: None,
        client: None,
        token_file: None,
        sha256: None,
        public_key: None,
        max_bytes: 1 << 20,
        zone: true,
    }
}
