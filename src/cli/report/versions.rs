//! Which versions of lists were in force in a time: the audit log says it, the history what was in them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::data::{InForce, Remark};
use crate::audit::{self, Event, ListInForce, Mode};
use crate::history::{History, Version};
use crate::util::Now;

/// A list since it is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    version: Option<u64>,
    sha256: String,
    mode: &'static str,
    since: Timestamp,
}

/// Goes along the log.
#[derive(Debug)]
struct Walk {
    from: Timestamp,
    to: Timestamp,
    open: BTreeMap<String, Open>,
    found: Vec<InForce>,
}

/// The versions that were in force between two moments, by list and time; and what keeps that from being proven.
pub(super) fn in_force(
    state_dir: &Path,
    history: &History,
    from: Timestamp,
    to: Timestamp,
) -> (Vec<InForce>, Option<Remark>) {
    let end = Now { unix_ms: to.as_millisecond() };
    let Ok(mut records) = audit::records(&audit::folder(state_dir), None, Some(end)) else {
        return (Vec::new(), Some(Remark::AuditShort));
    };
    let mut walk = Walk { from, to, open: BTreeMap::new(), found: Vec::new() };
    let (mut first, mut whole) = (None, true);
    for record in records.by_ref() {
        // What cannot be read any more breaks the chain, too.
        let Ok(record) = record else {
            whole = false;
            break;
        };
        first = first.or(Some(record.time));
        walk.take(record.event.as_ref(), record.time);
    }
    walk.close_all(to);
    let broken = !whole || records.broken().is_some();
    let short = first.is_none_or(|first| first > from);
    let remark = if broken { Some(Remark::AuditBroken) } else { short.then_some(Remark::AuditShort) };
    (known(walk.found, history), remark)
}

impl Walk {
    /// One event.
    fn take(&mut self, event: Option<&Event>, at: Timestamp) {
        match event {
            Some(Event::SnapshotPublished(published)) => {
                let now: BTreeMap<&str, &ListInForce> =
                    published.lists.iter().map(|list| (list.name.as_str(), list)).collect();
                let gone: Vec<String> =
                    self.open.keys().filter(|list| !now.contains_key(list.as_str())).cloned().collect();
                gone.iter().for_each(|list| self.close(list, at));
                for (name, list) in now {
                    self.publish(name, list, at);
                }
            }
            // After a crash nobody knows when it was: not later than this.
            Some(Event::ServerStopped(_) | Event::ServerStarted(_)) => self.close_all(at),
            _ => {}
        }
    }

    /// A list as it is from now on.
    fn publish(&mut self, name: &str, list: &ListInForce, at: Timestamp) {
        let sha256 = list.sha256.map(|sha256| sha256.to_string()).unwrap_or_default();
        let mode = match list.mode {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        };
        let new = Open { version: list.version, sha256, mode, since: at };
        let same = |open: &Open| (open.version, &open.sha256, open.mode) == (new.version, &new.sha256, new.mode);
        if !self.open.get(name).is_some_and(same) {
            self.close(name, at);
            self.open.insert(name.to_owned(), new);
        }
    }

    /// Nothing is in force any more.
    fn close_all(&mut self, at: Timestamp) {
        let lists: Vec<String> = self.open.keys().cloned().collect();
        lists.iter().for_each(|list| self.close(list, at));
    }

    /// A list is no longer as it was.
    fn close(&mut self, list: &str, at: Timestamp) {
        let Some(open) = self.open.remove(list) else { return };
        let (from, to) = (open.since.max(self.from), at.min(self.to));
        if from >= to {
            return;
        }
        // A restart does not change what is in force.
        let before = self.found.iter_mut().rev().find(|found| found.list == list);
        match before {
            Some(before)
                if (before.version, &before.sha256, before.mode) == (open.version, &open.sha256, open.mode) =>
            {
                before.to = to;
            }
            _ => self.found.push(InForce {
                list: list.to_owned(),
                from,
                to,
                version: open.version,
                sha256: open.sha256,
                mode: open.mode,
                entries: None,
                accepted: None,
            }),
        }
    }
}

/// Adds what the history knows.
fn known(mut found: Vec<InForce>, history: &History) -> Vec<InForce> {
    let mut lists: BTreeMap<String, BTreeMap<u64, Version>> = BTreeMap::new();
    for one in &mut found {
        let versions = lists.entry(one.list.clone()).or_insert_with(|| {
            let kept = history.versions(&one.list).unwrap_or_default();
            kept.whole.into_iter().map(|version| (version.number, version)).collect()
        });
        // The number of a version is used once only, but the folder may be another's by now.
        let version = one.version.and_then(|number| versions.get(&number));
        if let Some(version) = version.filter(|version| version.sha256.to_string() == one.sha256) {
            one.entries = Some(version.what.counts.entries);
            one.accepted = Some(version.accepted);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Publication, Server, Text};
    use crate::util::Digest;

    /// A moment.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// A snapshot with these lists: name, version.
    fn published(lists: &[(&str, u64)]) -> Event {
        let list = |&(name, version): &(&str, u64)| ListInForce {
            name: name.into(),
            version: Some(version),
            sha256: Some(Digest::of(&version.to_be_bytes())),
            mode: Mode::Enforce,
        };
        Event::SnapshotPublished(Publication { generation: 1, lists: lists.iter().map(list).collect() })
    }

    /// What was in force from 100 to 200.
    fn walked(events: &[(i64, Event)]) -> Vec<(String, Option<u64>, i64, i64)> {
        let mut walk = Walk { from: at(100), to: at(200), open: BTreeMap::new(), found: Vec::new() };
        events.iter().for_each(|(second, event)| walk.take(Some(event), at(*second)));
        walk.close_all(at(200));
        let mut found = walk.found;
        found.sort();
        found.into_iter().map(|one| (one.list, one.version, one.from.as_second(), one.to.as_second())).collect()
    }

    #[test]
    fn versions_follow_each_other_and_restarts_change_nothing() {
        let server = || Server { version: Text::from("1"), config_sha256: Digest::ZERO };
        let events = [
            (10, published(&[("a", 1), ("b", 1)])),
            (120, published(&[("a", 2), ("b", 1)])),
            (130, Event::ServerStopped(server())),
            (140, Event::ServerStarted(server())),
            (141, published(&[("a", 2)])),
            (190, published(&[("a", 3)])),
            (195, published(&[])),
        ];
        let one = |list: &str, version, from, to| (list.to_owned(), Some(version), from, to);
        assert_eq!(
            walked(&events),
            [one("a", 1, 100, 120), one("a", 2, 120, 190), one("a", 3, 190, 195), one("b", 1, 100, 130)]
        );
        assert_eq!(walked(&[(10, published(&[("a", 1)])), (50, published(&[]))]), [], "that was before");
    }
}
