//! Where a reload goes: compiled into a snapshot and swapped in; routes made anew where they changed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::Cache;
use crate::config::{ListSettings, Settings};
use crate::engine::{Engine, Routes};
use crate::event::{Attribution, Transport};
use crate::fetch;
use crate::gate::Decisions;
use crate::hits::HitLog;
use crate::limit::{self, Acl, Doors};
use crate::local::{self, Designated, Local};
use crate::policy::{Answer, Host, ListPolicy};
use crate::reload::{self, Group, Loaded, Phase, Published, Target};
use crate::serve::Certificates;
use crate::set::Part;
use crate::snapshot::{Canary, Snapshot};
use crate::stats::Stats;
use crate::system;
use crate::upstream::{self, Upstream};
use crate::util::{Handover, Now, UnixTime};

use super::certificates::Keeper;
use super::{AppError, clients, host};

/// The publishing side of everything that is swapped.
pub struct Publisher {
    snapshots: Arc<Handover<Snapshot>>,
    routes: Arc<Handover<Routes>>,
    stats: Arc<Stats>,
    hits: std::sync::Weak<HitLog>,
    own: Vec<SocketAddr>,
    /// How long idle connections are kept, whatever the settings have become.
    idle: Duration,
    designated: Option<Designated>,
    host: Arc<Host>,
    upstream: upstream::Settings,
    published: Published,
    reviewer: Arc<Reviewer>,
    cache: Option<Arc<Cache>>,
    doors: Arc<Doors>,
    fetch: Option<fetch::Handle>,
    certificates: Option<Keeper>,
}

/// Says in the log what somebody should look at in the lists; off the publish path, one at a time.
#[derive(Default)]
struct Reviewer {
    busy: AtomicBool,
    /// The newest snapshot that has not been looked at; older ones are nobody's concern any more.
    waiting: Mutex<Option<(Arc<Snapshot>, Arc<Decisions>)>>,
    said: Mutex<String>,
}

impl Reviewer {
    /// Has a snapshot reviewed in the background.
    fn start(self: &Arc<Self>, snapshot: Arc<Snapshot>, decisions: Arc<Decisions>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some((snapshot, decisions));
        let reviewer = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            while !reviewer.busy.swap(true, Ordering::AcqRel) {
                let next = reviewer.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
                next.inspect(|(snapshot, decisions)| reviewer.say(reload::review(snapshot, decisions).summary()));
                reviewer.busy.store(false, Ordering::Release);
                // Looked at after `busy` is given back: whoever put one there meanwhile saw it taken and left.
                if reviewer.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                    return;
                }
            }
        });
    }

    /// Says what is new.
    fn say(&self, summary: Option<String>) {
        let summary = summary.unwrap_or_default();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != summary && !summary.is_empty() {
            tracing::warn!("{summary}; `qalqan check` shows them");
        }
        *said = summary;
    }
}

impl Publisher {
    /// Compiles the first snapshot, makes the routes, and an engine over both.
    pub fn new(
        settings: &Settings,
        bound: &[(Transport, SocketAddr)],
        designated: Option<Designated>,
        loaded: &Loaded,
        now: UnixTime,
        stats: Arc<Stats>,
        hits: &Arc<HitLog>,
    ) -> Result<(Self, Arc<Engine>), Vec<AppError>> {
        let mut errors = Vec::new();
        // No upstream must be one of them.
        let own: Vec<_> = bound.iter().map(|&(_, address)| address).collect();
        let local = local(settings, designated.as_ref()).map_err(|error| errors.push(error)).ok();
        let host =
            host::host(settings, settings.server.tcp.idle).map_err(|error| errors.push(AppError::Cookies(error))).ok();
        let upstream = Upstream::new(&settings.upstream, &own).map_err(AppError::Upstream);
        let upstream = upstream.map_err(|error| errors.push(error)).ok();
        let doors = Arc::<Doors>::default();
        let snapshot = compile_all(1, settings, loaded, (&stats, &doors), now).map_err(|error| errors.push(error)).ok();
        let (Some(local), Some(host), Some(upstream), Some(snapshot)) = (local, host, upstream, snapshot) else {
            return Err(errors);
        };
        let published = Published { generation: 1, next_change: snapshot.next_change(now) };
        let snapshot = Arc::new(snapshot.with_host(&host));
        announce(hits, &snapshot);
        let snapshots = Handover::new(snapshot);
        let routes = Handover::new(Routes { local, upstream: Arc::new(upstream) });
        let cache = Cache::new(&settings.cache).map(Arc::new);
        let shared = (Arc::clone(&stats), Arc::clone(&doors));
        let engine = Engine::new(Arc::clone(&snapshots), Arc::clone(&routes), shared, hits, cache.clone());
        let upstream = settings.upstream.clone();
        let hits = Arc::downgrade(hits);
        let reviewer = Arc::<Reviewer>::default();
        reviewer.start(snapshots.load(), Arc::clone(&loaded.decisions));
        let publisher = Self {
            snapshots,
            routes,
            stats,
            hits,
            own,
            idle: settings.server.tcp.idle,
            designated,
            host,
            upstream,
            published,
            reviewer,
            cache,
            doors,
            fetch: None,
            certificates: None,
        };
        Ok((publisher, engine))
    }

    /// Who is told when other lists are to be fetched.
    pub fn tell_fetches(&mut self, fetch: fetch::Handle) {
        self.fetch = Some(fetch);
    }

    /// What is to be read again when its files change.
    pub fn keep_certificates(&mut self, certificates: Arc<Certificates>) {
        self.certificates = Some(Keeper::new(certificates));
    }

    /// What is in force.
    pub fn published(&self) -> Published {
        self.published
    }

    /// Where what is in force can be had.
    pub fn snapshots(&self) -> Arc<Handover<Snapshot>> {
        Arc::clone(&self.snapshots)
    }

    /// One that no snapshot has had.
    fn next_generation(&self) -> u64 {
        self.snapshots.load().last_generation() + 1
    }

    /// Puts a snapshot in force.
    fn swap(&mut self, snapshot: Snapshot, now: UnixTime) {
        self.published = Published { generation: snapshot.generation(), next_change: snapshot.next_change(now) };
        let snapshot = Arc::new(snapshot);
        if let Some(hits) = self.hits.upgrade() {
            announce(&hits, &snapshot);
        }
        self.snapshots.publish(snapshot);
    }

    /// Makes routes as `settings` say; what cannot be made stays as it is.
    fn reroute(&mut self, settings: &Settings) {
        let current = self.routes.load();
        let upstream = match Upstream::new(&settings.upstream, &self.own) {
            // What is known of servers that stay is worth keeping; `system` may have become others.
            Ok(new) if settings.upstream == self.upstream && addresses(&new) == addresses(&current.upstream) => {
                Arc::clone(&current.upstream)
            }
            Ok(new) => {
                self.upstream = settings.upstream.clone();
                Arc::new(new)
            }
            Err(error) => {
                tracing::error!("{error}; the upstream servers stay as they were");
                Arc::clone(&current.upstream)
            }
        };
        match local(settings, self.designated.as_ref()) {
            Ok(local) => {
                let same = Arc::ptr_eq(&upstream, &current.upstream) && local.same_names(&current.local);
                self.routes.publish(Arc::new(Routes { local, upstream }));
                // Others would answer now, or we ourselves.
                if let Some(cache) = self.cache.as_ref().filter(|_| !same) {
                    cache.clear();
                }
            }
            Err(error) => tracing::error!("{error}\nlocal zones and upstream servers stay as they were"),
        }
    }
}

impl Target for Publisher {
    type Error = AppError;

    fn publish(&mut self, settings: &Settings, loaded: Loaded, now: UnixTime) -> Result<Published, AppError> {
        let snapshot = compile_all(self.next_generation(), settings, &loaded, (&self.stats, &self.doors), now)?;
        let Loaded { decisions, .. } = loaded;
        self.reroute(settings);
        match host::host(settings, self.idle) {
            Ok(host) => self.host = host,
            Err(error) => tracing::error!("{error}; cookies and what else is told of the server stay as they were"),
        }
        let snapshot = snapshot.with_host(&self.host);
        if let Some(fetch) = &self.fetch {
            fetch.apply(settings.fetched());
        }
        self.swap(snapshot, now);
        self.reviewer.start(self.snapshots.load(), decisions);
        Ok(self.published)
    }

    fn advance(&mut self, now: UnixTime) -> Published {
        let snapshot = self.snapshots.load().at(self.next_generation(), now);
        self.swap(snapshot, now);
        self.published
    }

    fn reread(&mut self, settings: &Settings, asked: bool) {
        if let (Some(keeper), Some(tls)) = (&mut self.certificates, &settings.server.tls) {
            keeper.reread(tls, asked, Now::read().seconds());
        }
    }

    fn tried(&self, list: &str) -> u64 {
        self.stats.hits(self.stats.slot(&on_trial(list)))
    }

    fn status(&mut self, text: &str, phase: Phase) {
        match phase {
            Phase::Reloading => {
                system::reloading();
                system::status(text);
            }
            Phase::Ready => system::ready(text),
        }
    }
}

/// Makes known who explains the hits of a snapshot and of its canaries.
fn announce(hits: &HitLog, snapshot: &Arc<Snapshot>) {
    for canary in snapshot.canaries() {
        let snapshot = canary.snapshot();
        hits.announce(snapshot.generation(), Arc::clone(snapshot) as Arc<dyn Attribution>);
    }
    hits.announce(snapshot.generation(), Arc::clone(snapshot) as Arc<dyn Attribution>);
}

/// Who would be asked, in order.
fn addresses(upstream: &Upstream) -> Vec<SocketAddr> {
    upstream.health().into_iter().map(|server| server.address).collect()
}

/// What is wrong with local zones, upstream servers and cookie secrets; connects to nobody.
pub fn routes_errors(settings: &Settings) -> Vec<AppError> {
    let upstream = Upstream::new(&settings.upstream, &settings.server.listen).map_err(AppError::Upstream);
    let host = host::host(settings, settings.server.tcp.idle).map_err(AppError::Cookies);
    [local(settings, None).err(), upstream.err(), host.err()].into_iter().flatten().collect()
}

/// The local zones, which leave alone what is forwarded to servers of its own.
fn local(settings: &Settings, designated: Option<&Designated>) -> Result<Local, AppError> {
    let forwarded: Vec<_> = settings.upstream.zones.iter().map(|zone| zone.name.clone()).collect();
    let local = local::Settings { designated: designated.cloned(), ..settings.local.clone() };
    Local::new(&local, &forwarded).map_err(AppError::Local)
}

/// Settings and rules as one snapshot, and what holds for groups of clients, and for those on whom new versions of lists
/// are tried.
///
/// # Errors
/// More rules than a set can hold.
pub fn compile_all(
    generation: u64,
    settings: &Settings,
    loaded: &Loaded,
    (stats, doors): (&Stats, &Doors),
    now: UnixTime,
) -> Result<Snapshot, AppError> {
    let of_groups = clients::compile(settings, loaded, stats, doors);
    let canary = |(generation, group): (u64, &Group)| {
        let policy = |(index, list): (usize, &ListSettings)| {
            let tried = group.lists.iter().any(|&at| usize::from(at) == index);
            let slot = if tried { stats.slot(&on_trial(&list.spec.name)) } else { policy(list, stats).slot };
            ListPolicy { slot, ..policy(list, stats) }
        };
        let policies = settings.lists.iter().enumerate().map(policy).collect();
        let others = loaded.parts.iter().filter(|part| !group.lists.contains(&part.list));
        let mut parts: Vec<Part> = others.chain(&group.parts).cloned().collect();
        parts.sort_by_key(|part| part.list);
        let snapshot = Snapshot::compile(generation, policies, parts, Acl::new(&settings.limit), now);
        let clients = Acl::new(&limit::Settings { allow_from: group.clients.clone() });
        let snapshot = snapshot.map_err(AppError::Rules)?.with_clients(of_groups.clone());
        Ok(Canary::new(clients, &group.lists, Arc::new(snapshot), Arc::clone(&group.queries)))
    };
    let canaries: Result<Vec<Canary>, AppError> = (generation + 1..).zip(&loaded.groups).map(canary).collect();
    let snapshot = compile(generation, settings, loaded.parts.clone(), stats, now)?;
    let canaries = canaries?;
    Ok(snapshot.with_clients(of_groups).with_canaries(canaries))
}

/// Behind the name of a list, hits of a version on trial are counted; no list has a space in its name.
pub(super) const CANARY: &str = " (canary)";

/// The name under which hits of a version on trial are counted.
fn on_trial(list: &str) -> Arc<str> {
    format!("{list}{CANARY}").into()
}

/// Settings and rules as one snapshot, the same for all.
///
/// # Errors
/// More rules than a set can hold.
pub fn compile(
    generation: u64,
    settings: &Settings,
    parts: Vec<Part>,
    stats: &Stats,
    now: UnixTime,
) -> Result<Snapshot, AppError> {
    let policies = settings.lists.iter().map(|list| policy(list, stats)).collect();
    Snapshot::compile(generation, policies, parts, Acl::new(&settings.limit), now).map_err(AppError::Rules)
}

/// One list's share of the policy.
fn policy(list: &ListSettings, stats: &Stats) -> ListPolicy {
    let name = Arc::from(list.spec.name.as_str());
    let slot = stats.slot(&name);
    ListPolicy { name, role: list.spec.role, mode: list.spec.mode, answer: Answer::new(&list.answer), slot }
}
