//! Popular names are asked for again before their time is over, so that nobody waits for them.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::cache::{Cache, Key};
use crate::name::Name;
use crate::upstream::{Ask, Reply, Upstream};
use crate::util::Now;
use crate::wire::{self, CLASS_IN, rcode};

use super::Engine;

/// How many may wait for their turn; what comes then is left to be asked for when its time is over.
pub(super) const QUEUE: usize = 256;
/// How many are asked for at once.
const AT_ONCE: usize = 32;

/// A name to be asked for again.
#[derive(Debug)]
pub struct Wanted {
    ask: Ask,
    excepted: bool,
}

impl Wanted {
    /// What stands under this key.
    pub(super) fn new(key: &Key<'_>) -> Self {
        let name = Name::from_wire(key.name).unwrap_or_else(Name::root);
        let Key { qtype, dnssec_ok, checking_disabled, excepted, .. } = *key;
        Self { ask: Ask { name, qtype, qclass: CLASS_IN, dnssec_ok, checking_disabled }, excepted }
    }

    /// Puts the answer into the cache, unless it is a failure, which leaves what there is.
    pub(super) fn keep(&self, reply: &Reply, cache: &Cache, epoch: u64) {
        let Self { ask, excepted } = self;
        let failed = reply.bytes.get(3).is_none_or(|byte| u16::from(byte & 0xf) == rcode::SERVFAIL);
        let tailored = wire::is_tailored(&reply.bytes);
        if failed || tailored || (!excepted && wire::targets(&reply.bytes, &mut |_| false).is_none()) {
            return;
        }
        let Ask { name, qtype, dnssec_ok, checking_disabled, .. } = ask;
        let key = Key {
            name: name.wire(),
            qtype: *qtype,
            dnssec_ok: *dnssec_ok,
            checking_disabled: *checking_disabled,
            excepted: *excepted,
        };
        cache.insert(&key, &reply.bytes, 0, epoch, Now::read().seconds());
    }
}

impl Engine {
    /// Asks again for what is wanted, for as long as the service runs.
    pub async fn refresh(self: Arc<Self>) {
        let Some(cache) = &self.cache else { return };
        let Some(mut wanted) = self.take_wanted() else { return };
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(wanted) = wanted.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // In this order: routes changed in between mean another epoch.
            let epoch = cache.epoch();
            let (cache, upstream) = (Arc::clone(cache), Arc::clone(&self.routes.load().upstream));
            tokio::spawn(async move {
                let _place = place;
                again(wanted, &cache, epoch, &upstream).await;
            });
        }
    }

    /// The receiving end, once.
    fn take_wanted(&self) -> Option<mpsc::Receiver<Wanted>> {
        self.wanted.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

/// Asks once. A failure leaves what there is; the names in the answer are checked when somebody asks for it.
async fn again(wanted: Wanted, cache: &Cache, epoch: u64, upstream: &Arc<Upstream>) {
    if let Ok(reply) = upstream.ask(wanted.ask.clone()).await {
        wanted.keep(&reply, cache, epoch);
    }
}
