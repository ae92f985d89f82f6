//! What operators ask the running server, brought to who can do it; and `status.json`, for when none runs.

mod held;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use self::held::held_lists;
use super::replace::replace;
use crate::admin::{Asked, CanaryLine, FileLine, Flushed, ListLine, OrderAlert, Orders, Refused, Request, Status, Who};
use crate::audit::{self, Audit, By};
use crate::engine::Engine;
use crate::name::Name;
use crate::reload::ledger::{self, Numbers};
use crate::reload::{
    Board, Enforced, FileState, ListReport, Operation, Posted, State, TrialOrder, TrialReport, Trigger,
};
use crate::store;
use crate::util::{Now, Throttle, UnixTime};

/// Characters of a reason: as many as the audit log keeps of a text.
const MAX_REASON: usize = 500;
/// What is known of the server when it no longer runs.
const STATUS: &str = "status.json";

/// Answers operators.
#[derive(Clone, Debug)]
pub struct Operators {
    engine: Arc<Engine>,
    board: Board,
    trigger: mpsc::Sender<Trigger>,
    audit: Arc<Audit>,
    statistics: Option<Arc<store::Writer>>,
    started: UnixTime,
}

impl Operators {
    /// Of a server that has just started.
    pub fn new(engine: Arc<Engine>, board: Board, trigger: mpsc::Sender<Trigger>, audit: Arc<Audit>) -> Self {
        Self { engine, board, trigger, audit, statistics: None, started: Now::read().seconds() }
    }

    /// Says how the statistics fare, too.
    pub fn with_statistics(self, statistics: Option<Arc<store::Writer>>) -> Self {
        Self { statistics, ..self }
    }

    /// Answers for as long as somebody may ask; a request that takes long holds up no other.
    pub async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(Asked { request, who, reply }) = asked.recv().await {
            let operators = self.clone();
            tokio::spawn(async move {
                tracing::debug!(user = who.user, ?request, "asked by an operator");
                // One who has gone does not wait for the answer.
                let _ = reply.send(operators.answer(request, who).await);
            });
        }
    }

    /// Keeps `status.json` equal to what the board says.
    pub async fn keep_status(self, state_dir: PathBuf) {
        let path = state_dir.join(STATUS);
        let trouble = Throttle::new(60_000);
        let mut board = self.board.subscribe();
        loop {
            let bytes = serde_json::to_vec_pretty(&self.status()).unwrap_or_default();
            let path = path.clone();
            let written = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
            if let Ok(Err(error)) = written
                && trouble.pass(Now::read()).is_some()
            {
                tracing::warn!(%error, "cannot write {STATUS} in state_dir; serving goes on");
            }
            if board.changed().await.is_err() {
                return;
            }
        }
    }

    /// The answer to one request.
    async fn answer(&self, request: Request, who: Who) -> Result<Value, Refused> {
        match request {
            Request::Status => told(&self.status()),
            Request::Reload => {
                self.operate(Operation::Reload).await?;
                told(&self.status())
            }
            Request::Held => told(&held_lists(&self.board.read().reports)),
            Request::Decide(ruling) => told(&self.decide(ruling, who).await?),
            Request::Promote { list, reason } => {
                self.operate(Operation::Promote(order(list, &reason, &who)?)).await?;
                told(&self.status())
            }
            Request::Withdraw { list, reason } => {
                self.operate(Operation::Withdraw(order(list, &reason, &who)?)).await?;
                told(&self.status())
            }
            Request::Rollback { list, version, reason } => {
                self.operate(Operation::Rollback { list, version, reason: reason_of(&reason)?, by: who.user }).await?;
                told(&self.status())
            }
            Request::Unpin { list, reason } => {
                self.operate(Operation::Unpin { list, reason: reason_of(&reason)?, by: who.user }).await?;
                told(&self.status())
            }
            Request::Flush { name, subtree } => {
                let name = Name::parse(&name).map_err(|error| Refused(format!("{name}: {error}")))?;
                let engine = Arc::clone(&self.engine);
                let answers = tokio::task::spawn_blocking(move || engine.flush(&name, subtree)).await;
                told(&Flushed { answers: answers.map_err(|error| Refused(error.to_string()))? })
            }
        }
    }

    /// Has something done by the one task that reloads, and waits until it is in force.
    async fn operate(&self, operation: Operation) -> Result<(), Refused> {
        let (reply, outcome) = oneshot::channel();
        let gone = || Refused("the server does not reload any more; see its log".into());
        self.trigger.send(Trigger::Operate(operation, reply)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(Refused)
    }

    /// How the server is.
    pub(super) fn status(&self) -> Status {
        let posted = self.board.read();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started.0,
            generation: posted.generation,
            published: posted.published.0,
            published_ms: posted.last.map(|last| last.published_ms),
            publish_to_enforced_ms: posted.last.and_then(|last| took(&last)),
            failed: posted.failed.clone(),
            audit: audit_trouble(&self.audit.status()),
            gate: posted.gate.to_vec(),
            statistics: self.statistics.as_ref().and_then(|statistics| statistics.status().trouble()),
            lists: posted.reports.iter().map(|report| list_line(report, &posted)).collect(),
            orders: orders(posted.orders.clone()),
        }
    }
}

/// The status a server left behind in `state_dir`, if one did.
pub fn last_status(state_dir: &Path) -> Option<Status> {
    serde_json::from_slice(&std::fs::read(state_dir.join(STATUS)).ok()?).ok()
}

/// What keeps the audit log from being written.
fn audit_trouble(status: &audit::Status) -> Option<String> {
    let error = status.error.as_ref()?;
    Some(format!("{error} ({} events wait, {} are lost)", status.waiting, status.lost))
}

/// A reason that says something.
fn reason_of(text: &str) -> Result<String, Refused> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Refused("a reason is needed: it stands in the audit log for whoever asks later".into())),
        1..=MAX_REASON => Ok(text.to_owned()),
        _ => Err(Refused(format!("the reason is longer than {MAX_REASON} characters"))),
    }
}

/// An answer as JSON.
fn told(answer: &impl Serialize) -> Result<Value, Refused> {
    serde_json::to_value(answer).map_err(|error| Refused(error.to_string()))
}

/// What an operator says about a version on trial.
fn order(list: String, reason: &str, who: &Who) -> Result<TrialOrder, Refused> {
    Ok(TrialOrder { list, reason: reason_of(reason)?, by: By::Cli(who.user.as_str().into()) })
}

/// The orders as operators see them.
fn orders(numbers: Numbers) -> Orders {
    let Numbers { in_force, pending, expired, revoked, due, overdue, conflicts, .. } = numbers;
    let Numbers { next_change, next_deadline, alerts, .. } = numbers;
    let alert = |alert: ledger::OrderAlert| OrderAlert {
        id: alert.id,
        authority: alert.authority,
        standing: alert.standing.to_string(),
        deadline: alert.deadline.0,
        why: alert.why,
    };
    let (next_change, next_deadline) = (next_change.map(|at| at.0), next_deadline.map(|at| at.0));
    let alerts = alerts.into_iter().map(alert).collect();
    Orders { in_force, pending, expired, revoked, due, overdue, conflicts, next_change, next_deadline, alerts }
}

/// A list as operators see it.
fn list_line(report: &ListReport, posted: &Posted) -> ListLine {
    let enforced = posted.enforced.get(&report.name);
    ListLine {
        name: report.name.clone(),
        source: report.source.clone(),
        role: report.role.to_string(),
        mode: report.mode.to_string(),
        state: if report.refused.is_some() { "refused" } else { state(&report.state) }.into(),
        version: posted.versions.get(&report.name).copied(),
        pinned: report.pinned.is_some(),
        held: report.gate.open,
        refused: report.refused.as_ref().map(|change| change.version.clone()),
        accepted: report.files.iter().filter_map(|file| file.accepted).max().map(|at| at.0),
        seen_ms: enforced.and_then(|enforced| enforced.seen_ms),
        published_ms: enforced.map(|enforced| enforced.published_ms),
        publish_to_enforced_ms: enforced.and_then(took),
        entries: report.entries,
        rejected: report.rejected,
        error: report.error.as_ref().map(ToString::to_string),
        canary: report.trial.as_ref().map(|trial| canary_line(trial, posted.tried.get(&report.name).copied())),
        files: report.files.iter().map(file_line).collect(),
    }
}

/// How long it took, in milliseconds.
fn took(enforced: &Enforced) -> Option<u64> {
    enforced.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// A version on trial as operators see it.
fn canary_line(trial: &TrialReport, version: Option<u64>) -> CanaryLine {
    let (queries, hits) = trial.counts.read();
    let clients = trial.clients.iter().map(ToString::to_string).collect();
    CanaryLine { version, sha256: trial.version.to_string(), until: trial.until.0, clients, queries, hits }
}

/// A file as operators see it.
fn file_line(file: &FileState) -> FileLine {
    FileLine {
        file: file.path.to_string(),
        sha256: file.sha256.map(|digest| digest.to_string()),
        accepted: file.accepted.map(|at| at.0),
        state: state(&file.state).into(),
        entries: if file.sha256.is_some() { file.report.entries } else { 0 },
    }
}

/// Where something stands, in a word or two.
fn state(state: &State) -> &'static str {
    match state {
        State::Fresh | State::Unchanged => "current",
        State::LastGood { .. } => "last good",
        State::NotUsed { .. } => "not used",
    }
}
