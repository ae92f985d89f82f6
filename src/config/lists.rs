//! `[[list]]`: what is read, how, and what its names get.

use std::collections::HashSet;
use std::path::Path;

use super::ListSettings;
use super::answer;
use super::canary;
use super::fetch;
use super::gate;
use super::reader::{Limits, Table};
use super::units;
use super::values;
use crate::gate::Checks;
use crate::list::{Columns, Encoding, Format, Spec, Urls};
use crate::policy::AnswerSettings;
use crate::rule::{Mode, Order, Role, Scope};
use crate::signature::PublicKey;

/// How many lists there may be.
const MAX_LISTS: usize = 1000;
/// `max_size`: twice the largest lists seen; names are addressed with 32 bits, hence the upper end.
const MAX_SIZE: Limits<u64> = Limits { default: Spec::DEFAULT_MAX_BYTES, min: 1 << 10, max: 2 << 30 };
/// Bytes of a text of an order.
const MAX_ORDER_TEXT: usize = 1000;
/// How many references and contacts an order may have.
const MAX_ORDER_TEXTS: usize = 64;

/// The formats there are.
const FORMATS: [(&str, Format); 9] = [
    ("auto", Format::Auto),
    ("domains", Format::Domains),
    ("hosts", Format::Hosts),
    ("adblock", Format::Adblock),
    ("dnsmasq", Format::Dnsmasq),
    ("rpz", Format::Rpz),
    ("orders", Format::Orders),
    ("csv", Format::Csv),
    ("json", Format::Json),
];
/// What a list is for.
const ROLES: [(&str, Role); 2] = [("block", Role::Block), ("allow", Role::Allow)];
/// Whether it acts.
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
/// Which names an entry covers.
const SCOPES: [(&str, Scope); 3] = [("subtree", Scope::Subtree), ("exact", Scope::Exact), ("below", Scope::Below)];
/// What an entry that is a URL means.
const URLS: [(&str, Urls); 2] = [("reject", Urls::Reject), ("host", Urls::Host)];
/// What the bytes mean.
const ENCODINGS: [(&str, Encoding); 2] = [("auto", Encoding::Auto), ("windows-1251", Encoding::Windows1251)];

/// What a list is read beside.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    /// Of the configuration file.
    pub folder: &'a Path,
    /// Where lists from the web are kept.
    pub state_dir: &'a Path,
    /// `[answer]`
    pub answer: &'a AnswerSettings,
    /// `[gate]`
    pub checks: &'a Checks,
}

/// Reads every `[[list]]` of `top`.
pub(super) fn read(top: &mut Table<'_>, base: &Base<'_>) -> Vec<ListSettings> {
    let mut names = HashSet::new();
    let tables = top.tables("list", MAX_LISTS);
    tables.into_iter().map(|table| one(table, base, &mut names)).collect()
}

/// Reads one list.
fn one(mut table: Table<'_>, base: &Base<'_>, names: &mut HashSet<String>) -> ListSettings {
    let &Base { folder, state_dir, answer, checks } = base;
    let name_field = table.required("name", "\"orders\"");
    let name = name_field.as_ref().and_then(|field| field.read(values::list_name)).unwrap_or_default();
    if let Some(field) = name_field
        && !name.is_empty()
        && !names.insert(name.clone())
    {
        field.wrong("another list has this name; names must differ");
    }
    let source = table.required("source", "\"blocklists/orders\"");
    let format = table.choice("format", &FORMATS, Format::Auto);
    let role = table.choice("role", &ROLES, Role::Block);
    let mode = table.choice("mode", &MODES, Mode::Enforce);
    let scope = table.field("scope").and_then(|field| field.choice(&SCOPES));
    let urls = table.choice("urls", &URLS, Urls::Reject);
    let max_rejected = table.text("max_rejected", units::share).unwrap_or(Spec::DEFAULT_MAX_REJECTED);
    let encoding = table.choice("encoding", &ENCODINGS, Encoding::Auto);
    let max_bytes = table.size("max_size", MAX_SIZE);
    let columns = columns(table.table("columns"), format);
    let order = order(table.table("order"));
    let answer = answer_of(&mut table, role, answer);
    let key = table.text("public_key", PublicKey::parse);
    let rest = fetch::List { name: &name, format, max_bytes, key: key.as_ref(), folder, state_dir };
    let fetch = fetch::read(table.table("fetch"), source.as_ref(), &rest);
    let gate = gate::of_list(table.table("gate"), checks);
    let canary = canary::read(table.table("canary"), role);
    table.finish();
    let (source, shown, public_key) = match &fetch {
        // What is fetched is checked then: its signature is not there to be looked at again.
        Some(fetch) => (fetch.file.clone(), fetch.settings.address.shown(), None),
        None => {
            let path = source.filter(|field| !fetch::is_address(field)).and_then(|field| field.read(values::path));
            let path = path.unwrap_or_default();
            (folder.join(&path), path, key)
        }
    };
    let spec = Spec {
        name,
        source,
        shown,
        format,
        role,
        mode,
        scope,
        urls,
        max_rejected,
        encoding,
        columns,
        order,
        max_bytes,
        public_key,
        fetched: fetch.is_some(),
    };
    ListSettings { spec, answer, fetch, gate, canary }
}

/// `answer = "nxdomain"`, or a table of what differs from `[answer]`.
fn answer_of(table: &mut Table<'_>, role: Role, base: &AnswerSettings) -> AnswerSettings {
    let Some(field) = table.field("answer") else { return base.clone() };
    if role == Role::Allow {
        field.wrong("an allow list blocks nothing, so it has no answer");
    }
    if field.is_text() {
        return answer::read_mode(&field, base);
    }
    if field.is_table() {
        return answer::read(table.table("answer"), base);
    }
    field.wrong_type("a mode like \"nxdomain\" or a table like { mode = \"nxdomain\", ttl = \"1m\" }");
    base.clone()
}

/// `columns = { domain = "…", id = "…" }`: which column of a register holds what.
fn columns(mut table: Table<'_>, format: Format) -> Columns {
    if table.is_there() && !matches!(format, Format::Csv | Format::Json | Format::Auto) {
        table.problem("columns are only for format = \"csv\" and \"json\"");
    }
    let column = |text: &str| values::line(text, MAX_ORDER_TEXT);
    let mut columns = Columns::default();
    if let Some(domain) = table.text("domain", column) {
        columns.domain = domain;
    }
    columns.scope = table.text("scope", column);
    for field in Order::FIELDS {
        if let Some(name) = table.text(field, column) {
            columns.order.push((field.into(), name));
        }
    }
    table.finish();
    columns
}

/// `order = { id = "…", authority = "…" }`: what entries rest on that name no order themselves.
fn order(mut table: Table<'_>) -> Option<Order> {
    let there = table.is_there();
    let line = |text: &str| values::line(text, MAX_ORDER_TEXT);
    let must = |table: &mut Table<'_>, key, example| {
        let field = if there { table.required(key, example) } else { table.field(key) };
        field.and_then(|field| field.read(line)).unwrap_or_default()
    };
    let order = Order {
        id: must(&mut table, "id", "\"25-01-25/4\""),
        authority: must(&mut table, "authority", "\"Ministry of …\""),
        requested_by: table.text("requested_by", line).unwrap_or_default(),
        legal_basis: table.text("legal_basis", line).unwrap_or_default(),
        reference: table.texts("reference", 0..=MAX_ORDER_TEXTS, line).unwrap_or_default(),
        issued: table.field("issued").and_then(|field| field.read_date(values::date)),
        effective: table.field("effective").and_then(|field| field.read_date(values::date)),
        deadline: table.field("deadline").and_then(|field| field.read_date(values::date)),
        expires: table.field("expires").and_then(|field| field.read_date(values::date)),
        revoked: table.field("revoked").and_then(|field| field.read_date(values::date)),
        contact: table.texts("contact", 0..=MAX_ORDER_TEXTS, line).unwrap_or_default(),
        url: table.text("url", line).unwrap_or_default(),
    };
    if let (Some(from), Some(to)) = (order.effective, order.expires)
        && from >= to
    {
        table.problem("`expires` is not after `effective`: the order would never be in force");
    }
    table.finish();
    there.then_some(order)
}
