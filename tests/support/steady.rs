//! Somebody who asks the same all the time, so that no gap goes unseen.
#![allow(dead_code)] // Each test uses its own part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Ask, Reply, Udp, rtype};

/// How long it waits between an answer and the next query.
const PAUSE: Duration = Duration::from_millis(2);

/// The asker; it must be told to stop, and then says what it saw.
pub struct Steady {
    name: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Steady {
    /// Asks for the address of `name`; every answer must be exactly `address`.
    pub fn expect(server: SocketAddr, name: &str, address: &str) -> Self {
        let address = address.to_owned();
        Self::judge(server, name, move |reply| reply.is_address(&address))
    }

    /// Asks for the address of `name`; every answer must be `good`.
    pub fn judge(server: SocketAddr, name: &str, good: impl Fn(&Reply) -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (stopped, count, asked) = (Arc::clone(&stop), Arc::clone(&answered), name.to_owned());
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let socket = Udp::to(server);
            let mut wrong = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match socket.ask(&Ask::new(&asked, rtype::A)) {
                    Some(reply) if good(&reply) => {}
                    Some(reply) => wrong.push(format!("after {:?}: {reply:?}", started.elapsed())),
                    None => wrong.push(format!("after {:?}: no answer", started.elapsed())),
                }
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            wrong
        });
        let steady = Self { name: name.into(), stop, answered, thread: Some(thread) };
        steady.more(1);
        steady
    }

    /// Waits until so many more queries have been answered, one way or other.
    pub fn more(&self, queries: usize) {
        let until = self.answered.load(Ordering::Relaxed) + queries;
        while self.answered.load(Ordering::Relaxed) < until {
            thread::sleep(PAUSE);
        }
    }

    /// Ends it after a few more queries; every answer must have been right.
    pub fn was_never_wrong(self) {
        self.was_wrong_only_by(|_| false);
    }

    /// Ends it after a few more queries; answers that were not right must be `excused` by what they show.
    pub fn was_wrong_only_by(mut self, excused: impl Fn(&str) -> bool) {
        self.more(5);
        let mut wrong = self.finish();
        wrong.retain(|seen| !excused(seen));
        let count = self.answered.load(Ordering::Relaxed);
        assert!(wrong.is_empty(), "{}: {} of {count} wrong, first {:?}", self.name, wrong.len(), wrong.first());
    }

    /// Stops the thread.
    fn finish(&mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().expect("the asker does not panic")).unwrap_or_default()
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.finish();
    }
}
