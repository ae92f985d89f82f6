//! `audit`: proves the audit log and gets events out of it. Reads `state_dir`, whether or not a server runs.

mod name;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::args::{AuditVerb, ExportArgs, ExportFormat, LogArg, VerifyArgs};
use super::output::{self, Plain, Progress, Style, complain, counted};
use super::{Exit, settings};
use crate::audit::{self, Outcome, Record, Report};

/// The columns of a table; what an event says besides stands in `details`, as JSON.
const COLUMNS: [&str; 8] = ["seq", "time", "event", "by", "list", "order", "details", "hash"];

/// Runs the verb.
pub(super) fn run(verb: &AuditVerb) -> Exit {
    match verb {
        AuditVerb::Verify(args) => verify(args),
        AuditVerb::Export(args) => export(args),
        AuditVerb::Name(args) => name::run(args),
    }
}

/// The folder that is meant.
fn folder(log: &LogArg) -> Result<PathBuf, Exit> {
    match &log.folder {
        Some(folder) => Ok(folder.clone()),
        None => settings(&log.config).map(|settings| audit::folder(&settings.state_dir)),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Proof<'a> {
    folder: Cow<'a, str>,
    proven: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// `audit verify`
fn verify(args: &VerifyArgs) -> Exit {
    let folder = match folder(&args.log) {
        Ok(folder) => folder,
        Err(exit) => return exit,
    };
    let progress = Progress::show("proving the audit log");
    let report = audit::verify(&folder, &args.expect);
    drop(progress);
    let report = match report {
        Ok(report) => report,
        Err(error) => return complain(&error),
    };
    let proven = report.is_proven();
    let exit = if proven { Exit::Fine } else { Exit::Look };
    if !args.json {
        return output::print(&show(&report, Style::of_stdout()), exit);
    }
    match serde_json::to_string_pretty(&Proof { folder: folder.to_string_lossy(), proven, report: &report }) {
        Ok(text) => output::print(&(text + "\n"), exit),
        Err(error) => complain(&format_args!("cannot write JSON: {error}")),
    }
}

/// The report for people.
fn show(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{what}");
    };
    let events = format!("{} in {}", counted(report.events, "event"), counted(report.files, "file"));
    match &report.broken {
        None => line(format_args!("{}  {events}: none changed, none missing before the last", style.strong("proven"))),
        Some(broken) => {
            line(format_args!("{}  {}", style.bad("broken"), Plain(&broken.to_string())));
            line(format_args!("before  {events}: none changed, none missing"));
        }
    }
    if let (Some(first), Some(last)) = (report.first, report.last) {
        line(format_args!("from    {first:.3}"));
        line(format_args!("to      {last:.3}"));
    }
    for expected in &report.expected {
        match expected.outcome {
            Outcome::Found => line(format_args!("noted   {expected}")),
            _ => line(format_args!("{}   {expected}", style.bad("noted"))),
        }
    }
    let remarks = [
        (report.clock_back, "the clock was set back", "time"),
        (report.recovered, "a half-written line was moved aside after a crash", "time"),
        (report.disturbed, "another program changed a file of the log", "time"),
        (report.lost, "events could not be written", "event"),
    ];
    for (count, what, unit) in remarks.into_iter().filter(|(count, ..)| *count > 0) {
        line(format_args!("{}    {what}: {}", style.look("look"), counted(count, unit)));
    }
    if let Some(head) = report.head {
        line(format_args!("head    {head}"));
    }
    text
}

/// `audit export`
fn export(args: &ExportArgs) -> Exit {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from.start > to.start
    {
        return complain(&"--from is later than --to");
    }
    let folder = match folder(&args.log) {
        Ok(folder) => folder,
        Err(exit) => return exit,
    };
    let records = audit::records(&folder, args.from.map(|from| from.start), args.to.map(|to| to.end));
    let mut records = match records {
        Ok(records) => records,
        Err(error) => return complain(&error),
    };
    output::stream(|out| {
        let mut rows = match args.format {
            ExportFormat::Jsonl => Rows::Lines(out),
            ExportFormat::Csv => Rows::Table(Box::new(csv::Writer::from_writer(out))),
        };
        rows.begin()?;
        for record in records.by_ref() {
            match record {
                Ok(record) => rows.take(&record)?,
                Err(error) => return Ok(complain(&error)),
            }
        }
        rows.end()?;
        Ok(match records.broken() {
            None => Exit::Fine,
            Some(broken) => {
                output::note(&format_args!("the log was changed: {}", Plain(&broken.to_string())));
                Exit::Look
            }
        })
    })
}

/// Where events go.
enum Rows<'a> {
    Lines(&'a mut dyn Write),
    Table(Box<csv::Writer<&'a mut dyn Write>>),
}

impl Rows<'_> {
    /// What comes before the first.
    fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Table(table) => table.write_record(COLUMNS).map_err(io_error),
        }
    }

    /// One event.
    fn take(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Self::Lines(out) => {
                out.write_all(record.line.as_bytes())?;
                out.write_all(b"\n")
            }
            Self::Table(table) => table.write_record(cells(record)).map_err(io_error),
        }
    }

    /// What was held back.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Table(table) => table.flush(),
        }
    }
}

/// What the system said, as it said it: a closed pipe is told by its kind.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// An event as a row.
fn cells(record: &Record) -> [String; COLUMNS.len()] {
    let mut fields: Map<String, Value> = serde_json::from_str(&record.line).unwrap_or_default();
    let mut text = |key: &str| match fields.remove(key) {
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let [seq, time, event, by, hash, list, order] =
        ["seq", "time", "event", "by", "hash", "list", "order"].map(&mut text);
    text("prev");
    let by = record.by.as_ref().map_or(by, ToString::to_string);
    let details = if fields.is_empty() { String::new() } else { Value::Object(fields).to_string() };
    [seq, time, event, by, list, order, details, hash].map(inert)
}

/// A cell that no spreadsheet takes for a formula: names and reasons come from outside.
fn inert(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
