//! Asks one name until it is blocked, and says how long that took.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::judge::Rules;
use super::once::{Patience, ask, greet};
use super::published;
use super::receipt::{moment, shown};
use crate::admin::Status;
use crate::cli::Exit;
use crate::cli::output::{self, Plain, Progress, Style, complain};
use crate::event::Transport;
use crate::hits::type_name;
use crate::name::Name;
use crate::util::Now;

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(20);

/// What is watched.
pub struct Watch {
    /// Who is asked.
    pub servers: Vec<(Transport, SocketAddr)>,
    /// What.
    pub name: Name,
    /// RR type.
    pub rtype: u16,
    /// How long.
    pub limit: Duration,
    /// Of one question.
    pub patience: Patience,
    /// What is a block.
    pub rules: Rules,
    /// Where the server can be asked what it has in force.
    pub state_dir: Option<PathBuf>,
}

/// How it went with one server; `--json` is one of these a line.
#[derive(Debug, Serialize)]
struct Watched {
    server: String,
    transport: &'static str,
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    started: String,
    #[serde(skip)]
    began: Now,
    blocked: bool,
    /// From the start to the answer that was a block.
    milliseconds: Option<u64>,
    /// From the start to the last question that was not.
    not_blocked_until_milliseconds: Option<u64>,
    asked: u64,
    unanswered: u64,
    last: String,
    /// Of the list whose version the server put in force last since the start, if it can be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<InForce>,
}

/// What the server says of it, beside what was seen from outside.
#[derive(Debug, Serialize)]
struct InForce {
    list: String,
    version: Option<u64>,
    /// When its source was first seen changed.
    seen: Option<String>,
    published: Option<String>,
    /// From the one to the other, as the server measured it.
    publish_to_enforced_milliseconds: Option<u64>,
    /// From the source being seen changed to the first answer that was a block.
    seen_to_blocked_milliseconds: Option<u64>,
}

/// Watches all servers at once.
pub async fn run(watch: Watch, json: bool) -> Exit {
    let mut exit = Exit::Fine;
    let progress = Progress::show(&format!("asking for {} until it is blocked", Plain(&shown(watch.name.wire()))));
    let mut tasks = JoinSet::new();
    for &(transport, server) in &watch.servers {
        match greet(server, transport, watch.patience).await {
            Ok(_) => {}
            Err(error) => {
                exit = complain(&format_args!("cannot ask {server} over {}: {error}", transport.as_str()));
                continue;
            }
        }
        let (name, rules) = (watch.name.clone(), watch.rules.clone());
        let (rtype, limit, patience) = (watch.rtype, watch.limit, watch.patience);
        tasks.spawn(async move { one((transport, server), &name, rtype, limit, patience, &rules).await });
    }
    let mut all = tasks.join_all().await;
    drop(progress);
    all.sort_by(|a, b| (&a.server, a.transport).cmp(&(&b.server, b.transport)));
    let mut text = String::new();
    let status = watch.state_dir.as_deref().and_then(published::ask);
    for watched in &mut all {
        watched.in_force = status.as_ref().and_then(|status| in_force(status, watched));
        if !watched.blocked {
            exit = exit.max(Exit::Look);
        }
        if json {
            match serde_json::to_string(watched) {
                Ok(line) => text.push_str(&(line + "\n")),
                Err(error) => return complain(&format_args!("cannot write JSON: {error}")),
            }
        } else {
            text.push_str(&show(watched, Style::of_stdout()));
        }
    }
    output::print(&text, exit)
}

/// What the server says of what it put in force since the start, if a block was seen.
fn in_force(status: &Status, watched: &Watched) -> Option<InForce> {
    let blocked_ms = watched.began.unix_ms.saturating_add(i64::try_from(watched.milliseconds?).ok()?);
    let list = published::last_since(status, watched.began)?;
    let since_seen = |seen: i64| u64::try_from(blocked_ms.saturating_sub(seen)).ok();
    Some(InForce {
        list: list.name.clone(),
        version: list.version,
        seen: list.seen_ms.map(published::at_ms),
        published: list.published_ms.map(published::at_ms),
        publish_to_enforced_milliseconds: list.publish_to_enforced_ms,
        seen_to_blocked_milliseconds: list.seen_ms.and_then(since_seen),
    })
}

/// Watches one server.
async fn one(
    (transport, server): (Transport, SocketAddr),
    name: &Name,
    rtype: u16,
    limit: Duration,
    patience: Patience,
    rules: &Rules,
) -> Watched {
    let patience = Patience { tries: 1, ..patience };
    let (started, began) = (Instant::now(), Now::read());
    let since = |at: Instant| u64::try_from(at.duration_since(started).as_millis()).unwrap_or(u64::MAX);
    let mut watched = Watched {
        server: server.to_string(),
        transport: transport.as_str(),
        name: shown(name.wire()),
        rtype: type_name(rtype).into_owned(),
        started: moment(began),
        began,
        blocked: false,
        milliseconds: None,
        not_blocked_until_milliseconds: None,
        asked: 0,
        unanswered: 0,
        last: String::new(),
        in_force: None,
    };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while watched.asked == 0 || started.elapsed() < limit {
        ticks.tick().await;
        let sent = Instant::now();
        watched.asked += 1;
        match ask(server, transport, name.wire(), rtype, patience).await {
            Ok(said) => {
                let blocked = if rules.any { rules.is_block(&said) } else { rules.is_plainly_block(&said) };
                watched.last = said.to_string();
                if blocked {
                    watched.blocked = true;
                    watched.milliseconds = Some(since(Instant::now()));
                    break;
                }
                watched.not_blocked_until_milliseconds = Some(since(sent));
            }
            Err(error) => {
                watched.unanswered += 1;
                watched.last = error.to_string();
            }
        }
    }
    watched
}

/// As people read it.
fn show(watched: &Watched, style: Style) -> String {
    let Watched { server, transport, name, rtype, asked, last, .. } = watched;
    let seconds = |ms: u64| format!("{}.{:03} s", ms / 1000, ms % 1000);
    let place = format!("{} {rtype}, {server} over {transport}", Plain(name));
    let last = Plain(last);
    let text = match (watched.milliseconds, watched.not_blocked_until_milliseconds) {
        (Some(at), None) => {
            format!("{place}: blocked from the first answer on, {} after the start; {last}\n", seconds(at))
        }
        (Some(at), Some(until)) => format!(
            "{place}: blocked {} after the start; not yet at {}, {asked} questions; {last}\n",
            seconds(at),
            seconds(until)
        ),
        (None, _) => format!("{place}: {}, {asked} questions; {last}\n", style.bad("not blocked in time")),
    };
    text + &watched.in_force.as_ref().map(|in_force| told(in_force, seconds)).unwrap_or_default()
}

/// What the server says, for people.
fn told(in_force: &InForce, seconds: impl Fn(u64) -> String) -> String {
    let version = in_force.version.map(|version| format!(" version {version}")).unwrap_or_default();
    let mut text = format!("  the server: list {}{version}", Plain(&in_force.list));
    if let (Some(seen), Some(took)) = (&in_force.seen, in_force.publish_to_enforced_milliseconds) {
        text += &format!(", seen changed {seen}, in force {} later", seconds(took));
    }
    if let Some(blocked) = in_force.seen_to_blocked_milliseconds {
        text += &format!(", blocked from outside {}", seconds(blocked));
    }
    text + "\n"
}
