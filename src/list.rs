//! List files in every format become rules, or reasons why not.
//!
//! [`files`] and [`read`] are the only parts that touch the disk; [`parse`] is a function of bytes.

mod adblock;
mod csv;
mod date;
mod detect;
mod dnsmasq;
mod domains;
mod entry;
mod hosts;
mod json;
mod orders;
mod refusal;
mod register;
mod rpz;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod text;

pub use refusal::{OrderProblem, Refusal};
pub use source::{MAX_FILES, SourceError, SourceFile, files, read};

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::rule::{FileRules, Mode, Order, Role, Scope};
use crate::signature::PublicKey;

/// A list format (DESIGN section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Told apart from content.
    Auto,
    /// One name a line.
    Domains,
    /// An `/etc/hosts` file.
    Hosts,
    /// DNS-applicable adblock rules.
    Adblock,
    /// dnsmasq `address=`, `server=`, `local=`.
    Dnsmasq,
    /// Response policy zone as zone text.
    Rpz,
    /// One order a TOML file.
    Orders,
    /// A register with a header row.
    Csv,
    /// A register as an array of objects, or an object a line.
    Json,
}

impl Format {
    /// As the configuration and reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Domains => "domains",
            Self::Hosts => "hosts",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Rpz => "rpz",
            Self::Orders => "orders",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a file's bytes mean; without one, UTF-8 or what the byte order mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8, or UTF-16 if a byte order mark says so.
    Auto,
    /// Windows code page 1251 (Cyrillic).
    Windows1251,
}

/// What an entry that is a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Urls {
    /// It is rejected as *not a name*: a block of one page must not take the whole host.
    Reject,
    /// Its host is the entry.
    Host,
}

/// Which column of a register (csv), or member of its objects (json), holds what; names are compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The name. Default `domain`.
    pub domain: String,
    /// `subtree`, `exact` or `below`; it goes before a mark on the name. Default: `scope`, if there is one.
    pub scope: Option<String>,
    /// Order columns by field name of [`Order`]: `id`, `authority`, `legal_basis`, `reference`, `issued`, …
    /// Each defaults to a column of its own name, `order` too for `id`.
    pub order: Vec<(String, String)>,
}

impl Default for Columns {
    fn default() -> Self {
        Self { domain: "domain".into(), scope: None, order: Vec::new() }
    }
}

/// A list as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in reports, hits and commands; unique.
    pub name: String,
    /// File or folder, already joined with the folder of the configuration file.
    pub source: PathBuf,
    /// The same as the operator wrote it.
    pub shown: String,
    /// The format, or [`Format::Auto`].
    pub format: Format,
    /// Block or allow.
    pub role: Role,
    /// Enforce or shadow.
    pub mode: Mode,
    /// Overrides the scope the format would give plain entries.
    pub scope: Option<Scope>,
    /// What URLs mean.
    pub urls: Urls,
    /// Refuse the whole file when more than this share of its entry lines is rejected, in 1/100 of a percent
    /// (so that settings compare exactly). Default 500.
    pub max_rejected: u32,
    /// What the bytes mean.
    pub encoding: Encoding,
    /// Column names of a register.
    pub columns: Columns,
    /// The order entries rest on that name none themselves.
    pub order: Option<Order>,
    /// Larger files are refused, in bytes.
    pub max_bytes: u64,
    /// Every file must be signed with this key. Without it, or where `source` is what was fetched and checked then,
    /// none is.
    pub public_key: Option<PublicKey>,
    /// `source` comes into being by itself: it is a list from the web.
    pub fetched: bool,
}

impl Spec {
    /// Default of [`Spec::max_rejected`]: 5 %.
    pub const DEFAULT_MAX_REJECTED: u32 = 500;
    /// Default of [`Spec::max_bytes`]: 128 MiB, more than twice the largest list in use.
    pub const DEFAULT_MAX_BYTES: u64 = 128 << 20;

    /// An enforced block list with the defaults of everything else.
    pub fn new(name: &str, source: PathBuf, format: Format) -> Self {
        Self {
            name: name.to_owned(),
            shown: source.to_string_lossy().into_owned(),
            source,
            format,
            role: Role::Block,
            mode: Mode::Enforce,
            scope: None,
            urls: Urls::Reject,
            max_rejected: Self::DEFAULT_MAX_REJECTED,
            encoding: Encoding::Auto,
            columns: Columns::default(),
            order: None,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            public_key: None,
            fetched: false,
        }
    }
}

/// An entry, or a whole line, that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What stands there, shortened to something a log line can hold.
    pub entry: String,
    /// Why it was not used.
    pub reason: String,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// The format it was read as.
    pub format: Option<Format>,
    /// Lines that hold something (not blank, not only a comment).
    pub lines: u64,
    /// Entries that became rules.
    pub entries: u64,
    /// Entries skipped on purpose (`localhost` in a hosts file, say).
    pub skipped: u64,
    /// How many rejections in all.
    pub rejected: u64,
    /// The first of them, at most [`MAX_SHOWN`].
    pub rejections: Vec<Rejection>,
    /// How many of them would have rested on which order: such an order is not enforced as a whole.
    pub rejected_of: Vec<(Arc<Order>, u64)>,
    /// What was used all the same but is worth a look (a zone serial over 32 bits), at most [`MAX_SHOWN`].
    pub warnings: Vec<Rejection>,
}

/// How many rejections of a file are kept with their text.
pub const MAX_SHOWN: usize = 100;

/// A file that became rules.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its rules.
    pub rules: Arc<FileRules>,
    /// What was found.
    pub report: FileReport,
}

/// Reads the bytes of one file as `spec` says. No I/O, no clock: the same bytes give the same rules.
///
/// # Errors
/// The file is refused whole; see [`Refusal`].
pub fn parse(spec: &Spec, shown: &Arc<str>, bytes: &[u8]) -> Result<Parsed, Refusal> {
    let text = text::decode(bytes, spec.encoding)?;
    let format = match spec.format {
        Format::Auto => detect::detect(&text, spec).ok_or(Refusal::NotRecognised)?,
        known => known,
    };
    let mut sink = sink::Sink::new(spec, shown, format, text.len());
    match format {
        Format::Auto | Format::Domains => domains::read(&text, &mut sink),
        Format::Hosts => hosts::read(&text, &mut sink),
        Format::Adblock => adblock::read(&text, &mut sink),
        Format::Dnsmasq => dnsmasq::read(&text, &mut sink),
        Format::Rpz => rpz::read(&text, &mut sink),
        Format::Orders => orders::read(&text, &mut sink)?,
        Format::Csv => csv::read(&text, &mut sink)?,
        Format::Json => json::read(&text, &mut sink)?,
    }
    if format != Format::Orders {
        sink.warn_if_cut(&text);
    }
    sink.finish(&text)
}
