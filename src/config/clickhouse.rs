//! `[stats.clickhouse]`: where the hits of a fleet come together.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::reader::{Limits, Table};
use super::values::{self, ValueError};
use crate::fetch::{Address, Coding};
use crate::hits::Clients;
use crate::ship::{ServerSettings, Settings};
use crate::store;

/// `database`
const DATABASE: &str = "qalqan";
/// `user`
const USER: &str = "default";
/// `batch.rows`: ClickHouse likes few large inserts; of more, a million is one part no longer.
const ROWS: Limits<usize> = Limits { default: 50_000, min: 1, max: 500_000 };
/// `batch.age`: what a lost machine takes with it.
const AGE: Limits<Duration> =
    Limits { default: Duration::from_secs(10), min: Duration::from_secs(1), max: Duration::from_secs(3600) };
/// `spool`: two days of 20 million hits, compressed.
const SPOOL: Limits<u64> = Limits { default: 1 << 30, min: 16 << 20, max: 1 << 44 };
/// `timeout`
const TIMEOUT: Limits<Duration> =
    Limits { default: Duration::from_secs(30), min: Duration::from_secs(1), max: Duration::from_secs(600) };
/// `compression`
const CODINGS: [(&str, Coding); 3] = [("gzip", Coding::Gzip), ("zstd", Coding::Zstd), ("none", Coding::Identity)];
/// `clients`
const CLIENTS: [(&str, Clients); 4] =
    [("full", Clients::Full), ("truncate", Clients::Truncate), ("hash", Clients::Hash), ("none", Clients::None)];

/// Reads the table; `None` if it is not there, or wrong.
pub(super) fn read(mut table: Table<'_>, stats: &store::Settings, folder: &Path, state_dir: &Path) -> Option<Settings> {
    let path = |text: &str| values::path(text).map(|path| folder.join(path));
    let there = table.is_there();
    let url = if there { table.required("url", "\"https://clickhouse.example:8443/\"") } else { table.field("url") };
    let database = table.text("database", word).unwrap_or_else(|| DATABASE.into());
    let user = table.text("user", |text| values::line(text, 64)).unwrap_or_else(|| USER.into());
    let password_file = table.text("password_file", path);
    let ca_file = table.text("ca_file", path);
    let timeout = table.duration("timeout", TIMEOUT);
    let instance = table.text("instance", word).unwrap_or_else(host);
    let clients = table.choice("clients", &CLIENTS, Clients::Truncate);
    let key_file = table.text("key_file", path);
    let mut batch = table.table("batch");
    let (rows, age) = (batch.count("rows", ROWS), batch.duration("age", AGE));
    batch.finish();
    let coding = table.choice("compression", &CODINGS, Coding::Gzip);
    let spool = table.size("spool", SPOOL);
    table.finish();
    let address = url?.read(Address::parse)?;
    Some(Settings {
        server: ServerSettings { address, database, user: user.into(), password_file, ca_file, timeout },
        instance,
        clients,
        key_file,
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        age,
        coding,
        folder: state_dir.join("spool"),
        spool,
        window: stats.window,
        zone: stats.zone.clone(),
    })
}

/// A name that needs no quotes in a statement.
fn word(text: &str) -> Result<Box<str>, ValueError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if (1..=64).contains(&text.len()) && text.bytes().all(good) { Ok(text.into()) } else { Err(ValueError::Word) }
}

/// What the system calls this machine; what would need quotes becomes `-`.
fn host() -> Box<str> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' };
    let name: String = name.trim().chars().take(64).map(plain).collect();
    if name.is_empty() { "qalqan".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn ship(text: &str) -> Result<Option<Settings>, String> {
        let text = format!("[stats.clickhouse]\n{text}");
        let settings = parse(&text, Path::new("etc/config.toml"));
        settings.map(|settings| settings.ship).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        assert_eq!(parse("", Path::new("c")).expect("good").ship, None, "nothing is sent unless it is asked for");
        let settings = ship("url = \"https://ch.example:8443/\"\n").expect("good").expect("there");
        assert_eq!((&*settings.server.database, &*settings.server.user), ("qalqan", "default"));
        assert_eq!((settings.rows, settings.age, settings.spool), (50_000, Duration::from_secs(10), 1 << 30));
        assert_eq!((settings.clients, settings.coding), (Clients::Truncate, Coding::Gzip));
        assert_eq!(settings.folder, Path::new("etc/state/spool"));
        assert!(word(&settings.instance).is_ok(), "{}", settings.instance);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, said) in [
            ("", "`url` is missing"),
            ("url = \"ch.example\"", "url"),
            ("url = \"https://user:pw@ch.example/\"", "url"),
            ("url = \"http://a/\"\ndatabase = \"a`b\"", "a name has 1 to 64"),
            ("url = \"http://a/\"\ninstance = \"a'b\"", "a name has 1 to 64"),
            ("url = \"http://a/\"\ncompression = \"br\"", "zstd"),
            ("url = \"http://a/\"\nbatch = { rows = 0 }", "1 to 500000"),
            ("url = \"http://a/\"\nbatch = { size = 1 }", "unknown key"),
            ("url = \"http://a/\"\nspool = \"1MiB\"", "16MiB"),
        ] {
            let error = ship(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
