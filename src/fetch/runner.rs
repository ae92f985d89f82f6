//! Decides when lists are fetched, and starts the threads that do it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::error::FetchError;
use super::once::{AT_ONCE, Done, Outcome, once};
use super::place::{self, Source};
use super::status::{self, Status};
use crate::util::Now;

/// Requests that may wait; each is for lists that are then due, so more would say nothing new.
const REQUESTS: usize = 16;
/// A list that is due at the start waits a little, so that the start is not slowed down.
const SETTLE: Duration = Duration::from_millis(200);
/// The system that refused a thread is asked again after this.
const NO_THREAD: Duration = Duration::from_secs(60);
/// With nothing to fetch, the clock is looked at this often.
const IDLE: Duration = Duration::from_secs(3600);

/// What came of a fetch, for the audit log and the like.
#[derive(Debug)]
pub struct Event<'a> {
    /// Which list, from where.
    pub source: &'a Source,
    /// How it stands now.
    pub status: &'a Status,
    /// What came of it.
    pub result: &'a Result<Outcome, FetchError>,
}

/// Hears of every fetch, on the runner's task: it must not block.
pub type Hook = Box<dyn FnMut(&Event<'_>) + Send>;

/// What is known of every list, by its name.
type Table = Arc<Mutex<BTreeMap<String, Status>>>;

/// Steers a [`Runner`]. When the last one is gone the runner ends.
#[derive(Clone, Debug)]
pub struct Handle {
    wanted: Arc<watch::Sender<Vec<Source>>>,
    requests: mpsc::Sender<Option<String>>,
    table: Table,
}

impl Handle {
    /// From now on these lists, and as these settings say. Nothing happens if that is no change.
    pub fn apply(&self, sources: Vec<Source>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != sources;
            *wanted = sources;
            changed
        });
    }

    /// Fetches one list, or all, as soon as can be. False: no such list.
    pub fn fetch_now(&self, list: Option<&str>) -> bool {
        let known = list.is_none_or(|name| self.wanted.borrow().iter().any(|source| source.list == name));
        // A full queue means that everything in it is about to be fetched already.
        known && !matches!(self.requests.try_send(list.map(str::to_owned)), Err(mpsc::error::TrySendError::Closed(_)))
    }

    /// How all lists stand, by name.
    pub fn status(&self) -> Vec<Status> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The task that fetches.
pub struct Runner {
    wanted: watch::Receiver<Vec<Source>>,
    requests: mpsc::Receiver<Option<String>>,
    jobs: HashMap<String, Job>,
    running: usize,
    table: Table,
    hook: Option<Hook>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("jobs", &self.jobs).field("running", &self.running).finish_non_exhaustive()
    }
}

/// One list.
#[derive(Debug)]
struct Job {
    source: Source,
    due: Instant,
    running: bool,
    /// Asked for while it was running.
    again: bool,
    /// What the log was last told is wrong.
    said: Option<String>,
}

impl Runner {
    /// For these lists; `hook` hears of every fetch. [`Self::run`] does the work.
    pub fn new(sources: Vec<Source>, hook: Option<Hook>) -> (Self, Handle) {
        let (wanted, heard) = watch::channel(sources);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let table = Table::default();
        let handle = Handle { wanted: Arc::new(wanted), requests, table: Arc::clone(&table) };
        let mut runner = Self { wanted: heard, requests: asked, jobs: HashMap::new(), running: 0, table, hook };
        runner.wanted.mark_changed();
        (runner, handle)
    }

    /// Fetches until every [`Handle`] is gone. Dropping it stops it at once: what is under way is then for nothing.
    pub async fn run(mut self) {
        let (done, mut results) = mpsc::channel::<Done>(AT_ONCE);
        loop {
            let next = self.start_due(&done);
            tokio::select! {
                // In this order: who asks for lists that are not taken over yet would be asking for nothing.
                biased;
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.apply(),
                    Err(_) => return,
                },
                asked = self.requests.recv() => match asked {
                    Some(list) => self.ask(list.as_deref()),
                    None => return,
                },
                Some(result) = results.recv() => self.finish(result),
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes over what the configuration says now.
    fn apply(&mut self) {
        let sources = self.wanted.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.jobs);
        let mut table = BTreeMap::new();
        for source in &sources {
            let status = status::read(source);
            let same = |job: &Job| job.source.file == source.file;
            let job = match before.remove(&source.list).filter(same) {
                // How it is fetched may have been what was wrong.
                Some(job) if job.source != *source => {
                    Job { source: source.clone(), due: Instant::now(), again: job.running, ..job }
                }
                Some(job) => job,
                None => {
                    let due = Instant::now() + wait(&status, source);
                    Job { source: source.clone(), due, running: false, again: false, said: None }
                }
            };
            table.insert(source.list.clone(), status);
            self.jobs.insert(source.list.clone(), job);
        }
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = table;
        place::forget_others(&sources);
    }

    /// Somebody wants one list, or all, now.
    fn ask(&mut self, list: Option<&str>) {
        let now = Instant::now();
        for job in self.jobs.values_mut().filter(|job| list.is_none_or(|name| job.source.list == name)) {
            job.again = job.running;
            job.due = now;
        }
    }

    /// Starts what is due while there is room, and says when the next one will be.
    fn start_due(&mut self, done: &mpsc::Sender<Done>) -> Instant {
        let now = Instant::now();
        let mut due: Vec<&mut Job> = self.jobs.values_mut().filter(|job| !job.running && job.due <= now).collect();
        due.sort_by_key(|job| job.due);
        // Where there is no room, the end of one of those running wakes us.
        for job in due.into_iter().take(AT_ONCE.saturating_sub(self.running)) {
            let (source, done) = (job.source.clone(), done.clone());
            let work = move || {
                let (status, result) = once(&source, false);
                // Nobody listens any more when the server stops.
                let _ = done.blocking_send((source, status, result));
            };
            match thread::Builder::new().name("qalqan-fetch".into()).spawn(work) {
                Ok(_) => {
                    job.running = true;
                    self.running += 1;
                }
                Err(error) => {
                    tracing::warn!("cannot start a thread to fetch \"{}\": {error}", job.source.list);
                    job.due = now + NO_THREAD;
                }
            }
        }
        let later = self.jobs.values().filter(|job| !job.running && job.due > now).map(|job| job.due);
        later.min().unwrap_or(now + IDLE)
    }

    /// Takes note of what came of a fetch.
    fn finish(&mut self, (source, status, result): Done) {
        self.running = self.running.saturating_sub(1);
        if let Some(hook) = &mut self.hook {
            hook(&Event { source: &source, status: &status, result: &result });
        }
        // Removed from the configuration, or another place, meanwhile?
        let Some(job) = self.jobs.get_mut(&source.list).filter(|job| job.source.file == source.file) else { return };
        job.running = false;
        job.due = Instant::now() + if job.again { Duration::ZERO } else { until(status.next_try) };
        job.again = false;
        job.tell(&status, &result);
        self.table.lock().unwrap_or_else(PoisonError::into_inner).insert(source.list, status);
    }
}

impl Job {
    /// Says in the log what is new.
    fn tell(&mut self, status: &Status, result: &Result<Outcome, FetchError>) {
        let (list, address) = (&self.source.list, self.source.settings.address.shown());
        let pause = until(status.next_try).as_secs();
        match result {
            Ok(Outcome::New) => tracing::info!("list \"{list}\": fetched {address}, {} bytes", status.bytes),
            Ok(_) if self.said.is_some() => tracing::info!("list \"{list}\": {address} can be fetched again"),
            Ok(_) => tracing::debug!("list \"{list}\": {address} has not changed"),
            Err(error) => {
                let why = error.to_string();
                if self.said.as_ref() == Some(&why) {
                    tracing::debug!("list \"{list}\": cannot fetch {address}: {why}");
                } else {
                    let stays = if self.source.is_there() { "; what was fetched before stays" } else { "" };
                    tracing::warn!("list \"{list}\": cannot fetch {address}: {why}{stays}; next try in {pause} s");
                }
                self.said = Some(why);
                return;
            }
        }
        self.said = None;
    }
}

/// How long a list just met is left alone: what was fetched lately by an earlier process is still good.
fn wait(status: &Status, source: &Source) -> Duration {
    if !source.is_there() && status.failures == 0 {
        return Duration::ZERO;
    }
    // A clock that was set, or an interval that was shortened, must not put it off for long.
    until(status.next_try).min(source.settings.interval).max(SETTLE)
}

/// Time until a moment.
fn until(moment: Option<i64>) -> Duration {
    let seconds = moment.unwrap_or(0).saturating_sub(Now::read().seconds().0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::settings;

    #[test]
    fn who_asks_before_the_lists_are_known_is_heard() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Source::new("l", dir.path(), settings("http://127.0.0.1:1/list"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        // Once would be luck.
        for round in 0..20 {
            // Fetched a moment ago: nobody but who asks wants it again.
            place::replace(&source.file, b"a.example\n").expect("written");
            let next_try = Some(Now::read().seconds().0 + 3600);
            status::write(&source, &Status { next_try, ..Status::default() }).expect("written");
            let (heard, mut fetched) = tokio::sync::mpsc::unbounded_channel();
            let hook: Hook = Box::new(move |event| _ = heard.send(event.source.list.clone()));
            let (runner, handle) = Runner::new(vec![source.clone()], Some(hook));
            assert!(handle.fetch_now(None));
            let heard = runtime.block_on(async {
                tokio::select! {
                    () = runner.run() => panic!("it runs as long as there is a handle"),
                    heard = tokio::time::timeout(Duration::from_secs(20), fetched.recv()) => heard.ok().flatten(),
                }
            });
            assert_eq!(heard.as_deref(), Some("l"), "round {round}");
        }
    }
}
