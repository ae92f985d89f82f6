//! How long an answer may be kept by those who know nothing of DNS: HTTP caches.

use super::walk::{record, skip_name};
use super::{HEADER, flag, rcode, rtype, u16_at};

/// Octets of the five numbers that end an SOA's rdata (RFC 1035 section 3.3.13).
const SOA_NUMBERS: usize = 20;

/// Seconds for which an answer may be kept (RFC 8484 section 5.1); `None`: not at all.
///
/// That is the smallest TTL of its answers, and of its SOA and that one's MINIMUM where it has one in the authority section
/// (RFC 2308 section 5). Failures, cut answers and those that say no time are not to be kept, nor is what is malformed.
pub fn lifetime(answer: &[u8]) -> Option<u32> {
    let flags = u16_at(answer, 2)?;
    if flags & flag::TC != 0 || !matches!(flags & 0xf, rcode::NOERROR | rcode::NXDOMAIN) || u16_at(answer, 4)? != 1 {
        return None;
    }
    let counts = [u16_at(answer, 6)?, u16_at(answer, 8)?, u16_at(answer, 10)?];
    let mut at = skip_name(answer, HEADER)? + 4;
    let mut least: Option<u32> = None;
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            let record = record(answer, at)?;
            at = record.end;
            let seconds = match (section, record.rtype) {
                // The upper bits of the response code: BADVERS looks like NOERROR in the header.
                (2, rtype::OPT) if record.ttl >> 24 != 0 => return None,
                (0, _) => valid(record.ttl),
                (1, rtype::SOA) if record.end - record.rdata >= SOA_NUMBERS + 2 => {
                    let minimum = answer.get(record.end - 4..record.end)?;
                    valid(record.ttl).min(valid(minimum.iter().fold(0, |sum, &octet| sum << 8 | u32::from(octet))))
                }
                _ => continue,
            };
            least = Some(least.map_or(seconds, |least| least.min(seconds)));
        }
    }
    least
}

/// A TTL with the highest bit set is none (RFC 2181 section 8).
fn valid(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

#[cfg(test)]
mod tests;
