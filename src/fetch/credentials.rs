//! Files the configuration names for TLS and authorization, read anew for each fetch so that they can be renewed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::Settings;
use super::error::FetchError;

/// A larger file holds neither certificates nor a token.
const MAX_FILE: u64 = 4 << 20;
/// A longer token is none.
const MAX_TOKEN: usize = 8 << 10;

/// Where all cryptography of TLS comes from.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// Whom TLS trusts, and who we are.
pub(super) fn tls(settings: &Settings) -> Result<TlsConfig, FetchError> {
    let client = settings.client.as_ref().map(|(certificate, key)| client(certificate, key)).transpose()?;
    trusting(settings.ca_file.as_deref(), client)
}

/// The same without who we are.
pub(super) fn trust(ca_file: Option<&Path>) -> Result<TlsConfig, FetchError> {
    trusting(ca_file, None)
}

/// Trusts the authorities of a file, or those of Mozilla.
fn trusting(ca_file: Option<&Path>, client: Option<ClientCert>) -> Result<TlsConfig, FetchError> {
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider()).client_cert(client);
    if let Some(path) = ca_file {
        tls = tls.root_certs(RootCerts::Specific(Arc::new(authorities(path)?)));
    }
    Ok(tls.build())
}

/// One line of printable ASCII from a file: a password, a key.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn secret(key: &'static str, path: &Path) -> Result<String, FetchError> {
    let wrong = |why: &str| FetchError::File { key, path: path.to_owned(), why: why.to_owned() };
    let bytes = read(key, path)?;
    let text = str::from_utf8(&bytes).map_err(|_| wrong("it is not even text"))?.trim();
    if text.is_empty() {
        return Err(wrong("the file is empty"));
    }
    if text.len() > MAX_TOKEN || text.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(wrong("it must hold one line of printable ASCII"));
    }
    Ok(text.to_owned())
}

/// The value of `Authorization`: a token is a bearer's, unless the file says how it is to be used.
pub(super) fn authorization(settings: &Settings) -> Result<Option<String>, FetchError> {
    let Some(path) = &settings.token_file else { return Ok(None) };
    let wrong = |why: &str| FetchError::File { key: "token_file", path: path.clone(), why: why.to_owned() };
    let bytes = read("token_file", path)?;
    let token = str::from_utf8(&bytes).map_err(|_| wrong("this is no token; it is not even text"))?.trim();
    if token.is_empty() {
        return Err(wrong("the file is empty; write the token into it"));
    }
    if token.len() > MAX_TOKEN || token.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(wrong("a token is one line of printable ASCII"));
    }
    let has_scheme = token.split_once(' ').is_some();
    Ok(Some(if has_scheme { token.to_owned() } else { format!("Bearer {token}") }))
}

/// The certificates of `ca_file`.
fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, FetchError> {
    let wrong = |why: &str| FetchError::File { key: "ca_file", path: path.to_owned(), why: why.to_owned() };
    let chain = certificates(&read("ca_file", path)?).ok_or_else(|| wrong("not PEM; convert it with openssl x509"))?;
    let mut store = RootCertStore::empty();
    let (used, _) = store.add_parsable_certificates(chain.iter().cloned());
    if used == 0 {
        return Err(wrong("no usable certificate in it; it must hold -----BEGIN CERTIFICATE-----"));
    }
    Ok(chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

/// `client_certificate` and `client_key`.
fn client(certificate: &Path, key: &Path) -> Result<ClientCert, FetchError> {
    let wrong =
        |name, path: &Path, why: &str| FetchError::File { key: name, path: path.to_owned(), why: why.to_owned() };
    let chain = certificates(&read("client_certificate", certificate)?).filter(|chain| !chain.is_empty());
    let no_chain = "no certificate in it; it must hold -----BEGIN CERTIFICATE-----";
    let chain = chain.ok_or_else(|| wrong("client_certificate", certificate, no_chain))?;
    let pem = read("client_key", key)?;
    let no_key = "no private key in it; it must hold -----BEGIN PRIVATE KEY-----, without a password";
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong("client_key", key, no_key))?;
    // The HTTP client takes for granted that this works.
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(chain.clone(), der)
        })
        .map_err(|error| wrong("client_key", key, &format!("it does not fit `client_certificate`: {error}")))?;
    let private = PrivateKey::from_pem(&pem).map_err(|_| wrong("client_key", key, no_key))?;
    let chain: Vec<Certificate<'static>> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// All certificates of a PEM file; `None` where it is none.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()
}

/// A small regular file.
fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FetchError> {
    let wrong = |why: String| FetchError::File { key, path: path.to_owned(), why };
    let cannot = |error: std::io::Error| wrong(format!("{error}; it must be readable for the user qalqan runs as"));
    let meta = fs::metadata(path).map_err(cannot)?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(wrong("not a small regular file".into()));
    }
    fs::read(path).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::settings;

    #[test]
    fn tokens_are_bearers_unless_they_say_otherwise() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let settings = Settings { token_file: Some(path.clone()), ..settings("https://lists.example/a") };
        assert!(authorization(&settings).expect_err("no file").to_string().contains("token_file"));
        for (text, sent) in [("abc\n", "Bearer abc"), ("Basic dTpw", "Basic dTpw")] {
            fs::write(&path, text).expect("written");
            assert_eq!(authorization(&settings).expect("a token").as_deref(), Some(sent));
        }
        for text in ["", "\n", "a\r\nHost: b", "токен"] {
            fs::write(&path, text).expect("written");
            let error = authorization(&settings).expect_err("no token").to_string();
            assert!(text.trim().is_empty() || !error.contains(text.trim()), "{error}");
        }
    }

    #[test]
    fn files_that_do_not_fit_say_so_before_anybody_connects() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
        let (one, other) = (made("one"), made("other"));
        let base = settings("https://lists.example/a");
        let error = |settings: Settings| tls(&settings).map(drop).expect_err("unusable").to_string();
        let empty = write("empty.pem", "nothing here");
        assert!(error(Settings { ca_file: Some(empty.clone()), ..base.clone() }).contains("no usable certificate"));
        let certificate = write("one.pem", &one.cert.pem());
        let key = write("one.key", &one.signing_key.serialize_pem());
        let wrong = write("other.key", &other.signing_key.serialize_pem());
        let pair = |certificate: &Path, key: &Path| Settings {
            client: Some((certificate.to_owned(), key.to_owned())),
            ..base.clone()
        };
        assert!(error(pair(&certificate, &wrong)).contains("does not fit"));
        assert!(error(pair(&certificate, &empty)).contains("no private key"));
        assert!(error(pair(&empty, &key)).contains("no certificate"));
        assert!(error(pair(&certificate, dir.path())).contains("regular file"));
        assert!(tls(&pair(&certificate, &key)).is_ok());
        assert!(tls(&Settings { ca_file: Some(certificate), ..base }).is_ok());
    }
}
