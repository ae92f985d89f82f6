//! `fetch`: downloads lists once, now. A running server notices.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use super::args::FetchArgs;
use super::output::{self, Plain, Progress, Style, complain, counted, table};
use super::{Exit, settings};
use crate::fetch::{FetchError, Outcome, Source, Status, once};

/// Lists fetched at once.
const AT_ONCE: usize = 4;

/// What came of one list; `--json` is an array of these.
#[derive(Debug, Serialize)]
struct Line {
    outcome: &'static str,
    error: Option<String>,
    #[serde(flatten)]
    status: Status,
}

/// Runs the verb.
pub(super) fn run(args: &FetchArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let all = settings.fetched();
    if let Some(name) = args.lists.iter().find(|name| !all.iter().any(|source| source.list == **name)) {
        let known: Vec<&str> = all.iter().map(|source| source.list.as_str()).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("these are: {}", known.join(", ")) };
        return complain(&format_args!("no list \"{}\" has a web address as `source`; {known}", Plain(name)));
    }
    let wanted: Vec<Source> =
        all.into_iter().filter(|source| args.lists.is_empty() || args.lists.contains(&source.list)).collect();
    if wanted.is_empty() {
        output::note(&"no list has a web address as `source`: nothing to fetch");
        return if args.json { output::print("[]\n", Exit::Fine) } else { Exit::Fine };
    }
    let progress = Progress::show(&format!("fetching {}", counted(wanted.len() as u64, "list")));
    let lines: Vec<Line> = fetch_all(&wanted, args.accept_older);
    drop(progress);
    let failed = lines.iter().any(|line| line.error.is_some());
    let exit = if failed { Exit::Look } else { Exit::Fine };
    if args.json {
        return match serde_json::to_string_pretty(&lines) {
            Ok(text) => output::print(&(text + "\n"), exit),
            Err(error) => complain(&format_args!("cannot write JSON: {error}")),
        };
    }
    output::print(&show(&lines, Style::of_stdout()), exit)
}

/// Fetches all of them, a few at once; the lines come in the order of the configuration.
fn fetch_all(wanted: &[Source], accept_older: bool) -> Vec<Line> {
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..wanted.len().min(AT_ONCE) {
            scope.spawn(|| {
                while let Some((at, source)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, wanted.get(at)?)))
                {
                    let (status, result) = once(source, accept_older);
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push((at, line(status, &result)));
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    lines.sort_by_key(|&(at, _)| at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What came of one.
fn line(status: Status, result: &Result<Outcome, FetchError>) -> Line {
    let outcome = match result {
        Ok(Outcome::New) => "new",
        Ok(Outcome::Same | Outcome::NotModified) => "unchanged",
        Err(_) => "failed",
    };
    Line { outcome, error: result.as_ref().err().map(ToString::to_string), status }
}

/// As people read it.
fn show(lines: &[Line], style: Style) -> String {
    let row = |line: &Line| {
        let bytes = if line.status.sha256.is_empty() { "-".into() } else { line.status.bytes.to_string() };
        let cells = [Plain(&line.status.list), Plain(line.outcome), Plain(&bytes), Plain(&line.status.source)];
        cells.map(|cell| cell.to_string()).to_vec()
    };
    let head = ["list", "outcome", "bytes", "source"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(lines.iter().map(row)).collect();
    let mut text = table(&rows, &[false, false, true, false]);
    for line in lines {
        if let Some(error) = &line.error {
            text += &format!("\n{}: {}\n", Plain(&line.status.list), style.bad(Plain(error)));
        }
    }
    text
}
