//! `cert`: a certificate for trying, signed by itself.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Span, Zoned};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::Exit;
use super::args::CertArgs;
use super::output::{self, complain};
use crate::name::Name;
use crate::serve::Certificates;

/// How long it is valid.
const DAYS: i64 = 365;
/// The files.
const FILES: [&str; 2] = ["cert.pem", "key.pem"];

/// Why there is no certificate.
#[derive(Debug)]
enum CertError {
    /// Neither a domain name nor an address.
    Name(String),
    /// A file of that name is there.
    Exists(PathBuf),
    /// A file cannot be written.
    Write(PathBuf, io::Error),
    /// Anything else.
    Made(String),
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?} is neither a domain name nor an IP address"),
            Self::Exists(path) => {
                write!(
                    f,
                    "{} is there already and is left as it is; move it away, or name another folder with --out",
                    path.display()
                )
            }
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Made(reason) => write!(f, "cannot make a certificate: {reason}"),
        }
    }
}

impl std::error::Error for CertError {}

/// Runs the verb.
pub(super) fn run(args: &CertArgs) -> Exit {
    match make(args) {
        Ok(text) => output::print(&text, Exit::Fine),
        Err(error) => complain(&error),
    }
}

/// Makes both files, and says what to do with them.
fn make(args: &CertArgs) -> Result<String, CertError> {
    let names = names(&args.name)?;
    let folder = std::path::absolute(&args.out).map_err(|error| CertError::Write(args.out.clone(), error))?;
    let [certificate, key] = FILES.map(|file| folder.join(file));
    if let Some(there) = [&certificate, &key].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CertError::Exists(there.clone()));
    }
    let (certificate_pem, key_pem) = pair(&names, Zoned::now().date())?;
    fs::create_dir_all(&folder).map_err(|error| CertError::Write(folder.clone(), error))?;
    write(&key, key_pem.as_bytes(), 0o600)?;
    write(&certificate, certificate_pem.as_bytes(), 0o644)?;
    // As a server would, so that it is known to be usable.
    let read = Certificates::read(&certificate, &key).map_err(|error| CertError::Made(error.to_string()))?;
    let name = args.name.first().map_or("localhost", String::as_str);
    Ok(told(&certificate, &key, name, &read.leaf().pin))
}

/// What to do with it.
fn told(certificate: &Path, key: &Path, name: &str, pin: &str) -> String {
    let (shown, key_shown) = (certificate.display(), key.display());
    format!(
        "wrote {shown}\n  and {key_shown}\n\
         for {name}, valid for {DAYS} days. Nobody vouches for it: it is for trying, or for clients that are given it.\n\n\
         A file has one section [tls]; the shipped one has it, these lines go there.\n\n\
         In config.toml:\n\n  \
         [tls]\n  certificate = {certificate:?}\n  key = {key:?}\n  dot = [\"127.0.0.1:8853\"]\n  \
         doh = [\"127.0.0.1:8443\"]\n  doh3 = [\"127.0.0.1:8443\"]\n  doq = [\"127.0.0.1:8853\"]\n\n\
         Then, with the server running:\n\n  \
         kdig @127.0.0.1 -p 8853 +tls-ca={shown} +tls-hostname={name} example.com\n\n\
         What clients pin (SHA-256 of the public key): {pin}\n  \
         kdig @127.0.0.1 -p 8853 +tls-pin={pin} example.com\n"
    )
}

/// The names it is for: those given and what is below each, this host by its loopback addresses.
fn names(given: &[String]) -> Result<Vec<String>, CertError> {
    let mut names = Vec::new();
    for text in given {
        if text.parse::<IpAddr>().is_ok() {
            names.push(text.clone());
            continue;
        }
        let name = Name::parse(text).map_err(|_| CertError::Name(text.clone()))?.to_string();
        // Clients of groups use a label of their own in front.
        let below = format!("*.{name}");
        names.extend([name, below]);
    }
    names.push("localhost".into());
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|ip| ip.to_string()));
    Ok(names)
}

/// Certificate and key, PEM. Valid from the day before, as clocks differ.
fn pair(names: &[String], today: Date) -> Result<(String, String), CertError> {
    let made = |error: rcgen::Error| CertError::Made(error.to_string());
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(name.clone());
        }
    }
    let mut params = CertificateParams::new(seen).map_err(made)?;
    params.distinguished_name.push(DnType::CommonName, "qalqan, for trying");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let day = |days: i64| {
        let date = today.saturating_add(Span::new().days(days));
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(DAYS));
    let key = KeyPair::generate().map_err(made)?;
    let certificate = params.self_signed(&key).map_err(made)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a new file; never one that is there.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => CertError::Exists(path.into()),
        _ => CertError::Write(path.into(), error),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
