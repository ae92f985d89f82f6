//! What hits are counted under, and which of it is asked about.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::Why;
use super::{ReadError, Reader};
use crate::event::Outcome;

/// How often something was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries.
    pub hits: u64,
    /// Attempts among them.
    pub attempts: u64,
    /// Queries that gave no attempt and no client, for want of time.
    pub unexamined: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.unexamined = self.unexamined.saturating_add(other.unexamined);
    }
}

/// An order as it is told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderName {
    /// The authority's number.
    pub number: Arc<str>,
    /// Who issued it.
    pub authority: Arc<str>,
    /// On what.
    pub legal_basis: Arc<str>,
}

/// What hits are counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What became of the queries.
    pub outcome: Outcome,
    /// The pattern of the rule that decided.
    pub rule: Arc<str>,
    /// Its list.
    pub list: Arc<str>,
    /// All lists with a rule that matched, that one included, sorted.
    pub lists: Vec<Arc<str>>,
    /// The orders it rests on, sorted.
    pub orders: Vec<Arc<OrderName>>,
}

/// All of them by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// By number.
    pub by_id: HashMap<i64, Subject>,
    /// Every order, sorted.
    pub orders: Vec<Arc<OrderName>>,
}

/// Which subjects are asked about: all that agree with everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Number of an order.
    pub order: Option<String>,
    /// An authority, in any case of letters.
    pub authority: Option<String>,
    /// A list that matched, whether or not it decided.
    pub list: Option<String>,
    /// A rule, as it is shown.
    pub rule: Option<String>,
    /// What became of the queries.
    pub outcome: Option<Outcome>,
}

impl Filter {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a subject is asked about.
    pub fn takes(&self, subject: &Subject) -> bool {
        self.outcome.is_none_or(|outcome| outcome == subject.outcome)
            && self.list.as_ref().is_none_or(|list| subject.lists.iter().any(|known| **known == **list))
            && self.rule.as_ref().is_none_or(|rule| *subject.rule == **rule)
            && (!self.asks_for_orders() || subject.orders.iter().any(|order| self.takes_order(order)))
    }

    /// Whether only some orders are asked about.
    pub fn asks_for_orders(&self) -> bool {
        self.order.is_some() || self.authority.is_some()
    }

    /// Whether an order is asked about.
    pub fn takes_order(&self, order: &OrderName) -> bool {
        self.order.as_ref().is_none_or(|number| *order.number == **number)
            && self.authority.as_ref().is_none_or(|name| order.authority.to_lowercase() == name.to_lowercase())
    }
}

impl Reader {
    /// Every subject that is known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn subjects(&self) -> Result<Subjects, ReadError> {
        self.whole(|| {
            let mut texts = Texts::default();
            let mut orders = HashMap::new();
            self.rows_of("SELECT id, number, authority, legal_basis FROM orders", |row| {
                let [number, authority, legal_basis] = [1, 2, 3].map(|column| texts.get(row, column));
                let order = OrderName { number: number?, authority: authority?, legal_basis: legal_basis? };
                orders.insert(row.get::<_, i64>(0)?, Arc::new(order));
                Ok(())
            })?;
            let mut by_id = HashMap::new();
            self.rows_of("SELECT id, outcome, rule, list FROM subject", |row| {
                let outcome = outcome(&row.get::<_, String>(1)?)?;
                let (rule, list) = (Arc::from(row.get::<_, String>(2)?), texts.get(row, 3)?);
                by_id.insert(row.get(0)?, Subject { outcome, rule, list, lists: Vec::new(), orders: Vec::new() });
                Ok(())
            })?;
            self.rows_of("SELECT subject, list FROM subject_list ORDER BY subject, list", |row| {
                let list = texts.get(row, 1)?;
                by_id.entry(row.get(0)?).and_modify(|subject: &mut Subject| subject.lists.push(list));
                Ok(())
            })?;
            self.rows_of("SELECT subject, orders FROM subject_order", |row| {
                let order = orders.get(&row.get::<_, i64>(1)?).cloned();
                by_id.entry(row.get(0)?).and_modify(|subject| subject.orders.extend(order));
                Ok(())
            })?;
            by_id.values_mut().for_each(|subject| subject.orders.sort());
            let mut orders: Vec<_> = orders.into_values().collect();
            orders.sort();
            Ok(Subjects { by_id, orders })
        })
    }

    /// Does something with every row.
    pub(super) fn rows_of(
        &self,
        sql: &str,
        mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Why>,
    ) -> Result<(), Why> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }
}

/// An outcome as statistics spell it.
pub(super) fn outcome(text: &str) -> Result<Outcome, Why> {
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
    known.ok_or_else(|| Why::Odd(format!("{text} is no outcome")))
}

/// Texts that come again and again, kept once.
#[derive(Debug, Default)]
struct Texts(HashMap<String, Arc<str>>);

impl Texts {
    /// The text in a column.
    fn get(&mut self, row: &rusqlite::Row<'_>, column: usize) -> Result<Arc<str>, rusqlite::Error> {
        let text = row.get_ref(column)?.as_str()?;
        if let Some(known) = self.0.get(text) {
            return Ok(Arc::clone(known));
        }
        let new: Arc<str> = text.into();
        self.0.insert(text.to_owned(), Arc::clone(&new));
        Ok(new)
    }
}
