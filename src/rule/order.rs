//! The legal instrument behind a block, and when it is in force.

use crate::util::UnixTime;

/// An order: id, authority, legal basis, dates (DESIGN section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Order {
    /// The authority's own number.
    pub id: String,
    /// Who issued it.
    pub authority: String,
    /// Another authority that asked for it; empty if none.
    pub requested_by: String,
    /// The law it rests on.
    pub legal_basis: String,
    /// Court decisions and the like.
    pub reference: Vec<String>,
    /// When it was issued.
    pub issued: Option<UnixTime>,
    /// Not enforced before.
    pub effective: Option<UnixTime>,
    /// By when it must be enforced.
    pub deadline: Option<UnixTime>,
    /// Lifted from then on.
    pub expires: Option<UnixTime>,
    /// Lifted from then on.
    pub revoked: Option<UnixTime>,
    /// `mailto:` and `tel:` addresses for those affected.
    pub contact: Vec<String>,
    /// Where it is published; empty if nowhere.
    pub url: String,
}

/// Where an order stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// `effective` has not come yet.
    Pending,
    /// Blocks.
    InForce,
    /// `expires` has passed.
    Expired,
    /// `revoked` has passed.
    Revoked,
}

impl Order {
    /// The names of the fields, as order files, registers and the configuration spell them.
    pub const FIELDS: [&str; 12] = [
        "id",
        "authority",
        "requested_by",
        "legal_basis",
        "reference",
        "issued",
        "effective",
        "deadline",
        "expires",
        "revoked",
        "contact",
        "url",
    ];

    /// What it says in a field, as an order file would; empty if nothing, or if there is no such field.
    pub fn field(&self, field: &str) -> String {
        let date = |date: Option<UnixTime>| date.map(|at| at.to_string()).unwrap_or_default();
        match field {
            "id" => self.id.clone(),
            "authority" => self.authority.clone(),
            "requested_by" => self.requested_by.clone(),
            "legal_basis" => self.legal_basis.clone(),
            "reference" => self.reference.join(", "),
            "issued" => date(self.issued),
            "effective" => date(self.effective),
            "deadline" => date(self.deadline),
            "expires" => date(self.expires),
            "revoked" => date(self.revoked),
            "contact" => self.contact.join(", "),
            "url" => self.url.clone(),
            _ => String::new(),
        }
    }

    /// Where the order stands at `now`. A date acts from its first second on.
    pub fn state(&self, now: UnixTime) -> OrderState {
        if self.revoked.is_some_and(|at| now >= at) {
            OrderState::Revoked
        } else if self.expires.is_some_and(|at| now >= at) {
            OrderState::Expired
        } else if self.effective.is_some_and(|at| now < at) {
            OrderState::Pending
        } else {
            OrderState::InForce
        }
    }

    /// When it ends, if a date says so.
    pub fn ends(&self) -> Option<UnixTime> {
        [self.expires, self.revoked].into_iter().flatten().min()
    }

    /// The next moment after `now` at which [`Self::state`] may change.
    pub fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        [self.effective, self.expires, self.revoked].into_iter().flatten().filter(|&at| at > now).min()
    }

    /// The next moment after `now` at which it does: once revoked, no other date matters.
    pub fn next_state(&self, now: UnixTime) -> Option<UnixTime> {
        let dates = [self.effective, self.expires, self.revoked].into_iter().flatten();
        dates.filter(|&at| at > now && self.state(at) != self.state(now)).min()
    }
}

/// For how long a name that rests on some orders is blocked by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up to this moment: then the last one in force has ended, and no other has begun.
    Time(UnixTime),
    /// No date ends it.
    Open,
    /// It is not blocked now, but from this moment on.
    From(UnixTime),
    /// It is not blocked, and no date changes that.
    Never,
}

/// For how long a name that rests on `orders` is blocked by them, as seen at `now`.
pub fn blocked_until<'a>(orders: impl IntoIterator<Item = &'a Order>, now: UnixTime) -> Until {
    let mut times: Vec<(UnixTime, Option<UnixTime>)> = orders
        .into_iter()
        .map(|order| (order.effective.unwrap_or(UnixTime(i64::MIN)), order.ends()))
        .filter(|&(start, end)| end.is_none_or(|end| end > start && end > now))
        .collect();
    times.sort_unstable();
    let mut reach = now;
    for (start, end) in times {
        match end {
            _ if start > reach && reach == now => return Until::From(start),
            _ if start > reach => break,
            Some(end) => reach = reach.max(end),
            None => return Until::Open,
        }
    }
    if reach == now { Until::Never } else { Until::Time(reach) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_lasts_as_long_as_a_walk_through_the_seconds_says(
            dates in proptest::collection::vec([proptest::option::of(0_i64..20), proptest::option::of(0_i64..20),
                proptest::option::of(0_i64..20)], 0..5),
            now in 0_i64..20,
        ) {
            let date = |at: Option<i64>| at.map(UnixTime);
            let orders: Vec<Order> = dates.into_iter().map(|[effective, expires, revoked]| Order {
                effective: date(effective), expires: date(expires), revoked: date(revoked), ..Order::default()
            }).collect();
            let blocked = |at: i64| orders.iter().any(|order| order.state(UnixTime(at)) == OrderState::InForce);
            // After the last date nothing changes.
            let changes = (now + 1..25).find(|&at| blocked(at) != blocked(now)).map(UnixTime);
            let expected = match (blocked(now), changes) {
                (true, Some(at)) => Until::Time(at),
                (true, None) => Until::Open,
                (false, Some(at)) => Until::From(at),
                (false, None) => Until::Never,
            };
            prop_assert_eq!(blocked_until(&orders, UnixTime(now)), expected);
        }
    }

    #[test]
    fn dates_act_at_their_second() {
        let order = Order {
            effective: Some(UnixTime(100)),
            expires: Some(UnixTime(200)),
            revoked: Some(UnixTime(150)),
            ..Order::default()
        };
        let states = [99, 100, 149, 150, 250].map(|at| order.state(UnixTime(at)));
        use OrderState::{InForce, Pending, Revoked};
        assert_eq!(states, [Pending, InForce, InForce, Revoked, Revoked]);
        let changes = [0, 100, 150, 200].map(|at| order.next_change(UnixTime(at)).map(|t| t.0));
        assert_eq!(changes, [Some(100), Some(150), Some(200), None]);
        let states = [0, 100, 150, 200].map(|at| order.next_state(UnixTime(at)).map(|t| t.0));
        assert_eq!(states, [Some(100), Some(150), None, None], "a revoked order does not expire");
    }
}
