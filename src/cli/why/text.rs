//! The answer of `why` as people read it: the decision first, then what it rests on, then what the client gets.

use std::fmt::{self, Write};

use super::reply::{Reply, Told};
use super::{Explained, OrderLine, Route, RuleLine, Since};
use crate::cli::output::{Plain, Style, counted};
use crate::gate::{Decision, Held};

/// One name.
pub fn show(explained: &Explained, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, explained, style);
    text
}

/// Writes it line by line.
fn write(to: &mut String, explained: &Explained, style: Style) -> fmt::Result {
    let Explained { asked, name, rtype, decision, .. } = explained;
    write!(to, "{}", style.strong(name))?;
    if !asked.is_ascii() {
        write!(to, " ({})", Plain(asked))?;
    }
    write!(to, " {rtype}: ")?;
    match decision {
        super::Decision::Blocked => writeln!(to, "{}", style.bad("blocked"))?,
        super::Decision::Excepted => writeln!(to, "{}", style.look("allowed by exception"))?,
        super::Decision::Shadow => {
            writeln!(to, "{}", style.look("passed, but a shadow list has it: counted, not blocked"))?
        }
        super::Decision::Passed => writeln!(to, "passed")?,
        super::Decision::Exempt => writeln!(to, "passed: no list holds for the client's group")?,
        super::Decision::Refused => writeln!(to, "{}", style.bad("refused: the client is not in allow_from"))?,
    }
    if let Some(group) = &explained.group {
        field(to, "group", group)?;
    }
    for rule in &explained.rules {
        self::rule(to, rule)?;
    }
    for held in &explained.held {
        self::held(to, held)?;
    }
    if explained.rules.is_empty() && explained.held.is_empty() {
        field(to, "rule", "none covers it")?;
    }
    if explained.more_rules > 0 {
        field(to, "", &format!("… and {} more", counted(explained.more_rules, "rule")))?;
    }
    reply(to, explained)
}

/// An entry that would block it if the gate let it pass.
fn held(to: &mut String, held: &Held) -> fmt::Result {
    let Held { list, file, line, pattern, reason, instead, decided, .. } = held;
    field(to, "held", &format!("{pattern}, {file}:{line}, list {list}: not enforced"))?;
    field(to, "", reason)?;
    match (decided, instead) {
        (_, Some(instead)) => field(to, "", instead),
        (Some(decided), None) => {
            let Decision { verdict, by, reason, time, .. } = decided;
            field(to, "", &format!("{verdict} by {by} on {time}: {reason}"))
        }
        (None, None) => {
            let verbs = format!("`qalqan release {list} '{pattern}'` enforces it, `qalqan dismiss` settles it");
            field(to, "", &(verbs + "; both with --reason TEXT"))
        }
    }
}

/// A rule and its order.
fn rule(to: &mut String, rule: &RuleLine) -> fmt::Result {
    let RuleLine { place, effect, mode, .. } = rule;
    let label = if rule.decides { "rule" } else { "also" };
    let lapsed = if rule.in_force { "" } else { ", not in force" };
    let apart = if rule.holds { "" } else { ", not for this client" };
    let on =
        format!("{}, {}:{}, list {} ({effect}, {mode}{lapsed}{apart})", place.rule, place.file, place.line, place.list);
    field(to, label, &on)?;
    rule.order.as_ref().map_or(Ok(()), |order| self::order(to, order, rule.version.sha256.as_deref()))
}

/// An order: what is known of it, nothing else.
fn order(to: &mut String, order: &OrderLine, version: Option<&str>) -> fmt::Result {
    let when = match order.state {
        "pending" => order.effective.as_ref().map(|date| format!(" until {date}")),
        "expired" => order.expires.as_ref().map(|date| format!(" since {date}")),
        "revoked" => order.revoked.as_ref().map(|date| format!(" since {date}")),
        _ => None,
    };
    let when = when.unwrap_or_default();
    field(to, "order", &format!("{} of {}, {}{when}", order.id, order.authority, order.state))?;
    if let Some(Since { at, or_before }) = &order.enforced_since {
        let before = if *or_before { " or before" } else { "" };
        detail(to, "enforced", &format!("since {at}{before}, version {}", version.unwrap_or_default()))?;
    }
    detail(to, "requested by", &order.requested_by)?;
    detail(to, "legal basis", &order.legal_basis)?;
    detail(to, "reference", &order.reference.join(", "))?;
    let dates = [
        ("issued", &order.issued),
        ("effective", &order.effective),
        ("deadline", &order.deadline),
        ("expires", &order.expires),
        ("revoked", &order.revoked),
    ];
    for (label, date) in dates {
        detail(to, label, date.as_deref().unwrap_or_default())?;
    }
    detail(to, "contact", &order.contact.join(", "))?;
    detail(to, "url", &order.url)
}

/// What the client gets.
fn reply(to: &mut String, explained: &Explained) -> fmt::Result {
    match &explained.reply {
        Reply::Message(told) => self::told(to, told),
        Reply::Chased(told) => {
            self::told(to, told)?;
            field(to, "", "and the records of the CNAME's target, which are looked up")
        }
        Reply::Nothing => field(to, "answer", "none: the query is dropped"),
        Reply::Asked => match &explained.route {
            Some(Route::Local) => field(to, "answer", "from a local zone of this server"),
            Some(Route::Zone { name, servers }) => {
                field(to, "answer", &format!("from {}, the servers of upstream zone {name}", servers.join(", ")))
            }
            Some(Route::Upstream { servers }) => field(to, "answer", &format!("from upstream {}", servers.join(", "))),
            None => Ok(()),
        },
        Reply::Unreadable { reason } => field(to, "answer", &format!("cannot be read ({reason}): this is a bug")),
    }
}

/// A message.
fn told(to: &mut String, told: &Told) -> fmt::Result {
    let empty = if told.answer.is_empty() { ", no records" } else { "" };
    let truncated = if told.truncated { ", truncated: clients ask again over TCP" } else { "" };
    field(to, "answer", &format!("{}{empty}{truncated}", told.rcode))?;
    for record in &told.answer {
        field(to, "", record)?;
    }
    for record in &told.authority {
        field(to, "", &format!("authority: {record}"))?;
    }
    match &told.ede {
        Some(ede) if ede.text.is_empty() => field(to, "", &format!("extended error {}", ede.code)),
        Some(ede) => field(to, "", &format!("extended error {}: {}", ede.code, ede.text)),
        None => Ok(()),
    }
}

/// `  label   text`
fn field(to: &mut String, label: &str, text: &str) -> fmt::Result {
    writeln!(to, "  {label:<7} {}", Plain(text))
}

/// A line of an order; nothing if the order does not say.
fn detail(to: &mut String, label: &str, text: &str) -> fmt::Result {
    if text.is_empty() { Ok(()) } else { writeln!(to, "          {label:<13} {}", Plain(text)) }
}
