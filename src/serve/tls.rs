//! The certificate that encrypted listeners show; read again when its files change, without a new listener.

mod greeter;
mod handshakes;
mod leaf;

pub(super) use greeter::Greeter;
pub(super) use handshakes::Handshakes;
pub use leaf::{Leaf, Standing};

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use crate::util::{Digest, Handover};

/// Larger files are no certificates.
const MAX_FILE: u64 = 1 << 20;

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    current: Arc<Handover<Pair>>,
    tickets: Arc<dyn ProducesTickets>,
    /// What is wrong with the files as they are now.
    trouble: Mutex<Option<TlsError>>,
}

/// A certificate with its key.
#[derive(Debug)]
struct Pair {
    key: Arc<CertifiedKey>,
    leaf: Leaf,
    /// Of both files.
    content: [Digest; 2],
}

/// Shows what is current at each handshake.
#[derive(Debug)]
struct Shown(Arc<Handover<Pair>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

/// What came of reading again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reread {
    /// The files are what is shown, or as broken as the last time.
    Same,
    /// Handshakes from now on show what is there now.
    New,
    /// What is there cannot be used; what was shown still is.
    Broken(TlsError),
}

impl Certificates {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let pair = Pair::read(certificate, key)?;
        let tickets = aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Unusable(key.into(), error.to_string()))?;
        Ok(Self { current: Handover::new(Arc::new(pair)), tickets, trouble: Mutex::default() })
    }

    /// Reads them again.
    pub fn reread(&self, certificate: &Path, key: &Path) -> Reread {
        let read = Pair::read(certificate, key);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *trouble, read.as_ref().err().cloned());
        match read {
            Ok(pair) if pair.content == self.current.load().content => Reread::Same,
            Ok(pair) => {
                self.current.publish(Arc::new(pair));
                Reread::New
            }
            Err(error) if before.as_ref() == Some(&error) => Reread::Same,
            Err(error) => Reread::Broken(error),
        }
    }

    /// What the certificate shown says of itself.
    pub fn leaf(&self) -> Leaf {
        self.current.load().leaf.clone()
    }

    /// The files cannot be used as they are now.
    pub fn is_broken(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What a listener that speaks `protocols` (ALPN) needs. Without 0-RTT: whoever recorded it could send it again.
    ///
    /// # Errors
    /// None that is known of: the cryptography compiled in has all that TLS needs.
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

impl Pair {
    /// Reads both files.
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let [chain_text, key_text] = [certificate, key]
            .map(|path| read_file(path).map_err(|error| TlsError::Unreadable(path.into(), error.to_string())));
        let (chain_text, key_text) = (chain_text?, key_text?);
        let no_pem = |path: &Path, wanted: &str, error: pem::Error| {
            let reason = match error {
                pem::Error::NoItemsFound => format!("there is no {wanted} in it"),
                pem::Error::MissingSectionEnd { end_marker } => {
                    format!("the end of {} is missing", String::from_utf8_lossy(&end_marker))
                }
                pem::Error::IllegalSectionStart { line } => {
                    format!("this is no PEM: {}", String::from_utf8_lossy(&line).escape_debug())
                }
                error => error.to_string(),
            };
            TlsError::Unreadable(path.into(), reason)
        };
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&chain_text).collect();
        let chain = chain.map_err(|error| no_pem(certificate, "certificate", error))?;
        let Some(leaf) = chain.first() else {
            return Err(no_pem(certificate, "certificate", pem::Error::NoItemsFound));
        };
        let leaf = Leaf::read(leaf).map_err(|error| TlsError::Unusable(certificate.into(), error.to_string()))?;
        let private = PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| no_pem(key, "private key", error))?;
        let unusable = |error: rustls::Error| {
            let reason = match error {
                rustls::Error::InconsistentKeys(_) => format!("its key is another than the one in {}", key.display()),
                error => error.to_string(),
            };
            TlsError::Unusable(certificate.into(), reason)
        };
        let pair = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(unusable)?;
        pair.keys_match().map_err(unusable)?;
        Ok(Self { key: Arc::new(pair), leaf, content: [Digest::of(&chain_text), Digest::of(&key_text)] })
    }
}

/// The bytes of a file of sensible size.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a certificate or key")),
        false => Ok(bytes),
    }
}
