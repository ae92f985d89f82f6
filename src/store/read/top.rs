//! What was asked for most.

use std::collections::HashMap;

use super::clients::{ByKey, Of};
use super::kinds::Aspect;
use super::{Clients, Counts, Filter, Plan, ReadError, Reader, Subject, Subjects};
use crate::event::Outcome;

/// What hits are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule that decided.
    Name,
    /// Each order they rest on.
    Order,
    /// The authority of each order.
    Authority,
    /// Each list with a rule that matched.
    List,
    /// The RR type asked for.
    Type,
    /// What the client got.
    Answer,
    /// How it asked.
    Transport,
    /// What became of the query.
    Outcome,
}

/// One line of a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// What it is about.
    pub key: String,
    /// Of an order, who issued it; else empty.
    pub authority: String,
    /// Of an order, on what; else empty.
    pub legal_basis: String,
    /// Hits for each outcome.
    pub hits: [u64; Outcome::ALL.len()],
    /// Attempts; not counted by type, answer and transport.
    pub attempts: Option<u64>,
    /// Hits that gave no attempt and no client.
    pub unexamined: u64,
    /// Names with hits; not counted by type, answer and transport.
    pub names: Option<u64>,
    /// Not counted by everything, nor below a filter.
    pub clients: Option<Clients>,
}

impl Ranked {
    /// All hits.
    pub fn total(&self) -> u64 {
        self.hits.iter().fold(0, |sum, hits| sum.saturating_add(*hits))
    }

    /// Nothing counted yet.
    pub fn new(key: &str, authority: &str, legal_basis: &str) -> Self {
        Self {
            key: key.into(),
            authority: authority.into(),
            legal_basis: legal_basis.into(),
            hits: [0; Outcome::ALL.len()],
            attempts: Some(0),
            unexamined: 0,
            names: Some(0),
            clients: None,
        }
    }

    /// The most hits first; those with as many by their keys.
    pub fn sort(ranked: &mut [Self]) {
        ranked.sort_by(|a, b| {
            b.total().cmp(&a.total()).then_with(|| (&a.key, &a.authority).cmp(&(&b.key, &b.authority)))
        });
    }
}

impl Reader {
    /// A ranking, the most hits first; those with as many by their keys.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn top(&self, plan: &Plan, by: By, subjects: &Subjects, filter: &Filter) -> Result<Vec<Ranked>, ReadError> {
        let aspect = match by {
            By::Type => Some(Aspect::Type),
            By::Answer => Some(Aspect::Answer),
            By::Transport => Some(Aspect::Transport),
            _ => None,
        };
        let mut ranked = match aspect {
            Some(aspect) => self.ranked_kinds(plan, aspect)?,
            None => self.ranked_subjects(plan, by, subjects, filter)?,
        };
        Ranked::sort(&mut ranked);
        Ok(ranked)
    }

    /// All of a time together, and how many rules had hits.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn all(&self, plan: &Plan, subjects: &Subjects, filter: &Filter) -> Result<Ranked, ReadError> {
        let names = self.ranked_subjects(plan, By::Name, subjects, filter)?;
        let mut all = Ranked::new("", "", "");
        for name in &names {
            for (sum, hits) in all.hits.iter_mut().zip(name.hits) {
                *sum = sum.saturating_add(hits);
            }
            all.attempts = all.attempts.zip(name.attempts).map(|(a, b)| a.saturating_add(b));
            all.unexamined = all.unexamined.saturating_add(name.unexamined);
        }
        all.names = Some(names.len() as u64);
        if filter.is_all() {
            let clients = self.clients(Of::All, plan.span)?;
            all.clients = clients.into_values().reduce(Clients::join);
        }
        Ok(all)
    }

    /// By the type, the answer or the transport.
    fn ranked_kinds(&self, plan: &Plan, aspect: Aspect) -> Result<Vec<Ranked>, ReadError> {
        let kinds = self.kinds(&self.plan_kinds(plan.span), aspect)?;
        let rank = |(key, hits): (String, _)| Ranked { hits, attempts: None, names: None, ..Ranked::new(&key, "", "") };
        Ok(kinds.into_iter().map(rank).collect())
    }

    /// By what subjects know.
    fn ranked_subjects(
        &self,
        plan: &Plan,
        by: By,
        subjects: &Subjects,
        filter: &Filter,
    ) -> Result<Vec<Ranked>, ReadError> {
        let mut sums: HashMap<i64, Counts> = HashMap::new();
        self.whole(|| self.each(plan, |_, _, subject, counts| sums.entry(subject).or_default().add(counts)))?;
        let mut found: HashMap<(&str, &str), (Ranked, Vec<&str>)> = HashMap::new();
        for (id, counts) in &sums {
            let Some(subject) = subjects.by_id.get(id).filter(|subject| filter.takes(subject)) else { continue };
            for (key, authority, legal_basis) in keys(subject, by, filter) {
                let (ranked, names) = found
                    .entry((key, authority))
                    .or_insert_with(|| (Ranked::new(key, authority, legal_basis), Vec::new()));
                let hits = &mut ranked.hits[subject.outcome as usize];
                *hits = hits.saturating_add(counts.hits);
                ranked.attempts = ranked.attempts.map(|attempts| attempts.saturating_add(counts.attempts));
                ranked.unexamined = ranked.unexamined.saturating_add(counts.unexamined);
                names.push(&subject.rule);
            }
        }
        let of = match by {
            By::Name => Some(Of::Rule),
            By::Order => Some(Of::Order),
            By::List => Some(Of::List),
            _ => None,
        };
        // Clients are counted for everything together, not for a part of it.
        let clients = match of {
            Some(of) if filter.outcome.is_none() && filter.rule.is_none() => self.clients(of, plan.span)?,
            _ => ByKey::new(),
        };
        let finish = |(mut ranked, mut names): (Ranked, Vec<&str>)| {
            names.sort_unstable();
            names.dedup();
            ranked.names = Some(names.len() as u64);
            ranked.clients = clients.get(&(ranked.key.clone(), ranked.authority.clone())).copied();
            ranked
        };
        Ok(found.into_values().map(finish).collect())
    }
}

/// Under which keys a subject is counted: key, authority, legal basis.
fn keys<'s>(subject: &'s Subject, by: By, filter: &Filter) -> Vec<(&'s str, &'s str, &'s str)> {
    let orders = subject.orders.iter().filter(|order| filter.takes_order(order));
    match by {
        By::Name => vec![(&subject.rule, "", "")],
        By::Order => orders.map(|order| (&*order.number, &*order.authority, &*order.legal_basis)).collect(),
        By::Authority => {
            let mut names: Vec<&str> = orders.map(|order| &*order.authority).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().map(|name| (name, "", "")).collect()
        }
        By::List => subject.lists.iter().map(|list| (&**list, "", "")).collect(),
        By::Outcome => vec![(subject.outcome.as_str(), "", "")],
        By::Type | By::Answer | By::Transport => Vec::new(),
    }
}
