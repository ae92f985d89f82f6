//! `why`: what happens to a query for a name, by which rule, on which order.

mod reply;
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::args::WhyArgs;
use super::load::{self, InForce, Version};
use super::output::{self, Style, complain};
use super::{Exit, settings};
use crate::config::Settings;
use crate::engine::{Decider, Peer};
use crate::event::Transport;
use crate::gate::Held;
use crate::hits::type_name;
use crate::limit::Door;
use crate::local::Local;
use crate::name::{Name, NameBuf, NameError};
use crate::reload::{self, Place, place};
use crate::rule::{Effect, Mode, Order, OrderState, RpzAction};
use crate::set::Match;
use crate::snapshot::{Policy, Snapshot};
use crate::stats::Stats;
use crate::upstream::Server;
use crate::util::UnixTime;

use self::reply::Reply;

pub(super) use self::reply::{query, rcode_name};

/// The most rules told for one name.
const MAX_RULES: usize = 100;

/// The answer to one name; `--json` is this.
#[derive(Debug, Serialize)]
struct Explained {
    /// As it was asked for.
    asked: String,
    /// As it stands in packets.
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    client: Option<IpAddr>,
    /// The door it comes through.
    via: Option<String>,
    /// The group of `[[clients]]` it is of.
    group: Option<String>,
    decision: Decision,
    /// The rules that cover it, the deciding one first.
    rules: Vec<RuleLine>,
    /// Rules that cover it and are not told.
    more_rules: u64,
    /// Entries that would block it and are held by the gate.
    held: Vec<Held>,
    reply: Reply,
    /// Who is asked, if somebody is.
    route: Option<Route>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    /// Answered as its list says.
    Blocked,
    /// Would be blocked but for an allow rule or an RPZ passthru.
    Excepted,
    /// A shadow list has it; answered as if it had not.
    Shadow,
    /// No rule in force matters.
    Passed,
    /// The client may not ask.
    Refused,
    /// No list holds for the client.
    Exempt,
}

/// One rule that covers the name.
#[derive(Debug, Serialize)]
struct RuleLine {
    /// It is the one that decides.
    decides: bool,
    #[serde(flatten)]
    place: Place,
    role: String,
    mode: String,
    effect: &'static str,
    in_force: bool,
    /// Its list holds for the client.
    holds: bool,
    /// Of its file.
    version: Version,
    order: Option<OrderLine>,
}

/// The order a rule rests on.
#[derive(Debug, Serialize)]
struct OrderLine {
    id: String,
    state: &'static str,
    /// Since when the name has been blocked on it, if that is known.
    enforced_since: Option<Since>,
    authority: String,
    requested_by: String,
    legal_basis: String,
    reference: Vec<String>,
    issued: Option<String>,
    effective: Option<String>,
    deadline: Option<String>,
    expires: Option<String>,
    revoked: Option<String>,
    contact: Vec<String>,
    url: String,
}

/// Since when something is enforced.
#[derive(Debug, Serialize)]
struct Since {
    at: String,
    /// Longer than that, perhaps: the versions before may have had it, too.
    or_before: bool,
}

/// Who answers what no rule does.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Route {
    /// A local zone.
    Local,
    /// `[[upstream.zone]]`
    Zone { name: String, servers: Vec<String> },
    /// `[upstream]`
    Upstream { servers: Vec<String> },
}

/// What names are asked against.
struct Court {
    settings: Settings,
    loaded: InForce,
    local: Local,
    door: Door,
}

/// Runs the verb.
pub(super) fn run(args: &WhyArgs) -> Exit {
    let court = match Court::open(args) {
        Ok(court) => court,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Fine;
    let mut text = String::new();
    for asked in &args.names {
        let explained = match court.explain(asked, args) {
            Ok(explained) => explained,
            Err(error) => {
                let place = error.at + 1;
                exit = complain(&format_args!("`{}`, at byte {place}: {error}", output::Plain(asked)));
                continue;
            }
        };
        if args.json {
            match serde_json::to_string(&explained) {
                Ok(line) => text.push_str(&(line + "\n")),
                Err(error) => return complain(&format_args!("cannot write JSON: {error}")),
            }
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&text::show(&explained, Style::of_stdout()));
        }
    }
    output::print(&text, exit)
}

impl Court {
    /// Loads what a server started now would have.
    fn open(args: &WhyArgs) -> Result<Self, Exit> {
        let mut settings = settings(&args.config)?;
        if args.client.is_none() {
            // The question is what happens to the name, not to some client.
            settings.limit = load::anybody();
        }
        let mut loaded = load::in_force(&settings)?;
        let door = args.via.as_deref().map_or(Door::default(), |via| loaded.doors.find(via));
        if let Some(via) = args.via.as_deref().filter(|_| door == Door::default()) {
            output::note(&format_args!("no [[clients]] has via = [\"{}\"]: as through no door", output::Plain(via)));
        }
        // Some clients may have a newer version of a list than all others.
        if let Some(client) = args.client {
            loaded.snapshot = loaded.snapshot.of(client, door).snapshot().clone();
        }
        loaded.snapshot = loaded.snapshot.with_canaries(Vec::new());
        if args.client.is_none() && door == Door::default() {
            loaded.snapshot = loaded.snapshot.with_clients(None);
        }
        let forwarded: Vec<Name> = settings.upstream.zones.iter().map(|zone| zone.name.clone()).collect();
        let local = Local::new(&settings.local, &forwarded)
            .map_err(|errors| errors.iter().map(|error| complain(error)).max().unwrap_or(Exit::Failed))?;
        Ok(Self { settings, loaded, local, door })
    }

    /// Decides about one name.
    fn explain(&self, asked: &str, args: &WhyArgs) -> Result<Explained, NameError> {
        let mut name = NameBuf::new();
        name.parse(asked)?;
        let client = args.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let policy = self.snapshot().of(client, self.door);
        let decided = policy.decide(&name);
        let refused = args.client.is_some_and(|client| !self.snapshot().acl().allows(client));
        let decision = match () {
            () if refused => Decision::Refused,
            () if policy.is_exempt() => Decision::Exempt,
            () if decided.blocked().is_some() => Decision::Blocked,
            () if decided.excepted() => Decision::Excepted,
            () if decided.shadowed().is_some() => Decision::Shadow,
            () => Decision::Passed,
        };
        let deciding = decided.allow.or(decided.block).or(decided.shadow).map(|found| found.id);
        let (rules, more_rules) = self.rules(&name, policy, deciding, decided.blocked().is_some());
        let mut held = reload::held_over(&self.loaded.loaded, &self.settings, &name);
        held.truncate(MAX_RULES);
        let peer = Peer::new(SocketAddr::new(client, 53_535), Transport::Udp).through(self.door);
        let mut decider = Decider::new(Stats::default().counters(), None);
        let reply = reply::ask(&mut decider, self.snapshot(), &name, args.rtype, peer, self.loaded.now);
        let route = matches!(reply, Reply::Asked).then(|| self.route(&name));
        Ok(Explained {
            asked: asked.to_owned(),
            name: name.to_string(),
            rtype: type_name(args.rtype).into_owned(),
            client: args.client,
            via: args.via.clone(),
            group: policy.group().map(|group| group.name.to_string()),
            decision,
            rules,
            more_rules,
            held,
            reply,
            route,
        })
    }

    /// Every rule that covers the name, the deciding one first, then those in force; and how many are left out.
    fn rules(&self, name: &NameBuf, policy: Policy<'_>, deciding: Option<u32>, blocked: bool) -> (Vec<RuleLine>, u64) {
        let mut found: Vec<(Match<'_>, bool)> = Vec::new();
        self.snapshot().set().known(name, |rule, in_force| found.push((rule, in_force)));
        let rank = |(rule, in_force): &(Match<'_>, bool)| {
            let line = self.snapshot().set().rule(rule.id).line;
            (deciding != Some(rule.id), !in_force, rule.list, rule.part, line, rule.id)
        };
        found.sort_by_key(rank);
        let more = found.len().saturating_sub(MAX_RULES) as u64;
        let line = |(rule, in_force): &(Match<'_>, bool)| {
            let mut line = self.line(rule, policy, *in_force, deciding == Some(rule.id));
            if let Some(order) = line.order.as_mut().filter(|_| !blocked) {
                order.enforced_since = None;
            }
            line
        };
        (found.iter().take(MAX_RULES).map(line).collect(), more)
    }

    /// One rule, told in full.
    fn line(&self, rule: &Match<'_>, policy: Policy<'_>, in_force: bool, decides: bool) -> RuleLine {
        let list = self.snapshot().lists().get(usize::from(rule.list));
        let order = self.snapshot().set().rule(rule.id).order;
        let place = place(self.snapshot(), rule);
        let version = self.loaded.version_of(rule.list, &place.file);
        let acts = in_force && list.is_some_and(|list| list.mode == Mode::Enforce);
        let since = version.accepted_at.filter(|_| acts);
        RuleLine {
            decides,
            version,
            place,
            role: list.map(|list| list.role.to_string()).unwrap_or_default(),
            mode: list.map(|list| list.mode.to_string()).unwrap_or_default(),
            effect: effect(&rule.kind.effect),
            in_force,
            holds: !policy.is_exempt() && policy.has(rule.list),
            order: order.map(|order| OrderLine::new(order, self.loaded.now.seconds(), since)),
        }
    }

    /// What is in force.
    fn snapshot(&self) -> &Snapshot {
        &self.loaded.snapshot
    }

    /// Who would be asked.
    fn route(&self, name: &NameBuf) -> Route {
        if self.local.covers(name) {
            return Route::Local;
        }
        let name = name.to_name();
        let zones = self.settings.upstream.zones.iter().filter(|zone| name.is_at_or_below(&zone.name));
        match zones.max_by_key(|zone| zone.name.wire().len()) {
            Some(zone) => Route::Zone { name: zone.name.to_string(), servers: servers(&zone.servers) },
            None => Route::Upstream { servers: servers(&self.settings.upstream.servers) },
        }
    }
}

impl OrderLine {
    /// Where it stands at `now`; the version it is enforced from was accepted at `accepted`.
    fn new(order: &Order, now: UnixTime, accepted: Option<UnixTime>) -> Self {
        let state = match order.state(now) {
            OrderState::InForce => "in force",
            OrderState::Pending => "pending",
            OrderState::Expired => "expired",
            OrderState::Revoked => "revoked",
        };
        let since = accepted.map(|accepted| match order.effective {
            Some(effective) if effective >= accepted => Since { at: moment(effective), or_before: false },
            _ => Since { at: moment(accepted), or_before: true },
        });
        let order = order.clone();
        Self {
            id: order.id,
            state,
            enforced_since: since,
            authority: order.authority,
            requested_by: order.requested_by,
            legal_basis: order.legal_basis,
            reference: order.reference,
            issued: order.issued.map(moment),
            effective: order.effective.map(moment),
            deadline: order.deadline.map(moment),
            expires: order.expires.map(moment),
            revoked: order.revoked.map(moment),
            contact: order.contact,
            url: order.url,
        }
    }
}

/// What a rule does, in a word.
fn effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::Block => "block",
        Effect::Allow => "allow",
        Effect::Rpz(RpzAction::Nxdomain) => "rpz nxdomain",
        Effect::Rpz(RpzAction::Nodata) => "rpz nodata",
        Effect::Rpz(RpzAction::Passthru) => "rpz passthru",
        Effect::Rpz(RpzAction::Drop) => "rpz drop",
        Effect::Rpz(RpzAction::TcpOnly) => "rpz tcp-only",
        Effect::Rpz(RpzAction::Local(_)) => "rpz local data",
    }
}

/// Servers as the configuration writes them.
fn servers(servers: &[Server]) -> Vec<String> {
    let shown = servers.iter().map(|server| match server {
        Server::System => "system".to_owned(),
        Server::Udp(address) => format!("udp://{address}"),
        Server::Tcp(address) => format!("tcp://{address}"),
    });
    shown.collect()
}

/// A moment as it is shown.
fn moment(at: UnixTime) -> String {
    at.to_string()
}
