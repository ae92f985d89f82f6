//! What rotated files are called, and which of them go.
//!
//! `hits.jsonl` rotated at noon UTC becomes `hits-2026-01-31T120000Z.jsonl`, a second one in that second
//! `hits-2026-01-31T120000Z-2.jsonl`: the name never changes again, so a shipper can follow it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::util::Now;

/// The time in the name of a rotated file.
const FORMAT: &str = "%Y-%m-%dT%H%M%SZ";
/// Rotations in one second before that second is given up.
const MAX_SECOND: u32 = 10_000;

/// A name for what `live` has held until `now` that no file bears yet.
///
/// # Errors
/// What the system says, or there is none in this second.
pub fn free_name(live: &Path, now: Now) -> io::Result<PathBuf> {
    let at = Timestamp::from_second(now.seconds().0).unwrap_or_default().strftime(FORMAT).to_string();
    let (stem, extension) = parts(live);
    for number in 1..=MAX_SECOND {
        let name =
            if number == 1 { format!("{stem}-{at}{extension}") } else { format!("{stem}-{at}-{number}{extension}") };
        let path = live.with_file_name(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for the rotated file in this second"))
}

/// Removes all but the newest `keep` rotated files of `live`. Files it cannot be sure of are left alone.
///
/// # Errors
/// What the system says.
pub fn prune(live: &Path, keep: usize) -> io::Result<()> {
    let folder = live.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut rotated = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(age) = age(live, &entry.file_name()) {
            rotated.push((age, entry.path()));
        }
    }
    rotated.sort_unstable();
    let surplus = rotated.len().saturating_sub(keep);
    rotated.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// When a file called `name` was rotated out of `live`, and as which in that second; `None` if it was not.
fn age(live: &Path, name: &OsStr) -> Option<(DateTime, u32)> {
    let (stem, extension) = parts(live);
    let rest = name.to_str()?.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
    let (time, number) = rest.split_at_checked("2026-01-31T120000Z".len())?;
    let number = match number.strip_prefix('-') {
        Some(digits) => digits.parse().ok().filter(|&n: &u32| n > 1 && n.to_string() == digits)?,
        None if number.is_empty() => 1,
        None => return None,
    };
    let time = DateTime::strptime(FORMAT, time).ok()?;
    // What strptime takes and strftime would not have written is not ours.
    let again = time.to_zoned(TimeZone::UTC).ok()?.strftime(FORMAT).to_string();
    rest.starts_with(&again).then_some((time, number))
}

/// The file name before and from its last dot. A name that is not UTF-8 gets substitutes, in all files alike.
fn parts(live: &Path) -> (String, String) {
    let text = |part: Option<&OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    let extension = text(live.extension()).map(|e| format!(".{e}")).unwrap_or_default();
    (text(live.file_stem()).unwrap_or_default(), extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::write(path, "x").expect("a file");
    }

    #[test]
    fn names_sort_by_age_and_only_ours_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("hits.jsonl");
        let foreign = [
            "hits.jsonl",
            "hits-2026-01-31.jsonl",
            "hits-2026-01-31T120000Z.jsonl.gz",
            "hits-2026-13-31T120000Z.jsonl",
            "hits-2026-01-31T120000Z-1.jsonl",
            "hits-2026-01-31T120000Z-x.jsonl",
            "other-2026-01-31T120000Z.jsonl",
            "hits-é026-01-31T12000Z.jsonl",
        ];
        for name in foreign {
            touch(&folder.path().join(name));
        }
        let noon = 1_769_860_800_000;
        let mut made = Vec::new();
        for unix_ms in [noon].into_iter().cycle().take(11).chain([noon - 1000, noon + 1000]) {
            let path = free_name(&live, Now { unix_ms }).expect("a free name");
            touch(&path);
            made.push(path.file_name().and_then(OsStr::to_str).expect("a name").to_owned());
        }
        assert_eq!(made[0], "hits-2026-01-31T120000Z.jsonl");
        assert_eq!(made[10], "hits-2026-01-31T120000Z-11.jsonl");
        prune(&live, 3).expect("pruned");
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| !foreign.contains(&name.as_str()))
            .collect();
        left.sort_unstable();
        let newest =
            ["hits-2026-01-31T120000Z-10.jsonl", "hits-2026-01-31T120000Z-11.jsonl", "hits-2026-01-31T120001Z.jsonl"];
        assert_eq!(left, newest);
        assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn a_name_without_extension() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("hits");
        touch(&free_name(&live, Now { unix_ms: 0 }).expect("a free name"));
        assert!(folder.path().join("hits-1970-01-01T000000Z").exists());
        prune(&live, 0).expect("pruned");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }
}
