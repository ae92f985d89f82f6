//! Files behind a list's `source`, and their bytes. The only part of `list` that touches the disk.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Format, Spec};

/// The most files a folder may give; more than that is not a folder of lists.
pub const MAX_FILES: usize = 100_000;

/// One file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// As reports call it: the source as the operator wrote it, joined with the entry's name.
    pub shown: Arc<str>,
}

/// A source that cannot be read. Nothing of it may be used then: a file that is missing for a
/// moment must not lift what it blocks.
#[derive(Debug)]
pub enum SourceError {
    /// Nothing at the path.
    Missing(PathBuf),
    /// A list from the web that never came.
    NotFetched(Arc<str>),
    /// A symlink in the folder leads nowhere.
    BrokenLink(PathBuf),
    /// Neither a file nor a folder.
    NotAFile(PathBuf),
    /// Larger than `max_bytes`.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// More than [`MAX_FILES`] files.
    TooMany(PathBuf),
    /// The system refused.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        tried: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl SourceError {
    /// The file or folder it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing(path) | Self::BrokenLink(path) | Self::NotAFile(path) | Self::TooMany(path) => path,
            Self::TooLarge { path, .. } | Self::Io { path, .. } => path,
            Self::NotFetched(shown) => Path::new(&**shown),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::Missing(_) => write!(f, "{path}: no such file or folder; create it or correct the list's `source`"),
            Self::NotFetched(_) => write!(
                f,
                "{path}: not fetched yet; `qalqan fetch` with the list's name tries it now and says what is wrong"
            ),
            Self::BrokenLink(_) => write!(f, "{path}: a symbolic link that leads nowhere; mend or remove it"),
            Self::NotAFile(_) => write!(f, "{path}: neither a file nor a folder; a list is read from one of these"),
            Self::TooLarge { limit, .. } => {
                write!(f, "{path}: larger than {limit} bytes; raise the list's `max_size` if that is right")
            }
            Self::TooMany(_) => {
                write!(f, "{path}: more than {MAX_FILES} files; point `source` at the list's own folder")
            }
            Self::Io { tried, error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot {tried} {path}: {error}; let the user qalqan runs as read it")
            }
            Self::Io { tried, error, .. } => write!(f, "cannot {tried} {path}: {error}"),
        }
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The files of a list: the one file, or a folder's regular files sorted by name (symlinks
/// followed, subfolders not). A folder without files is a list without entries.
///
/// # Errors
/// The source cannot be looked at.
pub fn files(spec: &Spec) -> Result<Vec<SourceFile>, SourceError> {
    let path = &spec.source;
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if spec.fetched => SourceError::NotFetched(spec.shown.as_str().into()),
        io::ErrorKind::NotFound if is_there(path) => SourceError::BrokenLink(path.clone()),
        io::ErrorKind::NotFound => SourceError::Missing(path.clone()),
        _ => failed(path, "look at", error),
    })?;
    if meta.is_file() {
        return Ok(vec![SourceFile { path: path.clone(), shown: spec.shown.as_str().into() }]);
    }
    if !meta.is_dir() {
        return Err(SourceError::NotAFile(path.clone()));
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| failed(path, "list", error))? {
        let entry = entry.map_err(|error| failed(path, "list", error))?;
        let name = entry.file_name();
        let shown = name.to_string_lossy();
        if is_left_out(&shown, spec.format) || !is_regular(&entry.path()) {
            continue;
        }
        if found.len() == MAX_FILES {
            return Err(SourceError::TooMany(path.clone()));
        }
        let shown = format!("{}/{shown}", spec.shown.trim_end_matches('/'));
        found.push(SourceFile { path: entry.path(), shown: shown.into() });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The bytes of a file, at most `max_bytes` of them. Devices and pipes are never opened: they
/// would block or never end.
///
/// # Errors
/// The file is gone, too large, not a regular file, or the system refused.
pub fn read(spec: &Spec, file: &SourceFile) -> Result<Vec<u8>, SourceError> {
    let path = &file.path;
    let open = || {
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        File::open(path).map(Some)
    };
    let opened = open().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if is_there(path) => SourceError::BrokenLink(path.clone()),
        io::ErrorKind::NotFound => SourceError::Missing(path.clone()),
        _ => failed(path, "open", error),
    })?;
    let file = opened.ok_or_else(|| SourceError::NotAFile(path.clone()))?;
    // Once more on what was opened: the path may have been replaced in between.
    let meta = file.metadata().map_err(|error| failed(path, "look at", error))?;
    if !meta.is_file() {
        return Err(SourceError::NotAFile(path.clone()));
    }
    let too_large = || SourceError::TooLarge { path: path.clone(), limit: spec.max_bytes };
    if meta.len() > spec.max_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    let limit = spec.max_bytes.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(path, "read", error))?;
    if bytes.len() as u64 > spec.max_bytes {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Shorthand for [`SourceError::Io`].
fn failed(path: &Path, tried: &'static str, error: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), tried, error }
}

/// What editors, downloads and signatures leave in a folder; for order files, all but `*.toml`.
fn is_left_out(name: &str, format: Format) -> bool {
    const ENDINGS: [&str; 6] = ["~", ".swp", ".tmp", ".bak", ".part", ".minisig"];
    name.starts_with('.')
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || (format == Format::Orders && !name.ends_with(".toml"))
}

/// Whether `path` belongs to the list. A file removed a moment ago does not; what cannot be looked at does, since
/// leaving it out would lift what it blocks: [`read`] then says what is wrong with this one file.
fn is_regular(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.is_file(),
        Err(_) => is_there(path),
    }
}

/// The entry itself exists, though it may be a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Names a folder gives for `format`.
    fn listed(folder: &Path, format: Format) -> Vec<String> {
        let mut spec = Spec::new("test", folder.to_owned(), format);
        spec.shown = "lists/".into();
        let files = files(&spec).expect("a folder");
        files.iter().map(|file| file.shown.to_string()).collect()
    }

    #[test]
    fn a_folder_gives_its_lists_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.txt", "a.toml", ".hidden", "a.toml~", "x.swp", "x.tmp", "x.bak", "x.part", "x.minisig"] {
            fs::write(folder.path().join(name), "a.example").expect("a file");
        }
        fs::create_dir(folder.path().join("sub.toml")).expect("a folder");
        symlink("b.txt", folder.path().join("c.txt")).expect("a link");
        assert_eq!(listed(folder.path(), Format::Auto), ["lists/a.toml", "lists/b.txt", "lists/c.txt"]);
        assert_eq!(listed(folder.path(), Format::Orders), ["lists/a.toml"]);
        // A link that leads nowhere is told about when it is read; the rest of the folder goes on.
        symlink("gone", folder.path().join("d.txt")).expect("a link");
        assert_eq!(listed(folder.path(), Format::Auto), ["lists/a.toml", "lists/b.txt", "lists/c.txt", "lists/d.txt"]);
        let spec = Spec::new("test", folder.path().to_owned(), Format::Auto);
        let broken = files(&spec).expect("a folder").remove(3);
        assert!(matches!(read(&spec, &broken), Err(SourceError::BrokenLink(path)) if path.ends_with("d.txt")));
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        let mut spec = Spec::new("test", path.clone(), Format::Auto);
        assert!(matches!(files(&spec), Err(SourceError::Missing(_))));
        fs::write(&path, "a.example\n").expect("a file");
        let file = files(&spec).expect("a file").remove(0);
        assert_eq!(read(&spec, &file).ok().as_deref(), Some(&b"a.example\n"[..]));
        spec.max_bytes = 9;
        let error = read(&spec, &file).expect_err("too large");
        assert!(error.to_string().contains("list.txt") && error.to_string().contains("max_size"), "{error}");
        fs::remove_file(&path).expect("removed");
        assert!(matches!(read(&spec, &file), Err(SourceError::Missing(_))));
        symlink("nowhere", &path).expect("a link");
        assert!(matches!(files(&spec), Err(SourceError::BrokenLink(_))));
        let device = SourceFile { path: "/dev/zero".into(), shown: "zero".into() };
        assert!(matches!(read(&spec, &device), Err(SourceError::NotAFile(_))));
        let device = Spec::new("test", "/dev/null".into(), Format::Auto);
        assert!(matches!(files(&device), Err(SourceError::NotAFile(_))));
    }
}
