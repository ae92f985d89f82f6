//! Names by which clients find out whether the network wants them to use its own resolver.

/// A kind of client that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Firefox, before it turns to DNS over HTTPS elsewhere by itself.
    Firefox,
    /// iCloud Private Relay.
    Icloud,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Firefox, Self::Icloud];

    /// As `canary` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firefox => "firefox",
            Self::Icloud => "icloud",
        }
    }

    /// What it asks for. An answer without addresses says no; silence would make it wait.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Firefox => &["use-application-dns.net"],
            Self::Icloud => &["mask.icloud.com", "mask-h2.icloud.com"],
        }
    }
}
