//! The task that sends and receives for everybody.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::net::Epoll;

use super::Shared;
use super::state::Tools;

/// How often sockets that have served their time are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Rounds of reading before others have a turn.
const ROUNDS: usize = 4;

/// Starts the task on the current runtime. If that is not possible, all questions fail, and the next one tries again.
pub(super) fn start(shared: &Arc<Shared>) {
    let running = Running(Arc::clone(shared));
    let ready = Epoll::new().and_then(Epoll::watch);
    match ready {
        Ok(ready) => _ = tokio::spawn(drive(running, ready)),
        Err(error) => tracing::error!(%error, "upstream servers cannot be asked over UDP"),
    }
}

/// Dropped with the task, however it ends; nobody must wait for it then.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut woken = Vec::new();
        {
            let mut state = self.0.lock();
            state.fail_all();
            state.swap_woken(&mut woken);
        }
        for waker in woken {
            waker.wake();
        }
    }
}

/// Sends and receives until the last handle is gone.
async fn drive(running: Running, ready: AsyncFd<Epoll>) {
    let shared = &running.0;
    let start = Instant::now();
    let mut tools = Tools::default();
    let mut woken = Vec::new();
    let mut alarm = pin!(sleep_until(start + SWEEP));
    let mut swept = start;
    poll_fn(|cx| {
        for _ in 0..ROUNDS {
            let readable = match ready.poll_read_ready(cx) {
                Poll::Ready(Ok(readable)) => Some(readable),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => None,
            };
            let again = readable.is_some();
            let now = Instant::now();
            let mut state = shared.lock();
            if state.closed {
                return Poll::Ready(());
            }
            if let Some(mut readable) = readable
                && !state.receive(ready.get_ref(), &mut tools)
            {
                // What comes after this makes it ready anew.
                readable.clear_ready();
            }
            let millis = |moment: Instant| (moment - start).as_millis() as u64;
            let more_at = state.send(ready.get_ref(), &mut tools, millis(now));
            let mut wake_at = more_at.map(|at| start + Duration::from_millis(at));
            if now >= swept + SWEEP {
                swept = now;
                state.sweep(millis(now));
            }
            if !again {
                state.set_driver(cx.waker());
            }
            state.swap_woken(&mut woken);
            drop(state);
            for waker in woken.drain(..) {
                waker.wake();
            }
            if again {
                continue;
            }
            wake_at = Some(wake_at.unwrap_or(swept + SWEEP).min(swept + SWEEP));
            if let Some(at) = wake_at.filter(|&at| at != alarm.deadline()) {
                alarm.as_mut().reset(at);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
