//! The zones every resolver answers itself: special-use names and empty reverse zones.

/// A zone of the registry.
pub(super) struct Builtin {
    /// The apex.
    pub(super) apex: &'static str,
    /// Records beside SOA and NS: owner relative to the apex (`@` is the apex), type and data.
    pub(super) records: &'static [(&'static str, Data)],
}

/// Data of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// 127.0.0.1
    Loopback4,
    /// ::1
    Loopback6,
    /// PTR to localhost
    Localhost,
    /// A text
    Text(&'static str),
}

/// Special-use names. `example` and its kin are not here: resolvers are to forward them (RFC 6761 section 6.5); nor is
/// `ipv4only.arpa`, which only who translates addresses answers itself (RFC 8880 section 7.1).
pub(super) const SPECIAL_USE: &[Builtin] = &[
    // RFC 6761 section 6.3: the loopback addresses, for everything below too.
    Builtin {
        apex: "localhost",
        records: &[("@", Data::Loopback4), ("@", Data::Loopback6), ("*", Data::Loopback4), ("*", Data::Loopback6)],
    },
    // RFC 6761 section 6.4
    empty("invalid"),
    // RFC 6761 section 6.2
    empty("test"),
    // RFC 7686
    empty("onion"),
    // RFC 9476
    empty("alt"),
    // RFC 8375
    empty("home.arpa"),
    // RFC 9665
    empty("service.arpa"),
    // RFC 6762 section 22.1: multicast DNS; whoever asks here has no resolver library that knows it.
    empty("local"),
    // RFC 9462 section 6.4: never forwarded, and NODATA for `_dns` while no encrypted service is announced. The text
    // makes the name exist.
    Builtin { apex: "resolver.arpa", records: &[("_dns", Data::Text("no encrypted resolver announced"))] },
];

/// RFC 6303 sections 4.1 to 4.6 and, for 100.64.0.0/10, RFC 7793: the reverse zones of networks that are nobody's on
/// the Internet. The runs 16–31.172 and 64–127.100 are [`empty_runs`].
pub(super) const EMPTY_REVERSE: &[Builtin] = &[
    empty("10.in-addr.arpa"),
    empty("168.192.in-addr.arpa"),
    empty("0.in-addr.arpa"),
    Builtin { apex: "127.in-addr.arpa", records: &[("1.0.0", Data::Localhost)] },
    empty("254.169.in-addr.arpa"),
    empty("2.0.192.in-addr.arpa"),
    empty("100.51.198.in-addr.arpa"),
    empty("113.0.203.in-addr.arpa"),
    empty("255.255.255.255.in-addr.arpa"),
    empty("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa"),
    Builtin {
        apex: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
        records: &[("@", Data::Localhost)],
    },
    empty("d.f.ip6.arpa"),
    empty("8.e.f.ip6.arpa"),
    empty("9.e.f.ip6.arpa"),
    empty("a.e.f.ip6.arpa"),
    empty("b.e.f.ip6.arpa"),
    empty("8.b.d.0.1.0.0.2.ip6.arpa"),
    // RFC 9637: more addresses for documents.
    empty("0.f.f.f.3.ip6.arpa"),
];

/// Zones of which the parent zone has to prove that they are not signed: a question for DS is forwarded for who validates
/// (RFC 8375 section 4, RFC 9665 section 10).
pub(super) const PARENT_PROVES: [&str; 2] = ["home.arpa", "service.arpa"];

/// The runs of empty reverse zones: 172.16.0.0/12 and 100.64.0.0/10.
pub(super) fn empty_runs() -> impl Iterator<Item = String> {
    let private = (16..=31).map(|octet| format!("{octet}.172.in-addr.arpa"));
    let shared = (64..=127).map(|octet| format!("{octet}.100.in-addr.arpa"));
    private.chain(shared)
}

/// A zone of nothing.
const fn empty(apex: &'static str) -> Builtin {
    Builtin { apex, records: &[] }
}
