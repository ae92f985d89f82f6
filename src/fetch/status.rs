//! How a list's fetches went, in memory and in `meta.json`.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::place::{self, Source};

/// A larger `meta.json` is not ours.
const MAX_FILE: u64 = 64 << 10;

/// How a list's fetches went. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The list.
    pub list: String,
    /// Its address, without what is secret in it.
    pub source: String,
    /// When it was last asked for.
    pub last_try: Option<i64>,
    /// When the server last gave it, or said that it had not changed.
    pub last_success: Option<i64>,
    /// When it last changed.
    pub last_change: Option<i64>,
    /// What is wrong since the last success.
    pub last_error: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// When it is asked for again.
    pub next_try: Option<i64>,
    /// Size of the list, unpacked.
    pub bytes: u64,
    /// Of the list, unpacked.
    pub sha256: String,
    /// What the server calls this version.
    pub etag: Option<String>,
    /// When the server says it changed.
    pub last_modified: Option<String>,
    /// Serial of the zone.
    pub serial: Option<u64>,
    /// When it was signed.
    pub signed: Option<i64>,
}

/// What `meta.json` says of `source`; nothing known where it cannot be read.
pub fn read(source: &Source) -> Status {
    let path = source.meta();
    let small = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
    let known = small.then(|| fs::read(&path).ok()).flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known: Status = known.unwrap_or_default();
    Status { list: source.list.clone(), source: source.settings.address.shown(), ..known }
}

/// Writes `meta.json`.
pub(super) fn write(source: &Source, status: &Status) -> io::Result<()> {
    place::replace(&source.meta(), &serde_json::to_vec_pretty(status)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fetch::testing::settings;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Source::new("l", dir.path(), settings("https://lists.example/a?key=1"));
        let empty = Status { list: "l".into(), source: "https://lists.example/a?…".into(), ..Status::default() };
        assert_eq!(read(&source), empty);
        let status = Status { etag: Some("\"x\"".into()), serial: Some(1 << 40), failures: 3, ..empty.clone() };
        write(&source, &status).expect("written");
        assert_eq!(read(&source), status);
        for nonsense in ["", "[]", "{\"failures\": -1}", "{\"etag\": \"x\""] {
            fs::write(source.meta(), nonsense).expect("written");
            assert_eq!(read(&source), empty, "{nonsense}");
        }
        fs::write(source.meta(), "{\"etag\": \"x\", \"later\": 1}").expect("written");
        assert_eq!(read(&source).etag.as_deref(), Some("x"), "a newer version's file");
        assert!(source.meta().starts_with(Path::new(dir.path())));
    }
}
