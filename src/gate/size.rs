//! How much a list as a whole may change at once.

use std::fmt;
use std::sync::Arc;

use crate::rule::Order;

/// Limits for one list. Shares are in 1/100 of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// The largest growth, as a share of the version in force.
    pub max_growth: u32,
    /// The largest loss, as a share of the version in force.
    pub max_shrink: u32,
    /// So many entries may come or go whatever share that is, and a list of no more may change as it likes.
    pub slack: u64,
    /// A version with fewer is refused; 0: none is.
    pub min_entries: u64,
    /// A version with more is refused; 0: none is.
    pub max_entries: u64,
}

impl SizeLimits {
    /// Default of [`SizeLimits::max_growth`]: a daily feed grows by a few percent, a wrong one tenfold.
    pub const DEFAULT_MAX_GROWTH: u32 = 10_000;
    /// Default of [`SizeLimits::max_shrink`]: less than the half that half a download loses.
    pub const DEFAULT_MAX_SHRINK: u32 = 4_000;
    /// Default of [`SizeLimits::slack`]: orders are lifted one by one, and small lists change much.
    pub const DEFAULT_SLACK: u64 = 100;
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self {
            max_growth: Self::DEFAULT_MAX_GROWTH,
            max_shrink: Self::DEFAULT_MAX_SHRINK,
            slack: Self::DEFAULT_SLACK,
            min_entries: 0,
            max_entries: 0,
        }
    }
}

/// Which limit a version breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max_growth`, as the share it is.
    Growth(u32),
    /// `max_shrink`, as the share it is.
    Shrink(u32),
    /// `min_entries`
    Min(u64),
    /// `max_entries`
    Max(u64),
}

/// A version of a list that is not taken for its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeChange {
    /// The list.
    pub list: String,
    /// Entries in force; `None`: there is no version before.
    pub before: Option<u64>,
    /// Entries of the version that is not taken.
    pub after: u64,
    /// The limit.
    pub limit: Limit,
    /// Hash of the version that is not taken, in hex: of its file, or of what `sha256sum` prints for its files.
    pub version: String,
    /// Orders that version names, each with how many names of it are not in force: they wait with it.
    pub orders: Vec<(Arc<Order>, u64)>,
}

impl SizeLimits {
    /// The limit that going from `before` entries to `after` breaks.
    pub fn broken(&self, before: Option<u64>, after: u64) -> Option<Limit> {
        if after < self.min_entries {
            return Some(Limit::Min(self.min_entries));
        }
        if self.max_entries > 0 && after > self.max_entries {
            return Some(Limit::Max(self.max_entries));
        }
        // A list has to begin some time: from next to nothing every growth is boundless.
        let before = before.filter(|&before| before > self.slack)?;
        let (more, limit, is) = match after.checked_sub(before) {
            Some(more) => (more, self.max_growth, Limit::Growth(self.max_growth)),
            None => (before - after, self.max_shrink, Limit::Shrink(self.max_shrink)),
        };
        let beyond = u128::from(more) * 10_000 > u128::from(before) * u128::from(limit);
        (more > self.slack && beyond).then_some(is)
    }
}

impl fmt::Display for SizeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, before, after, limit, version, orders: _ } = self;
        match (limit, before) {
            (Limit::Growth(limit), Some(before)) => {
                write!(
                    f,
                    "it would grow from {before} to {after} entries at once (`max_growth` is {})",
                    percent(*limit)
                )?;
            }
            (Limit::Shrink(limit), Some(before)) => {
                write!(
                    f,
                    "it would shrink from {before} to {after} entries at once (`max_shrink` is {})",
                    percent(*limit)
                )?;
            }
            (Limit::Growth(_) | Limit::Shrink(_), None) => write!(f, "it would have {after} entries")?,
            (Limit::Min(limit), _) => write!(f, "it would have {after} entries (`min_entries` is {limit})")?,
            (Limit::Max(limit), _) => write!(f, "it would have {after} entries (`max_entries` is {limit})")?,
        }
        write!(
            f,
            "; look at what the source gives now. If it is right, accept this version with a reason (`qalqan \
             release {list} --whole`, sha256 {version}) or change the limit in the list's `gate`"
        )
    }
}

impl std::error::Error for SizeChange {}

/// A share as the configuration writes it.
fn percent(share: u32) -> String {
    match share % 100 {
        0 => format!("{}%", share / 100),
        rest => format!("{}.{rest:02}%", share / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daily_feed_passes_and_a_wrong_one_does_not() {
        let limits = SizeLimits::default();
        for (before, after) in [
            (190_000, 195_000),
            (190_000, 170_000),
            (20_000, 26_000),
            (50, 150),
            (100, 0),
            (101, 1),
            (0, 50_000),
            (2, 20_000),
        ] {
            assert_eq!(limits.broken(Some(before), after), None, "{before} to {after}");
        }
        let growth = Some(Limit::Growth(SizeLimits::DEFAULT_MAX_GROWTH));
        let shrink = Some(Limit::Shrink(SizeLimits::DEFAULT_MAX_SHRINK));
        for (before, after, limit) in [
            (5_000, 50_000, growth),
            (5_000, 500, shrink),
            (5_000, 2_500, shrink),
            (5_000, 0, shrink),
            (101, 1_000, growth),
            (101, 203, growth),
            (u64::MAX, 0, shrink),
        ] {
            assert_eq!(limits.broken(Some(before), after), limit, "{before} to {after}");
        }
        assert_eq!(limits.broken(None, 5_000_000), None, "nothing to compare with");
    }

    #[test]
    fn bounds_hold_without_a_version_before() {
        let limits = SizeLimits { min_entries: 10, max_entries: 20, ..SizeLimits::default() };
        assert_eq!(limits.broken(None, 9), Some(Limit::Min(10)));
        assert_eq!(limits.broken(Some(10), 21), Some(Limit::Max(20)));
        assert_eq!(limits.broken(None, 20), None);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let change = SizeChange {
            list: "feed".into(),
            before: Some(1_000),
            after: 10_000,
            limit: Limit::Growth(10_000),
            version: "ab".into(),
            orders: Vec::new(),
        };
        let said = change.to_string();
        assert!(said.contains("from 1000 to 10000") && said.contains("`max_growth` is 100%"), "{said}");
        assert!(said.contains("`qalqan release feed --whole`, sha256 ab"), "{said}");
        assert_eq!((percent(4_050), percent(25)), ("40.50%".into(), "0.25%".into()));
    }
}
