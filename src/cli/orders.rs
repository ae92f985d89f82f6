//! `orders`: what is known of orders, whatever number of files and lists they stand in.

mod names;
mod text;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::args::{OrdersArgs, OrdersVerb};
use super::load::{self, InForce, Version};
use super::output::{self, Plain, Style, complain};
use super::{Exit, settings};
use crate::config::Settings;
use crate::reload::Ledger;
use crate::reload::ledger::{Entry, Standing};
use crate::rule::{Order, OrderState};
use crate::util::UnixTime;

/// Orders a table shows unless all are asked for.
const MAX_ROWS: usize = 1000;
/// Names of an order that are shown unless all are asked for.
const MAX_NAMES: usize = 20;

/// An order in a list of them.
#[derive(Debug, Serialize)]
struct OrderRow {
    id: String,
    authority: String,
    state: &'static str,
    /// `fine`, `due` or `overdue`.
    standing: String,
    names: u64,
    enforced: u64,
    effective: Option<String>,
    deadline: Option<String>,
    expires: Option<String>,
    revoked: Option<String>,
    lists: Vec<String>,
    /// Its files tell it differently.
    conflict: bool,
    /// What is not enforced and why; empty if nothing is missing.
    missing: String,
}

/// Everything that is known of an order.
#[derive(Debug, Serialize)]
struct OrderDetail {
    #[serde(flatten)]
    row: OrderRow,
    requested_by: String,
    legal_basis: String,
    reference: Vec<String>,
    issued: Option<String>,
    contact: Vec<String>,
    url: String,
    files: Vec<FileRow>,
    conflicts: Vec<ConflictRow>,
    /// In the order of files and lines.
    #[serde(rename = "names_shown")]
    places: Vec<NameRow>,
    more_names: u64,
}

/// A file an order stands in.
#[derive(Debug, Serialize)]
struct FileRow {
    list: String,
    mode: String,
    file: String,
    #[serde(flatten)]
    version: Version,
    /// Its present content is refused.
    refused: bool,
}

/// A detail on which files differ.
#[derive(Debug, Serialize)]
struct ConflictRow {
    field: &'static str,
    values: Vec<Said>,
}

/// What a file says.
#[derive(Debug, Serialize)]
struct Said {
    value: String,
    list: String,
    file: String,
}

/// A name of an order.
#[derive(Debug, Serialize)]
struct NameRow {
    rule: String,
    list: String,
    file: String,
    line: u32,
}

/// What is asked, and of what.
struct Desk<'a> {
    args: &'a OrdersArgs,
    settings: Settings,
    loaded: InForce,
    ledger: Ledger,
}

/// Runs the verb.
pub(super) fn run(args: &OrdersArgs) -> Exit {
    let desk = match Desk::open(args) {
        Ok(desk) => desk,
        Err(exit) => return exit,
    };
    let now = desk.now();
    let standing = |entry: &Entry| entry.standing(now, desk.settings.orders.warn);
    match &args.verb {
        None => desk.list(|_| true, "no orders"),
        Some(OrdersVerb::Show { id }) => desk.show(id),
        Some(OrdersVerb::For { names }) => names::run(&desk, names),
        Some(OrdersVerb::Expiring { within }) => {
            match desk.list(|entry| ends_within(entry, now, *within), "no order ends in that time") {
                Exit::Look => Exit::Fine,
                exit => exit,
            }
        }
        Some(OrdersVerb::Overdue) => desk.list(|entry| standing(entry) == Standing::Overdue, "no order is overdue"),
    }
}

impl<'a> Desk<'a> {
    /// Loads what a server started now would have.
    fn open(args: &'a OrdersArgs) -> Result<Self, Exit> {
        let settings = settings(&args.config())?;
        let loaded = load::in_force(&settings)?;
        let ledger = Ledger::new(&loaded.snapshot, &loaded.loaded.reports, loaded.now.seconds());
        Ok(Self { args, settings, loaded, ledger })
    }

    /// When it was looked at.
    fn now(&self) -> UnixTime {
        self.loaded.now.seconds()
    }

    /// Whether orders of this authority are asked about.
    fn wants(&self, authority: &str) -> bool {
        self.args.authority.as_ref().is_none_or(|wanted| wanted.to_lowercase() == authority.to_lowercase())
    }

    /// The orders that `choose` takes, a line each.
    fn list(&self, choose: impl Fn(&Entry) -> bool, none: &str) -> Exit {
        let entries = self.ledger.entries().iter();
        let chosen: Vec<&Entry> = entries.filter(|entry| self.wants(entry.authority()) && choose(entry)).collect();
        let behind = |entry: &&Entry| entry.standing(self.now(), self.settings.orders.warn) != Standing::Fine;
        let exit = if chosen.iter().any(behind) { Exit::Look } else { Exit::Fine };
        if self.args.json {
            return output::stream(|to| {
                for entry in chosen {
                    line(to, &self.row(entry))?;
                }
                Ok(exit)
            });
        }
        let most = if self.args.all { usize::MAX } else { MAX_ROWS };
        let rows: Vec<OrderRow> = chosen.iter().take(most).map(|entry| self.row(entry)).collect();
        output::print(&text::rows(&rows, chosen.len(), none, Style::of_stdout()), exit)
    }

    /// Everything about the orders with this number.
    fn show(&self, id: &str) -> Exit {
        let found: Vec<&Entry> = self.ledger.of_id(id).filter(|entry| self.wants(entry.authority())).collect();
        if found.is_empty() {
            let of = self.args.authority.as_ref().map(|name| format!(" of {}", Plain(name))).unwrap_or_default();
            return complain(&format_args!("no list names an order {}{of}; `qalqan orders` lists all", Plain(id)));
        }
        let most = if self.args.all { usize::MAX } else { MAX_NAMES };
        output::stream(|to| {
            let mut exit = Exit::Fine;
            for (at, entry) in found.iter().enumerate() {
                let detail = self.detail(entry, most);
                if detail.row.standing != Standing::Fine.to_string() {
                    exit = Exit::Look;
                }
                if self.args.json {
                    line(to, &detail)?;
                } else {
                    let gap = if at == 0 { "" } else { "\n" };
                    write!(to, "{gap}{}", text::detail(&detail, Style::of_stdout()))?;
                }
            }
            Ok(exit)
        })
    }

    /// An order in a list of them.
    fn row(&self, entry: &Entry) -> OrderRow {
        let now = self.now();
        let order = entry.order(now);
        let lists = entry.lists().into_iter().filter_map(|list| self.ledger.list(list));
        OrderRow {
            id: entry.id().to_owned(),
            authority: entry.authority().to_owned(),
            state: state(entry.state(now)),
            standing: entry.standing(now, self.settings.orders.warn).to_string(),
            names: entry.names,
            enforced: entry.enforced,
            effective: date(order.effective),
            deadline: date(entry.deadline(now).or(order.deadline)),
            expires: date(order.expires),
            revoked: date(order.revoked),
            lists: lists.map(|list| list.name.to_string()).collect(),
            conflict: entry.differs(),
            missing: entry.missing(&self.ledger, now),
        }
    }

    /// All of it.
    fn detail(&self, entry: &Entry, most: usize) -> OrderDetail {
        let order: &Order = entry.order(self.now());
        let (places, count) = self.ledger.names_of(entry, most);
        let conflicts = entry.conflicts(&self.ledger).into_iter().map(|conflict| {
            let said = |(value, list, file): (String, std::sync::Arc<str>, std::sync::Arc<str>)| Said {
                value,
                list: list.to_string(),
                file: file.to_string(),
            };
            ConflictRow { field: conflict.field, values: conflict.values.into_iter().map(said).collect() }
        });
        OrderDetail {
            requested_by: order.requested_by.clone(),
            legal_basis: order.legal_basis.clone(),
            reference: order.reference.clone(),
            issued: date(order.issued),
            contact: order.contact.clone(),
            url: order.url.clone(),
            files: entry.files().into_iter().filter_map(|file| self.file(file)).collect(),
            conflicts: conflicts.collect(),
            more_names: count.saturating_sub(places.len() as u64),
            places: places.into_iter().filter_map(|place| self.name(place)).collect(),
            row: self.row(entry),
        }
    }

    /// A file.
    fn file(&self, index: u32) -> Option<FileRow> {
        let source = self.ledger.source(index)?;
        let list = self.ledger.list(source.list)?;
        Some(FileRow {
            list: list.name.to_string(),
            mode: list.mode.to_string(),
            file: source.path.to_string(),
            version: self.loaded.version(source.sha256, source.accepted),
            refused: source.refused,
        })
    }

    /// A name.
    fn name(&self, place: crate::reload::ledger::NamePlace) -> Option<NameRow> {
        let source = self.ledger.source(place.source)?;
        let list = self.ledger.list(source.list)?.name.to_string();
        Some(NameRow { rule: place.pattern, list, file: source.path.to_string(), line: place.line })
    }
}

/// One object a line.
fn line(to: &mut dyn Write, what: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(what).map_err(io::Error::other)?;
    writeln!(to, "{text}")
}

/// Whether an order that is not over ends within a time.
fn ends_within(entry: &Entry, now: UnixTime, within: Duration) -> bool {
    let last = UnixTime(now.0.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX)));
    entry.shares().iter().filter_map(|share| share.order.ends()).any(|end| end > now && end <= last)
}

/// A state in words.
fn state(state: OrderState) -> &'static str {
    match state {
        OrderState::InForce => "in force",
        OrderState::Pending => "pending",
        OrderState::Expired => "expired",
        OrderState::Revoked => "revoked",
    }
}

/// A date as it is shown.
fn date(at: Option<UnixTime>) -> Option<String> {
    at.map(|at| at.to_string())
}
