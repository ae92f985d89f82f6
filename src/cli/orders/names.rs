//! `orders for`: the orders a name rests on, and when its block lifts.

use serde::Serialize;

use super::{Desk, date, state, text};
use crate::cli::Exit;
use crate::cli::output::{self, Plain, Style, complain};
use crate::name::{NameBuf, NameError};
use crate::reload::{Place, place};
use crate::rule::{Effect, Mode, Order, RpzAction, Until, blocked_until};
use crate::set::Match;

/// The most rules told for one name.
const MAX_RULES: usize = 1000;

/// What a name rests on.
#[derive(Debug, Serialize)]
pub(super) struct Resting {
    /// As it stands in packets.
    pub(super) name: String,
    pub(super) blocked: bool,
    pub(super) outlook: Outlook,
    /// The moment `outlook` speaks of.
    pub(super) at: Option<String>,
    /// Those in force first.
    pub(super) orders: Vec<OrderOn>,
    /// Rules on orders that are not told.
    pub(super) more: u64,
    /// The first rule that rests on no order, in a list that enforces.
    pub(super) without_order: Option<Place>,
}

/// What dates will change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outlook {
    /// The block lifts at a moment, when the last order in force ends.
    Lifts,
    /// No date lifts it: an order in force has no end.
    Open,
    /// No date lifts it: a rule rests on no order.
    WithoutOrder,
    /// It begins at a moment.
    Begins,
    /// It is not blocked, and no date changes that.
    NotBlocked,
    /// An exception takes the name back, whatever orders say.
    Excepted,
}

/// A rule that rests on an order.
#[derive(Debug, Serialize)]
pub(super) struct OrderOn {
    pub(super) id: String,
    pub(super) authority: String,
    pub(super) state: &'static str,
    pub(super) effective: Option<String>,
    pub(super) expires: Option<String>,
    pub(super) revoked: Option<String>,
    pub(super) mode: String,
    #[serde(flatten)]
    pub(super) place: Place,
}

/// All names.
pub(super) fn run(desk: &Desk<'_>, names: &[String]) -> Exit {
    let mut exit = Exit::Fine;
    let mut shown = String::new();
    for asked in names {
        let resting = match look(desk, asked) {
            Ok(resting) => resting,
            Err(error) => {
                exit = complain(&format_args!("`{}`, at byte {}: {error}", Plain(asked), error.at + 1));
                continue;
            }
        };
        if desk.args.json {
            match serde_json::to_string(&resting) {
                Ok(line) => shown.push_str(&(line + "\n")),
                Err(error) => return complain(&format_args!("cannot write JSON: {error}")),
            }
        } else {
            if !shown.is_empty() {
                shown.push('\n');
            }
            shown.push_str(&text::resting(&resting, Style::of_stdout()));
        }
    }
    output::print(&shown, exit)
}

/// One name.
fn look(desk: &Desk<'_>, asked: &str) -> Result<Resting, NameError> {
    let mut name = NameBuf::new();
    name.parse(asked)?;
    let (snapshot, now) = (&desk.loaded.snapshot, desk.now());
    let mut found: Vec<Match<'_>> = Vec::new();
    snapshot.set().known(&name, |rule, _| {
        if !matches!(rule.kind.effect, Effect::Allow | Effect::Rpz(RpzAction::Passthru)) {
            found.push(rule);
        }
    });
    let mode = |rule: &Match<'_>| snapshot.lists().get(usize::from(rule.list)).map_or(Mode::Shadow, |list| list.mode);
    let order = |rule: &Match<'_>| snapshot.set().rule(rule.id).order.map(AsRef::as_ref);
    let rank = |rule: &Match<'_>| {
        let line = snapshot.set().rule(rule.id).line;
        (order(rule).map(|order| state_rank(order, now)), rule.list, rule.part, line, rule.id)
    };
    found.sort_by_key(rank);
    let enforced = || found.iter().filter(|rule| mode(rule) == Mode::Enforce);
    let without_order = enforced().find(|rule| order(rule).is_none()).map(|rule| place(snapshot, rule));
    let decided = snapshot.decide(&name);
    // What orders others than those asked about say counts here, too.
    let (outlook, at) = match blocked_until(enforced().filter_map(order), now) {
        _ if decided.allow.is_some() || decided.excepted() => (Outlook::Excepted, None),
        _ if without_order.is_some() => (Outlook::WithoutOrder, None),
        Until::Time(at) => (Outlook::Lifts, Some(at)),
        Until::Open => (Outlook::Open, None),
        Until::From(at) => (Outlook::Begins, Some(at)),
        Until::Never => (Outlook::NotBlocked, None),
    };
    let told = |rule: &Match<'_>| {
        let order = order(rule).filter(|order| desk.wants(&order.authority))?;
        Some(OrderOn {
            id: order.id.clone(),
            authority: order.authority.clone(),
            state: state(order.state(now)),
            effective: date(order.effective),
            expires: date(order.expires),
            revoked: date(order.revoked),
            mode: mode(rule).to_string(),
            place: place(snapshot, rule),
        })
    };
    let most = if desk.args.all { usize::MAX } else { MAX_RULES };
    let mut all = found.iter().filter_map(told);
    let orders: Vec<OrderOn> = all.by_ref().take(most).collect();
    let more = all.count() as u64;
    let blocked = decided.blocked().is_some();
    Ok(Resting { name: name.to_string(), blocked, outlook, at: date(at), orders, more, without_order })
}

/// Those in force first.
fn state_rank(order: &Order, now: crate::util::UnixTime) -> u8 {
    match state(order.state(now)) {
        "in force" => 0,
        "pending" => 1,
        _ => 2,
    }
}
