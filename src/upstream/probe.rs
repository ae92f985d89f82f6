//! Servers that were put aside are asked something harmless until they answer, so that no client's query has to try.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::race::{Remote, is_good};
use super::{Trouble, Wish};

/// A probe is sent after this share of the time aside, in hundredths: drawn anew each time, so that servers that failed
/// together are not asked together, and always before a client's query would be let through.
const SHARE: (u64, u64) = (60, 90);

/// Watches over a server that has just been put aside. Ends with it, or when the server is used again.
pub(super) fn start(remote: &Arc<Remote>, probe: &Wish, patience: Duration) {
    let (remote, probe) = (Arc::downgrade(remote), probe.clone());
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            while let Some(wait) = remote.upgrade().and_then(|remote| remote.next_probe(draw())) {
                sleep(wait).await;
                if !once(&remote, &probe, patience).await {
                    break;
                }
            }
            if let Some(remote) = remote.upgrade() {
                remote.probe_over();
            }
        });
    }
}

/// One probe; whether there is to be another.
async fn once(remote: &Weak<Remote>, probe: &Wish, patience: Duration) -> bool {
    let Some(remote) = remote.upgrade() else { return false };
    if !remote.is_aside() {
        return false;
    }
    let sent = Instant::now();
    let result = timeout(patience, remote.probe(probe)).await.unwrap_or(Err(Trouble::Silent));
    let now = Instant::now();
    match result {
        Ok(got) if is_good(&got) => {
            remote.recovered(got.took.unwrap_or_else(|| now.saturating_duration_since(sent)), now);
            false
        }
        // It answers, if with an error: a probe can say no more, a client's query may.
        Ok(_) | Err(Trouble::Bare(_) | Trouble::Garbled | Trouble::OtherCase | Trouble::Attacked) => false,
        Err(Trouble::Silent | Trouble::Unreachable | Trouble::Untrusted) => {
            remote.still_down(sent, now);
            true
        }
    }
}

/// A number within [`SHARE`]; chance, not secrecy.
fn draw() -> u64 {
    SHARE.0 + RandomState::new().hash_one(()) % (SHARE.1 - SHARE.0 + 1)
}
