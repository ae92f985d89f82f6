//! Where a day begins: a time zone by its name or its offset from UTC.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::{self, Offset, TimeZone};

/// Minutes of a day in UTC.
const DAY: i64 = 1440;
/// No zone is further from UTC, in minutes.
const MAX_OFFSET: i32 = 18 * 60;

/// A time zone, and the name it was asked for by.
#[derive(Clone)]
pub struct Zone {
    name: Box<str>,
    zone: TimeZone,
}

impl Zone {
    /// Days begin at midnight UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), zone: TimeZone::UTC }
    }

    /// `UTC`, an offset like `+05:00`, or a name like `Asia/Almaty`. Only names need the system's database.
    ///
    /// # Errors
    /// There is no such zone, or no database to look in.
    pub fn find(name: &str) -> Result<Self, ZoneError> {
        let zone = if name == "UTC" {
            TimeZone::UTC
        } else if name.starts_with(['+', '-']) {
            TimeZone::fixed(offset(name).ok_or(ZoneError::Unknown)?)
        } else if name.is_empty() || name.starts_with('/') {
            return Err(ZoneError::Unknown);
        } else {
            let missing = if tz::db().is_definitively_empty() { ZoneError::NoDatabase } else { ZoneError::Unknown };
            TimeZone::get(name).map_err(|_| missing)?
        };
        Ok(Self { name: name.into(), zone })
    }

    /// As it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zone itself.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The day (since 1970-01-01) a minute (since 1970, UTC) belongs to, and the minutes of that day. Where clocks are
    /// changed it has 23 or 25 hours.
    pub fn day(&self, minute: i64) -> (i64, Range<i64>) {
        self.find_day(minute).unwrap_or_else(|| {
            // Beyond the years a calendar knows.
            let day = minute.div_euclid(DAY);
            (day, minute..minute.saturating_add(1))
        })
    }

    fn find_day(&self, minute: i64) -> Option<(i64, Range<i64>)> {
        let time = Timestamp::from_second(minute.checked_mul(60)?).ok()?.to_zoned(self.zone.clone());
        let day = i64::from(date(1970, 1, 1).until(time.date()).ok()?.get_days());
        let start = time.start_of_day().ok()?;
        let end = time.tomorrow().ok()?.start_of_day().ok()?;
        // A zone whose day begins within a minute is history; the minute asked for is in the range all the same.
        let minutes = start.timestamp().as_second().div_euclid(60)..end.timestamp().as_second().div_euclid(60);
        Some((day, minutes.start.min(minute)..minutes.end.max(minute + 1)))
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

/// Days of a zone, for many minutes of few days.
#[derive(Clone, Debug)]
pub struct Days {
    zone: Zone,
    day: i64,
    minutes: Range<i64>,
}

impl Days {
    /// Of this zone.
    pub fn of(zone: Zone) -> Self {
        Self { zone, day: 0, minutes: 0..0 }
    }

    /// The day (since 1970-01-01) a minute (since 1970, UTC) belongs to.
    pub fn day(&mut self, minute: i64) -> i64 {
        if !self.minutes.contains(&minute) {
            (self.day, self.minutes) = self.zone.day(minute);
        }
        self.day
    }
}

/// No such zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneError {
    /// Neither a name the system knows nor an offset.
    Unknown,
    /// The system has no database of names.
    NoDatabase,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not a time zone; write UTC, an offset like +05:00, or a name like Asia/Almaty",
            Self::NoDatabase => {
                "this system has no database of time zones (/usr/share/zoneinfo): install its package tzdata, or write \
                 UTC or an offset like +05:00"
            }
        })
    }
}

impl std::error::Error for ZoneError {}

/// `+05:00` or `-03:30`.
fn offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok());
    let (hours, minutes): (i32, i32) = (number(hours)??, number(minutes)??);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= MAX_OFFSET).then(|| Offset::from_seconds(sign * all * 60).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Minutes since 1970.
    fn minute(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_second() / 60
    }

    #[test]
    fn a_day_has_as_many_hours_as_its_zone_says() {
        let berlin = Zone::find("Europe/Berlin").expect("tests need tzdata");
        let hours = |text: &str| {
            let (_, minutes) = berlin.day(minute(text));
            (minutes.end - minutes.start) / 60
        };
        assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours("2026-11-24T12:00:00Z"), 24);
        let almaty = Zone::find("+05:00").expect("an offset");
        let day = |text: &str| almaty.day(minute(text)).0;
        assert_eq!(day("2026-01-01T18:59:00Z") + 1, day("2026-01-01T19:00:00Z"));
        assert_eq!(Zone::utc().day(-1).0, -1);
    }

    #[test]
    fn a_zone_is_a_name_or_an_offset() {
        assert_eq!(Zone::find("Asia/Almaty").map(|zone| zone.name().to_owned()), Ok("Asia/Almaty".into()));
        for text in
            ["", "Mars/Olympus", "+5", "+05", "05:00", "+05:60", "+19:00", "+0５:00", "/etc/passwd", "../x", "+é:1"]
        {
            assert_eq!(Zone::find(text), Err(ZoneError::Unknown), "{text}");
        }
    }

    proptest! {
        #[test]
        fn days_that_are_remembered_are_the_days_that_are_looked_up(
            minutes in proptest::collection::vec(prop_oneof![29_000_000_i64..29_010_000, any::<i64>()], 1..50),
            zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("-03:30")],
        ) {
            let zone = Zone::find(zone).expect("tests need tzdata");
            let mut days = Days::of(zone.clone());
            for minute in minutes {
                let (day, range) = zone.day(minute);
                prop_assert!(range.contains(&minute) || minute == i64::MAX);
                prop_assert_eq!(days.day(minute), day);
            }
        }
    }
}
