//! `ship`: the tables of a fleet's ClickHouse, and how sending goes.

use super::args::{ConfigArg, ShipVerb};
use super::output::{self, Plain, complain, counted};
use super::{Exit, settings};
use crate::ship::{self, Engine, Server, Settings, Status, read_status};

/// Runs the verb.
pub(super) fn run(verb: &ShipVerb) -> Exit {
    match verb {
        ShipVerb::Ddl { old } => ddl(*old),
        ShipVerb::Apply(config) => told(config, apply),
        ShipVerb::Status { config, json } => told(config, |settings| status(settings, *json)),
    }
}

/// Does something with `[stats.clickhouse]`, if there is such a section.
fn told(config: &ConfigArg, run: impl FnOnce(Settings) -> Exit) -> Exit {
    match settings(config).map(|settings| settings.ship) {
        Ok(Some(ship)) => run(ship),
        Ok(None) => complain(&"the configuration has no [stats.clickhouse]: nothing is shipped"),
        Err(exit) => exit,
    }
}

/// `ship ddl`
fn ddl(old: bool) -> Exit {
    let engine = if old { Engine::WithoutTtl } else { Engine::WithTtl };
    let statements = ship::statements(engine).into_iter().map(|statement| format!("{statement};\n\n"));
    output::print(&statements.collect::<String>(), Exit::Fine)
}

/// `ship apply`
fn apply(settings: Settings) -> Exit {
    let database = settings.server.database.clone();
    match Server::new(settings.server).apply() {
        Ok(version) => {
            let text = format!("the tables are in the database {database}; ClickHouse {}\n", Plain(&version));
            output::print(&text, Exit::Fine)
        }
        Err(error) => complain(&Plain(&error.to_string())),
    }
}

/// `ship status`
fn status(settings: Settings, json: bool) -> Exit {
    let status = match read_status(&settings.folder) {
        Ok(Some(status)) => status,
        Ok(None) => return complain(&"no server has shipped anything yet with this state_dir"),
        Err(error) => return complain(&format_args!("cannot read {}: {error}", settings.folder.display())),
    };
    let totals = status.totals;
    let lost = totals.dropped_full + totals.dropped_spool + totals.refused;
    let exit = if lost > 0 || status.error.is_some() { Exit::Look } else { Exit::Fine };
    if json {
        return match serde_json::to_string(&status) {
            Ok(text) => output::print(&format!("{text}\n"), exit),
            Err(error) => complain(&error),
        };
    }
    output::print(&text(&status, lost), exit)
}

/// For people.
fn text(status: &Status, lost: u64) -> String {
    let totals = status.totals;
    let when = status.arrived_at.map_or("never yet".into(), |at| at.to_string());
    let mut text = format!(
        "arrived   {} in {}; last {when}\nwaiting   {} ({} bytes)\nlost      {}",
        counted(totals.shipped, "hit"),
        if totals.batches == 1 { "1 batch".into() } else { format!("{} batches", totals.batches) },
        counted(totals.waiting, "hit"),
        totals.waiting_bytes,
        counted(lost, "hit"),
    );
    if lost > 0 {
        text += &format!(
            " (disk too slow {}, spool full {}, set aside {})",
            totals.dropped_full, totals.dropped_spool, totals.refused
        );
    }
    text.push('\n');
    if let Some(error) = &status.error {
        text += &format!("failing   {}; {}\n", Plain(error), counted(totals.failures, "failure"));
    }
    text
}
