//! The one task that reloads: hears reasons, loads and publishes off the runtime, one at a time.

mod configuration;
pub(super) mod dates;
mod decide;
mod operate;
mod trials;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use self::configuration::Configuration;
use self::dates::Dates;
pub use self::decide::{Ruling, no_such_list};
use super::board::{Board, Look};
use super::chronicle::{Chronicle, Written};
use super::loader::Loader;
use super::report::{Loaded, Missing};
use super::voice::{self, Voice};
use super::watch::{Events, Watch, absolute};
use crate::audit::{Audit, By, Event};
use crate::config::Settings;
use crate::signature;
use crate::util::{Now, UnixTime};

/// The longest `quiet` a start goes by.
const LONGEST_START_QUIET: Duration = Duration::from_millis(500);

/// Where a reload goes: `app` compiles and swaps there.
pub trait Target: Send + 'static {
    /// Why a publish failed.
    type Error: fmt::Display;

    /// Compiles `loaded` under `settings` and puts it in force. Called off the runtime.
    ///
    /// # Errors
    /// What was in force stays so; the next change of anything tries again.
    fn publish(&mut self, settings: &Settings, loaded: Loaded, now: UnixTime) -> Result<Published, Self::Error>;

    /// Lets order dates act on the set in force. Called off the runtime.
    fn advance(&mut self, now: UnixTime) -> Published;

    /// Hits so far of the versions of a list that only some clients had.
    fn tried(&self, _list: &str) -> u64 {
        0
    }

    /// Tells the service manager.
    fn status(&mut self, text: &str, phase: Phase);
}

/// What a publish came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The generation now in force.
    pub generation: u64,
    /// When the next order date comes.
    pub next_change: Option<UnixTime>,
}

/// For the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A reload somebody asked for has begun.
    Reloading,
    /// Serving.
    Ready,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub enum Trigger {
    /// SIGHUP: read everything again, whatever time stamps say, at once, and publish.
    Hangup,
    /// An operator wants something done, and to hear what came of it.
    Operate(Operation, oneshot::Sender<Outcome>),
}

/// What operators can have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The same as [`Trigger::Hangup`].
    Reload,
    /// Decide about held entries.
    Decide(Ruling),
    /// Keep a list at an older version until it is unpinned.
    Rollback {
        /// The list.
        list: String,
        /// The version; without one, that before the one in force.
        version: Option<u64>,
        /// Why.
        reason: String,
        /// Who wants it.
        by: String,
    },
    /// Let a list follow its source again.
    Unpin {
        /// The list.
        list: String,
        /// Why.
        reason: String,
        /// Who wants it.
        by: String,
    },
    /// Give the version of a list that is on trial, or was withdrawn, to all.
    Promote(TrialOrder),
    /// Take the version of a list that is on trial back.
    Withdraw(TrialOrder),
}

/// What an operator says about a version on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialOrder {
    /// The list.
    pub list: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: By,
}

/// What came of an operation: in force by now, or why not.
pub type Outcome = Result<(), String>;

/// The lists as the server starts: from their sources, else as they were last good.
///
/// Blocks. The caller publishes what it gets and hands `loader` on to [`Control::new`].
///
/// # Errors
/// A list cannot be read and has no last good state, unless `start_without_lists` is set.
pub fn first(settings: &Settings, loader: &mut Loader) -> Result<Loaded, StartError> {
    // Nobody is answered yet: a file still being written is waited for, but not for minutes.
    let quiet = settings.reload.quiet.min(LONGEST_START_QUIET);
    loader.set_quiet(quiet, quiet * 4);
    let loaded = loader.load(settings);
    if loaded.missing.is_empty() || settings.start_without_lists {
        return Ok(loaded);
    }
    Err(StartError { missing: loaded.missing })
}

/// Lists could not be read, and there is no last good state of them.
#[derive(Clone, Debug)]
pub struct StartError {
    /// Each of them.
    pub missing: Vec<Missing>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Missing { list, why } in &self.missing {
            writeln!(f, "list \"{list}\": {why}")?;
        }
        f.write_str(
            "no last good copy of these is kept in state_dir, and unfiltered answers are not given: mend the lists, or \
             set start_without_lists = true",
        )
    }
}

impl std::error::Error for StartError {}

/// Keeps what is in force equal to what configuration and lists say.
#[derive(Debug)]
pub struct Control<T> {
    work: Work<T>,
    events: Events,
}

/// Operators who wait for the reload under way.
type Asks = Vec<(Operation, oneshot::Sender<Outcome>)>;

/// What was done for them before the reload that puts it in force.
type Done = Vec<(Outcome, oneshot::Sender<Outcome>)>;

impl<T: Target> Control<T> {
    /// `settings`, what `loader` last gave under them, and what its publish on `target` gave.
    pub fn new(settings: Settings, loader: Loader, target: T, loaded: &Loaded, published: Published) -> Self {
        let board = Board::default();
        let (watch, events) = Watch::new();
        let mut voice = Voice::default();
        voice.tell(&loaded.reports, true);
        voice.tell_gate(loaded, true);
        let took = loaded.reports.iter().map(|report| report.took).sum();
        voice::tell_publish(published.generation, loaded, took);
        let now = Now::read();
        let dates = Dates::new(published.next_change, now);
        let configuration = Configuration::new(&settings.path);
        board.post(|posted| {
            posted.generation = published.generation;
            posted.published = now.seconds();
            posted.reports = loaded.reports.as_slice().into();
            posted.warn = settings.orders.warn;
        });
        let chronicle = Chronicle::default();
        let audit = None;
        let work = Work {
            settings,
            configuration,
            loader,
            target,
            watch,
            voice,
            dates,
            board,
            chronicle,
            audit,
            failed: false,
        };
        Self { work, events }
    }

    /// Writes down what happens.
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.work.audit = Some(audit);
        self
    }

    /// Where it says how everything stands.
    pub fn board(&self) -> Board {
        self.work.board.clone()
    }

    /// Runs until every sender of `triggers` is gone.
    pub async fn run(self, mut triggers: mpsc::Receiver<Trigger>) {
        let Self { work, mut events } = self;
        // What changed between the first load and the first watch was not heard.
        let mut cause = Cause::Look;
        let mut asks = Asks::new();
        let mut work = Some(work);
        while let Some(mut busy) = work.take() {
            let waiting = std::mem::take(&mut asks);
            let job = spawn_blocking(move || {
                let done = busy.operate(waiting);
                let retry = busy.reload(cause);
                busy.write_down();
                busy.answer(done);
                (busy, retry)
            });
            let (mut idle, retry) = match job.await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!("reloading has ended: {error}; what is in force stays so until a restart");
                    return;
                }
            };
            let reload = &idle.settings.reload;
            let (quiet, rescan) = (reload.quiet, Instant::now() + reload.rescan);
            let again = if retry { Instant::now() + quiet.max(Duration::from_millis(50)) } else { rescan };
            let mut check = Instant::now() + idle.trial_nap(Now::read());
            cause = loop {
                let now = Now::read();
                if idle.dates.due(now) {
                    break Cause::Dates;
                }
                tokio::select! {
                    trigger = triggers.recv() => match trigger {
                        Some(trigger) => break asked(trigger, &mut triggers, &mut asks),
                        None => return,
                    },
                    () = events.heard() => tokio::select! {
                        () = events.quiet(quiet) => break Cause::Look,
                        trigger = triggers.recv() => match trigger {
                            Some(trigger) => break asked(trigger, &mut triggers, &mut asks),
                            None => return,
                        },
                    },
                    () = sleep_until(again) => break Cause::Look,
                    () = sleep_until(check) => {
                        let now = Now::read();
                        if idle.judge_trials(now) {
                            break Cause::Look;
                        }
                        check = Instant::now() + idle.trial_nap(now);
                    }
                    () = sleep(idle.dates.nap(now)) => {}
                }
            };
            work = Some(idle);
        }
    }
}

/// A request, and those that came meanwhile: one reload serves them all.
fn asked(trigger: Trigger, triggers: &mut mpsc::Receiver<Trigger>, asks: &mut Asks) -> Cause {
    let more = std::iter::from_fn(|| triggers.try_recv().ok());
    // For a decision or the end of a trial nothing need be read again.
    let mut cause = Cause::Look;
    for trigger in std::iter::once(trigger).chain(more) {
        match trigger {
            Trigger::Operate(
                operation @ (Operation::Decide(_) | Operation::Promote(_) | Operation::Withdraw(_)),
                reply,
            ) => asks.push((operation, reply)),
            Trigger::Operate(operation, reply) => {
                cause = Cause::Asked;
                asks.push((operation, reply));
            }
            Trigger::Hangup => cause = Cause::Asked,
        }
    }
    cause
}

/// Why there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Something was heard, or it is time to look.
    Look,
    /// Somebody asked for it.
    Asked,
    /// Only an order date has come.
    Dates,
}

/// What a reload works with; it wanders between the task and the thread that may block.
#[derive(Debug)]
struct Work<T> {
    settings: Settings,
    configuration: Configuration,
    loader: Loader,
    target: T,
    watch: Watch,
    voice: Voice,
    dates: Dates,
    board: Board,
    chronicle: Chronicle,
    audit: Option<Arc<Audit>>,
    /// What was loaded last could not be published.
    failed: bool,
}

impl<T: Target> Work<T> {
    /// One reload. True: something was in flux, look again soon.
    fn reload(&mut self, cause: Cause) -> bool {
        if cause == Cause::Dates {
            self.advance();
            return false;
        }
        let started = Instant::now();
        let asked = cause == Cause::Asked;
        // Here too: sources that change without end must not keep a bad version on trial.
        self.judge_trials(Now::read());
        if asked {
            self.target.status("reading configuration and lists", Phase::Reloading);
            self.loader.distrust();
        }
        // Watches first: what changes after it was read is then heard. A changed configuration has other paths.
        self.arm();
        let (changed, flux) = self.configuration.look(&mut self.settings, asked);
        let changed = match changed {
            Some(change) => {
                let by = By::File(self.settings.path.to_string_lossy().as_ref().into());
                self.note(by, Event::ConfigChanged(change));
                self.arm();
                true
            }
            None => false,
        };
        // What was heard has been waited for. A writer that never stops must not hold up the other lists.
        let quiet = self.settings.reload.quiet;
        self.loader.set_quiet(quiet, if asked { quiet * 4 } else { Duration::ZERO });
        let loaded = self.loader.load(&self.settings);
        let retry = loaded.retry || flux;
        self.voice.tell(&loaded.reports, asked);
        self.board.post(|posted| posted.reports = loaded.reports.as_slice().into());
        self.voice.tell_gate(&loaded, asked);
        let look = if asked || changed || loaded.changed {
            self.publish(loaded, started);
            if self.failed { Look::Failed } else { Look::Published(started.elapsed()) }
        } else {
            if self.dates.due(Now::read()) {
                self.advance();
            }
            Look::Unchanged
        };
        self.board.book(look, self.configuration.is_broken(), Now::read().seconds());
        // What never was in force is no last good state.
        if !self.failed {
            // Before copies are written: queries that come meanwhile count.
            self.follow_trials();
            let troubles = self.loader.keep();
            self.voice.tell_copies(&troubles);
        }
        retry
    }

    /// Puts `loaded` in force.
    fn publish(&mut self, loaded: Loaded, started: Instant) {
        let now = Now::read();
        let summary = Loaded { parts: loaded.parts.clone(), reports: loaded.reports.clone(), ..Loaded::default() };
        let published = self.target.publish(&self.settings, loaded, now.seconds());
        self.failed = published.is_err();
        let status = match published {
            Ok(published) => {
                self.board.post(|posted| {
                    posted.generation = published.generation;
                    posted.published = now.seconds();
                    posted.failed = None;
                    posted.warn = self.settings.orders.warn;
                });
                self.dates = Dates::new(published.next_change, now);
                voice::tell_publish(published.generation, &summary, started.elapsed())
            }
            Err(error) => {
                tracing::error!("cannot put the lists read in force: {error}; what was in force stays so");
                self.board.post(|posted| posted.failed = Some(error.to_string()));
                format!("reload failed: {error}")
            }
        };
        self.target.status(&status, Phase::Ready);
    }

    /// Lets order dates act.
    fn advance(&mut self) {
        let now = Now::read();
        // A date that is not ahead would have us called again without end.
        let Published { generation, next_change } = self.target.advance(now.seconds());
        let next = next_change.filter(|&next| next > now.seconds());
        self.board.post(|posted| (posted.generation, posted.published) = (generation, now.seconds()));
        tracing::info!("order dates have come or the clock was set; orders in force were worked out anew");
        self.dates = Dates::new(next, now);
    }

    /// Writes versions and events down; what cannot be is told, and tried again at the next reload.
    fn write_down(&mut self) {
        if self.failed {
            return;
        }
        let posted = self.board.read();
        let now = Now::read();
        let Written { events, troubles } =
            self.chronicle.update(&self.settings, &self.loader, &posted.reports, posted.generation, now.seconds());
        let versions = self.chronicle.versions();
        if *posted.versions != versions {
            self.board.post(|posted| posted.versions = Arc::new(versions));
        }
        self.voice.tell_history(&troubles);
        if let Some(audit) = &self.audit {
            match events.is_empty() {
                true => audit.flush(now),
                false => audit.record_all(events, now),
            }
        }
    }

    /// Writes one event down.
    fn note(&self, by: By, event: Event) {
        if let Some(audit) = &self.audit {
            audit.record(by, event, Now::read());
        }
    }

    /// Tells operators what came of what they wanted.
    fn answer(&self, done: Done) {
        for (outcome, reply) in done {
            let outcome = outcome.and_then(|()| match self.board.read().failed {
                Some(why) => Err(format!("what was read cannot be put in force: {why}")),
                None => Ok(()),
            });
            // An operator who has gone need not know.
            let _ = reply.send(outcome);
        }
    }

    /// Watches everything the settings name.
    fn arm(&mut self) {
        let sources = self.settings.lists.iter().map(|list| list.spec.source.as_path());
        let gate = &self.settings.gate;
        let beside = [
            gate.never_block_file.as_ref().map(|file| file.path.as_path()),
            gate.popular.as_ref().map(|popular| popular.file.path.as_path()),
            Some(self.loader.decisions_path()).filter(|path| !path.as_os_str().is_empty()),
            Some(self.settings.path.as_path()),
        ];
        let mut paths: Vec<PathBuf> = sources.chain(beside.into_iter().flatten()).map(absolute).collect();
        let signed = self.settings.lists.iter().filter(|list| list.spec.public_key.is_some());
        paths.extend(signed.map(|list| absolute(&signature::beside(&list.spec.source))));
        self.watch.arm(paths.iter().map(PathBuf::as_path));
    }
}

#[cfg(test)]
mod tests;
