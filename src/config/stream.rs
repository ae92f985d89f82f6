//! `[[stream]]`

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::ListSettings;
use super::reader::{Limits, Table};
use super::sections::{CLIENTS, HITS_AGE, HITS_CLIENTS, HITS_KEEP, HITS_SIZE};
use super::values::{self, ValueError};
use crate::event::Outcome;
use crate::stream::{Kind, Settings, Target};

/// How many streams there may be: every hit is encoded once for each.
const MAX_STREAMS: usize = 16;
/// `queue`: a few seconds of a busy server's hits.
const QUEUE: Limits<u64> = Limits { default: 4 << 20, min: 64 << 10, max: 1 << 30 };
/// How many lists a stream may name.
const MAX_LISTS: usize = 1000;
/// `outcomes`: what the hit log has.
const OUTCOMES: [Outcome; 2] = [Outcome::Blocked, Outcome::Shadow];
/// Where the journal listens.
const JOURNAL: &str = "unix:/run/systemd/journal/socket";

/// Reads them all. A stream's lists must be lists of the configuration.
pub(super) fn read(top: &mut Table<'_>, folder: &Path, lists: &[ListSettings]) -> Vec<Settings> {
    let mut streams: Vec<Settings> = Vec::new();
    for table in top.tables("stream", MAX_STREAMS) {
        streams.extend(one(table, folder, lists, &streams));
    }
    streams
}

/// Reads one; `None` if it says nothing that could be used.
fn one(mut table: Table<'_>, folder: &Path, lists: &[ListSettings], others: &[Settings]) -> Option<Settings> {
    let kinds = Kind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = table.required("kind", "\"dnstap\"").and_then(|field| field.choice(&kinds));
    let default = kind.and_then(default_target);
    let field = match default {
        Some(_) => table.field("to"),
        None => table.required("to", "\"unix:/run/dnstap.sock\""),
    };
    let target = match (&field, kind) {
        (Some(field), kind) => field.read(|text| target(text, folder, kind).map(|to| (text.to_owned(), to))),
        (None, _) => default.and_then(|text| Some((text.to_owned(), target(text, folder, kind).ok()?))),
    };
    let clients = table.choice("clients", &CLIENTS, HITS_CLIENTS);
    let queue = usize::try_from(table.size("queue", QUEUE)).unwrap_or(usize::MAX);
    let known = |name: &str| {
        let found = lists.iter().any(|list| list.spec.name == name);
        if found { Ok(name.to_owned()) } else { Err(StreamProblem::List) }
    };
    let named = table.texts("lists", 0..=MAX_LISTS, known).unwrap_or_default();
    let outcomes = table.texts("outcomes", 1..=Outcome::ALL.len(), outcome).unwrap_or_else(|| OUTCOMES.to_vec());
    // Whether these were given is asked once more below, where it matters.
    let rotation = ["max_size", "max_age", "keep"].map(|key| (key, table.field(key)));
    let max_size = table.size("max_size", HITS_SIZE);
    let max_age = table.duration("max_age", HITS_AGE);
    let keep = table.count("keep", HITS_KEEP);
    table.finish();
    let (kind, (shown, to)) = (kind?, target?);
    if !matches!(to, Target::File(_)) {
        for (key, field) in rotation {
            if let Some(field) = field {
                field.wrong(format_args!("{key} is only for files"));
            }
        }
    }
    let same =
        |other: &Settings| other.to == to && (other.kind == kind || matches!(to, Target::File(_) | Target::Stdout));
    if let Some(field) = field.filter(|_| others.iter().any(same)) {
        field.wrong("another stream goes there");
    }
    Some(Settings { kind, to, shown, clients, queue, lists: named, outcomes, max_size, max_age, keep })
}

/// Where a kind goes if nothing is said.
fn default_target(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Journald => Some(JOURNAL),
        Kind::Json => Some("-"),
        Kind::Dnstap | Kind::Rpz | Kind::Cef | Kind::Syslog => None,
    }
}

/// What is wrong with a stream's texts.
#[derive(Debug)]
enum StreamProblem {
    /// Not a target at all.
    Target,
    /// A host name.
    Name,
    /// A target, but not for this kind.
    Kind(Kind),
    /// A path that will not do.
    Path(ValueError),
    /// No list has this name.
    List,
    /// Not an outcome.
    Outcome,
}

impl fmt::Display for StreamProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => f.write_str(
                "not a place for a stream; choices are \"unix:PATH\", \"tcp:IP:PORT\", \"udp:IP:PORT\", \"file:PATH\", \"-\" (standard output)",
            ),
            Self::Name => f.write_str("an IP address and a port are needed, as in tcp:192.0.2.1:6514 or udp:[2001:db8::1]:514"),
            Self::Kind(kind) => write!(f, "kind = \"{}\" goes to {}", kind.as_str(), choices(*kind)),
            Self::Path(error) => error.fmt(f),
            Self::List => f.write_str("there is no [[list]] of this name"),
            Self::Outcome => f.write_str("not known; choices are \"blocked\", \"shadow\", \"excepted\""),
        }
    }
}

/// Where a kind may go.
fn choices(kind: Kind) -> &'static str {
    match kind {
        Kind::Dnstap => "unix:, tcp: or file:",
        Kind::Rpz | Kind::Cef => "unix:, tcp:, udp:, file: or -",
        Kind::Syslog => "unix:, tcp: or udp:",
        Kind::Journald => "unix:",
        Kind::Json => "unix:, tcp:, file: or -",
    }
}

/// Whether it may go there.
fn goes(kind: Kind, to: &Target) -> bool {
    match to {
        Target::Unix(_) => true,
        Target::Tcp(_) => kind != Kind::Journald,
        Target::Udp(_) => matches!(kind, Kind::Rpz | Kind::Cef | Kind::Syslog),
        Target::File(_) => !matches!(kind, Kind::Syslog | Kind::Journald),
        Target::Stdout => matches!(kind, Kind::Rpz | Kind::Cef | Kind::Json),
    }
}

/// `unix:PATH` and so on; paths are relative to `folder`.
fn target(text: &str, folder: &Path, kind: Option<Kind>) -> Result<Target, StreamProblem> {
    let path = |text: &str| -> Result<PathBuf, StreamProblem> {
        values::path(text).map(|path| folder.join(path)).map_err(StreamProblem::Path)
    };
    let address = |text: &str| {
        let address: SocketAddr = text.parse().map_err(|_| StreamProblem::Name)?;
        let reachable = address.port() != 0 && !address.ip().is_unspecified();
        if reachable { Ok(address) } else { Err(StreamProblem::Name) }
    };
    let to = match text.split_once(':') {
        None if text == "-" => Target::Stdout,
        Some(("unix", rest)) => Target::Unix(path(rest)?),
        Some(("file", rest)) => Target::File(path(rest)?),
        Some(("tcp", rest)) => Target::Tcp(address(rest)?),
        Some(("udp", rest)) => Target::Udp(address(rest)?),
        _ => return Err(StreamProblem::Target),
    };
    match kind {
        Some(kind) if !goes(kind, &to) => Err(StreamProblem::Kind(kind)),
        _ => Ok(to),
    }
}

/// An outcome by its name.
fn outcome(text: &str) -> Result<Outcome, StreamProblem> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(StreamProblem::Outcome)
}
