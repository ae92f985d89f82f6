//! Durations, sizes and shares as people write them: `2s`, `64MiB`, `5%`.

use std::fmt;
use std::time::Duration;

/// Units of time in milliseconds, the largest first (which is also how they are shown).
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size in bytes, the largest first, binary before decimal.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// A text that is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// Not a duration.
    Duration,
    /// Not a size.
    Size,
    /// Not a share.
    Share,
    /// Not a growth.
    Growth,
    /// More than 64 bits hold.
    TooLarge,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duration => "not a duration; write a whole number and a unit: 500ms, 2s, 5m, 1h, 7d",
            Self::Size => "not a size; write a whole number and a unit: 512B, 64KiB, 64MiB, 1GiB (or kB, MB, GB)",
            Self::Share => "not a share from 0% to 100%; write it like 5% or 0.25%",
            Self::Growth => "not a growth; write it like 50% or 300%",
            Self::TooLarge => "the number is too large",
        })
    }
}

/// `500ms`, `2s`, `5m`, `1h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    quantity(text, &TIMES, UnitError::Duration).map(Duration::from_millis)
}

/// `512B`, `64KiB`, `64MiB`, `1GiB`, and the decimal `kB`, `MB`, `GB`.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    quantity(text, &SIZES, UnitError::Size)
}

/// `5%` or `0.25%`, in 1/100 of a percent.
pub(super) fn share(text: &str) -> Result<u32, UnitError> {
    percent(text, 3).ok().filter(|&share| share <= 10_000).ok_or(UnitError::Share)
}

/// The same with room for more than all there is: `300%`.
pub(super) fn growth(text: &str) -> Result<u32, UnitError> {
    percent(text, 6).map_err(|_| UnitError::Growth)
}

/// A number with up to `whole_digits` digits before the point, and `%`.
fn percent(text: &str, whole_digits: usize) -> Result<u32, UnitError> {
    let number = text.strip_suffix('%').ok_or(UnitError::Share)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| {
        let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        good.then(|| text.parse::<u32>().ok()).flatten().ok_or(UnitError::Share)
    };
    let scale = if fraction.len() == 1 { 10 } else { 1 };
    Ok(digits(whole, whole_digits)? * 100 + digits(fraction, 2)? * scale)
}

/// A duration the way it is written in the file.
pub(super) fn show_duration(value: Duration) -> String {
    show(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// A size the way it is written in the file.
pub(super) fn show_size(value: u64) -> String {
    show(value, &SIZES)
}

/// A whole number and one of `units`.
fn quantity(text: &str, units: &[(&str, u64)], wrong: UnitError) -> Result<u64, UnitError> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).ok_or(wrong)?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(wrong)?;
    if number.is_empty() {
        return Err(wrong);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

/// With the largest unit that leaves a whole number.
fn show(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| value != 0 && value.is_multiple_of(factor);
    match units.iter().find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("0{}", if units[0].0 == "d" { "s" } else { "B" }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_need_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7 d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in ["", "2", "s", "2x", "2.5s", "-2s", " 2s", "2s ", "2S", "２s"] {
            assert_eq!(duration(text), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(duration("999999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(duration("18446744073709551615d"), Err(UnitError::TooLarge));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1kB"), Ok(1000));
        assert_eq!(size("64M"), Err(UnitError::Size));
    }

    #[test]
    fn shares_are_exact() {
        for (text, share_of) in
            [("5%", 500), ("0%", 0), ("100%", 10_000), ("0.25%", 25), ("0.5%", 50), ("100.00%", 10_000)]
        {
            assert_eq!(share(text), Ok(share_of), "{text}");
        }
        for text in ["5", "", "%", "101%", "100.01%", "-1%", "1.%", ".5%", "0.005%", "1e1%"] {
            assert_eq!(share(text), Err(UnitError::Share), "{text}");
        }
        assert_eq!((growth("300%"), growth("999999.99%")), (Ok(30_000), Ok(99_999_999)));
        assert!(["1000000%", "-5%", "300", "%"].iter().all(|text| growth(text) == Err(UnitError::Growth)));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0..u64::MAX, bytes: u64, text in "\\PC*") {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
            // Any text is taken or refused, never a panic.
            let _ = (duration(&text), size(&text), share(&text));
        }
    }
}
