//! `lists`, `reload`, `flush`: what operators ask the running server.

use serde::Serialize;

use super::args::{ServerArgs, TrialArgs};
use super::output::{self, Plain, Style, complain, counted, note, table};
use super::{Exit, settings};
use crate::admin::{self, AskError, CanaryLine, Flushed, ListLine, OrderAlert, Orders, Request, Status};
use crate::app;
use crate::util::{Now, UnixTime};

/// `lists`
pub(super) fn lists(args: &ServerArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match admin::ask::<Status>(&settings.state_dir, &Request::Status) {
        Ok(status) => show(&status, args.json),
        Err(error @ AskError::NotRunning(_)) => match app::last_status(&settings.state_dir) {
            Some(status) => {
                note(&format_args!("no server is running; this is what the last one left in state_dir"));
                show(&status, args.json)
            }
            None => complain(&error),
        },
        Err(error) => complain(&error),
    }
}

/// `lists promote`
pub(super) fn promote(args: &TrialArgs) -> Exit {
    let (list, reason) = (args.list.clone(), args.reason.clone());
    end_trial(args, &Request::Promote { list, reason }, "its newest version is in force for all")
}

/// `lists withdraw`
pub(super) fn withdraw(args: &TrialArgs) -> Exit {
    let (list, reason) = (args.list.clone(), args.reason.clone());
    end_trial(args, &Request::Withdraw { list, reason }, "its version on trial is withdrawn")
}

/// Has a trial ended.
fn end_trial(args: &TrialArgs, request: &Request, done: &str) -> Exit {
    let settings = match settings(&args.server.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match admin::ask::<Status>(&settings.state_dir, request) {
        Ok(status) if args.server.json => json(&status, Exit::Fine),
        Ok(_) => output::print(&format!("{}: {done}\n", Plain(&args.list)), Exit::Fine),
        Err(error) => complain(&error),
    }
}

/// `reload`
pub(super) fn reload(args: &ServerArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match admin::ask::<Status>(&settings.state_dir, &Request::Reload) {
        Ok(status) => show(&status, args.json),
        Err(error) => complain(&error),
    }
}

/// `flush`
pub(super) fn flush(name: &str, subtree: bool, args: &ServerArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match admin::ask::<Flushed>(&settings.state_dir, &Request::Flush { name: name.to_owned(), subtree }) {
        Ok(flushed) if args.json => json(&flushed, Exit::Fine),
        Ok(flushed) => {
            let answers = counted(flushed.answers as u64, "cached answer");
            output::print(&format!("{answers} forgotten\n"), Exit::Fine)
        }
        Err(error) => complain(&error),
    }
}

/// The lists, and whether somebody should look at them.
fn show(status: &Status, as_json: bool) -> Exit {
    let whole = status.failed.is_none() && status.audit.is_none() && status.gate.is_empty();
    let current = whole && status.lists.iter().all(|list| list.error.is_none());
    let in_time = status.orders.due + status.orders.overdue == 0;
    let exit = if current && in_time { Exit::Fine } else { Exit::Look };
    if as_json {
        return json(status, exit);
    }
    let style = Style::of_stdout();
    let now = Now::read().seconds();
    let head = ["list", "role", "mode", "version", "entries", "held", "rejected", "accepted", "state"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.lists.iter().map(|list| row(list, now)));
    let mut text = String::new();
    for (index, line) in table(&rows, &[false, false, false, true, true, true, true]).lines().enumerate() {
        text += &if index == 0 { format!("{}\n", style.strong(line)) } else { format!("{line}\n") };
    }
    for list in &status.lists {
        if let Some(canary) = &list.canary {
            text += &format!("\n{}: {}\n", Plain(&list.name), trial(canary));
        }
        if let Some(error) = &list.error {
            text += &format!("\n{}: {}\n", Plain(&list.name), style.bad(Plain(error)));
        }
    }
    if let Some(why) = &status.failed {
        text += &format!("\n{}\n", style.bad(format_args!("what was read last is not in force: {}", Plain(why))));
    }
    for why in &status.gate {
        text += &format!("\n{}\n", style.bad(Plain(why)));
    }
    if let Some(why) = &status.audit {
        text += &format!("\n{}\n", style.bad(format_args!("the audit log cannot be written: {}", Plain(why))));
    }
    text += &orders(&status.orders, style);
    let since = age(UnixTime(status.published), now);
    text += &format!("\ngeneration {}, published {since}; {}\n", status.generation, running(status, now));
    output::print(&text, exit)
}

/// The orders in numbers, and those with a deadline that something is wrong with; nothing if there are none.
fn orders(orders: &Orders, style: Style) -> String {
    let Orders { in_force, pending, expired, revoked, due, overdue, conflicts, .. } = *orders;
    if in_force + pending + expired + revoked == 0 {
        return String::new();
    }
    let mut text = format!("\norders: {in_force} in force, {pending} pending, {expired} expired, {revoked} revoked");
    if conflicts > 0 {
        text += &format!("; {conflicts} told differently by different files");
    }
    if let Some(next) = orders.next_change {
        text += &format!("; next change {}", UnixTime(next));
    }
    text.push('\n');
    for alert in &orders.alerts {
        let OrderAlert { id, authority, standing, deadline, why } = alert;
        let order = format!("order {} of {}", Plain(id), Plain(authority));
        let line = format!("{order} is {standing}, deadline {}: {}", UnixTime(*deadline), Plain(why));
        text += &if standing == "overdue" { style.bad(line).to_string() } else { style.look(line).to_string() };
        text.push('\n');
    }
    let more = (due + overdue).saturating_sub(orders.alerts.len() as u64);
    if more > 0 {
        text += &format!("… and {} more; `qalqan orders` shows them\n", counted(more, "order"));
    }
    text
}

/// One list.
fn row(list: &ListLine, now: UnixTime) -> Vec<String> {
    let accepted = list.accepted.map_or("never".to_owned(), |at| age(UnixTime(at), now));
    let words = [&list.name, &list.role, &list.mode].map(|word| Plain(word).to_string());
    let version = list.version.map_or("-".to_owned(), |version| version.to_string());
    let [entries, held, rejected] = [list.entries, list.held, list.rejected].map(|number| number.to_string());
    let numbers = [version, entries, held, rejected];
    let state = if list.pinned { format!("{}, pinned", Plain(&list.state)) } else { Plain(&list.state).to_string() };
    words.into_iter().chain(numbers).chain([accepted, state]).collect()
}

/// A version on trial.
fn trial(canary: &CanaryLine) -> String {
    let until =
        jiff::Timestamp::from_second(canary.until).map_or_else(|_| canary.until.to_string(), |at| at.to_string());
    let (queries, hits) = (counted(canary.queries, "query"), counted(canary.hits, "hit"));
    let clients = canary.clients.join(", ");
    let version = canary.version.map_or("this version".to_owned(), |number| format!("version {number}"));
    format!("canary until {until} ({queries}, {hits}): only {} have {version} yet", Plain(&clients))
}

/// Which server it is.
fn running(status: &Status, now: UnixTime) -> String {
    let started = age(UnixTime(status.started), now);
    format!("qalqan {}, process {}, started {started}", Plain(&status.version), status.pid)
}

/// How long ago, in the largest fitting unit.
fn age(at: UnixTime, now: UnixTime) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = now.0.saturating_sub(at.0);
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    match unit {
        Some(&(length, name)) => format!("{} ago", counted((seconds / length).unsigned_abs(), name)),
        None => "now".into(),
    }
}

/// As JSON.
pub(super) fn json(what: &impl Serialize, exit: Exit) -> Exit {
    match serde_json::to_string_pretty(what) {
        Ok(text) => output::print(&(text + "\n"), exit),
        Err(error) => complain(&format_args!("cannot write JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_largest_unit() {
        let ages =
            [0, 1, 59, 60, 7200, 200_000, -5].map(|seconds| age(UnixTime(1_000_000 - seconds), UnixTime(1_000_000)));
        let expected = ["now", "1 second ago", "59 seconds ago", "1 minute ago", "2 hours ago", "2 days ago", "now"];
        assert_eq!(ages, expected);
    }
}
