//! What happened to trials, as the audit log puts it.

use super::super::report::Digest;
use super::super::trial::News;
use crate::audit::{By, Canary, CanaryEnd, CanaryOutcome, Event, Names, VersionChange};
use crate::config::ListSettings;

/// The history numbers versions from 1; here only their hashes are known.
const UNNUMBERED: u64 = 0;

/// One event of a list. `by`: the operator, if one did it.
pub(super) fn event(list: &ListSettings, by: Option<By>, news: News) -> (By, Event) {
    let shown = list.spec.shown.as_str().into();
    let source = if list.spec.fetched { By::Feed(shown) } else { By::File(shown) };
    let name = || list.spec.name.as_str().into();
    let changed = |version: Digest, reason: &str| VersionChange {
        list: name(),
        version: UNNUMBERED,
        sha256: version,
        reason: reason.into(),
    };
    match news {
        News::Started { version, others } => {
            let canary = list.canary.as_ref();
            let clients = canary.map(|canary| canary.clients.as_slice()).unwrap_or_default();
            let event = Canary {
                list: name(),
                version: UNNUMBERED,
                sha256: version,
                others: None,
                clients: Names::of(clients.iter().map(ToString::to_string)),
                seconds: canary.map_or(0, |canary| canary.time.as_secs()),
                reason: format!("its source has a new version; all others keep {others}").as_str().into(),
            };
            (source, Event::CanaryStarted(event))
        }
        News::Ended { version, outcome, reason } => {
            let by = match outcome {
                CanaryOutcome::Completed => Some(By::Clock),
                CanaryOutcome::Superseded => Some(source),
                CanaryOutcome::Promoted | CanaryOutcome::RolledBack => by,
            };
            let reason = format!("{reason} (sha256 {version})").as_str().into();
            let event = CanaryEnd { list: name(), version: UNNUMBERED, outcome, reason };
            (by.unwrap_or(By::System), Event::CanaryEnded(event))
        }
        News::Revived { version, reason } => (by.unwrap_or(By::System), Event::Promoted(changed(version, &reason))),
    }
}
