//! One fetch of one list: ask, judge, keep. Blocks.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Known, Reply};
use super::content;
use super::error::FetchError;
use super::place::{self, Source};
use super::schedule;
use super::status::{self, Status};
use crate::util::{Digest, Now};

/// Lists fetched at once.
pub(super) const AT_ONCE: usize = 4;

/// What a good fetch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server says that nothing has changed.
    NotModified,
    /// The same content as is here.
    Same,
    /// Another content, which is here now.
    New,
}

/// Fetches a list and keeps what came of it; `accept_older` lets serial and signature go back.
///
/// Blocks for as long as the list's `timeout`. Several at once, in several processes, do no harm.
pub fn once(source: &Source, accept_older: bool) -> (Status, Result<Outcome, FetchError>) {
    let mut status = status::read(source);
    let result = fetch(source, accept_older, &mut status);
    let now = Now::read().seconds().0;
    status.last_try = Some(now);
    match &result {
        Ok(_) => {
            status.last_success = Some(now);
            status.last_error = None;
            status.failures = 0;
        }
        Err(error) => {
            status.last_error = Some(error.to_string());
            status.failures = status.failures.saturating_add(1);
        }
    }
    let retry_after = result.as_ref().err().and_then(FetchError::retry_after);
    let wait = schedule::delay(source.settings.interval, status.failures, retry_after, schedule::random());
    status.next_try = Some(now.saturating_add(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX)));
    if let Err(error) = status::write(source, &status) {
        tracing::debug!("cannot write {}: {error}", source.meta().display());
    }
    (status, result)
}

/// Asks, judges, writes the list; what is learnt of it goes to `status`.
fn fetch(source: &Source, accept_older: bool, status: &mut Status) -> Result<Outcome, FetchError> {
    let settings = &source.settings;
    let client = Client::new(settings)?;
    let here = fs::read(&source.file).ok().map(|bytes| Digest::of(&bytes).to_string());
    // Damaged, removed, or never written down: then the whole is needed, whatever the server calls it.
    let intact = here.is_some() && here.as_deref() == Some(&status.sha256);
    let known = Known { etag: status.etag.clone(), last_modified: status.last_modified.clone() };
    let (bytes, known) = match client.list(&if intact { known } else { Known::default() })? {
        Reply::NotModified => return Ok(Outcome::NotModified),
        Reply::File { bytes, known } => (bytes, known),
    };
    let signature = settings.public_key.as_ref().map(|_| client.signature()).transpose()?;
    let content = content::accept(settings, status, accept_older, &bytes, signature.as_deref())?;
    let same = here.as_deref() == Some(&content.sha256);
    if !same {
        let failed = |error: io::Error| FetchError::Write { path: source.file.clone(), error };
        place::replace(&source.file, &content.bytes).map_err(failed)?;
        status.last_change = Some(Now::read().seconds().0);
    }
    status.bytes = content.bytes.len() as u64;
    status.sha256 = content.sha256;
    status.serial = content.serial.or(status.serial);
    status.signed = content.signed.or(status.signed);
    status.etag = known.etag;
    status.last_modified = known.last_modified;
    Ok(if same { Outcome::Same } else { Outcome::New })
}

/// A fetch that is over.
pub type Done = (Source, Status, Result<Outcome, FetchError>);

/// Fetches all lists that are not here yet, a few at once, and waits for them until `budget` is over; gives what came
/// of those that are done by then. The others go on. Blocks.
pub fn first<'a>(sources: impl Iterator<Item = &'a Source>, budget: Duration) -> Vec<Done> {
    let mut over = Vec::new();
    let missing: VecDeque<Source> = sources.filter(|source| !source.is_there()).cloned().collect();
    if missing.is_empty() {
        return over;
    }
    let names: Vec<_> = missing.iter().map(|source| source.list.as_str()).collect();
    tracing::info!("lists that are not in state_dir yet are fetched first: {}", names.join(", "));
    let (count, until) = (missing.len(), Instant::now() + budget);
    let (queue, (done, results)) = (Arc::new(Mutex::new(missing)), mpsc::channel());
    for _ in 0..count.min(AT_ONCE) {
        let (queue, done) = (Arc::clone(&queue), done.clone());
        let work = move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(source) = next().filter(|_| Instant::now() < until) {
                let (status, result) = once(&source, false);
                // Nobody listens any more when the budget is over.
                let _ = done.send((source, status, result));
            }
        };
        if let Err(error) = thread::Builder::new().name("qalqan-fetch".into()).spawn(work) {
            tracing::warn!("cannot start a thread to fetch lists: {error}");
        }
    }
    drop(done);
    for _ in 0..count {
        match results.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(done) => {
                tell(&done.0, &done.2);
                over.push(done);
            }
            Err(_) => {
                tracing::warn!("not all lists could be fetched within {} s; the start goes on", budget.as_secs());
                break;
            }
        }
    }
    over
}

/// Says in the log what came of a first fetch.
fn tell(source: &Source, result: &Result<Outcome, FetchError>) {
    let (list, address) = (&source.list, source.settings.address.shown());
    match result {
        Ok(_) => tracing::info!("list \"{list}\": fetched {address}"),
        Err(error) => tracing::warn!("list \"{list}\": cannot fetch {address}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::fetch::testing::settings;

    #[test]
    fn a_start_waits_for_lists_but_not_for_ever() {
        let dir = tempfile::tempdir().expect("a folder");
        // Takes connections, and that is all it does.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}/list", silent.local_addr().expect("bound"));
        let slow = Source::new("slow", dir.path(), settings(&address));
        let gone = Source::new("gone", dir.path(), settings("http://127.0.0.1:1/list"));
        let here = Source::new("here", dir.path(), settings("http://127.0.0.1:1/list"));
        place::replace(&here.file, b"a.example\n").expect("written");
        let over = first([&slow, &gone, &here].into_iter(), Duration::from_millis(500));
        // Its own time is ten seconds: nothing came of it yet, and the start went on.
        assert_eq!(status::read(&slow).last_try, None);
        let [(source, status, result)] = &over[..] else { panic!("{over:?}") };
        assert_eq!((source.list.as_str(), status.failures), ("gone", 1));
        assert!(matches!(result, Err(FetchError::Connection(_))), "{result:?}");
        assert!(status.next_try > status.last_try && *status == status::read(&gone));
        assert_eq!(status::read(&here).last_try, None, "there is a copy");
    }
}
