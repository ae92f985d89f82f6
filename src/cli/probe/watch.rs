//! Asks one name until it is blocked, and says how long that took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::judge::Rules;
use super::once::{Patience, ask, greet};
use super::receipt::{moment, shown};
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
    blocked: bool,
    /// From the start to the answer that was a block.
    milliseconds: Option<u64>,
    /// From the start to the last question that was not.
    not_blocked_until_milliseconds: Option<u64>,
    asked: u64,
    unanswered: u64,
    last: String,
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
    for watched in &all {
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
    let started = Instant::now();
    let since = |at: Instant| u64::try_from(at.duration_since(started).as_millis()).unwrap_or(u64::MAX);
    let mut watched = Watched {
        server: server.to_string(),
        transport: transport.as_str(),
        name: shown(name.wire()),
        rtype: type_name(rtype).into_owned(),
        started: moment(Now::read()),
        blocked: false,
        milliseconds: None,
        not_blocked_until_milliseconds: None,
        asked: 0,
        unanswered: 0,
        last: String::new(),
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
    match (watched.milliseconds, watched.not_blocked_until_milliseconds) {
        (Some(at), None) => {
            format!("{place}: blocked from the first answer on, {} after the start; {last}\n", seconds(at))
        }
        (Some(at), Some(until)) => format!(
            "{place}: blocked {} after the start; not yet at {}, {asked} questions; {last}\n",
            seconds(at),
            seconds(until)
        ),
        (None, _) => format!("{place}: {}, {asked} questions; {last}\n", style.bad("not blocked in time")),
    }
}
