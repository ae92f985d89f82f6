//! What `qalqan ship status` shows: a file in the spool, written by a running server.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::counters::Totals;
use crate::util::UnixTime;

/// The file.
const FILE: &str = "status.json";

/// How shipping goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process whose counters these are.
    pub pid: u32,
    /// What became of the hits.
    #[serde(flatten)]
    pub totals: Totals,
    /// Why the last try failed; `None` if it did not.
    pub error: Option<String>,
    /// When a batch arrived last.
    #[serde(with = "seconds")]
    pub arrived_at: Option<UnixTime>,
}

/// Reads what the last server wrote; `None` if there was none.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read_status(folder: &Path) -> io::Result<Option<Status>> {
    match fs::read(folder.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Readers see the old one or the new one; a crash may leave the older.
pub(super) fn write_status(folder: &Path, status: &Status) -> io::Result<()> {
    let new = folder.join(format!("{}{FILE}", crate::util::TEMPORARY));
    fs::write(&new, serde_json::to_vec_pretty(status).map_err(io::Error::from)?)?;
    fs::rename(&new, folder.join(FILE))
}

/// RFC 3339.
mod seconds {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Serialize, Timestamp, UnixTime};

    pub(super) fn serialize<S: Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
        time.and_then(|time| Timestamp::from_second(time.0).ok()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixTime>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(|time| UnixTime(time.as_second())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read_status(dir.path()).expect("none"), None);
        for arrived_at in [None, Some(UnixTime(1_795_521_600))] {
            let totals = Totals { taken: 7, shipped: 5, ..Totals::default() };
            let status = Status { pid: 1, totals, error: Some("no".into()), arrived_at };
            write_status(dir.path(), &status).expect("written");
            assert_eq!(read_status(dir.path()).expect("read"), Some(status));
        }
        fs::write(dir.path().join(FILE), "half").expect("written");
        assert!(read_status(dir.path()).is_err());
    }
}
