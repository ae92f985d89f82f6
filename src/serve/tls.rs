//! The certificate that encrypted listeners show; read again when its files change, without a new listener.

mod greeter;
mod handshakes;

pub(super) use greeter::Greeter;
pub(super) use handshakes::Handshakes;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use crate::util::Handover;

/// Why a certificate cannot be shown.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read, or has no PEM of the kind wanted.
    Unreadable(PathBuf, String),
    /// Key and certificate do not belong together, or are of a kind rustls does not know.
    Unusable(PathBuf, String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, reason) => write!(f, "[tls] cannot read {}: {reason}", path.display()),
            Self::Unusable(path, reason) => write!(f, "[tls] cannot use the certificate {}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for TlsError {}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificates {
    current: Arc<Handover<CertifiedKey>>,
    tickets: Arc<dyn ProducesTickets>,
}

/// Shows what is current at each handshake.
#[derive(Debug)]
struct Shown(Arc<Handover<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load())
    }
}

impl Certificates {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Handover::new(Arc::new(read(certificate, key)?));
        let no_tickets = |error: rustls::Error| TlsError::Unusable(key.into(), error.to_string());
        Ok(Self { current, tickets: aws_lc_rs::Ticketer::new().map_err(no_tickets)? })
    }

    /// Reads them again; handshakes from now on show what is there now.
    ///
    /// # Errors
    /// See [`TlsError`]; the certificate stays as it was.
    pub fn reread(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        self.current.publish(Arc::new(read(certificate, key)?));
        Ok(())
    }

    /// What a listener that speaks `protocols` (ALPN) needs. Without 0-RTT: whoever recorded it could send it again.
    pub fn server(&self, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(Arc::clone(&self.current))));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.max_early_data_size = 0;
        // Who comes again saves both sides the signature; the server keeps nothing for it but a key that changes.
        config.ticketer = Arc::clone(&self.tickets);
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

/// Both files.
fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| TlsError::Unreadable(path, error.to_string())
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Unreadable(certificate.into(), "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let unusable = |error: rustls::Error| TlsError::Unusable(certificate.into(), error.to_string());
    let pair = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(unusable)?;
    pair.keys_match().map_err(unusable)?;
    Ok(pair)
}
