//! What the running server says of what it has in force: since when, and how long that took.

use std::path::Path;

use super::receipt::{InForceLine, PublishedLine, Receipt, moment};
use crate::admin::{self, ListLine, Request, Status};
use crate::reload::ListReport;
use crate::util::Now;

/// Asks the server of a `state_dir`; nothing if none runs, or it is none that can be asked.
pub fn ask(state_dir: &Path) -> Option<Status> {
    admin::ask(state_dir, &Request::Status).ok()
}

/// A time in milliseconds as receipts write it.
pub fn at_ms(unix_ms: i64) -> String {
    moment(Now { unix_ms })
}

/// Puts what a server said before anything was asked into a receipt; `reports` is what was read for it.
pub fn enter(receipt: &mut Receipt, status: &Status, reports: &[ListReport]) {
    receipt.published = Some(PublishedLine {
        pid: status.pid,
        generation: status.generation,
        published: status.published_ms.map(at_ms),
        publish_to_enforced_ms: status.publish_to_enforced_ms,
        changed: None,
    });
    for (line, report) in receipt.lists.iter_mut().zip(reports) {
        let Some(told) = status.lists.iter().find(|told| told.name == line.name) else { continue };
        line.in_force = Some(InForceLine {
            version: told.version,
            as_read: is_as_read(told, report),
            seen: told.seen_ms.map(at_ms),
            published: told.published_ms.map(at_ms),
            publish_to_enforced_ms: told.publish_to_enforced_ms,
        });
    }
}

/// Says whether something else came into force meanwhile.
pub fn close(receipt: &mut Receipt, status: Option<&Status>) {
    if let Some(published) = &mut receipt.published {
        published.changed = status.map(|now| (now.pid, now.generation) != (published.pid, published.generation));
    }
}

/// The version of a list that came into force last, since `from`.
pub fn last_since(status: &Status, from: Now) -> Option<&ListLine> {
    let since = |list: &&ListLine| list.published_ms.is_some_and(|at| at >= from.unix_ms);
    status.lists.iter().filter(since).max_by_key(|list| list.published_ms)
}

/// Whether all have of a list what was read here; of one with a version on trial, its files are those of the trial.
fn is_as_read(told: &ListLine, report: &ListReport) -> bool {
    let here = report.files.iter().filter_map(|file| Some((file.path.to_string(), file.sha256?.to_string())));
    let there = told.files.iter().filter_map(|file| Some((file.file.clone(), file.sha256.clone()?)));
    told.canary.is_none() && here.eq(there)
}
