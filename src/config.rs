//! The configuration file: text with positions in, settings that cannot be wrong out.

mod admin;
mod answer;
mod canary;
mod clickhouse;
mod clients;
mod fetch;
mod gate;
mod host;
mod lists;
mod problem;
mod reader;
mod sections;
mod stats;
mod stream;
mod tls;
mod units;
mod values;
mod wording;

pub use problem::{Problem, Problems};

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use self::reader::{MAX_PROBLEMS, Sink, Table};
use crate::admin::HttpSettings;
use crate::fetch::Source;
use crate::gate as checks;
use crate::serve::TlsSettings;
use crate::{cache, history, hits, limit, list, local, policy, serve, ship, store, stream as streams, upstream};

/// `state_dir`
const STATE_DIR: &str = "state";
/// Larger files are not a configuration.
const MAX_FILE: u64 = 1 << 20;

/// Everything the configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file itself.
    pub path: PathBuf,
    /// Last good lists, counters; joined with the file's folder.
    pub state_dir: PathBuf,
    /// Serve unfiltered if no list can be read and there is no last good state.
    pub start_without_lists: bool,
    /// Listeners.
    pub server: serve::Settings,
    /// Who may ask.
    pub limit: limit::Settings,
    /// What the server says of itself.
    pub host: policy::HostSettings,
    /// Who is asked.
    pub upstream: upstream::Settings,
    /// What is remembered of answers.
    pub cache: cache::Settings,
    /// What is answered here.
    pub local: local::Settings,
    /// The default answer.
    pub answer: policy::AnswerSettings,
    /// What is looked at before a list is taken.
    pub gate: checks::Settings,
    /// Lists in order of precedence.
    pub lists: Vec<ListSettings>,
    /// Groups of clients for whom something else holds than for all others.
    pub clients: Vec<ClientsSettings>,
    /// The hit log.
    pub hits: hits::Settings,
    /// What is counted, and how long it is kept.
    pub stats: store::Settings,
    /// Who else is told of hits.
    pub streams: Vec<streams::Settings>,
    /// Where hits are shipped, if anywhere.
    pub ship: Option<ship::Settings>,
    /// How many versions of each list are kept.
    pub history: history::Limits,
    /// Watching.
    pub reload: ReloadSettings,
    /// Deadlines.
    pub orders: OrdersSettings,
    /// Who may look at how the server is, and where.
    pub admin: HttpSettings,
}

/// `[reload]`
///
/// Here and not in `reload`, which lies above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// How long a source must have been quiet before it is read.
    pub quiet: Duration,
    /// Sources are looked at this often even if nothing was heard of them.
    pub rescan: Duration,
}

/// `[orders]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersSettings {
    /// So long before its deadline an order is due.
    pub warn: Duration,
}

/// One `[[list]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// What to read and how.
    pub spec: list::Spec,
    /// `[answer]` with this list's overrides.
    pub answer: policy::AnswerSettings,
    /// Where it comes from, if that is the web.
    pub fetch: Option<Source>,
    /// The checks of `[gate]` with this list's overrides.
    pub gate: checks::Checks,
    /// Who gets its new versions first, if not all at once.
    pub canary: Option<CanarySettings>,
}

/// A list's `canary`
///
/// Here and not in `reload`, which lies above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanarySettings {
    /// Who gets a new version first. Sorted, so that equal sets are equal.
    pub clients: Vec<limit::Cidr>,
    /// For how long before all get it.
    pub time: Duration,
    /// The largest share of their queries it may block, in hundredths of a percent.
    pub max_hits: u32,
    /// The smallest share it must block.
    pub min_hits: u32,
    /// So many queries are waited for before the shares are looked at.
    pub min_queries: u64,
}

/// One `[[clients]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientsSettings {
    /// The group's name.
    pub name: String,
    /// Whose addresses these are.
    pub from: Vec<limit::Cidr>,
    /// A file of more of them.
    pub from_file: Option<checks::NamedFile>,
    /// Doors through which they come, in lower case.
    pub via: Vec<String>,
    /// Places of the lists that hold for them; `None`: all.
    pub lists: Option<Vec<usize>>,
    /// What they are answered otherwise than lists say.
    pub answer: Option<policy::AnswerOverride>,
    /// No list holds for them.
    pub exempt: bool,
    /// Their hits are told, not only counted.
    pub statistics: bool,
}

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    let bytes = read_file(path).map_err(|error| Problems::whole_file(path, error.to_string()))?;
    match str::from_utf8(&bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let message = "from here on this is not UTF-8; save the file as UTF-8".to_owned();
            Err(Problems::at_offsets(path, &String::from_utf8_lossy(good), vec![(good.len(), message)], 0))
        }
    }
}

/// Reads the text of the configuration file `path`, to whose folder relative paths are joined.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(text: &str, path: &Path) -> Result<Settings, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let sink = Sink::default();
    let (document, broken) = DeTable::parse_recoverable(text);
    let settings = read(Table::top(&sink, document.get_ref()), path);
    let mut found: Vec<(usize, String)> = Vec::new();
    for error in broken.iter().take(MAX_PROBLEMS) {
        let at = error.span().map_or(text.len(), |span| span.start);
        found.push((at, format!("not TOML: {}", error.message())));
    }
    // What the parser made of a broken line is guesswork: about such a line only the parser is believed.
    let line_of = |at: usize| text.get(..at).unwrap_or(text).rfind('\n');
    let broken_lines: HashSet<_> = found.iter().map(|(at, _)| line_of(*at)).collect();
    let (wrong, more) = sink.into_problems();
    found.extend(wrong.into_iter().filter(|(at, _)| !broken_lines.contains(&line_of(*at))));
    if found.is_empty() {
        return Ok(settings);
    }
    let more = more + broken.len().saturating_sub(MAX_PROBLEMS);
    Err(Problems::at_offsets(path, text, found, more))
}

impl Settings {
    /// The lists from the web.
    pub fn fetched(&self) -> Vec<Source> {
        self.lists.iter().filter_map(|list| list.fetch.clone()).collect()
    }

    /// The sections whose settings differ in `new`.
    pub fn changed(&self, new: &Self) -> Vec<&'static str> {
        let plain = |settings: &Self| serve::Settings { tls: None, ..settings.server.clone() };
        let sections = [
            ("state_dir", self.state_dir != new.state_dir),
            ("start_without_lists", self.start_without_lists != new.start_without_lists),
            ("server", plain(self) != plain(new) || self.limit != new.limit || self.host != new.host),
            ("tls", self.server.tls != new.server.tls),
            ("upstream", self.upstream != new.upstream),
            ("cache", self.cache != new.cache),
            ("local", self.local != new.local),
            ("answer", self.answer != new.answer),
            ("gate", self.gate != new.gate),
            ("list", self.lists != new.lists),
            ("clients", self.clients != new.clients),
            ("hits", self.hits != new.hits),
            ("stats", self.stats != new.stats || self.ship != new.ship),
            ("stream", self.streams != new.streams),
            ("history", self.history != new.history),
            ("reload", self.reload != new.reload),
            ("admin", self.admin != new.admin),
        ];
        sections.into_iter().filter(|&(_, differs)| differs).map(|(section, _)| section).collect()
    }

    /// The keys whose values differ in `new` and cannot take effect while running.
    pub fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        let (old_tcp, new_tcp) = (&self.server.tcp, &new.server.tcp);
        let tls = self.server.tls.as_ref().zip(new.server.tls.as_ref());
        let tls = |differs: fn(&TlsSettings, &TlsSettings) -> bool| tls.is_some_and(|(old, new)| differs(old, new));
        let keys = [
            ("state_dir", self.state_dir != new.state_dir),
            ("server.listen", self.server.listen != new.server.listen),
            ("server.workers", self.server.workers != new.server.workers),
            ("server.pin", self.server.pin != new.server.pin),
            ("server.ready_file", self.server.ready_file != new.server.ready_file),
            ("server.proxy_from", self.server.proxy_from != new.server.proxy_from),
            ("server.tcp.idle", old_tcp.idle != new_tcp.idle),
            ("server.tcp.total", old_tcp.total != new_tcp.total),
            ("server.tcp.max_connections", old_tcp.max_connections != new_tcp.max_connections),
            ("server.tcp.max_per_client", old_tcp.max_per_client != new_tcp.max_per_client),
            ("server.tcp.max_in_flight", old_tcp.max_in_flight != new_tcp.max_in_flight),
            ("tls", self.server.tls.is_some() != new.server.tls.is_some()),
            ("tls.name", tls(|old, new| old.name != new.name)),
            ("tls.dot", tls(|old, new| old.dot != new.dot)),
            ("tls.doh", tls(|old, new| old.doh != new.doh)),
            ("tls.doh3", tls(|old, new| old.doh3 != new.doh3)),
            ("tls.doq", tls(|old, new| old.doq != new.doq)),
            ("tls.doh_path", tls(|old, new| old.doh_path != new.doh_path)),
            ("tls.handshake", tls(|old, new| old.handshake != new.handshake)),
            ("tls.max_handshakes", tls(|old, new| old.max_handshakes != new.max_handshakes)),
            ("cache.size", self.cache.size != new.cache.size),
            ("cache.min_ttl", self.cache.min_ttl != new.cache.min_ttl),
            ("cache.max_ttl", self.cache.max_ttl != new.cache.max_ttl),
            ("cache.max_negative_ttl", self.cache.max_negative_ttl != new.cache.max_negative_ttl),
            ("cache.servfail_ttl", self.cache.servfail_ttl != new.cache.servfail_ttl),
            ("cache.stale", self.cache.stale != new.cache.stale),
            ("cache.stale_after", self.cache.stale_after != new.cache.stale_after),
            ("hits.file", self.hits.file != new.hits.file),
            ("hits.clients", self.hits.clients != new.hits.clients),
            ("hits.max_size", self.hits.max_size != new.hits.max_size),
            ("hits.max_age", self.hits.max_age != new.hits.max_age),
            ("hits.keep", self.hits.keep != new.hits.keep),
            ("stats.enabled", self.stats.enabled != new.stats.enabled),
            ("stats.window", self.stats.window != new.stats.window),
            ("stats.time_zone", self.stats.zone != new.stats.zone),
            ("stats.threshold", self.stats.threshold != new.stats.threshold),
            ("stats.minutes", self.stats.minutes != new.stats.minutes),
            ("stats.hours", self.stats.hours != new.stats.hours),
            ("stats.days", self.stats.days != new.stats.days),
            ("stats.max_size", self.stats.max_size != new.stats.max_size),
            ("stats.clickhouse", self.ship != new.ship),
            ("stream", self.streams != new.streams),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("admin.allow_from", self.admin.allow_from != new.admin.allow_from),
            ("admin.hosts", self.admin.hosts != new.admin.hosts),
        ];
        keys.into_iter().filter(|&(_, differs)| differs).map(|(key, _)| key).collect()
    }
}

/// Reads the whole document; what is wrong is in the table's sink afterwards.
fn read(mut top: Table<'_>, path: &Path) -> Settings {
    let folder = path.parent().unwrap_or(Path::new(""));
    let state_dir = top.text("state_dir", values::path).unwrap_or_else(|| STATE_DIR.into());
    let start_without_lists = top.flag("start_without_lists", false);
    let (mut server, limit, host) = sections::server(top.table("server"), folder);
    server.tls = tls::read(top.table("tls"), folder, &server.listen);
    let upstream = sections::upstream(top.table("upstream"), &server.listen);
    let cache = sections::cache(top.table("cache"));
    let local = sections::local(&mut top, folder);
    let answer = answer::read(top.table("answer"), &answer::defaults());
    let mut gate = gate::read(top.table("gate"), folder);
    let state_dir = folder.join(state_dir);
    let lists =
        lists::read(&mut top, &lists::Base { folder, state_dir: &state_dir, answer: &answer, checks: &gate.checks });
    let clients = clients::read(&mut top, folder, &lists, &answer);
    gate.own = gate::own_names(&local, &answer, &lists, &clients);
    let hits = sections::hits(top.table("hits"), folder);
    let (stats, ship) = stats::read(top.table("stats"), folder, &state_dir);
    let streams = stream::read(&mut top, folder, &lists);
    let history = sections::history(top.table("history"));
    let reload = sections::reload(top.table("reload"));
    let orders = sections::orders(top.table("orders"));
    let admin = admin::read(top.table("admin"));
    top.finish();
    Settings {
        path: path.into(),
        state_dir,
        start_without_lists,
        server,
        limit,
        host,
        upstream,
        cache,
        local,
        answer,
        gate,
        lists,
        clients,
        hits,
        stats,
        streams,
        ship,
        history,
        reload,
        orders,
        admin,
    }
}

/// The configuration file as a whole cannot be had.
#[derive(Debug)]
enum FileError {
    /// No such file.
    Missing,
    /// A folder, a pipe, a device.
    NotAFile,
    /// Over [`MAX_FILE`].
    TooLarge,
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such configuration file; name one with --config FILE"),
            Self::NotAFile => f.write_str("the configuration must be a regular file; name one with --config FILE"),
            Self::TooLarge => write!(f, "larger than {}: this is not a configuration file", units::show_size(MAX_FILE)),
            Self::Io(error) => write!(f, "cannot read the configuration file: {error}"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

/// The bytes of a regular file of sensible size. Looks before it opens, so that a pipe cannot hold it up.
fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    if !path.metadata()?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE { Err(FileError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
