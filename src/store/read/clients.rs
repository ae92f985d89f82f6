//! Distinct clients: what is known of their number, and what of it may be shown.

use std::collections::BTreeMap;
use std::fmt;

use super::{ReadError, Reader, Span, count};

/// Between which numbers the number of distinct clients lies, the error of estimates aside (about 1.6 %).
///
/// Sketches of different days, or made before and after a restart, cannot be joined, since each has a key of its own:
/// their clients may be the same or others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// If all are the same: those of the largest sketch.
    pub low: u64,
    /// If none is another's: those of all sketches together.
    pub high: u64,
}

impl Clients {
    /// Of one more sketch.
    pub fn join(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.saturating_add(other.high) }
    }

    /// What may be shown of it.
    pub fn shown(self, threshold: u64) -> Shown {
        let show = |number: u64| Some(number).filter(|&number| number >= threshold);
        Shown { low: show(self.low), high: show(self.high), threshold }
    }
}

/// A number of clients in which small numbers are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Nothing: below the threshold.
    pub low: Option<u64>,
    /// Likewise; then the lower bound is hidden, too.
    pub high: Option<u64>,
    /// Numbers below it are hidden.
    pub threshold: u64,
}

/// `12`, `12-15`, `<5`, `<5-12`.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.low, self.high) {
            (Some(low), Some(high)) if low == high => low.to_string(),
            (Some(low), Some(high)) => format!("{low}-{high}"),
            (_, None) => format!("<{}", self.threshold),
            (None, Some(high)) => format!("<{}-{high}", self.threshold),
        };
        f.pad(&text)
    }
}

/// Whose clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All with a hit.
    All,
    /// Those of a rule.
    Rule,
    /// Those of a list.
    List,
    /// Those of an order.
    Order,
}

impl Of {
    /// As the file spells it.
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Rule => "rule",
            Self::List => "list",
            Self::Order => "order",
        }
    }
}

/// Clients by key and authority; the authority is empty but for orders.
pub type ByKey = BTreeMap<(String, String), Clients>;

impl Reader {
    /// The clients of a time: of all days it touches, as they are counted by the day.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn clients(&self, of: Of, span: Span) -> Result<ByKey, ReadError> {
        let mut all = ByKey::new();
        self.clients_by_day(of, span, |_, key, clients| {
            let known: &mut Clients = all.entry(key).or_default();
            *known = known.join(clients);
        })?;
        Ok(all)
    }

    /// The same, day by day.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn clients_by_day(
        &self,
        of: Of,
        span: Span,
        mut take: impl FnMut(i64, (String, String), Clients),
    ) -> Result<(), ReadError> {
        const SQL: &str = "SELECT k.day, c.key, c.authority, max(k.estimate), sum(k.estimate) \
            FROM sketch AS k CROSS JOIN counted AS c ON c.id = k.counted \
            WHERE k.day >= ?1 AND k.day < ?2 AND c.of = ?3 GROUP BY k.day, k.counted";
        self.whole(|| {
            let (from, to) = (self.days.of(span.from), self.days.of(self.days.ceil(span.to)));
            let mut statement = self.db.prepare_cached(SQL)?;
            let mut rows = statement.query((from, to, of.as_str()))?;
            while let Some(row) = rows.next()? {
                let clients = Clients { low: count(row, 3)?, high: count(row, 4)? };
                take(row.get(0)?, (row.get(1)?, row.get(2)?), clients);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_hidden_on_either_side() {
        let shown = |low, high| Clients { low, high }.shown(5).to_string();
        assert_eq!([shown(0, 0), shown(4, 4), shown(4, 5)], ["<5", "<5", "<5-5"]);
        assert_eq!([shown(5, 5), shown(5, 9), shown(120, 3400)], ["5", "5-9", "120-3400"]);
        assert_eq!(Clients { low: 0, high: 3 }.shown(0).to_string(), "0-3", "nothing is hidden");
    }

    #[test]
    fn days_may_have_the_same_clients_or_others() {
        let day = |clients| Clients { low: clients, high: clients };
        let joined = [3, 9, 4].into_iter().map(day).fold(Clients::default(), Clients::join);
        assert_eq!(joined, Clients { low: 9, high: 16 });
    }
}
