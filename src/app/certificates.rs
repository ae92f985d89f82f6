//! Keeps the certificate shown equal to its files, and says in the log what somebody should do about it.

use std::sync::Arc;

use crate::serve::{Certificates, Reread, Standing, TlsSettings};
use crate::util::UnixTime;

/// Reads again, and remembers what it has said.
pub struct Keeper {
    certificates: Arc<Certificates>,
    said: Standing,
}

impl Keeper {
    /// Nothing said yet.
    pub fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, said: Standing::Good }
    }

    /// Looks at the files. What is wrong is said once, or again when somebody `asked`.
    pub fn reread(&mut self, tls: &TlsSettings, asked: bool, now: UnixTime) {
        let path = tls.certificate.display();
        match self.certificates.reread(&tls.certificate, &tls.key) {
            Reread::New => {
                let days = self.certificates.leaf().days(now);
                tracing::info!("a new certificate is shown from now on: {path}, valid for {days} more days");
                self.said = Standing::Good;
            }
            Reread::Broken(error) => {
                tracing::error!(
                    "{error}; the last good certificate is shown until it can be used, but not after a restart"
                );
            }
            Reread::Same if asked && self.certificates.is_broken() => {
                tracing::error!("the files of the certificate {path} cannot be used; the last good one is shown");
            }
            Reread::Same => {}
        }
        let leaf = self.certificates.leaf();
        let standing = leaf.standing(now);
        if (standing != self.said || asked)
            && let Some(remark) = leaf.remark(now)
        {
            match standing {
                Standing::Expired => tracing::error!("{path}: {remark}"),
                _ => tracing::warn!("{path}: {remark}"),
            }
        }
        self.said = standing;
    }
}
