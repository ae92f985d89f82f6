//! Order dates, in order files and registers alike.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::util::UnixTime;

/// Not a date that says which moment it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadDate;

impl fmt::Display for BadDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date; write 2025-01-31, or with a time and its offset 2025-01-31T00:00:00+05:00")
    }
}

/// Reads `2025-01-31`, `31.01.2025` (as Excel exports it) or an RFC 3339 date and time with its offset.
/// A date alone means its midnight in UTC. A time without an offset means nothing certain: refused.
pub(super) fn parse(text: &str) -> Result<UnixTime, BadDate> {
    let text = text.trim();
    if text.len() != 10 {
        let moment: Timestamp = text.parse().map_err(|_| BadDate)?;
        return Ok(UnixTime(moment.as_second()));
    }
    let date = match text.split('.').collect::<Vec<_>>()[..] {
        [day, month, year] => civil(year, month, day),
        _ => match text.split('-').collect::<Vec<_>>()[..] {
            [year, month, day] => civil(year, month, day),
            _ => None,
        },
    };
    let midnight = date.ok_or(BadDate)?.to_zoned(TimeZone::UTC).map_err(|_| BadDate)?;
    Ok(UnixTime(midnight.timestamp().as_second()))
}

/// A date from its digits.
fn civil(year: &str, month: &str, day: &str) -> Option<Date> {
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_mean_one_moment() {
        for (text, unix) in [
            ("1970-01-02", 86_400),
            ("02.01.1970", 86_400),
            (" 1970-01-01T05:00:00+05:00 ", 0),
            ("1970-01-01T00:00:01Z", 1),
            ("2025-01-06T00:00:00+05:00", 1_736_103_600),
        ] {
            assert_eq!(parse(text), Ok(UnixTime(unix)), "{text}");
        }
        for text in
            ["", "2025-02-30", "2025-1-5", "1.1.2025", "2025-01-06T00:00:00", "0000000000", "+025-01-01", "soon"]
        {
            assert_eq!(parse(text), Err(BadDate), "{text}");
        }
    }
}
