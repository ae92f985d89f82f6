//! `audit name`: when one name was enforced, on which order, and by which version of which list.
//!
//! The log says which versions were in force when, the history what they held. What the two cannot say for certain is
//! told as uncertain.

mod held;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use self::held::Holds;
use crate::audit::{self, Event, ListInForce, Mode, Record, Text};
use crate::cli::args::NameArgs;
use crate::cli::output::{self, Plain, Style, complain};
use crate::cli::{Exit, lists, settings};
use crate::config::Settings;
use crate::gate::blocks;
use crate::history::History;
use crate::list;
use crate::name::{NameBuf, NameError};
use crate::rule::{Effect, Order, OrderState, show_pattern};
use crate::set::{Part, Set};
use crate::util::{Digest, UnixTime};

/// The answer; `--json` is this.
#[derive(Debug, Serialize)]
struct Proof {
    name: String,
    /// No event of the log was changed.
    proven: bool,
    periods: Vec<Period>,
}

/// A time in which nothing changed for the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Period {
    from: Timestamp,
    /// `None`: until now.
    to: Option<Timestamp>,
    state: State,
    /// The rules and orders it rests on, or why it is not enforced, or not certain.
    why: Vec<String>,
    /// What was otherwise for clients on whom a new version of a list was tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    canary: Vec<Canary>,
}

/// What was otherwise for some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Canary {
    list: String,
    version: u64,
    clients: String,
    state: State,
    why: Vec<String>,
}

/// What was done about the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was blocked.
    Enforced,
    /// It was not.
    NotEnforced,
    /// Log and history do not say.
    Uncertain,
    /// No server ran, or it ended without a word: at the latest then.
    NoServer,
}

impl Period {
    /// No server ran, from then on.
    fn without_server(from: Timestamp) -> Self {
        Self { from, to: None, state: State::NoServer, why: Vec::new(), canary: Vec::new() }
    }
}

/// A rule of some version that covers the name.
#[derive(Clone, Debug)]
struct Covering {
    pattern: String,
    place: String,
    effect: Effect,
    order: Option<Arc<Order>>,
}

/// What a version says of the name, or why that is not known.
type Says = Result<Vec<Covering>, String>;

/// Goes through the log.
struct Walk<'a> {
    settings: &'a Settings,
    history: History,
    name: NameBuf,
    versions: HashMap<(String, u64), Says>,
    holds: Holds,
    /// By list: the version on trial, and whose.
    trials: BTreeMap<String, (u64, String)>,
    /// What happened since the last publish: it is in force with the next one.
    pending: Vec<Event>,
    periods: Vec<Period>,
}

/// Runs the verb.
pub(super) fn run(args: &NameArgs) -> Exit {
    let settings = match settings(&args.server.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let proof = match prove(&settings, &args.name) {
        Ok(proof) => proof,
        Err(exit) => return exit,
    };
    let exit = if proof.proven { Exit::Fine } else { Exit::Look };
    if args.server.json { lists::json(&proof, exit) } else { output::print(&show(&proof), exit) }
}

/// Reads the log from its beginning.
fn prove(settings: &Settings, text: &str) -> Result<Proof, Exit> {
    let mut name = NameBuf::new();
    name.parse(text).map_err(|error: NameError| complain(&format_args!("`{}`: {error}", Plain(text))))?;
    let history = History::new(&settings.state_dir, settings.history);
    let shown = name.to_string();
    let mut walk = Walk {
        settings,
        history,
        name,
        versions: HashMap::new(),
        holds: Holds::default(),
        trials: BTreeMap::new(),
        pending: Vec::new(),
        periods: Vec::new(),
    };
    let mut records =
        audit::records(&audit::folder(&settings.state_dir), None, None).map_err(|error| complain(&error))?;
    let mut in_force: Option<(Timestamp, Vec<ListInForce>)> = None;
    let (mut last, mut stopped) = (None, false);
    for record in &mut records {
        let Record { time, event, .. } = record.map_err(|error| complain(&error))?;
        match event {
            // A reload under way when the server stopped answers nobody.
            Some(Event::SnapshotPublished(publication)) if !stopped => {
                if let Some((from, lists)) = in_force.replace((time, publication.lists)) {
                    walk.period(from, Some(time), &lists);
                }
                walk.publish();
            }
            Some(Event::ServerStopped(_)) => {
                stopped = true;
                if let Some((from, lists)) = in_force.take() {
                    walk.period(from, Some(time), &lists);
                }
                walk.push(Period::without_server(time));
            }
            Some(event @ Event::ServerStarted(_)) => {
                stopped = false;
                // Killed: it answered at least until it wrote its last event.
                if let (Some((from, lists)), Some(last)) = (in_force.take(), last) {
                    walk.period(from, Some(last), &lists);
                    walk.push(Period::without_server(last));
                }
                walk.pending.push(event);
            }
            Some(event) => walk.pending.push(event),
            None => {}
        }
        last = Some(time);
    }
    if let Some((from, lists)) = in_force {
        walk.period(from, None, &lists);
    }
    let proven = records.broken().is_none();
    Ok(Proof { name: shown, proven, periods: walk.periods })
}

impl Walk<'_> {
    /// What happened before a publish is in force with it.
    fn publish(&mut self) {
        for event in std::mem::take(&mut self.pending) {
            match event {
                Event::ServerStarted(_) => self.holds.started(),
                Event::Held(held) => self.holds.held(held),
                Event::Released(verdict) => self.holds.decided(&verdict, true),
                Event::Dismissed(verdict) => self.holds.decided(&verdict, false),
                Event::Undecided(verdict) => self.holds.undecided(&verdict),
                Event::CanaryStarted(canary) => {
                    let mut clients: Vec<&str> = canary.clients.sample.iter().map(Text::as_str).collect();
                    if canary.clients.count > clients.len() as u64 {
                        clients.push("and others");
                    }
                    self.trials.insert(canary.list.as_str().to_owned(), (canary.version, clients.join(", ")));
                }
                Event::CanaryEnded(canary) => drop(self.trials.remove(canary.list.as_str())),
                _ => {}
            }
        }
    }

    /// A time between two publishes; order dates in it act by themselves.
    fn period(&mut self, from: Timestamp, to: Option<Timestamp>, lists: &[ListInForce]) {
        let says: Vec<(ListInForce, Says)> = lists.iter().map(|list| (list.clone(), self.of_version(list))).collect();
        let end = to.unwrap_or_else(Timestamp::now);
        let orders = says.iter().filter_map(|(_, says)| says.as_ref().ok()).flatten().filter_map(|c| c.order.as_ref());
        let dates = orders.flat_map(|order| [order.effective, order.expires, order.revoked]).flatten();
        let inside = dates.filter_map(|at| Timestamp::from_second(at.0).ok()).filter(|at| *at > from && *at < end);
        let mut steps: BTreeSet<Timestamp> = inside.collect();
        steps.insert(from);
        let steps: Vec<Timestamp> = steps.into_iter().collect();
        for (index, &start) in steps.iter().enumerate() {
            let stop = steps.get(index + 1).copied().or(to);
            let now = UnixTime(start.as_second());
            let (state, why) = self.judge(&says, now);
            let canary = self.canaries(&says, state, now);
            self.push(Period { from: start, to: stop, state, why, canary });
        }
    }

    /// What was otherwise for those on whom versions were tried.
    fn canaries(&mut self, says: &[(ListInForce, Says)], all: State, now: UnixTime) -> Vec<Canary> {
        let mut found = Vec::new();
        for (name, (version, clients)) in self.trials.clone() {
            let Some(at) = says.iter().position(|(list, _)| list.name.as_str() == name) else { continue };
            let mut theirs = says.to_vec();
            let tried = ListInForce { version: Some(version).filter(|&n| n > 0), sha256: None, ..theirs[at].0.clone() };
            theirs[at] = (tried.clone(), self.of_version(&tried));
            let (state, why) = self.judge(&theirs, now);
            if state != all {
                found.push(Canary { list: name, version, clients, state, why });
            }
        }
        found
    }

    /// What these versions come to at a moment.
    fn judge(&self, says: &[(ListInForce, Says)], now: UnixTime) -> (State, Vec<String>) {
        let (mut enforced, mut doubts, mut lifted, mut allowed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (list, says) in says {
            let name = list.name.as_str();
            let version = list.version.map_or("of unknown number".to_owned(), |number| number.to_string());
            let covering = match says {
                Ok(covering) => covering,
                Err(why) => {
                    doubts.push(why.clone());
                    continue;
                }
            };
            for rule in covering {
                let mut told = format!("list {name} version {version}: {} at {}", rule.pattern, rule.place);
                if let Some(order) = &rule.order {
                    told += &format!(", order {} of {}", order.id, order.authority);
                }
                let state = rule.order.as_ref().map_or(OrderState::InForce, |order| order.state(now));
                let held = self.holds.is_held(name, list.version, &rule.pattern);
                match (&rule.effect, state) {
                    (_, OrderState::Pending) => lifted.push(told + " (not yet in force)"),
                    (_, OrderState::Expired) => lifted.push(told + " (expired)"),
                    (_, OrderState::Revoked) => lifted.push(told + " (revoked)"),
                    _ if list.mode == Mode::Shadow => lifted.push(told + " (shadow: counted, not enforced)"),
                    (Effect::Allow, _) => allowed.push(told + " (an exception)"),
                    (effect, _) if !blocks(effect) => {
                        doubts.push(told + " (an RPZ passthru: depends on the order of zones)")
                    }
                    _ if held == Some(true) => lifted.push(told + " (held)"),
                    _ if held.is_none() => {
                        doubts.push(told + " (entries of the list were held, and the log does not say which)")
                    }
                    _ => enforced.push(told),
                }
            }
        }
        match (allowed.is_empty(), enforced.is_empty(), doubts.is_empty()) {
            (false, ..) => (State::NotEnforced, allowed),
            (true, false, true) => (State::Enforced, enforced),
            (true, _, false) => (State::Uncertain, [doubts, enforced].concat()),
            (true, true, true) => (State::NotEnforced, lifted),
        }
    }

    /// What a version says of the name.
    fn of_version(&mut self, list: &ListInForce) -> Says {
        let name = list.name.as_str();
        // A version that could not be kept when it came into force may have been kept later.
        let Some(number) = list.version.or_else(|| self.numbered(name, list.sha256?)) else {
            return Err(format!("what list {name} held is not in the history"));
        };
        let key = (name.to_owned(), number);
        if let Some(known) = self.versions.get(&key) {
            return known.clone();
        }
        let says = self.read(name, number);
        self.versions.insert(key, says.clone());
        says
    }

    /// The number of a version, by its hash.
    fn numbered(&self, list: &str, sha256: Digest) -> Option<u64> {
        let mut versions = self.history.versions(list).ok()?.whole.into_iter();
        versions.find(|version| version.sha256 == sha256).map(|version| version.number)
    }

    /// Reads a version from the history.
    fn read(&self, name: &str, number: u64) -> Says {
        let spec = self.settings.lists.iter().map(|list| &list.spec).find(|spec| spec.name == name);
        let spec =
            spec.ok_or_else(|| format!("list {name} is no longer configured, so how to read it is not known"))?;
        let version = self.history.version(name, number).map_err(|error| error.to_string())?;
        let mut parts = Vec::new();
        for file in &version.what.files {
            let bytes = self.history.bytes(name, file).map_err(|error| error.to_string())?;
            let shown: Arc<str> = file.file.as_str().into();
            let parsed = list::parse(spec, &shown, &bytes)
                .map_err(|why| format!("{shown} of version {number} is no list under the present settings: {why}"))?;
            parts.push(Part::new(0, parsed.rules));
        }
        let set = Set::build(parts, UnixTime::default()).map_err(|error| error.to_string())?;
        let mut covering = Vec::new();
        set.known(&self.name, |found, _| {
            let rule = set.rule(found.id);
            let mut pattern = String::new();
            // Writing to a String cannot fail.
            let _ = show_pattern(rule.name().wire(), rule.kind.scope, &mut pattern);
            let file = set.parts().get(found.part as usize).map_or("", |part| part.rules.path());
            let place = format!("{file}:{}", rule.line);
            covering.push(Covering { pattern, place, effect: rule.kind.effect.clone(), order: rule.order.cloned() });
        });
        Ok(covering)
    }

    /// Adds a period, or makes the last one longer if it says the same.
    fn push(&mut self, period: Period) {
        if let Some(last) = self.periods.last_mut() {
            if last.to.is_none() {
                last.to = Some(period.from);
            }
            let same = (last.state, &last.why, &last.canary) == (period.state, &period.why, &period.canary);
            if same && last.to == Some(period.from) {
                last.to = period.to;
                return;
            }
            if last.to == Some(last.from) {
                self.periods.pop();
            }
        }
        self.periods.push(period);
    }
}

/// The proof for people.
fn show(proof: &Proof) -> String {
    let style = Style::of_stdout();
    let mut text = format!("{}\n", style.strong(&proof.name));
    for period in &proof.periods {
        let to = period.to.map_or("now".to_owned(), |to| format!("{to:.3}"));
        text += &format!("{:.3} to {to}: {}\n", period.from, word(period.state, style));
        for why in &period.why {
            text += &format!("    {}\n", Plain(why));
        }
        for Canary { list, version, clients, state, why } in &period.canary {
            let (clients, list, word) = (Plain(clients), Plain(list), word(*state, style));
            text += &format!("    for {clients}, with version {version} of list {list} on trial: {word}\n");
            for why in why {
                text += &format!("        {}\n", Plain(why));
            }
        }
    }
    if proof.periods.is_empty() {
        text += "the log holds nothing yet\n";
    }
    if !proof.proven {
        text += &format!("\n{}\n", style.bad("the log was changed: see qalqan audit verify"));
    }
    text
}

/// A state for people.
fn word(state: State, style: Style) -> String {
    match state {
        State::Enforced => style.bad("enforced").to_string(),
        State::NotEnforced => "not enforced".into(),
        State::Uncertain => style.look("not certain").to_string(),
        State::NoServer => "no server ran".into(),
    }
}
