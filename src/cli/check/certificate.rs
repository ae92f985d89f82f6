//! The certificate of encrypted listeners, as `check` tells of it.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::cli::output::{Plain, Style, counted};
use crate::config::Settings;
use crate::serve::{Certificates, TlsError};
use crate::util::UnixTime;

/// What is shown to clients.
#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    file: String,
    names: Vec<String>,
    /// The name clients are to check.
    name: String,
    valid_until: String,
    /// Negative once it has expired.
    days_left: i64,
    /// SHA-256 of its key, base64.
    pin: String,
    /// What somebody should do about it.
    pub(super) remark: Option<String>,
}

/// Reads it; `None`: nothing is to be encrypted.
///
/// # Errors
/// A server would not start.
pub(super) fn read(settings: &Settings, now: UnixTime) -> Result<Option<Certificate>, TlsError> {
    let Some(tls) = &settings.server.tls else { return Ok(None) };
    let leaf = Certificates::read(&tls.certificate, &tls.key)?.leaf();
    let name =
        tls.name.as_ref().map(ToString::to_string).or_else(|| leaf.name().map(str::to_owned)).unwrap_or_default();
    let covered = leaf.names.is_empty() || leaf.names.iter().any(|pattern| covers(pattern, &name));
    let other = (!covered).then(|| format!("the certificate is not for {name}, which [tls] name says clients check"));
    Ok(Some(Certificate {
        file: tls.certificate.display().to_string(),
        name,
        valid_until: leaf.until.to_string(),
        days_left: leaf.days(now),
        remark: leaf.remark(now).or(other),
        pin: leaf.pin,
        names: leaf.names,
    }))
}

/// Whether a name in a certificate is `name`, or a wildcard right above it (RFC 9525).
fn covers(pattern: &str, name: &str) -> bool {
    let above = |pattern: &str| name.split_once('.').is_some_and(|(_, above)| above.eq_ignore_ascii_case(pattern));
    pattern.eq_ignore_ascii_case(name) || pattern.strip_prefix("*.").is_some_and(above)
}

impl Certificate {
    /// One line, and what is to be done.
    pub(super) fn show(&self, to: &mut String, style: Style) -> fmt::Result {
        let Self { file, names, valid_until, days_left, remark, .. } = self;
        let names = if names.is_empty() { "no DNS name".into() } else { names.join(", ") };
        let left = if *days_left < 0 { "over".into() } else { counted(days_left.unsigned_abs(), "day") };
        writeln!(to, "tls     {} for {}, until {valid_until} ({left})", Plain(file), Plain(&names))?;
        match remark {
            Some(remark) => writeln!(to, "        {}", style.bad(Plain(remark))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("dns.example", "DNS.example") && covers("*.dns.example", "kids.dns.example"));
        assert!(!covers("*.dns.example", "dns.example") && !covers("*.dns.example", "a.b.dns.example"));
        assert!(!covers("dns.example", "kids.dns.example"));
    }
}
