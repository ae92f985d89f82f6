//! `lists versions`, `lists diff`, `lists rollback`, `lists unpin`: the kept versions of a list.

use std::sync::Arc;

use serde::Serialize;

use super::args::{DiffArgs, RollbackArgs, UnpinArgs, VersionsArgs};
use super::output::{self, Plain, Style, complain, counted, table};
use super::{Exit, lists, settings};
use crate::admin::{self, ListLine, Request, Status};
use crate::config::{ListSettings, Settings};
use crate::history::{self, Change, Diff, History, Pin, Trial, Version};
use crate::list;
use crate::reload::no_such_list;
use crate::rule::show_pattern;

/// How many rules of a difference are printed.
const SHOWN: usize = 20;

/// What is known of the versions of a list; `--json` is this.
#[derive(Debug, Serialize)]
struct Told {
    list: String,
    pinned: Option<Pin>,
    /// The newest first.
    versions: Vec<Version>,
    /// What is wrong with others.
    damaged: Vec<String>,
}

/// `lists versions`
pub(super) fn versions(args: &VersionsArgs) -> Exit {
    let (settings, history) = match open(&args.server.config) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    if let Err(why) = configured(&settings, &args.list) {
        return complain(&why);
    }
    let (found, pinned) = match (history.versions(&args.list), history.pinned(&args.list)) {
        (Ok(found), Ok(pinned)) => (found, pinned),
        (Err(error), _) | (_, Err(error)) => return complain(&error),
    };
    let damaged: Vec<String> = found.damaged.iter().map(ToString::to_string).collect();
    let versions = found.whole.into_iter().rev().collect();
    let exit = if damaged.is_empty() { Exit::Fine } else { Exit::Look };
    let told = Told { list: args.list.clone(), pinned, versions, damaged };
    if args.server.json { lists::json(&told, exit) } else { output::print(&show(&told), exit) }
}

/// The versions as people read them.
fn show(told: &Told) -> String {
    let style = Style::of_stdout();
    let head = ["version", "accepted", "entries", "added", "removed", "held", "rejected", "sha256", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for version in &told.versions {
        let counts = &version.what.counts;
        let numbers = [counts.entries, counts.added, counts.removed, counts.held, counts.rejected];
        let pinned = told.pinned.as_ref().is_some_and(|pin| pin.number == version.number);
        let mut row = vec![version.number.to_string(), version.accepted.to_string()];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(version.sha256.to_string().chars().take(12).collect());
        let trial = match version.trial {
            None | Some(Trial::Passed) => None,
            Some(Trial::Running) => Some("on trial"),
            Some(Trial::Withdrawn) => Some("withdrawn"),
            Some(Trial::Superseded) => Some("superseded"),
        };
        let marks: Vec<&str> = pinned.then_some("pinned").into_iter().chain(trial).collect();
        row.push(marks.join(", "));
        rows.push(row);
    }
    let right = [true, false, true, true, true, true, true];
    let mut text = String::new();
    for (index, line) in table(&rows, &right).lines().enumerate() {
        text += &if index == 0 { format!("{}\n", style.strong(line)) } else { format!("{line}\n") };
    }
    if let Some(pin) = &told.pinned {
        let (by, reason) = (Plain(&pin.by), Plain(&pin.reason));
        text += &format!("\npinned to version {} since {} by {by}: {reason}\n", pin.number, pin.since);
    }
    for what in &told.damaged {
        text += &format!("\n{}\n", style.bad(Plain(what)));
    }
    text
}

/// `lists diff`
pub(super) fn diff(args: &DiffArgs) -> Exit {
    let (settings, history) = match open(&args.server.config) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    match compare(args, &settings, &history) {
        Ok((from, to, diff)) if args.server.json => {
            lists::json(&serde_json::json!({ "list": args.list, "from": from, "to": to, "diff": diff }), Exit::Fine)
        }
        Ok((from, to, diff)) => {
            let mut text = format!("list {}, version {from} to version {to}\n", Plain(&args.list));
            side(&mut text, '+', &diff.added);
            side(&mut text, '-', &diff.removed);
            text += &format!("in both: {}\n", counted(diff.unchanged, "rule"));
            output::print(&text, Exit::Fine)
        }
        Err(why) => complain(&why),
    }
}

/// One side of a difference.
fn side(text: &mut String, sign: char, change: &Change) {
    for rule in &change.sample {
        *text += &format!("{sign} {}\n", Plain(rule));
    }
    let more = change.count.saturating_sub(change.sample.len() as u64);
    if more > 0 {
        *text += &format!("{sign} … and {} (--all shows them)\n", counted(more, "more rule"));
    }
}

/// Both versions and what they differ in.
fn compare(args: &DiffArgs, settings: &Settings, history: &History) -> Result<(u64, u64, Diff), String> {
    let list = configured(settings, &args.list)?;
    let versions = history.versions(&args.list).map_err(|error| error.to_string())?.whole;
    let newest = versions.last().ok_or_else(|| format!("no version of list \"{}\" is kept yet", args.list))?.number;
    let (from, to) = match (args.from, args.to) {
        (Some(from), to) => (from, to.unwrap_or(newest)),
        (None, _) => {
            // A version that was only tried is no measure for others.
            let before = versions.iter().rev().find(|version| version.number < newest && version.is_for_all());
            (before.ok_or("there is only one version: nothing to compare it with")?.number, newest)
        }
    };
    let keep = if args.all { usize::MAX } else { SHOWN };
    let (older, newer) = (rules(history, list, from)?, rules(history, list, to)?);
    let diff = history::diff(older, newer, keep).map_err(|error| error.to_string())?;
    Ok((from, to, diff))
}

/// The rules of a version as a `domains` list writes them, sorted.
fn rules(history: &History, list: &ListSettings, number: u64) -> Result<Vec<String>, String> {
    let spec = &list.spec;
    let version = history.version(&spec.name, number).map_err(|error| error.to_string())?;
    let mut patterns = Vec::new();
    for file in &version.what.files {
        let bytes = history.bytes(&spec.name, file).map_err(|error| error.to_string())?;
        let shown: Arc<str> = file.file.as_str().into();
        let parsed = list::parse(spec, &shown, &bytes)
            .map_err(|why| format!("{shown} of version {number} is no list under the present settings: {why}"))?;
        patterns.extend(parsed.rules.iter().map(|rule| {
            let mut pattern = String::new();
            // Writing to a String cannot fail.
            let _ = show_pattern(rule.name().wire(), rule.kind.scope, &mut pattern);
            pattern
        }));
    }
    patterns.sort_unstable();
    Ok(patterns)
}

/// `lists rollback`
pub(super) fn rollback(args: &RollbackArgs) -> Exit {
    let request = Request::Rollback { list: args.list.clone(), version: args.version, reason: args.reason.clone() };
    operate(&args.list, &args.server, &request, |line| {
        let version = line.version.map_or("an older version".into(), |version| format!("version {version}"));
        let undo = format!("qalqan lists unpin {} --reason …", args.list);
        format!("{version} is in force, {}; it stays until `{undo}`", counted(line.entries, "entry"))
    })
}

/// `lists unpin`
pub(super) fn unpin(args: &UnpinArgs) -> Exit {
    let request = Request::Unpin { list: args.list.clone(), reason: args.reason.clone() };
    operate(&args.list, &args.server, &request, |line| {
        format!("follows its source again: {} in force, {}", counted(line.entries, "entry"), line.state)
    })
}

/// Has the server do something with a list, and says how it stands now.
fn operate(list: &str, server: &super::args::ServerArgs, request: &Request, say: impl Fn(&ListLine) -> String) -> Exit {
    let settings = match settings(&server.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let status: Status = match admin::ask(&settings.state_dir, request) {
        Ok(status) => status,
        Err(error) => return complain(&error),
    };
    let Some(line) = status.lists.iter().find(|line| line.name == list) else {
        return complain(&format_args!("the server no longer has a list \"{list}\""));
    };
    let exit = if line.error.is_some() { Exit::Look } else { Exit::Fine };
    if server.json {
        return lists::json(line, exit);
    }
    let mut text = format!("list {}: {}\n", Plain(list), say(line));
    if let Some(error) = &line.error {
        text += &format!("{}\n", Style::of_stdout().bad(Plain(error)));
    }
    output::print(&text, exit)
}

/// The settings and the history they name.
fn open(config: &super::args::ConfigArg) -> Result<(Settings, History), Exit> {
    let settings = settings(config)?;
    let history = History::new(&settings.state_dir, settings.history);
    Ok((settings, history))
}

/// The list of this name.
fn configured<'s>(settings: &'s Settings, list: &str) -> Result<&'s ListSettings, String> {
    settings
        .lists
        .iter()
        .find(|known| known.spec.name == list)
        .ok_or_else(|| no_such_list(list, settings.lists.iter().map(|known| known.spec.name.as_str())))
}
