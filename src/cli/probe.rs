//! `probe`: asks a running server every enforced name, and says what is not blocked.
//!
//! ```text
//! Names ──► Source ──► Pace ──► Links ──► server
//! (rules)   (Oracle:                        │
//!            what should come)              ▼
//! Receipt ◄── Tally ◄── judge ◄──────── messages
//! ```
//! Rules are read where they lie and answers are weighed as they come: what it holds does not grow with the lists.

mod args;
mod brief;
mod judge;
mod links;
mod names;
mod once;
mod oracle;
mod pace;
mod published;
mod receipt;
mod run;
mod tally;
#[cfg(test)]
mod testing;
mod text;
mod watch;

pub use args::{EXAMPLES, ProbeArgs};

use std::net::SocketAddr;

use super::Exit;
use super::output::{self, Plain, Progress, Style, complain, note};
use crate::event::Transport;
use crate::name::Name;
use crate::system::Signals;
use crate::util::Now;

use self::brief::Brief;
use self::names::{Census, Names};
use self::once::{Patience, ask, greet};
use self::oracle::Oracle;
use self::pace::Sample;
use self::receipt::{Aside, AskingLine, ConfigLine, ListLine, NamesLine, Receipt, ServerLine};
use self::run::{End, Options, Pass};
use self::tally::Tally;
use self::watch::Watch;
use crate::hits::type_name;
use crate::wire::{rcode, rtype};

/// Longer runs are announced.
const LONG: u64 = 60;

/// Runs the verb.
pub(super) fn run(args: &ProbeArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format_args!("cannot start: {error}")),
    };
    let brief = match Brief::open(args) {
        Ok(brief) => brief,
        Err(exit) => return exit,
    };
    if args.watch.is_some() {
        return watch(args, brief, &runtime);
    }
    match probe(args, &brief, &runtime) {
        Ok(exit) | Err(exit) => exit,
    }
}

/// `--watch`
fn watch(args: &ProbeArgs, brief: Brief, runtime: &tokio::runtime::Runtime) -> Exit {
    let Some(name) = brief.watched else { return Exit::Failed };
    let watch = Watch {
        servers: brief.servers,
        name,
        // One is enough: all types of a name are blocked together.
        rtype: args.types.first().copied().unwrap_or(rtype::A),
        limit: args.watch_for,
        patience: Patience { timeout: args.timeout, tries: args.tries },
        rules: brief.rules,
        state_dir: brief.state_dir,
    };
    runtime.block_on(watch::run(watch, args.json))
}

/// Asks everything.
fn probe(args: &ProbeArgs, brief: &Brief, runtime: &tokio::runtime::Runtime) -> Result<Exit, Exit> {
    let aside = args.receipt.as_deref().map(|path| Aside::open(path).map_err(|error| (path, error))).transpose();
    let aside = aside.map_err(|(path, error)| cannot_write(path, &error))?;
    let seed = args.seed.unwrap_or_else(pace::seed);
    let names = brief.names(u64::from(seed));
    let progress = Progress::show("counting names");
    let census = names.census();
    drop(progress);
    let asked = weigh(args, brief, &census)?;
    let mut receipt = head(args, brief, &census, seed);
    let options = Options {
        types: args.types.clone(),
        rate: args.rate,
        in_flight: usize::from(args.in_flight),
        patience: Patience { timeout: args.timeout, tries: args.tries },
        rules: brief.rules.clone(),
    };
    if let Some((used, status)) = brief.used.as_ref().and_then(|used| Some((used, brief.server()?))) {
        published::enter(&mut receipt, &status, &used.in_force.loaded.reports);
    }
    let mut tally = Tally::default();
    receipt.servers =
        runtime.block_on(passes(&Asking { args, brief, names: &names, census, options, asked }, &mut tally))?;
    let ended = Now::read();
    let lists: Vec<String> = receipt.lists.iter().map(|list| list.name.clone()).collect();
    receipt.fill(&tally, &lists, ended);
    receipt.complete = receipt.servers.iter().all(|server| server.complete);
    receipt.all_blocked = receipt.complete && receipt.failures_total == 0 && receipt.names.rejected == 0;
    published::close(&mut receipt, brief.server().as_ref());
    receipt.notes.orders_changed = brief.changes_before(ended);
    let (json, digest) = receipt.seal().map_err(|error| complain(&format_args!("cannot write JSON: {error}")))?;
    let exit = match (receipt.complete, receipt.all_blocked) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Look,
        (true, true) => Exit::Fine,
    };
    let text = if args.json { json.clone() } else { text::show(&receipt, digest, args.failures, Style::of_stdout()) };
    let exit = output::print(&text, exit);
    match (aside, &args.receipt) {
        (Some(aside), Some(path)) => aside.write(&json).map(|()| exit).map_err(|error| cannot_write(path, &error)),
        _ => Ok(exit),
    }
}

/// The receipt has no place.
fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Exit {
    complain(&format_args!("cannot write the receipt {}: {error}", path.display()))
}

/// How many questions a pass has, if it is sensible to ask them.
fn weigh(args: &ProbeArgs, brief: &Brief, census: &Census) -> Result<u64, Exit> {
    if census.names == 0 {
        return Err(complain(&format_args!(
            "there is nothing to ask: {} excepted, {} held, {} not in force; nothing is proved by that",
            output::counted(census.excepted, "name"),
            output::counted(census.held, "name"),
            output::counted(census.not_in_force, "pattern")
        )));
    }
    let patterns = args.sample.map_or(census.patterns, |sample| sample.min(census.patterns));
    let names = (u128::from(census.names) * u128::from(patterns) / u128::from(census.patterns.max(1))) as u64;
    if names > args.max {
        return Err(complain(&format_args!(
            "{names} names are more than {}; ask a part with --sample N, or all with --max {names}",
            args.max
        )));
    }
    let asked = names * args.types.len() as u64;
    let seconds = asked * brief.servers.len() as u64 / u64::from(args.rate);
    if seconds > LONG {
        note(&format_args!(
            "{} questions to each of {} at {} a second take {}; --rate and --sample make it shorter",
            asked,
            output::counted(brief.servers.len() as u64, "address"),
            args.rate,
            text::lasting(seconds as f64)
        ));
    }
    Ok(asked)
}

/// A receipt that says what will be asked.
fn head(args: &ProbeArgs, brief: &Brief, census: &Census, seed: u32) -> Receipt {
    let from = args.names.as_ref().map_or_else(|| "lists".to_owned(), |path| path.display().to_string());
    let names = NamesLine {
        lists: args.lists.clone(),
        orders: args.orders.clone(),
        sample: args.sample.map(|sample| sample.min(census.patterns)),
        rejected: brief.rejected,
        ..NamesLine::of(census, from, seed)
    };
    let mut sinkholes: Vec<_> = brief.rules.sinkholes.iter().collect();
    sinkholes.sort_unstable();
    let asking = AskingLine {
        types: args.types.iter().map(|&rtype| type_name(rtype).into_owned()).collect(),
        expect: if brief.rules.any { "any-block" } else { "config" },
        sinkholes: sinkholes.into_iter().map(ToString::to_string).collect(),
        control: args.control.clone(),
        rate: args.rate,
        in_flight: usize::from(args.in_flight),
        timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
        tries: args.tries,
    };
    let mut receipt = Receipt::new(Now::read(), names, asking);
    if let Some(used) = &brief.used {
        let path = used.settings.path.display().to_string();
        receipt.config = Some(ConfigLine { path, sha256: used.sha256.to_string() });
        receipt.lists = ListLine::all(&used.settings, &used.in_force.loaded.reports, used.began);
    }
    receipt
}

/// Everything a pass needs.
struct Asking<'a> {
    args: &'a ProbeArgs,
    brief: &'a Brief,
    names: &'a Names<'a>,
    census: Census,
    options: Options,
    /// Questions of one pass, about.
    asked: u64,
}

/// One server after the other, over one transport after the other.
async fn passes(asking: &Asking<'_>, tally: &mut Tally) -> Result<Vec<ServerLine>, Exit> {
    let mut signals = Signals::listen().map_err(|error| complain(&format_args!("cannot take signals: {error}")))?;
    let mut lines = Vec::new();
    for &(transport, server) in &asking.brief.servers {
        let error = match pass(asking, transport, server, tally, &mut signals).await {
            Ok(()) => None,
            Err((why, interrupted)) => {
                let over = transport.as_str();
                complain(&format_args!("not all could be asked of {server} over {over}: {}", Plain(&why)));
                Some((why, interrupted))
            }
        };
        let stop = error.as_ref().is_some_and(|&(_, interrupted)| interrupted);
        let error = error.map(|(why, _)| why);
        let (address, complete) = (server.to_string(), error.is_none());
        lines.push(ServerLine { address, transport: transport.as_str(), complete, error });
        if stop {
            break;
        }
    }
    // What was not come to is not complete either.
    for &(transport, server) in asking.brief.servers.iter().skip(lines.len()) {
        let (address, error) = (server.to_string(), Some("not asked".to_owned()));
        lines.push(ServerLine { address, transport: transport.as_str(), complete: false, error });
    }
    Ok(lines)
}

/// One of them; why not all was asked, and whether somebody wanted it so.
async fn pass(
    asking: &Asking<'_>,
    transport: Transport,
    server: SocketAddr,
    tally: &mut Tally,
    signals: &mut Signals,
) -> Result<(), (String, bool)> {
    let Asking { args, brief, names, census, options, asked } = asking;
    let patience = options.patience;
    let said = greet(server, transport, patience).await.map_err(|error| (error.to_string(), false))?;
    if said.rcode == rcode::REFUSED {
        return Err(("it refuses this client (allow_from, say); ask from where clients are".to_owned(), false));
    }
    if let Some(control) = &brief.control {
        control_passes(brief, control, transport, server, patience).await.map_err(|why| (why, false))?;
    }
    let sample = args.sample.map(|want| Sample::new(want, census.patterns, names.seed));
    let oracle = brief.used.as_ref().map(|used| Oracle::new(&used.in_force.snapshot, used.in_force.now));
    let silent = tally.silent;
    let pass = Pass::new(options, (server, transport), names.cursor(sample), oracle, tally);
    match pass.run(*asked, signals).await {
        End::Complete => {}
        End::Gone(why) => return Err((why, false)),
        End::Interrupted => return Err(("interrupted".to_owned(), true)),
    }
    if tally.silent > silent {
        // Silence proves a block only if the server was there all the time.
        greet(server, transport, patience).await.map_err(|error| (format!("it has gone: {error}"), false))?;
    }
    Ok(())
}

/// The control name must not look blocked.
async fn control_passes(
    brief: &Brief,
    control: &Name,
    transport: Transport,
    server: SocketAddr,
    patience: Patience,
) -> Result<(), String> {
    match ask(server, transport, control.wire(), rtype::A, patience).await {
        Ok(said) if !brief.rules.is_block(&said) && !said.records.is_empty() => Ok(()),
        Ok(said) => Err(format!("the control name {control} got {said}: what looks blocked there proves nothing")),
        Err(error) => Err(format!("the control name {control} got {error}")),
    }
}
