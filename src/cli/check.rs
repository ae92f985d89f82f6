//! `check`: what configuration and lists hold, and what somebody should look at. Writes nothing.

mod certificate;
mod text;

use std::collections::HashSet;
use std::time::Instant;

use serde::Serialize;

use self::certificate::Certificate;
use super::args::ConfigArg;
use super::output::{self, Progress, Style, complain};
use super::{Exit, settings};
use crate::app;
use crate::config::{ClientsSettings, Settings};
use crate::fetch;
use crate::gate::Held;
use crate::reload::{ListReport, Loaded, Loader, Review, review, size_changes};
use crate::rule::{Order, OrderState};
use crate::serve::TlsError;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::util::{Now, UnixTime};

/// Everything found; `--json` is this.
#[derive(Debug, Serialize)]
struct Report {
    config: String,
    verdict: Verdict,
    /// Why it would not start.
    errors: Vec<String>,
    /// Files and lists that are not in force.
    unusable: Vec<String>,
    lists: Vec<ListLine>,
    /// Groups of clients.
    clients: Vec<GroupLine>,
    /// What encrypted listeners would show.
    certificate: Option<Certificate>,
    rejected: u64,
    /// Those whose text was kept (see [`crate::list::MAX_SHOWN`]).
    rejections: Vec<Remark>,
    /// Used all the same.
    warnings: Vec<Remark>,
    /// Entries the gate does not let pass.
    held: HeldEntries,
    /// Versions a server would not take for their size, compared with what `state_dir` holds.
    size_changes: Vec<String>,
    /// Files beside the lists that cannot be used as they are.
    gate_troubles: Vec<String>,
    review: Review,
    orders: Orders,
    totals: Totals,
}

/// What the gate says of entries, over all lists.
#[derive(Debug, Default, Serialize)]
struct HeldEntries {
    /// Held, and nobody has decided.
    open: u64,
    /// Held for good.
    dismissed: u64,
    /// Enforced by the operator's word.
    released: u64,
    /// Entries that allow rules leave nothing of.
    excepted: u64,
    /// The first of them, whatever was decided.
    entries: Vec<Held>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Nothing to look at.
    Good,
    /// It would serve; somebody should look.
    Look,
    /// It would not start.
    CannotStart,
}

/// One list.
#[derive(Debug, Serialize)]
struct ListLine {
    name: String,
    source: String,
    role: String,
    mode: String,
    formats: Vec<String>,
    files: usize,
    /// Of `files`, those not in force.
    unusable_files: usize,
    in_force: bool,
    entries: u64,
    skipped: u64,
    rejected: u64,
    milliseconds: f64,
    /// For a list from the web: the local copy, which is what was looked at.
    fetched: Option<Fetched>,
}

/// One group of clients.
#[derive(Debug, Serialize)]
struct GroupLine {
    name: String,
    /// Address blocks, those of its file included.
    blocks: usize,
    via: Vec<String>,
    /// The lists that hold for it.
    lists: Vec<String>,
    /// Something is answered otherwise than lists say.
    answer: bool,
    exempt: bool,
    statistics: bool,
}

/// How a list from the web stands.
#[derive(Debug, Serialize)]
struct Fetched {
    /// There is a local copy.
    copy: bool,
    /// Seconds since the server last gave it or said that it had not changed.
    age: Option<i64>,
    /// What is wrong since then.
    last_error: Option<String>,
}

/// Something about one place in a list.
#[derive(Debug, Serialize)]
struct Remark {
    list: String,
    file: String,
    line: u32,
    column: u32,
    entry: String,
    reason: String,
}

/// Distinct orders by where they stand now.
#[derive(Debug, Default, Serialize)]
struct Orders {
    in_force: u64,
    pending: u64,
    expired: u64,
    revoked: u64,
}

/// What it takes.
#[derive(Debug, Default, Serialize)]
struct Totals {
    rules: usize,
    names: usize,
    bytes: usize,
    bytes_per_name: f64,
    read_milliseconds: f64,
    compile_milliseconds: f64,
}

/// Runs the verb.
pub(super) fn run(config: &ConfigArg, all: bool, json: bool) -> Exit {
    let settings = match settings(config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let report = examine(&settings);
    let exit = match report.verdict {
        Verdict::Good => Exit::Fine,
        Verdict::Look => Exit::Look,
        Verdict::CannotStart => Exit::Failed,
    };
    if !json {
        return output::print(&text::show(&report, all, Style::of_stdout()), exit);
    }
    match serde_json::to_string_pretty(&report) {
        Ok(text) => output::print(&(text + "\n"), exit),
        Err(error) => complain(&format_args!("cannot write JSON: {error}")),
    }
}

/// Reads and compiles everything a server would.
fn examine(settings: &Settings) -> Report {
    let progress = Progress::show(&format!("reading {}", output::counted(settings.lists.len() as u64, "list")));
    let started = Instant::now();
    // Without a state folder nothing is written, and only what the sources hold now is looked at; but what the operator
    // has decided about held entries is decided.
    let mut loader = Loader::new(None);
    loader.heed_decisions(&settings.state_dir);
    let loaded = loader.load(settings);
    let read = started.elapsed();
    drop(progress);
    let _progress = Progress::show(&format!("looking at {}", output::counted(loaded.rules() as u64, "rule")));
    let now = Now::read().seconds();
    let started = Instant::now();
    let snapshot = app::compile(1, settings, loaded.parts.clone(), &Stats::default(), now);
    let compiled = started.elapsed();
    let certificate = certificate::read(settings, now);
    let mut report = Report {
        config: settings.path.display().to_string(),
        verdict: Verdict::Good,
        errors: cannot_start(settings, certificate.as_ref().err()),
        certificate: certificate.ok().flatten(),
        unusable: loaded.reports.iter().flat_map(unusable).collect(),
        lists: lists(settings, &loaded),
        clients: clients(settings, &loaded),
        rejected: 0,
        rejections: remarks(&loaded, |file| &file.rejections),
        warnings: remarks(&loaded, |file| &file.warnings),
        held: held(&loaded),
        size_changes: size_changes(settings, &loaded)
            .iter()
            .map(|change| format!("{}: {change}", change.list))
            .collect(),
        gate_troubles: loaded.gate_troubles.clone(),
        review: Review::default(),
        orders: Orders::default(),
        totals: Totals::default(),
    };
    report.rejected = report.lists.iter().map(|list| list.rejected).sum();
    match snapshot {
        Ok(snapshot) => {
            report.review = review(&snapshot, &loaded.decisions);
            report.orders = orders(&loaded, now);
            report.totals = totals(&snapshot);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
    report.errors.extend(loaded.clients.errors.iter().cloned());
    report.totals.read_milliseconds = milliseconds(read);
    report.totals.compile_milliseconds = milliseconds(compiled);
    // A start fetches lists that were never fetched, so they do not say that it would fail.
    let fetchable = |name: &str| settings.fetched().iter().any(|source| source.list == name && !source.is_there());
    let missing: Vec<_> = loaded.missing.iter().filter(|missing| !fetchable(&missing.list)).collect();
    if !missing.is_empty() && !settings.start_without_lists {
        let names: Vec<_> = missing.iter().map(|missing| format!("\"{}\"", missing.list)).collect();
        report.errors.push(format!(
            "nothing can be used of {}; a server starts only if state_dir holds a last good copy, or with \
             start_without_lists = true",
            names.join(", ")
        ));
    }
    report.verdict = verdict(&report);
    report
}

/// What keeps a server from starting, lists apart.
fn cannot_start(settings: &Settings, tls: Option<&TlsError>) -> Vec<String> {
    let routes = app::routes_errors(settings);
    routes.iter().flat_map(|error| split(&error.to_string())).chain(tls.map(ToString::to_string)).collect()
}

/// What the findings come to.
fn verdict(report: &Report) -> Verdict {
    let look = !report.unusable.is_empty()
        || report.rejected > 0
        || !report.warnings.is_empty()
        || report.lists.is_empty()
        || report.held.open > 0
        || !report.size_changes.is_empty()
        || !report.gate_troubles.is_empty()
        || report.certificate.as_ref().is_some_and(|certificate| certificate.remark.is_some())
        || report.review.needs_a_look();
    match (report.errors.is_empty(), look) {
        (false, _) => Verdict::CannotStart,
        (true, true) => Verdict::Look,
        (true, false) => Verdict::Good,
    }
}

/// One line a list.
fn lists(settings: &Settings, loaded: &Loaded) -> Vec<ListLine> {
    let line = |(report, settings): (&ListReport, &crate::config::ListSettings)| ListLine {
        name: report.name.clone(),
        source: report.source.clone(),
        role: settings.spec.role.to_string(),
        mode: settings.spec.mode.to_string(),
        formats: report.formats().iter().map(ToString::to_string).collect(),
        files: report.files.len(),
        unusable_files: report.files.iter().filter(|file| !file.state.is_current()).count(),
        in_force: report.state.is_current(),
        entries: report.entries,
        skipped: report.files.iter().map(|file| file.report.skipped).sum(),
        // Those of refused files too: they are why it was refused.
        rejected: report.files.iter().map(|file| file.report.rejected).sum(),
        milliseconds: milliseconds(report.took),
        fetched: settings.fetch.as_ref().map(fetched),
    };
    loaded.reports.iter().zip(&settings.lists).map(line).collect()
}

/// One line a group of clients.
fn clients(settings: &Settings, loaded: &Loaded) -> Vec<GroupLine> {
    let line = |(at, group): (usize, &ClientsSettings)| {
        let holds = |place: &usize| !group.exempt && group.lists.as_ref().is_none_or(|lists| lists.contains(place));
        let places = (0..settings.lists.len()).filter(holds);
        GroupLine {
            name: group.name.clone(),
            blocks: loaded.clients.blocks.get(at).copied().unwrap_or(0),
            via: group.via.clone(),
            lists: places.map(|place| settings.lists[place].spec.name.clone()).collect(),
            answer: group.answer.is_some(),
            exempt: group.exempt,
            statistics: group.statistics,
        }
    };
    settings.clients.iter().enumerate().map(line).collect()
}

/// What is known of a list from the web, without asking anybody.
fn fetched(source: &fetch::Source) -> Fetched {
    let status = fetch::read_status(source);
    let age = status.last_success.map(|then| Now::read().seconds().0.saturating_sub(then).max(0));
    Fetched { copy: source.is_there(), age, last_error: status.last_error }
}

/// Sums up what the gate says.
fn held(loaded: &Loaded) -> HeldEntries {
    let mut held = HeldEntries::default();
    for gate in loaded.reports.iter().map(|report| &report.gate) {
        held.open += gate.open;
        held.dismissed += gate.dismissed;
        held.released += gate.released;
        held.excepted += gate.excepted;
        held.entries.extend(gate.entries.iter().cloned());
    }
    held
}

/// What of a list is not in force, and why.
fn unusable(report: &ListReport) -> Vec<String> {
    let files: Vec<String> =
        report.files.iter().filter_map(|file| file.state.why()).map(|why| format!("{}: {why}", report.name)).collect();
    match &report.error {
        Some(why) if files.is_empty() => vec![format!("{}: {why}", report.name)],
        _ => files,
    }
}

/// What was remarked on in all files.
fn remarks(loaded: &Loaded, pick: impl Fn(&crate::list::FileReport) -> &[crate::list::Rejection]) -> Vec<Remark> {
    let files = loaded.reports.iter().flat_map(|list| list.files.iter().map(move |file| (list, file)));
    let remarks = files.flat_map(|(list, file)| {
        pick(&file.report).iter().map(move |found| Remark {
            list: list.name.clone(),
            file: file.path.to_string(),
            line: found.line,
            column: found.column,
            entry: found.entry.clone(),
            reason: found.reason.clone(),
        })
    });
    remarks.collect()
}

/// Counts each order once, however many files and lists name it.
fn orders(loaded: &Loaded, now: UnixTime) -> Orders {
    let distinct: HashSet<&Order> =
        loaded.parts.iter().flat_map(|part| part.rules.orders()).map(AsRef::as_ref).collect();
    let mut orders = Orders::default();
    for order in distinct {
        *match order.state(now) {
            OrderState::InForce => &mut orders.in_force,
            OrderState::Pending => &mut orders.pending,
            OrderState::Expired => &mut orders.expired,
            OrderState::Revoked => &mut orders.revoked,
        } += 1;
    }
    orders
}

/// What the compiled rules take.
fn totals(snapshot: &Snapshot) -> Totals {
    let size = snapshot.set().size();
    Totals {
        rules: size.rules,
        names: size.names,
        bytes: size.bytes,
        bytes_per_name: (size.bytes as f64 / size.names.max(1) as f64 * 10.0).round() / 10.0,
        ..Totals::default()
    }
}

/// With a tenth, as people read it.
fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// An error that tells of several things tells one a line.
fn split(error: &str) -> Vec<String> {
    error.lines().map(str::to_owned).collect()
}
