//! Times people ask statistics about: a day, a moment, or so long ago.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::store::read::Days;

/// A day, a moment, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    /// So many minutes ago.
    Ago(i64),
    /// A day of the zone of the statistics.
    Day(Date),
    /// A moment.
    Moment(Timestamp),
}

impl When {
    /// The minute it begins in.
    pub(in crate::cli) fn start(self, now: i64, days: &Days) -> i64 {
        match self {
            Self::Ago(minutes) => now.saturating_sub(minutes),
            Self::Day(date) => days.start_of(date),
            Self::Moment(moment) => moment.as_second().div_euclid(60),
        }
    }

    /// The minute after it: of a day the first one of the next.
    pub(in crate::cli) fn end(self, now: i64, days: &Days) -> i64 {
        match self {
            Self::Ago(minutes) => now.saturating_sub(minutes),
            Self::Day(date) => days.start_of(date.tomorrow().unwrap_or(Date::MAX)),
            Self::Moment(moment) => moment.as_second().saturating_add(59).div_euclid(60),
        }
    }
}

/// Reads a date, an RFC 3339 date and time with its offset, or a length of time: `24h`, `7d`.
pub(in crate::cli) fn when(text: &str) -> Result<When, BadWhen> {
    let number = text.get(..text.len().saturating_sub(1)).filter(|number| !number.is_empty());
    if let Some(number) = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        let minutes = match text.as_bytes().last() {
            Some(b'm') => 1,
            Some(b'h') => 60,
            Some(b'd') => 1440,
            Some(b'w') => 10_080,
            _ => return Err(BadWhen),
        };
        let number: i64 = number.parse().map_err(|_| BadWhen)?;
        // No clock goes back further, and taking it from now must not overflow.
        let ago = number.checked_mul(minutes).filter(|&ago| ago <= 1000 * 366 * 1440).ok_or(BadWhen)?;
        return Ok(When::Ago(ago));
    }
    date(text)
}

/// Reads a date, or an RFC 3339 date and time with its offset.
pub(in crate::cli) fn date(text: &str) -> Result<When, BadWhen> {
    // jiff reads other ISO 8601 forms as dates too, which could be mistaken.
    if text.len() == 10 {
        return text.parse().map(When::Day).map_err(|_| BadWhen);
    }
    text.parse().map(When::Moment).map_err(|_| BadWhen)
}

/// Not a time.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct BadWhen;

impl fmt::Display for BadWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time; write a day as 2026-01-31, a moment with its offset as 2026-01-31T09:00:00+05:00, or, for --since, how long ago as 90m, 24h, 7d, 4w")
    }
}

impl std::error::Error for BadWhen {}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::*;

    #[test]
    fn times_are_read_in_one_way_only() {
        assert_eq!(
            [when("90m"), when("24h"), when("7d"), when("2w")].map(|ago| ago.ok()),
            [90, 1440, 10_080, 20_160].map(|ago| Some(When::Ago(ago)))
        );
        for text in [
            "",
            "h",
            "24",
            "-1d",
            "1.5h",
            "24ч",
            "99999999999999999999d",
            "400000d",
            "2026-1-1",
            "2026-01-32",
            "2026-01-01T00:00",
            "20260101T0",
        ] {
            assert_eq!(when(text), Err(BadWhen), "{text}");
        }
        assert_eq!(date("24h"), Err(BadWhen), "a report names its days");
    }

    #[test]
    fn a_day_is_one_of_the_zone_and_a_moment_its_minute() {
        let days = Days::new(TimeZone::fixed(Offset::constant(5)));
        let range = |text| date(text).map(|when| (when.start(0, &days), when.end(0, &days)));
        assert_eq!(range("1970-01-02"), Ok((1140, 2580)));
        assert_eq!(range("1970-01-01T05:01:30+05:00"), Ok((1, 2)));
        assert_eq!(range("1970-01-01T00:01:00Z"), Ok((1, 1)));
        let ago = When::Ago(1440);
        assert_eq!((ago.start(5000, &days), ago.end(5000, &days)), (3560, 3560));
    }
}
