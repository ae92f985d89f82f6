//! Record data from zone text to wire bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::token::{Token, unescape};
use super::{Bad, Zone};
use crate::list::entry::Reason;
use crate::rule::{CnameTarget, LocalRecord, RpzAction};

/// CNAME's number.
pub(super) const CNAME: u16 = 5;
/// SOA's number.
pub(super) const SOA: u16 = 6;

/// What a record says.
#[derive(Debug)]
pub(super) enum Data {
    /// A CNAME that stands for an action.
    Action(RpzAction),
    /// A CNAME to a name.
    Cname(CnameTarget),
    /// Anything else.
    Record(LocalRecord),
}

/// The number of a type mnemonic, `TYPE123` too.
pub(super) fn type_number(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()));
    }
    // Types hickory does not know by name.
    match upper.as_str() {
        "SPF" => return Some(99),
        "LOC" => return Some(29),
        "RP" => return Some(17),
        "URI" => return Some(256),
        _ => {}
    }
    upper.parse::<RecordType>().ok().map(u16::from)
}

/// Signatures and the like, which a signed zone carries and which say nothing about names.
pub(super) fn is_dnssec(number: u16) -> bool {
    // SIG, KEY, NXT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, ZONEMD
    matches!(number, 24 | 25 | 30 | 43 | 46..=48 | 50 | 51 | 59 | 60 | 63)
}

/// Encodes record data, names in full and uncompressed.
pub(super) fn encode<'a>(number: u16, rtype: Token<'a>, rdata: &[Token<'a>], zone: &Zone) -> Result<Vec<u8>, Bad<'a>> {
    let &first = rdata.first().ok_or((rtype, Reason::Other("no record data")))?;
    if matches!(number, 0 | 41 | 128..=255 | 39) {
        return Err((rtype, Reason::Other("unsupported: a type that cannot be local data")));
    }
    if first.text == "\\#" && !first.quoted {
        return generic(number, first, rdata.get(1..).unwrap_or_default());
    }
    let one = || match rdata {
        &[token] => Ok(token),
        _ => Err((rtype, Reason::Other("more record data than its type has"))),
    };
    match RecordType::from(number) {
        RecordType::A => {
            let token = one()?;
            let address: Ipv4Addr = token.text.parse().map_err(|_| (token, Reason::Other("not an IPv4 address")))?;
            Ok(address.octets().to_vec())
        }
        RecordType::AAAA => {
            let token = one()?;
            let address: Ipv6Addr = token.text.parse().map_err(|_| (token, Reason::Other("not an IPv6 address")))?;
            Ok(address.octets().to_vec())
        }
        RecordType::NS | RecordType::PTR => numbers_and_name(rtype, rdata, 0, zone),
        RecordType::MX => numbers_and_name(rtype, rdata, 1, zone),
        RecordType::SRV => numbers_and_name(rtype, rdata, 3, zone),
        RecordType::TXT => strings(rdata),
        RecordType::HINFO if rdata.len() == 2 => strings(rdata),
        _ if number == 99 => strings(rdata),
        known => by_hickory(known, rtype, rdata, zone),
    }
}

/// RFC 3597: `\# length hex…`.
fn generic<'a>(number: u16, first: Token<'a>, rest: &[Token<'a>]) -> Result<Vec<u8>, Bad<'a>> {
    let (&length, hex) = rest.split_first().ok_or((first, Reason::Other("`\\#` needs a length and hex digits")))?;
    let wanted: u16 = length.text.parse().map_err(|_| (length, Reason::Other("not a length")))?;
    let mut bytes = Vec::with_capacity(usize::from(wanted));
    let mut half = None;
    for token in hex {
        for c in token.text.chars() {
            let digit = c.to_digit(16).ok_or((*token, Reason::Other("not a hex digit")))? as u8;
            half = match half {
                None => Some(digit),
                Some(high) => {
                    bytes.push(high << 4 | digit);
                    None
                }
            };
        }
    }
    if half.is_some() || bytes.len() != usize::from(wanted) {
        return Err((length, Reason::Other("the length is not that of the hex digits")));
    }
    // These reach clients as they are; a wrong length would make the whole answer unreadable.
    let fits = match number {
        1 => bytes.len() == 4,
        28 => bytes.len() == 16,
        _ => true,
    };
    if fits { Ok(bytes) } else { Err((length, Reason::Other("not the length of an address"))) }
}

/// Some 16-bit numbers, then a name.
fn numbers_and_name<'a>(
    rtype: Token<'a>,
    rdata: &[Token<'a>],
    numbers: usize,
    zone: &Zone,
) -> Result<Vec<u8>, Bad<'a>> {
    let (&name, before) = rdata.split_last().ok_or((rtype, Reason::Other("no record data")))?;
    if before.len() != numbers {
        return Err((rtype, Reason::Other("not the record data of its type")));
    }
    let mut bytes = Vec::new();
    for token in before {
        let number: u16 = token.text.parse().map_err(|_| (*token, Reason::Other("not a number up to 65535")))?;
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(zone.absolute(name)?.wire());
    Ok(bytes)
}

/// Character strings, each with its length. Ours, because hickory's escapes are not octets.
fn strings<'a>(rdata: &[Token<'a>]) -> Result<Vec<u8>, Bad<'a>> {
    let mut bytes = Vec::new();
    for token in rdata {
        let octets = unescape(token.text).map_err(|reason| (*token, reason))?;
        let length = u8::try_from(octets.len()).map_err(|_| (*token, Reason::Other("a string over 255 octets")))?;
        bytes.push(length);
        bytes.extend(octets.iter().map(|&(octet, _)| octet));
        if bytes.len() > usize::from(u16::MAX) {
            return Err((*token, Reason::Other("record data over 65535 octets")));
        }
    }
    Ok(bytes)
}

/// All other types: put together again for hickory's parser, kept away from what it gets wrong.
fn by_hickory<'a>(known: RecordType, rtype: Token<'a>, rdata: &[Token<'a>], zone: &Zone) -> Result<Vec<u8>, Bad<'a>> {
    // Where a type has a name, that is completed here.
    let name_at = match known {
        RecordType::SVCB | RecordType::HTTPS => Some(1),
        RecordType::NAPTR => Some(5),
        _ => None,
    };
    let mut text = String::new();
    for (index, token) in rdata.iter().enumerate() {
        let numeric_escape = token.text.as_bytes().windows(2).any(|w| w[0] == b'\\' && w[1].is_ascii_digit());
        // `alpn="` panics in hickory 0.26.3 (svcb.rs, the quotes of a value are cut off unseen).
        let svcb = name_at == Some(1) && (token.quoted || token.text.contains('\\'));
        if numeric_escape || svcb || token.text.chars().any(char::is_control) {
            return Err((
                *token,
                Reason::Other("unsupported: escapes or quotes here; write the data as `\\# length hex`"),
            ));
        }
        if index > 0 {
            text.push(' ');
        }
        if name_at == Some(index) {
            let name = zone.absolute(*token)?.to_name();
            text.push_str(&name.to_string());
            if !name.is_root() {
                text.push('.');
            }
        } else if token.quoted {
            text.push('"');
            text.push_str(token.text);
            text.push('"');
        } else {
            text.push_str(token.text);
        }
    }
    const BAD: Reason =
        Reason::Other("not the record data of its type (or not supported as text: write `\\# length hex`)");
    let data = RData::try_from_str(known, &text).map_err(|_| (rtype, BAD))?;
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|_| (rtype, BAD))?;
    Ok(bytes)
}
