//! Composition: build everything in order, run, drain. No logic of its own.

mod certificates;
mod clients;
mod counters;
mod host;
mod observe;
mod operate;
mod publish;
mod replace;
mod told;

pub use operate::{held_lists, last_status};
pub use publish::{compile, compile_all, routes_errors};

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin::{Asked, HttpBound, HttpError, Socket, SocketError, Watched};
use crate::audit::{self, Audit, By, Event};
use crate::config::Settings;
use crate::engine::Engine;
use crate::fetch;
use crate::hits::HitLogError;
use crate::local::LocalError;
use crate::net::{self, Passed};
use crate::reload::{self, Clerk, Control, Loader, Target, Trigger};
use crate::serve::{self, BindError, Bound, Certificates, TlsError};
use crate::set::TooManyRules;
use crate::ship::{self, Ship};
use crate::stats::{Counter, Stats};
use crate::stream::StreamError;
use crate::system::{self, ActivationError, Request, Signals};
use crate::upstream::UpstreamError;
use crate::util::{Digest, Now};

use self::host::SecretError;
use self::observe::{Observed, Observer};
use self::operate::Operators;
use self::publish::Publisher;
use self::told::Told;

/// How long a start waits for lists from the web of which there is no copy yet.
const FIRST_FETCH: Duration = Duration::from_secs(10);
/// How often a locked audit log is tried again …
const AUDIT_TRIES: usize = 30;
/// … and how long after the last time: about as long as a server drains.
const AUDIT_PAUSE: Duration = Duration::from_millis(100);

/// How long the end waits for the statistics' disk.
const LAST_COUNTS: Duration = Duration::from_millis(800);

/// Why the server did not start, or did not go on.
#[derive(Debug)]
pub enum AppError {
    /// The folder for state cannot be made or written.
    StateDir(PathBuf, io::Error),
    /// Addresses that cannot be served.
    Bind(Vec<BindError>),
    /// The certificate.
    Tls(TlsError),
    /// Addresses of the admin listener that cannot be served.
    Http(Vec<HttpError>),
    /// What systemd passed in makes no sense.
    Activation(ActivationError),
    /// A passed socket cannot be used.
    Passed(String, io::Error),
    /// The control socket.
    Control(SocketError),
    /// The audit log.
    Audit(audit::OpenError),
    /// Lists cannot be read.
    Lists(reload::StartError),
    /// Lists are too large.
    Rules(TooManyRules),
    /// The secrets of cookies.
    Cookies(SecretError),
    /// Local zones.
    Local(Vec<LocalError>),
    /// Upstream servers.
    Upstream(UpstreamError),
    /// The hit log.
    Hits(HitLogError),
    /// A stream of hits.
    Stream(StreamError),
    /// What hits are shipped with.
    Ship(ship::StartError),
    /// The ready file.
    Ready(serve::ReadyError),
    /// The system refuses threads, signals or the like.
    System(&'static str, io::Error),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDir(path, error) => {
                let path = path.display();
                write!(f, "cannot write to the state folder {path}: {error}; make it writable, or change state_dir")
            }
            Self::Bind(errors) => lines(f, errors),
            Self::Tls(error) => error.fmt(f),
            Self::Http(errors) => lines(f, errors),
            Self::Activation(error) => error.fmt(f),
            Self::Passed(name, error) => write!(f, "the socket {name} passed in by systemd cannot be used: {error}"),
            Self::Control(error) => error.fmt(f),
            Self::Audit(error) => error.fmt(f),
            Self::Lists(error) => error.fmt(f),
            Self::Rules(error) => error.fmt(f),
            Self::Cookies(error) => error.fmt(f),
            Self::Local(errors) => lines(f, errors),
            Self::Upstream(error) => error.fmt(f),
            Self::Hits(error) => error.fmt(f),
            Self::Stream(error) => error.fmt(f),
            Self::Ship(error) => error.fmt(f),
            Self::Ready(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for AppError {}

/// One a line.
fn lines<E: fmt::Display>(f: &mut fmt::Formatter<'_>, errors: &[E]) -> fmt::Result {
    for (index, error) in errors.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        error.fmt(f)?;
    }
    Ok(())
}

/// Serves until told to stop.
///
/// # Errors
/// Everything that keeps it from starting, all at once.
pub fn serve(settings: Settings) -> Result<(), Vec<AppError>> {
    net::raise_descriptor_limit();
    net::give_back_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("qalqan")
        .build()
        .map_err(|error| vec![AppError::System("cannot start the runtime", error)])?;
    let result = runtime.block_on(run(settings));
    // Whatever still waits for an upstream is not waited for.
    runtime.shutdown_background();
    result
}

/// Builds, runs, drains.
async fn run(settings: Settings) -> Result<(), Vec<AppError>> {
    let signals = Signals::listen().map_err(|error| vec![AppError::System("cannot take signals", error)])?;
    let Parts { bound, certificates, http, control, audit, told, loader, loaded, publisher, engine, stats } =
        build(&settings)?;
    let Told { hits, counts, live, streams, ship } = told;
    let (socket, asked) = control;
    let summary = bound.summary();
    let (published, snapshots) = (publisher.published(), publisher.snapshots());
    let one = |error| vec![error];
    let serving = bound
        .start(&settings.server, &engine, certificates.as_ref())
        .map_err(|error| one(AppError::System("cannot start listening", error)))?;
    let counters = counters::Writer::start(
        &settings.state_dir,
        counters::Counted {
            stats: Arc::clone(&stats),
            log: hits.shared_counters(),
            live: Arc::clone(&live),
            streams: streams.counters(),
        },
    );
    let statistics = told::keep_counts(&settings, counts, &stats).map_err(one)?.map(Arc::new);
    let mut target = publisher;
    let (runner, fetch) = fetch::Runner::new(settings.fetched(), Some(told_of_fetches(Arc::clone(&audit))));
    target.tell_fetches(fetch.clone());
    certificates.iter().for_each(|certificates| target.keep_certificates(Arc::clone(certificates)));
    let status = format!("answering on {summary}");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{status}");
    target.status(&status, reload::Phase::Ready);
    let (trigger, triggers) = mpsc::channel(4);
    let server = audit::Server {
        version: env!("CARGO_PKG_VERSION").into(),
        config_sha256: fs::read(&settings.path).map_or(Digest::ZERO, |bytes| Digest::of(&bytes)),
    };
    let reloading = Control::new(settings.clone(), loader, target, &loaded, published).with_audit(Arc::clone(&audit));
    drop(loaded);
    let operators = Operators::new(Arc::clone(&engine), reloading.board(), trigger.clone(), Arc::clone(&audit))
        .with_statistics(statistics.clone());
    let observer = Observer::start(Observed {
        engine: Arc::clone(&engine),
        stats: Arc::clone(&stats),
        hits: hits.shared_counters(),
        live,
        statistics: statistics.clone(),
        streams: streams.counters(),
        ship: ship.as_ref().map(Ship::counters),
        audit: Arc::clone(&audit),
        board: reloading.board(),
        operators: operators.clone(),
        fetch: fetch.clone(),
        load: serving.load(),
        certificates,
        max_connections: settings.server.tcp.max_connections,
        beats: serving.pulse(),
    });
    let (http_addresses, refused) = (http.addresses(), observer.refusals());
    let http = http
        .start(Arc::clone(&observer) as Arc<dyn Watched>, refused)
        .map_err(|error| one(AppError::System("cannot start the admin listener", error)))?;
    for address in &http_addresses {
        tracing::info!("figures and health at http://{address}/metrics and /health");
    }
    if let Some(path) = &settings.server.ready_file {
        let dns = serving.addresses().iter().map(|&(transport, address)| (transport.as_str(), address));
        let all: Vec<_> = dns.chain(http_addresses.into_iter().map(|address| ("http", address))).collect();
        serve::write_ready_file(path, &all).map_err(|error| one(AppError::Ready(error)))?;
    }
    audit.record(By::System, Event::ServerStarted(server.clone()), Now::read());
    let clerk = tokio::spawn(Clerk::new(reloading.board(), snapshots, Arc::clone(&audit)).run());
    let status = tokio::spawn(operators.clone().keep_status(settings.state_dir.clone()));
    let operators = tokio::spawn(operators.run(asked));
    let reloading = tokio::spawn(reloading.run(triggers));
    let refresh = serving.runtime().spawn(Arc::clone(&engine).refresh());
    let fetches = tokio::spawn(runner.run());
    let watchdog = tokio::spawn(system::keep_alive(pulse(serving.pulse())));

    until_terminated(signals, &trigger, &fetch).await;

    tracing::info!("stopping: answering what is under way");
    system::stopping();
    observer.stopping();
    watchdog.abort();
    serving.stop().await;
    // A reload under way may finish or not; what it would publish nobody asks any more.
    drop(trigger);
    reloading.abort();
    operators.abort();
    status.abort();
    clerk.abort();
    drop(socket);
    drop(http);
    drop(observer);
    // A download under way ends with the process; what it writes is renamed into place, or not.
    fetches.abort();
    refresh.abort();
    drop(engine);
    if let Some(log) = Arc::into_inner(hits) {
        let close = move || {
            log.close();
            // Their last hits have come by now.
            streams.close();
        };
        tokio::task::spawn_blocking(close).await.ok();
    }
    // The last hits have been handed on.
    let kept = tokio::task::spawn_blocking(move || statistics.is_none_or(|statistics| statistics.finish(LAST_COUNTS)));
    if !kept.await.unwrap_or(false) {
        tracing::error!("the statistics' disk does not answer; what was counted last may be missing");
    }
    if let Some(ship) = ship {
        tokio::task::spawn_blocking(move || ship.close()).await.ok();
    }
    let ended = Arc::clone(&audit);
    let record = move || ended.record(By::System, Event::ServerStopped(server), Now::read());
    tokio::task::spawn_blocking(record).await.ok();
    let totals = counters.finish().await;
    let received = totals.query(Counter::Received);
    tracing::info!(received, blocked = totals.query(Counter::Blocked), "stopped");
    if let Some(path) = &settings.server.ready_file {
        // It says that we answer, which is no longer so.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// What [`build`] has made.
struct Parts {
    bound: Bound,
    /// What encrypted listeners show, if there are any.
    certificates: Option<Arc<Certificates>>,
    http: HttpBound,
    control: (Socket, mpsc::Receiver<Asked>),
    audit: Arc<Audit>,
    told: Told,
    loader: Loader,
    loaded: reload::Loaded,
    publisher: Publisher,
    engine: Arc<Engine>,
    stats: Arc<Stats>,
}

/// Makes all parts, or tells everything that is wrong.
fn build(settings: &Settings) -> Result<Parts, Vec<AppError>> {
    let mut errors = Vec::new();
    let mut keep = |error: AppError| errors.push(error);
    let state = state_dir(&settings.state_dir).map_err(&mut keep).ok();
    let bound = passed_sockets()
        .and_then(|passed| Bound::bind(&settings.server, passed).map_err(AppError::Bind))
        .map_err(&mut keep)
        .ok();
    let tls = settings.server.tls.as_ref();
    let certificates = tls.map(|tls| Certificates::read(&tls.certificate, &tls.key)).transpose();
    let certificates = certificates.map_err(|error| keep(AppError::Tls(error))).ok();
    let http = HttpBound::bind(&settings.admin).map_err(|errors| keep(AppError::Http(errors))).ok();
    // Without the folder there is no socket either, which is said once.
    let control =
        state.map(|()| Socket::open(&settings.state_dir).map_err(|error| keep(AppError::Control(error))).ok());
    // A server that drains still holds its log for a moment; the socket says whose folder it is.
    let audit = control
        .as_ref()
        .and_then(Option::as_ref)
        .and_then(|_| open_audit(&settings.state_dir).map(Arc::new).map_err(|error| keep(AppError::Audit(error))).ok());
    let told = told::start(settings, &mut keep);
    if state.is_some() && bound.is_some() {
        let _ = fetch::first(settings.fetched().iter(), FIRST_FETCH);
    }
    let mut loader = Loader::new(Some(settings.state_dir.clone()));
    let loaded = reload::first(settings, &mut loader).map_err(|error| keep(AppError::Lists(error))).ok();
    let (Some(Some(control)), Some(audit), Some(bound), Some(certificates), Some(http), Some(told), Some(loaded)) =
        (control, audit, bound, certificates, http, told, loaded)
    else {
        // What depends on these is still looked at, so that all problems are told at once.
        errors.extend(publish::routes_errors(settings));
        return Err(errors);
    };
    let stats = Arc::new(Stats::default());
    let now = Now::read().seconds();
    let designated = host::designated(settings, bound.addresses(), certificates.as_ref());
    let (publisher, engine) =
        Publisher::new(settings, bound.addresses(), designated, &loaded, now, Arc::clone(&stats), &told.hits)?;
    let certificates = certificates.map(Arc::new);
    Ok(Parts { bound, certificates, http, control, audit, told, loader, loaded, publisher, engine, stats })
}

/// Writes down what could not be fetched, beside the task that fetches.
fn told_of_fetches(audit: Arc<Audit>) -> fetch::Hook {
    Box::new(move |event| {
        let Err(error) = event.result else { return };
        let failed = audit::FailedFetch {
            list: event.source.list.as_str().into(),
            source: event.source.settings.address.shown().into(),
            reason: error.to_string().into(),
            failures: u64::from(event.status.failures),
        };
        let audit = Arc::clone(&audit);
        tokio::task::spawn_blocking(move || audit.record(By::System, Event::FetchFailed(failed), Now::read()));
    })
}

/// Takes the audit log; waits for a server that is just ending, but not for long.
fn open_audit(state_dir: &Path) -> Result<Audit, audit::OpenError> {
    let mut tries = 0..AUDIT_TRIES;
    loop {
        match Audit::open(state_dir, Now::read()) {
            Err(audit::OpenError::Locked { .. }) if tries.next().is_some() => std::thread::sleep(AUDIT_PAUSE),
            result => return result,
        }
    }
}

/// Hands signals on until one of them ends the service.
async fn until_terminated(mut signals: Signals, trigger: &mpsc::Sender<Trigger>, fetch: &fetch::Handle) {
    loop {
        match signals.next().await {
            Request::Terminate => return,
            // A full channel means that a reload is asked for already.
            Request::Reload => {
                let _ = trigger.try_send(Trigger::Hangup);
                fetch.fetch_now(None);
            }
        }
    }
}

/// Says whether every UDP worker has gone round since it was last asked.
fn pulse(beats: serve::Beats) -> impl FnMut() -> bool {
    let mut last = Vec::new();
    move || {
        let now = beats.read();
        let alive = last.is_empty() || now.iter().zip(&last).all(|(now, last)| now != last);
        last = now;
        alive
    }
}

/// Makes the folder for state, and sees that it can be written. A full disk is no reason not to serve.
fn state_dir(path: &Path) -> Result<(), AppError> {
    let try_it = || -> io::Result<()> {
        fs::create_dir_all(path)?;
        let probe = path.join(".writable");
        fs::write(&probe, b"")?;
        fs::remove_file(&probe)
    };
    match try_it() {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!("the disk of {} is full: nothing can be kept for the next start", path.display());
            Ok(())
        }
        other => other.map_err(|error| AppError::StateDir(path.to_owned(), error)),
    }
}

/// The sockets systemd has opened for us, if any.
fn passed_sockets() -> Result<Vec<Passed>, AppError> {
    let sockets = system::activation_fds().map_err(AppError::Activation)?;
    let take = |socket: system::PassedSocket| {
        net::take_passed(socket.fd).map_err(|error| AppError::Passed(socket.name, error))
    };
    sockets.into_iter().map(take).collect()
}
