//! The one task that reloads: hears reasons, loads and publishes off the runtime, one at a time.

mod configuration;
pub(super) mod dates;
mod decide;
mod operate;
mod roll;
mod start;
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
use self::roll::Roll;
pub use self::start::{StartError, first};
use super::board::{Board, Look};
use super::chronicle::{Chronicle, TrialNews, Written};
use super::loader::Loader;
use super::pace::{Moment, Pace};
use super::report::Loaded;
use super::voice::{self, Voice};
use super::watch::{Events, Watch, absolute};
use crate::audit::{Audit, By, Event};
use crate::config::Settings;
use crate::signature;
use crate::util::{Now, UnixTime};

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

    /// Reads again what is beside the lists (certificates); somebody `asked` for it, or a look is due. Called off the
    /// runtime.
    fn reread(&mut self, _settings: &Settings, _asked: bool) {}

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
        let mut pace = Pace::default();
        let last = pace.published(None, &loaded.reports, |list| loader.digests(list));
        board.post(|posted| {
            (posted.last, posted.enforced) = (Some(last), pace.enforced());
            posted.generation = published.generation;
            posted.published = now.seconds();
            posted.look(loaded);
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
            pace,
            chronicle,
            roll: Roll::default(),
            news: Vec::new(),
            audit,
            failed: false,
            retry: false,
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
        let (mut asks, mut first) = (Asks::new(), true);
        let mut work = Some(work);
        while let Some(mut busy) = work.take() {
            let (waiting, begins) = (std::mem::take(&mut asks), std::mem::replace(&mut first, false));
            let job = spawn_blocking(move || {
                if begins {
                    busy.begin();
                }
                let done = busy.operate(waiting);
                busy.reload(cause);
                busy.write_down();
                busy.answer(done);
                busy
            });
            let mut idle = match job.await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!("reloading has ended: {error}; what is in force stays so until a restart");
                    return;
                }
            };
            let reload = &idle.settings.reload;
            let (quiet, rescan) = (reload.quiet, Instant::now() + reload.rescan);
            let again = if idle.retry { Instant::now() + quiet.max(Duration::from_millis(50)) } else { rescan };
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
                    () = events.heard() => {
                        idle.pace.hear(Moment::now());
                        tokio::select! {
                            () = events.quiet(quiet) => break Cause::Look,
                            trigger = triggers.recv() => match trigger {
                                Some(trigger) => break asked(trigger, &mut triggers, &mut asks),
                                None => return,
                            },
                        }
                    }
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
    pace: Pace,
    chronicle: Chronicle,
    roll: Roll,
    /// What happened to trials and is not written down yet.
    news: Vec<TrialNews>,
    audit: Option<Arc<Audit>>,
    /// What was loaded last could not be published.
    failed: bool,
    /// Something was in flux at the last look.
    retry: bool,
}

impl<T: Target> Work<T> {
    /// One reload.
    fn reload(&mut self, cause: Cause) {
        if cause == Cause::Dates {
            self.advance();
            return;
        }
        let (started, began) = (Instant::now(), Moment::now());
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
        self.target.reread(&self.settings, asked);
        // What was heard has been waited for. A writer that never stops must not hold up the other lists.
        let quiet = self.settings.reload.quiet;
        self.loader.set_quiet(quiet, if asked { quiet * 4 } else { Duration::ZERO });
        let loaded = self.loader.load(&self.settings);
        let seen = self.pace.looked(began, &loaded.reports);
        self.retry = loaded.retry || flux;
        self.voice.tell(&loaded.reports, asked);
        self.board.post(|posted| posted.look(&loaded));
        self.voice.tell_gate(&loaded, asked);
        let look = if asked || changed || loaded.changed {
            self.publish(loaded, started, seen);
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
            self.keep();
        }
    }

    /// Writes down what the server started with: the first look may already replace it.
    fn begin(&mut self) {
        self.keep();
        self.write_down();
    }

    /// What is in force is the last good state.
    fn keep(&mut self) {
        self.follow_trials();
        let troubles = self.loader.keep();
        self.voice.tell_copies(&troubles);
    }

    /// Puts `loaded` in force.
    fn publish(&mut self, loaded: Loaded, started: Instant, seen: Moment) {
        let now = Now::read();
        let summary = Loaded { parts: loaded.parts.clone(), reports: loaded.reports.clone(), ..Loaded::default() };
        let published = self.target.publish(&self.settings, loaded, now.seconds());
        self.failed = published.is_err();
        let status = match published {
            Ok(published) => {
                let loader = &self.loader;
                let last = self.pace.published(Some(seen), &summary.reports, |list| loader.digests(list));
                self.board.post(|posted| {
                    (posted.last, posted.enforced) = (Some(last), self.pace.enforced());
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
        let news = std::mem::take(&mut self.news);
        let (settings, generation, seconds) = (&self.settings, posted.generation, now.seconds());
        let Written { mut events, troubles } =
            self.chronicle.update(settings, &self.loader, &posted.reports, generation, news, seconds);
        let (versions, tried) = (self.chronicle.versions(), self.chronicle.tried());
        if *posted.versions != versions || *posted.tried != tried {
            self.board.post(|posted| (posted.versions, posted.tried) = (Arc::new(versions), Arc::new(tried)));
        }
        self.voice.tell_history(&troubles);
        events.extend(self.loader.clients().map_or_else(Vec::new, |clients| self.roll.changes(settings, clients)));
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
        let clients = self.settings.clients.iter().filter_map(|group| group.from_file.as_ref());
        let beside = beside.into_iter().flatten().chain(clients.map(|file| file.path.as_path()));
        let tls = self.settings.server.tls.iter().flat_map(|tls| [tls.certificate.as_path(), tls.key.as_path()]);
        let mut paths: Vec<PathBuf> = sources.chain(beside).chain(tls).map(absolute).collect();
        let signed = self.settings.lists.iter().filter(|list| list.spec.public_key.is_some());
        paths.extend(signed.map(|list| absolute(&signature::beside(&list.spec.source))));
        self.watch.arm(paths.iter().map(PathBuf::as_path));
    }
}

#[cfg(test)]
mod tests;
