//! Orders in a version that is not taken: whoever watches deadlines must know of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::gate::blocks;
use crate::name::NameBuf;
use crate::rule::{FileRules, Order, Scope};

/// Orders, each with how many names of it are not in force.
pub(super) type Waiting = Arc<[(Arc<Order>, u64)]>;

/// A pattern that rests on an order: number and authority, the name and its scope.
type Claim<'a> = (&'a str, &'a str, Scope, Box<[u8]>);

/// The orders that `new` names, with how many of their patterns do not rest on them in any of `in_force`.
pub(super) fn orders(new: &FileRules, in_force: &[&FileRules]) -> Waiting {
    let mut wanted: HashMap<Claim<'_>, u32> = HashMap::new();
    claims(new, |claim, order| _ = wanted.insert(claim, order));
    if !wanted.is_empty() {
        for rules in in_force {
            claims(rules, |claim, _| _ = wanted.remove(&claim));
        }
    }
    let mut counts = vec![0; new.orders().len()];
    for order in wanted.into_values() {
        if let Some(count) = counts.get_mut(order as usize) {
            *count += 1;
        }
    }
    let found = new.orders().iter().zip(counts).filter(|(_, count)| *count > 0);
    found.map(|(order, count)| (Arc::clone(order), count)).collect()
}

/// Gives `to` every pattern that would be blocked on an order, with the order's number.
fn claims<'r>(rules: &'r FileRules, mut to: impl FnMut(Claim<'r>, u32)) {
    let on_order: Vec<Option<(u32, &Order)>> = rules
        .kinds()
        .iter()
        .map(|kind| {
            let number = kind.order.filter(|_| blocks(&kind.effect))?;
            Some((number, &**rules.orders().get(number as usize)?))
        })
        .collect();
    if on_order.iter().all(Option::is_none) {
        return;
    }
    let (mut names, mut name) = (rules.names(), NameBuf::new());
    while let Some(rule) = names.next(&mut name) {
        let (number, kind) = rules.kind(rule);
        if let Some(&Some((number, order))) = on_order.get(number as usize) {
            to((&order.id, &order.authority, kind.scope, name.wire().into()), number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Effect, Kind, RulesBuilder};

    /// Rules `ID NAME`; without an ID, on no order.
    fn rules(lines: &[(&str, &str)]) -> FileRules {
        let mut builder = RulesBuilder::new("register.csv".into(), 64);
        let mut name = NameBuf::new();
        for (line, (id, text)) in (1..).zip(lines) {
            let order = Order { id: (*id).into(), authority: "A".into(), ..Order::default() };
            let order = (!id.is_empty()).then(|| builder.order(order));
            name.parse(text).expect("a name");
            assert!(builder.push(&name, line, Kind { scope: Scope::Subtree, effect: Effect::Block, order }));
        }
        builder.build()
    }

    #[test]
    fn only_what_no_file_in_force_blocks_on_the_same_order_waits() {
        let old = [rules(&[("1", "a.example"), ("2", "b.example")]), rules(&[("1", "moved.example")])];
        let new = rules(&[
            ("1", "a.example"),
            ("1", "moved.example"),
            ("1", "new.example"),
            ("1", "new.example"),
            ("3", "b.example"),
            ("", "free.example"),
        ]);
        let found = orders(&new, &old.iter().collect::<Vec<_>>());
        let found: Vec<_> = found.iter().map(|(order, count)| (&*order.id, *count)).collect();
        assert_eq!(found, [("1", 1), ("3", 1)]);
        assert!(orders(&old[0], &[&old[0]]).is_empty());
    }
}
