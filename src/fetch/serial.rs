//! Serial numbers of zones, which must not go back.

use std::cmp::Ordering;

/// How much of a zone is searched for its SOA, which stands first.
const SEARCHED: usize = 64 << 10;

/// The serial in the SOA of a zone file; `None` where there is no zone.
pub(super) fn of_zone(content: &[u8]) -> Option<u64> {
    let start = content.get(..SEARCHED).unwrap_or(content);
    let text = String::from_utf8_lossy(start);
    let words = text.lines().flat_map(|line| {
        let line = line.split(';').next().unwrap_or_default();
        line.split(|c: char| c.is_whitespace() || c == '(' || c == ')').filter(|word| !word.is_empty())
    });
    let mut after = words.skip_while(|word| !word.eq_ignore_ascii_case("SOA")).skip(3);
    let serial = after.next()?.parse().ok()?;
    // Refresh follows, a number too: two names in prose do not make a zone.
    after.next()?.starts_with(|c: char| c.is_ascii_digit()).then_some(serial)
}

/// Whether `new` is older than `old`: as RFC 1982 says where both have 32 bits, else as numbers (feeds in use number
/// by date and time, which does not fit 32 bits). What RFC 1982 leaves undefined is not called older.
pub(super) fn is_older(new: u64, old: u64) -> bool {
    match (u32::try_from(new), u32::try_from(old)) {
        (Ok(new), Ok(old)) => old.wrapping_sub(new).cmp(&(1 << 31)) == Ordering::Less && new != old,
        _ => new < old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_found_as_zones_write_them() {
        for (zone, serial) in [
            ("$TTL 60\n@ IN SOA ns. mail. 7 60 60 60 60\nx CNAME .", Some(7)),
            ("rpz. 60 in soa ns. mail. (\n  2024010203 ; serial\n  1h 1h 1h 1h )", Some(2_024_010_203)),
            ("@ SOA localhost. root.localhost. (202401020304 3600 600 604800 300)", Some(202_401_020_304)),
            ("; SOA a b 1 2\n@ SOA a. b. 9 1 1 1 1", Some(9)),
            ("soa.example\na.example\nb.example\n", None),
            ("what is SOA to you 5 or me", None),
            ("@ SOA a. b.", None),
            ("@ SOA a. b. 5", None),
            ("", None),
        ] {
            assert_eq!(of_zone(zone.as_bytes()), serial, "{zone}");
        }
        assert_eq!(of_zone(b"\xff\xfe SOA a b \xff 1"), None);
    }

    #[test]
    fn serials_wrap_round_as_rfc_1982_says() {
        for (new, old, older) in [
            (1, 1, false),
            (2, 1, false),
            (1, 2, true),
            (0, u64::from(u32::MAX), false),
            (u64::from(u32::MAX), 0, true),
            (1 << 31, 0, false),
            (2_024_010_203, 2_024_010_204, true),
            (202_401_020_304, 202_401_020_305, true),
            (202_401_020_304, 2_024_010_203, false),
            (2_024_010_203, 202_401_020_304, true),
        ] {
            assert_eq!(is_older(new, old), older, "{new} {old}");
        }
    }
}
