//! What the server says of itself, made from settings: reads the cookie secrets, names the encrypted listeners.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::event::Transport;
use crate::local::Designated;
use crate::name::Name;
use crate::policy::Host;
use crate::serve::Certificates;
use crate::wire::{Cookies, Secret};

/// A larger file holds no two secrets.
const MAX_FILE: u64 = 4096;

/// Why cookies cannot be made with the secrets of a file.
#[derive(Debug)]
pub enum SecretError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A line is no secret.
    Line(PathBuf, usize),
    /// There is none in it, or more than two.
    Count(PathBuf, usize),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: cannot read the cookie secrets: {error}", path.display()),
            Self::Line(path, line) => {
                let make = "make one with `openssl rand -hex 16`";
                write!(f, "{}:{line}:1: a cookie secret is 32 hexadecimal digits on a line; {make}", path.display())
            }
            Self::Count(path, count) => write!(
                f,
                "{}: {count} cookie secrets: one is needed, that cookies are made with, and perhaps a second that is good too",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SecretError {}

/// Makes it; `idle` is how long the listeners keep idle connections.
pub(super) fn host(settings: &Settings, idle: Duration) -> Result<Arc<Host>, SecretError> {
    let cookies = settings.host.cookies.then(|| match &settings.host.cookie_secret_file {
        Some(path) => read(path),
        None => Ok(Cookies::new(Secret::of_this_process(), None)),
    });
    Ok(Arc::new(Host::new(&settings.host, cookies.transpose()?, idle)))
}

/// Reads one or two secrets, a line each; empty lines and those that start with `#` are nothing.
fn read(path: &Path) -> Result<Cookies, SecretError> {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    file.map_err(|error| SecretError::Unreadable(path.to_owned(), error))?;
    let mut secrets = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            secrets.push(Secret::parse(line).ok_or_else(|| SecretError::Line(path.to_owned(), at + 1))?);
        }
    }
    match secrets[..] {
        [current] => Ok(Cookies::new(current, None)),
        [current, other] => Ok(Cookies::new(current, Some(other))),
        _ => Err(SecretError::Count(path.to_owned(), secrets.len())),
    }
}

/// The encrypted listeners at their addresses, as clients shall know them: by the name set, else by the first that the
/// certificate has.
pub(super) fn designated(
    settings: &Settings,
    bound: &[(Transport, SocketAddr)],
    certificates: Option<&Certificates>,
) -> Option<Designated> {
    let tls = settings.server.tls.as_ref()?;
    let names = certificates.map(|certificates| certificates.leaf().names).unwrap_or_default();
    let mut names = names.iter().filter(|name| !name.starts_with('*')).filter_map(|name| Name::parse(name).ok());
    let of = |transport| bound.iter().filter(|(of, _)| *of == transport).map(|&(_, address)| address).collect();
    Some(Designated {
        name: tls.name.clone().or_else(|| names.next()),
        dot: of(Transport::Dot),
        doh: of(Transport::Doh),
        doh3: of(Transport::Doh3),
        doq: of(Transport::Doq),
        doh_path: tls.doh_path.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_and_what_is_wrong_has_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets");
        let take = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let shown = |error: SecretError| error.to_string().replace(&path.display().to_string(), "secrets");
            read(&path).map_err(shown)
        };
        let (one, two) = ("e5e973e5a6b2a43f48e7dc849e37bfcf", "445536BCD2513298075a5d379663c962");
        let secret = |text| Secret::parse(text).expect("a secret");
        assert_eq!(take(one), Ok(Cookies::new(secret(one), None)));
        let both = Ok(Cookies::new(secret(one), Some(secret(two))));
        assert_eq!(take(&format!("# since March\r\n{one}\n\n  {two}  \n")), both);
        assert!(
            take(&format!("{one}\n{one}a")).is_err_and(|why| why.starts_with("secrets:2:1: a cookie secret is 32"))
        );
        assert!(take("# none yet\n").is_err_and(|why| why.starts_with("secrets: 0 cookie secrets")));
        assert!(take(&format!("{one}\n{two}\n{one}\n")).is_err_and(|why| why.starts_with("secrets: 3 cookie")));
        std::fs::remove_file(&path).expect("removed");
        assert!(read(&path).is_err_and(|why| why.to_string().contains("cannot read the cookie secrets")));
    }
}
