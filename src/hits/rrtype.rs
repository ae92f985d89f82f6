//! Names of RR types.

use std::borrow::Cow;

/// The mnemonic of an RR type, or `TYPE` and its number (RFC 3597 section 5).
pub fn type_name(number: u16) -> Cow<'static, str> {
    // What nine of ten queries ask for is not looked for.
    match number {
        1 => return Cow::Borrowed("A"),
        28 => return Cow::Borrowed("AAAA"),
        65 => return Cow::Borrowed("HTTPS"),
        _ => {}
    }
    match TYPES.binary_search_by_key(&number, |&(known, _)| known) {
        Ok(at) => Cow::Borrowed(TYPES.get(at).map_or("", |&(_, name)| name)),
        Err(_) => Cow::Owned(format!("TYPE{number}")),
    }
}

/// What clients ask for in practice, by number.
const TYPES: [(u16, &str); 52] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;

    #[test]
    fn known_types_have_hickorys_name_and_the_others_their_number() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0), "looked up by halving");
        for number in 0..=u16::MAX {
            let ours = type_name(number);
            match RecordType::from(number) {
                RecordType::Unknown(_) | RecordType::ZERO => {}
                // A type both know must be called the same.
                known if !ours.starts_with("TYPE") => assert_eq!(ours, known.to_string()),
                _ => assert_eq!(ours, format!("TYPE{number}")),
            }
        }
        assert_eq!(
            (type_name(65), type_name(0), type_name(65535)),
            ("HTTPS".into(), "TYPE0".into(), "TYPE65535".into())
        );
    }
}
