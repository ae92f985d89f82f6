//! Whom a server must be: its certificate by a known authority and for its name, its key by a pin.
//!
//! A name is always checked, against the authorities browsers know or those of `ca_file`. A pin is checked beside it;
//! it decides alone only where the operator gave an address, a pin and no name (the key-pinned profile of RFC 7858
//! section 4.2): then neither authority nor dates matter, the key does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version};

use super::UpstreamError;
use super::server::Secure;
use crate::util::Digest;

/// Authorities that may vouch for servers.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Those of a PEM file, and no others; without a file those that browsers know.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, UpstreamError> {
        let Some(path) = file else {
            return Ok(Self(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())));
        };
        let bad = |reason: String| UpstreamError::Authorities { path: PathBuf::from(path), reason };
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| bad(error.to_string()))?;
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if store.is_empty() { Err(bad("there is no certificate in it".into())) } else { Ok(Self(Arc::new(store))) }
    }
}

/// What makes connections to one server safe, and what was wrong with the last certificate it showed.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// For handshakes. No 0-RTT: whoever recorded it could send it again.
    pub(super) config: Arc<ClientConfig>,
    /// Whom to ask for in the handshake.
    pub(super) name: ServerName<'static>,
    verifier: Arc<Verifier>,
}

impl Trust {
    /// For a server that is called so; `fallback` is asked for where a pin decides alone.
    pub(super) fn new(secure: &Secure, fallback: ServerName<'static>, known: &Authorities) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let name = secure.name.as_ref().map(|name| ServerName::try_from(name.clone()));
        let name = name.transpose().map_err(|_| Error::General("this is no name for a certificate".into()))?;
        let authorities = match &name {
            None => None,
            Some(_) => {
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&known.0), Arc::clone(&provider));
                Some(builder.build().map_err(|error| Error::General(error.to_string()))?)
            }
        };
        let verifier = Arc::new(Verifier {
            authorities,
            pins: secure.pins.clone(),
            provider: Arc::clone(&provider),
            refused: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![secure.protocol.alpn().to_vec()];
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config), name: name.unwrap_or(fallback), verifier })
    }

    /// Why the last handshake failed, if it was the certificate; forgets it.
    pub(super) fn refused(&self) -> Option<String> {
        self.verifier.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Checks names by authorities, and keys by pins. QUIC hides what a handshake failed of, so it is kept here.
struct Verifier {
    /// None: the pins decide.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Digest>,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<String>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Both checks.
    fn check(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), String> {
        if let Some(authorities) = &self.authorities {
            let checked = authorities.verify_server_cert(end, others, name, ocsp, now);
            checked.map_err(|error| wording(&error))?;
        }
        if self.pins.is_empty() {
            // Nothing is to be checked only if the configuration let through what it must not.
            return if self.authorities.is_some() { Ok(()) } else { Err("neither name nor pin to check it by".into()) };
        }
        let key = ParsedCertificate::try_from(end).map_err(|error| wording(&error))?.subject_public_key_info();
        let found = Digest::of(key.as_ref());
        if self.pins.contains(&found) {
            return Ok(());
        }
        Err(format!("its key is none of those pinned; it is sha256:{}", BASE64.encode(&found.0)))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end, others, name, ocsp, now).map(|()| ServerCertVerified::assertion()).map_err(|reason| {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, for the operator.
fn wording(error: &Error) -> String {
    let Error::InvalidCertificate(what) = error else { return error.to_string() };
    match what {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is this host's clock right?".into()
        }
        CertificateError::UnknownIssuer => {
            "no known authority stands for it; name its authority in [upstream] ca_file, or pin its key".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // As in `DnsName("dns.example")`.
            let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let presented: Vec<_> = presented.iter().map(bare).collect();
            format!("it is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        CertificateError::BadSignature => "it was not signed by the authority it names".into(),
        other => other.to_string(),
    }
}
