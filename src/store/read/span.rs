//! Which rows of which level answer for a time: whole days, whole hours at its ends, minutes at theirs.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A time in whole minutes since 1970, UTC; `to` does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first minute.
    pub from: i64,
    /// The minute after the last.
    pub to: i64,
}

impl Span {
    /// How many minutes it has.
    pub fn minutes(self) -> i64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }
}

/// How finely hits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For some days.
    Minute,
    /// For about a year.
    Hour,
    /// For years.
    Day,
}

impl Level {
    /// As tables and reports spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Rows of one level: `from <= at < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which table.
    pub level: Level,
    /// The first `at`, in units of the level.
    pub from: i64,
    /// The one after the last.
    pub to: i64,
}

/// What is summed up for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it really covers: all that was asked for, and more where what is kept is too coarse.
    pub span: Span,
    /// Without gap or overlap, in order.
    pub pieces: Vec<Piece>,
}

/// From when on a level has everything: minutes in minutes, hours in hours since 1970. Days are always all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `i64::MAX`: nothing of it.
    pub minutes: i64,
    /// Likewise.
    pub hours: i64,
}

/// Days of a time zone, as numbers since 1970-01-01.
#[derive(Clone, Debug)]
pub struct Days {
    zone: TimeZone,
}

impl Days {
    /// Of this zone.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    /// The zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The day a minute is in.
    pub fn of(&self, minute: i64) -> i64 {
        let date = self.zone.to_datetime(timestamp(minute)).date();
        date.duration_since(EPOCH).as_hours() / 24
    }

    /// The first minute of a day.
    pub fn start(&self, day: i64) -> i64 {
        self.start_of(self.date(day))
    }

    /// The same of a day of the calendar.
    pub fn start_of(&self, date: Date) -> i64 {
        let nearest = if date < EPOCH { Timestamp::MIN } else { Timestamp::MAX };
        self.zone.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(nearest).as_second().div_euclid(60)
    }

    /// The first minute of the day a minute is in.
    pub fn floor(&self, minute: i64) -> i64 {
        self.start(self.of(minute))
    }

    /// The first minute of the first day that begins then or later.
    pub fn ceil(&self, minute: i64) -> i64 {
        let floor = self.floor(minute);
        if floor == minute { floor } else { self.start(self.of(minute) + 1) }
    }

    /// A minute as RFC 3339 has it, but for the seconds: `2026-11-24T14:05+05:00`.
    pub fn text(&self, minute: i64) -> String {
        let zoned = timestamp(minute).to_zoned(self.zone.clone());
        let offset = if zoned.offset().is_zero() { "Z" } else { "%:z" };
        zoned.strftime(&format!("%Y-%m-%dT%H:%M{offset}")).to_string()
    }

    /// A day in the calendar; one that no calendar knows becomes the nearest one it does.
    pub fn date(&self, day: i64) -> Date {
        EPOCH.checked_add(day.clamp(-5_000_000, 5_000_000).days()).unwrap_or(if day < 0 {
            Date::MIN
        } else {
            Date::MAX
        })
    }
}

/// Day 0.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A minute as a moment; one that no calendar knows becomes the nearest one it does.
pub fn timestamp(minute: i64) -> Timestamp {
    let nearest = if minute < 0 { Timestamp::MIN } else { Timestamp::MAX };
    minute.checked_mul(60).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(nearest)
}

/// The pieces that cover a time exactly, or, where what is kept is too coarse, the least that covers all of it.
pub fn plan(wanted: Span, kept: Kept, days: &Days) -> Plan {
    let Span { from, to } = wanted;
    if from >= to {
        return Plan { span: wanted, pieces: Vec::new() };
    }
    let (first, last) = (days.ceil(from), days.floor(to));
    if first > last {
        // Inside one day.
        let whole = Span { from: days.floor(from), to: days.ceil(to) };
        let hours = Span { from: floor_hour(from).max(whole.from), to: ceil_hour(to).min(whole.to) };
        for span in [wanted, hours] {
            if let Some(pieces) = edge(span, kept) {
                return Plan { span, pieces };
            }
        }
        return Plan { span: whole, pieces: vec![day_piece(whole, days)] };
    }
    let before = days.floor(from);
    let head = [from, floor_hour(from).max(before)].into_iter().find_map(|from| {
        let span = Span { from, to: first };
        edge(span, kept).map(|pieces| (span.from, pieces))
    });
    let after = days.ceil(to);
    let tail = [to, ceil_hour(to).min(after)].into_iter().find_map(|to| {
        let span = Span { from: last, to };
        edge(span, kept).map(|pieces| (span.to, pieces))
    });
    // What no finer level has is taken as a whole day.
    let (from, head, first) = head.map_or((before, Vec::new(), before), |(from, pieces)| (from, pieces, first));
    let (to, tail, last) = tail.map_or((after, Vec::new(), after), |(to, pieces)| (to, pieces, last));
    let mut pieces = head;
    if first < last {
        pieces.push(day_piece(Span { from: first, to: last }, days));
    }
    pieces.extend(tail);
    Plan { span: Span { from, to }, pieces }
}

/// The same from rows that are no coarser than `coarsest`; nothing if they are not kept any more.
pub fn plan_of(wanted: Span, kept: Kept, days: &Days, coarsest: Level) -> Option<Plan> {
    let Span { from, to } = wanted;
    let span = match coarsest {
        Level::Day => return Some(plan(wanted, kept, days)),
        _ if from >= to => return Some(Plan { span: wanted, pieces: Vec::new() }),
        Level::Minute if from < kept.minutes => return None,
        Level::Minute => return Some(Plan { span: wanted, pieces: vec![Piece { level: Level::Minute, from, to }] }),
        Level::Hour => Span { from: floor_hour(from), to: ceil_hour(to) },
    };
    [wanted, span].into_iter().find_map(|span| edge(span, kept).map(|pieces| Plan { span, pieces }))
}

/// A time that begins and ends with days.
fn day_piece(span: Span, days: &Days) -> Piece {
    Piece { level: Level::Day, from: days.of(span.from), to: days.of(span.to) }
}

/// A time, in hours and minutes as far as these are kept.
fn edge(span: Span, kept: Kept) -> Option<Vec<Piece>> {
    let Span { from, to } = span;
    let (first, last) = (ceil_hour(from), floor_hour(to));
    let mut pieces = Vec::new();
    let minutes = |from: i64, to: i64, pieces: &mut Vec<Piece>| {
        if from < to {
            pieces.push(Piece { level: Level::Minute, from, to });
        }
        from >= to || from >= kept.minutes
    };
    let whole = if first < last && first.div_euclid(60) >= kept.hours {
        let head = minutes(from, first, &mut pieces);
        pieces.push(Piece { level: Level::Hour, from: first.div_euclid(60), to: last.div_euclid(60) });
        minutes(last, to, &mut pieces) && head
    } else {
        minutes(from, to, &mut pieces)
    };
    whole.then_some(pieces)
}

/// The hour a minute is in begins then.
pub fn floor_hour(minute: i64) -> i64 {
    minute.div_euclid(60) * 60
}

/// The first hour that begins then or later.
pub fn ceil_hour(minute: i64) -> i64 {
    floor_hour(minute.saturating_add(59))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Days of an offset in minutes.
    fn days(offset: i32) -> Days {
        Days::new(TimeZone::fixed(jiff::tz::Offset::from_seconds(offset * 60).expect("an offset")))
    }

    /// The minutes a piece stands for.
    fn minutes(piece: Piece, days: &Days) -> (i64, i64) {
        match piece.level {
            Level::Minute => (piece.from, piece.to),
            Level::Hour => (piece.from * 60, piece.to * 60),
            Level::Day => (days.start(piece.from), days.start(piece.to)),
        }
    }

    #[test]
    fn days_begin_where_the_zone_says() {
        let five = days(300);
        assert_eq!((five.of(-301), five.of(-300), five.of(1139), five.of(1140)), (-1, 0, 0, 1));
        assert_eq!((five.start(0), five.start(1), five.floor(0), five.ceil(0)), (-300, 1140, -300, 1140));
        assert_eq!(five.ceil(1140), 1140);
        assert_eq!(five.date(1).to_string(), "1970-01-02");
        assert_eq!((five.date(i64::MAX), five.date(i64::MIN)), (Date::MAX, Date::MIN));
    }

    #[test]
    fn a_month_of_days_is_one_piece_and_its_ends_are_finer() {
        let all = Kept { minutes: i64::MIN, hours: i64::MIN };
        let day = 1440;
        let whole = plan(Span { from: 0, to: 30 * day }, all, &days(0));
        assert_eq!(whole.pieces, [Piece { level: Level::Day, from: 0, to: 30 }]);
        let span = Span { from: 90, to: 2 * day + 61 };
        let levels = |plan: &Plan| plan.pieces.iter().map(|piece| piece.level).collect::<Vec<_>>();
        let fine = plan(span, all, &days(0));
        assert_eq!(fine.span, span);
        let expected = [Level::Minute, Level::Hour, Level::Day, Level::Hour, Level::Minute];
        assert_eq!(levels(&fine), expected);
        let hours = plan(span, Kept { minutes: i64::MAX, hours: 0 }, &days(0));
        assert_eq!((hours.span, levels(&hours).len()), (Span { from: 60, to: 2 * day + 120 }, 3));
        let coarse = plan(span, Kept { minutes: i64::MAX, hours: i64::MAX }, &days(0));
        assert_eq!((coarse.span, levels(&coarse)), (Span { from: 0, to: 3 * day }, vec![Level::Day]));
    }

    proptest! {
        #[test]
        fn pieces_cover_all_once_and_never_what_is_not_kept(
            from in -5000_i64..5000, len in 0_i64..6000, minutes_kept in -6000_i64..12_000, hours_kept in -100_i64..200,
            offset in prop::sample::select(vec![0, 300, 330, -570, 345, 720]),
        ) {
            let days = days(offset);
            let (wanted, kept) = (Span { from, to: from + len }, Kept { minutes: minutes_kept, hours: hours_kept });
            let plan = plan(wanted, kept, &days);
            let mut at = plan.span.from;
            for &piece in &plan.pieces {
                let (begin, end) = minutes(piece, &days);
                prop_assert_eq!(begin, at);
                prop_assert!(begin < end);
                at = end;
                match piece.level {
                    Level::Minute => prop_assert!(piece.from >= kept.minutes),
                    Level::Hour => prop_assert!(piece.from >= kept.hours),
                    Level::Day => {}
                }
            }
            prop_assert_eq!(at, plan.span.to);
            prop_assert!(plan.span.from <= wanted.from && plan.span.to >= wanted.to);
            prop_assert!(plan.span.from >= days.floor(wanted.from) && plan.span.to <= days.ceil(wanted.to));
            if kept.minutes <= days.floor(from) {
                prop_assert_eq!(plan.span, wanted);
            }
        }
    }
}
