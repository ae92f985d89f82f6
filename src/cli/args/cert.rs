//! The arguments of `cert`.

use std::path::PathBuf;

use clap::Args;

/// Shown by `cert --help`.
pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  qalqan cert                              for localhost, into ./tls
  qalqan cert --name dns.example --name 192.0.2.53 --out /etc/qalqan/tls

It prints what to put into the configuration, a command to try it with, and what clients can pin. The key can be read by
its owner only: have the server's user own it. For clients that are not yours to configure take a certificate that
somebody vouches for (ACME).

Exit status: 0 made, 2 not made; files that are there are never written over.";

/// What `cert` is told.
#[derive(Debug, Args)]
pub(in crate::cli) struct CertArgs {
    /// A name or an IP address by which clients know the server; may be repeated [default: localhost]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Vec<String>,
    /// Folder for cert.pem and key.pem
    #[arg(long, value_name = "DIR", default_value = "tls")]
    pub(in crate::cli) out: PathBuf,
}
