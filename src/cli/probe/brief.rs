//! What is needed before anything is asked: configuration, rules, names, servers.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::args::{ExpectArg, ProbeArgs};
use super::judge::Rules;
use super::names::Names;
use super::published;
use crate::admin::Status;
use crate::cli::load::{self, InForce};
use crate::cli::output::{Plain, complain, say};
use crate::cli::{Exit, settings};
use crate::config::Settings;
use crate::event::Transport;
use crate::list::{self, Format, MAX_SHOWN, Spec};
use crate::name::{Name, NameBuf};
use crate::reload::Digest;
use crate::rule::FileRules;
use crate::util::{Now, UnixTime};

/// Larger ready files are not ours.
const MAX_READY: u64 = 1 << 20;
/// A share of rejected entries that no file exceeds, in 1/100 of a percent.
const ALL: u32 = 10_000;

/// Everything made ready.
pub struct Brief {
    /// Where the server of the configuration, if one is used, can be asked.
    pub state_dir: Option<PathBuf>,
    /// The configuration, if one is used.
    pub used: Option<Used>,
    /// The names that were given.
    named: Option<Arc<FileRules>>,
    /// Entries among them that are no names.
    pub rejected: u64,
    /// Lists asked for, by index.
    lists: Vec<u16>,
    /// Orders asked for.
    orders: Vec<String>,
    /// Whom to ask, over what.
    pub servers: Vec<(Transport, SocketAddr)>,
    /// What is a block.
    pub rules: Rules,
    /// `--control`
    pub control: Option<Name>,
    /// `--watch`
    pub watched: Option<Name>,
}

/// A configuration and what it comes to.
pub struct Used {
    /// The file.
    pub settings: Settings,
    /// Of the file.
    pub sha256: Digest,
    /// When reading began.
    pub began: UnixTime,
    /// The rules.
    pub in_force: InForce,
}

/// A ready file.
#[derive(Deserialize)]
struct Ready {
    listen: Vec<Listening>,
}

/// One address in it.
#[derive(Deserialize)]
struct Listening {
    transport: String,
    address: SocketAddr,
}

impl Brief {
    /// Reads everything; says what is wrong.
    pub fn open(args: &ProbeArgs) -> Result<Self, Exit> {
        let any = args.expect == ExpectArg::AnyBlock;
        let name = |text: &Option<String>| text.as_deref().map(name).transpose();
        let (control, watched) = (name(&args.control)?, name(&args.watch)?);
        // Nothing in the configuration matters then, and somebody else's server may be asked without one.
        let foreign = (any && args.names.is_some() || watched.is_some()) && !args.servers.is_empty();
        let settings = match foreign && args.config.config.is_none() {
            true => None,
            false => Some(settings(&args.config)?),
        };
        let (named, rejected) = match &args.names {
            Some(path) => given(path).map(|(rules, rejected)| (Some(rules), rejected))?,
            None => (None, 0),
        };
        let servers = servers(args, settings.as_ref())?;
        let mut sinkholes: HashSet<IpAddr> = args.sinkholes.iter().copied().collect();
        if let Some(settings) = &settings {
            let answers = settings.lists.iter().map(|list| &list.answer).chain([&settings.answer]);
            for answer in answers {
                sinkholes.extend(answer.ipv4.iter().copied().map(IpAddr::from));
                sinkholes.extend(answer.ipv6.iter().copied().map(IpAddr::from));
            }
        }
        let rules = Rules { sinkholes, any };
        let state_dir = settings.as_ref().map(|settings| settings.state_dir.clone());
        let used = match (settings, &watched) {
            (Some(settings), None) => Some(Used::open(settings)?),
            _ => None,
        };
        let lists = args.lists.iter().map(|list| used.as_ref().map_or(Err(Exit::Failed), |used| used.list(list)));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        if let Some(used) = &used {
            used.has_orders(&args.orders)?;
        }
        Ok(Self {
            used,
            state_dir,
            named,
            rejected,
            lists,
            orders: args.orders.clone(),
            servers,
            rules,
            control,
            watched,
        })
    }

    /// What the server of this configuration says of itself, if it runs.
    pub fn server(&self) -> Option<Status> {
        published::ask(self.state_dir.as_deref()?)
    }

    /// What there is to ask.
    pub fn names(&self, seed: u64) -> Names<'_> {
        Names {
            snapshot: self.used.as_ref().map(|used| &used.in_force.snapshot),
            named: self.named.as_deref(),
            lists: self.lists.clone(),
            orders: self.orders.clone(),
            seed,
            now: self.used.as_ref().map_or_else(Now::read, |used| used.in_force.now).seconds(),
        }
    }

    /// An order begins or ends before `moment`.
    pub fn changes_before(&self, moment: Now) -> bool {
        let next = |used: &Used| used.in_force.snapshot.set().next_change(used.in_force.now.seconds());
        self.used.as_ref().and_then(next).is_some_and(|change| change <= moment.seconds())
    }
}

impl Used {
    /// Reads the lists.
    fn open(mut settings: Settings) -> Result<Self, Exit> {
        // The question is what happens to names, not to some client.
        settings.limit = load::anybody();
        settings.clients.clear();
        let began = Now::read().seconds();
        let bytes = fs::read(&settings.path);
        let bytes = bytes.map_err(|error| complain(&format_args!("{}: {error}", settings.path.display())))?;
        let in_force = load::in_force(&settings)?;
        Ok(Self { settings, sha256: Digest::of(&bytes), began, in_force })
    }

    /// The index of a list.
    fn list(&self, name: &str) -> Result<u16, Exit> {
        let lists = &self.settings.lists;
        let at = lists.iter().position(|list| list.spec.name == name).and_then(|at| u16::try_from(at).ok());
        at.ok_or_else(|| {
            let known: Vec<&str> = lists.iter().map(|list| list.spec.name.as_str()).collect();
            complain(&format_args!("there is no list \"{}\"; known are: {}", Plain(name), known.join(", ")))
        })
    }

    /// All these are named by a list.
    fn has_orders(&self, ids: &[String]) -> Result<(), Exit> {
        let parts = self.in_force.snapshot.set().parts();
        let known: HashSet<&str> =
            parts.iter().flat_map(|part| part.rules.orders()).map(|order| order.id.as_str()).collect();
        match ids.iter().find(|id| !known.contains(id.as_str())) {
            None => Ok(()),
            Some(id) => Err(complain(&format_args!("no list has an order \"{}\"", Plain(id)))),
        }
    }
}

/// A name as people write it.
fn name(text: &str) -> Result<Name, Exit> {
    let mut buf = NameBuf::new();
    match buf.parse(text) {
        Ok(()) => Ok(buf.to_name()),
        Err(error) => Err(complain(&format_args!("`{}`, at byte {}: {error}", Plain(text), error.at + 1))),
    }
}

/// The names in a file or from standard input, and how many entries are none.
fn given(path: &Path) -> Result<(Arc<FileRules>, u64), Exit> {
    let most = Spec::DEFAULT_MAX_BYTES;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    let shown = path.display();
    read.map_err(|error| complain(&format_args!("cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(complain(&format_args!("{shown} has more than {most} octets; split it")));
    }
    let spec = Spec { max_rejected: ALL, ..Spec::new("names", path.into(), Format::Domains) };
    let parsed = list::parse(&spec, &path.to_string_lossy().into(), &bytes);
    let parsed = parsed.map_err(|why| complain(&format_args!("{shown}: {why}")))?;
    let report = parsed.report;
    for rejection in &report.rejections {
        let (line, column) = (rejection.line, rejection.column);
        say(&format_args!("{shown}:{line}:{column}: `{}`: {}", Plain(&rejection.entry), rejection.reason));
    }
    if report.rejected > MAX_SHOWN as u64 {
        say(&format_args!("{shown}: and {} more that are no names", report.rejected - MAX_SHOWN as u64));
    }
    Ok((parsed.rules, report.rejected))
}

/// Whom to ask.
fn servers(args: &ProbeArgs, settings: Option<&Settings>) -> Result<Vec<(Transport, SocketAddr)>, Exit> {
    let transports = args.transport.all();
    let listening = settings.map(|settings| &settings.server);
    let mut servers = Vec::new();
    if let (true, Some(server)) = (args.servers.is_empty(), listening)
        && server.listen.iter().any(|address| address.port() == 0)
    {
        let Some(ready) = server.ready_file.as_deref().and_then(ready) else {
            return Err(complain(
                &"the configuration leaves the port open (0), and there is no ready file that tells \
                                  it; name the server with --server ADDR",
            ));
        };
        for transport in transports {
            let these = ready.listen.iter().filter(|entry| entry.transport == transport.as_str());
            servers.extend(these.map(|entry| (*transport, reachable(entry.address))));
        }
    } else {
        let addresses = match (args.servers.is_empty(), listening) {
            (true, Some(server)) => &server.listen,
            _ => &args.servers,
        };
        for transport in transports {
            servers.extend(addresses.iter().map(|&address| (*transport, reachable(address))));
        }
    }
    let mut seen = HashSet::new();
    servers.retain(|&(transport, address)| seen.insert((transport.as_str(), address)));
    match servers.is_empty() {
        true => Err(complain(&"the configuration has no address to ask; name the server with --server ADDR")),
        false => Ok(servers),
    }
}

/// What a running server says of itself.
fn ready(path: &Path) -> Option<Ready> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_READY).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Who listens everywhere is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
