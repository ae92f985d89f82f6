//! Response codes as they are counted apart.

/// By number: those a header has room for, BADVERS (RFC 6891 section 9), and last, out of its turn, BADCOOKIE.
pub(super) const ALL: [&str; 18] = [
    "noerror",
    "formerr",
    "servfail",
    "nxdomain",
    "notimp",
    "refused",
    "yxdomain",
    "yxrrset",
    "nxrrset",
    "notauth",
    "notzone",
    "rcode11",
    "rcode12",
    "rcode13",
    "rcode14",
    "rcode15",
    "badvers",
    "badcookie",
];

/// The one that has a place out of its turn (RFC 7873 section 8).
const BADCOOKIE: u16 = 23;

/// The place of a code; what has none counts as BADVERS.
pub(super) fn place(rcode: u16) -> usize {
    if rcode == BADCOOKIE { ALL.len() - 1 } else { usize::from(rcode).min(ALL.len() - 2) }
}
