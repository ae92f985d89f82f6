//! Asks everything of one server over one transport: paced, bounded, each answer weighed and forgotten.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::judge::{Expect, Rules, Said, Unread, Verdict};
use super::links::{Event, Key, Links};
use super::names::Cursor;
use super::once::{Patience, greet, question_of};
use super::oracle::Oracle;
use super::pace::Pace;
use super::tally::{Failure, Group, Tally};
use super::text::lasting;
use crate::cli::output::Progress;
use crate::cli::why::query;
use crate::event::Transport;
use crate::name::Name;
use crate::system::Signals;

/// A server that says nothing for so long beside all time-outs has gone.
const GONE: Duration = Duration::from_secs(5);
/// How often the progress line changes.
const PROGRESS: Duration = Duration::from_millis(200);
/// How long to wait after the first failed connection; after the second twice as long, and so on.
const RECONNECT: Duration = Duration::from_millis(100);
/// Connections that may fail in a row.
const MAX_BROKEN: u32 = 5;
/// Events looked at before something is sent again.
const AT_ONCE: usize = 256;

/// How to ask.
#[derive(Clone, Debug)]
pub struct Options {
    /// RR types.
    pub types: Vec<u16>,
    /// Questions a second.
    pub rate: u32,
    /// Unanswered questions at once.
    pub in_flight: usize,
    /// Of one question.
    pub patience: Patience,
    /// What is a block.
    pub rules: Rules,
}

/// How a pass ended.
#[derive(Debug)]
pub enum End {
    /// Everything was asked.
    Complete,
    /// The server no longer answers.
    Gone(String),
    /// A signal came.
    Interrupted,
}

/// One question and what should come back.
struct Question {
    list: u16,
    name: Box<[u8]>,
    rtype: u16,
    expect: Expect,
    /// Tries left after the present one.
    tries: u8,
    tcp: bool,
}

/// One server over one transport.
pub struct Pass<'a> {
    options: &'a Options,
    transport: Transport,
    server: SocketAddr,
    source: Source<'a>,
    links: Links,
    pace: Pace,
    waiting: HashMap<Key, (u64, Question)>,
    /// When waiting ends, in the order in which it does, and the number it was sent with: ids come again.
    deadlines: VecDeque<(Instant, Key, u64)>,
    sent: u64,
    again: VecDeque<Question>,
    tally: &'a mut Tally,
    heard: Instant,
    missed: u64,
    broken: u32,
    done: u64,
}

impl<'a> Pass<'a> {
    /// Through what `cursor` shows. Without an oracle any block is right.
    pub fn new(
        options: &'a Options,
        (server, transport): (SocketAddr, Transport),
        cursor: Cursor<'a>,
        oracle: Option<Oracle<'a>>,
        tally: &'a mut Tally,
    ) -> Self {
        let now = Instant::now();
        let source = Source { cursor, oracle, list: 0, names: Vec::new(), types: 0 };
        let links = Links::new(server, options.patience.timeout);
        let pace = Pace::new(options.rate, now);
        let (waiting, deadlines, again) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Self {
            options,
            transport,
            server,
            source,
            links,
            pace,
            waiting,
            deadlines,
            sent: 0,
            again,
            tally,
            heard: now,
            missed: 0,
            broken: 0,
            done: 0,
        }
    }

    /// Asks until all is asked. `of` is how many questions there are, for the progress line.
    pub async fn run(mut self, of: u64, signals: &mut Signals) -> End {
        let mut next = self.fresh();
        let mut bar = Bar::new(self.server, self.transport, of);
        loop {
            let now = Instant::now();
            self.expire(now);
            while let Some(tcp) = self.again.front().or(next.as_ref()).map(|question| question.tcp)
                && self.waiting.len() < self.options.in_flight
                && self.links.has_room(tcp)
                && self.pace.take(now)
            {
                let question = match self.again.pop_front() {
                    Some(question) => Some(question),
                    None => std::mem::replace(&mut next, self.fresh()),
                };
                if let Some(question) = question
                    && let Err(why) = self.send(question).await
                {
                    return End::Gone(why);
                }
            }
            if next.is_none() && self.again.is_empty() && self.waiting.is_empty() {
                return End::Complete;
            }
            if self.missed > 0 && now.duration_since(self.heard) > self.longest() + GONE {
                // It may answer everything but what it was asked of late.
                if let Err(error) = greet(self.server, self.transport, self.options.patience).await {
                    let quiet = self.heard.elapsed().as_secs();
                    return End::Gone(format!("nothing came back for {quiet} s: {error}"));
                }
                self.heard = Instant::now();
            }
            bar.show(now, self.done, self.tally);
            let more = next.is_some() || !self.again.is_empty();
            let wake = self.wake(now, more);
            tokio::select! {
                biased;
                _ = signals.next() => return End::Interrupted,
                event = self.links.event() => {
                    event.into_iter().for_each(|event| self.take(event));
                    for _ in 0..AT_ONCE {
                        let Some(event) = self.links.event_at_hand() else { break };
                        self.take(event);
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// The longest a question may stay without an answer.
    fn longest(&self) -> Duration {
        self.options.patience.timeout * u32::from(self.options.patience.tries)
    }

    /// The next new question.
    fn fresh(&mut self) -> Option<Question> {
        self.source.next(self.options, self.transport, self.tally)
    }

    /// When to look again though nothing happens.
    fn wake(&self, now: Instant, more: bool) -> Instant {
        let deadline = self.deadlines.front().map(|&(at, ..)| at);
        let pace = (more && self.waiting.len() < self.options.in_flight).then(|| now + self.pace.wait());
        deadline.into_iter().chain(pace).min().unwrap_or(now + PROGRESS).min(now + PROGRESS)
    }

    /// Sends a question, or has it wait for another connection.
    async fn send(&mut self, question: Question) -> Result<(), String> {
        let message = query(&question.name, question.rtype);
        match self.links.send(message, question.tcp, &self.waiting).await {
            Ok(key) => {
                self.sent += 1;
                self.deadlines.push_back((Instant::now() + self.options.patience.timeout, key, self.sent));
                self.waiting.insert(key, (self.sent, question));
                Ok(())
            }
            Err(error) => {
                self.broken += 1;
                self.again.push_back(question);
                if self.broken > MAX_BROKEN {
                    return Err(format!("cannot send: {error}"));
                }
                // It may just be starting again.
                tokio::time::sleep(RECONNECT * self.broken).await;
                Ok(())
            }
        }
    }

    /// Looks at what a link tells.
    fn take(&mut self, event: Event) {
        let (link, message) = match event {
            Event::Message(link, message) => (link, message),
            Event::Closed(link) => return self.closed(link),
        };
        let key = message.first_chunk().map(|id| (link, u16::from_be_bytes(*id)));
        let Some((key, (_, question))) = key.and_then(|key| Some((key, self.waiting.get(&key)?))) else {
            self.tally.ignored += 1;
            return;
        };
        let sent = query(&question.name, question.rtype);
        let said = match Said::read(&message, question_of(&sent, question.name.len())) {
            Ok(said) => Some(said),
            Err(Unread::Malformed) => None,
            Err(Unread::Foreign) => {
                self.tally.ignored += 1;
                return;
            }
        };
        let Some((_, mut question)) = self.waiting.remove(&key) else { return };
        self.links.done(key);
        self.heard = Instant::now();
        self.missed = 0;
        self.broken = 0;
        let cut = said.as_ref().is_some_and(|said| said.truncated);
        let meant = matches!(&question.expect, Expect::Exact(wanted) if wanted.truncated);
        if cut && !meant && !question.tcp {
            self.tally.truncated += 1;
            question.tcp = true;
            question.tries = self.options.patience.tries.saturating_sub(1);
            self.again.push_back(question);
            return;
        }
        let verdict = said.as_ref().map_or(Verdict::Open, |said| self.options.rules.judge(&question.expect, said));
        let got = || said.as_ref().map_or_else(|| "a malformed answer".to_owned(), ToString::to_string);
        self.count(&question, verdict, got);
    }

    /// What was asked over this connection is asked again.
    fn closed(&mut self, link: u32) {
        self.links.drop_link(link);
        self.broken += 1;
        let lost: Vec<Key> = self.waiting.keys().copied().filter(|key| key.0 == link).collect();
        for key in lost {
            if let Some((_, question)) = self.waiting.remove(&key) {
                self.retry(question);
            }
        }
    }

    /// Ends the wait for what took too long.
    fn expire(&mut self, now: Instant) {
        while let Some(&(at, key, number)) = self.deadlines.front() {
            let waits = self.waiting.get(&key).is_some_and(|&(sent, _)| sent == number);
            if waits && at > now {
                return;
            }
            self.deadlines.pop_front();
            if waits && let Some((_, question)) = self.waiting.remove(&key) {
                self.links.done(key);
                self.retry(question);
            }
        }
    }

    /// No answer came: once more, or never mind.
    fn retry(&mut self, mut question: Question) {
        if question.expect == Expect::Silence && !self.options.rules.any {
            self.tally.silent += 1;
            self.count(&question, Verdict::Expected, String::new);
        } else if question.tries > 0 {
            question.tries -= 1;
            self.tally.retries += 1;
            self.again.push_back(question);
        } else {
            self.missed += 1;
            self.count(&question, Verdict::Unanswered, || "no answer".to_owned());
        }
    }

    /// Books the end of a question.
    fn count(&mut self, question: &Question, verdict: Verdict, got: impl FnOnce() -> String) {
        self.done += 1;
        let group = Group::new(self.server, question.list, question.rtype, self.transport);
        let any = self.options.rules.any;
        self.tally.add(group, verdict, || Failure {
            group,
            name: question.name.clone(),
            verdict,
            expected: if any { Expect::Block.to_string() } else { question.expect.to_string() },
            got: got(),
        });
    }
}

/// Questions one by one.
struct Source<'a> {
    cursor: Cursor<'a>,
    oracle: Option<Oracle<'a>>,
    list: u16,
    names: Vec<Name>,
    /// Which type of the last name is next.
    types: usize,
}

impl Source<'_> {
    /// The next one; those that the configuration passes over this transport are counted and left out.
    fn next(&mut self, options: &Options, transport: Transport, tally: &mut Tally) -> Option<Question> {
        loop {
            let Some(name) = self.names.last() else {
                let picked = self.cursor.next()?;
                self.list = picked.list;
                self.names = picked.names;
                self.names.reverse();
                continue;
            };
            let Some(&rtype) = options.types.get(self.types) else {
                self.types = 0;
                self.names.pop();
                continue;
            };
            self.types += 1;
            let name = name.wire();
            let expect = match &mut self.oracle {
                None => Some(Expect::Block),
                Some(oracle) => {
                    let message = query(name, rtype);
                    let expect = oracle.expect(&message, question_of(&message, name.len()), transport);
                    // Given names are to be blocked, whatever this configuration says.
                    expect.or((self.list == super::names::NAMED).then_some(Expect::Block))
                }
            };
            let Some(expect) = expect else {
                tally.passing += 1;
                continue;
            };
            let tries = options.patience.tries.saturating_sub(1);
            let tcp = transport == Transport::Tcp;
            return Some(Question { list: self.list, name: name.into(), rtype, expect, tries, tcp });
        }
    }
}

/// The progress line.
struct Bar {
    progress: Progress,
    what: String,
    of: u64,
    started: Instant,
    shown: Instant,
}

impl Bar {
    /// Columns of the bar itself.
    const WIDTH: u64 = 20;

    /// At nothing.
    fn new(server: SocketAddr, transport: Transport, of: u64) -> Self {
        let what = format!("asking {server} over {}", transport.as_str());
        let now = Instant::now();
        Self { progress: Progress::show(&what), what, of, started: now, shown: now }
    }

    /// At `done`, if it was not shown just now.
    fn show(&mut self, now: Instant, done: u64, tally: &Tally) {
        if now.duration_since(self.shown) < PROGRESS {
            return;
        }
        self.shown = now;
        let Self { what, of, .. } = self;
        let full = (done * Self::WIDTH / (*of).max(1)).min(Self::WIDTH) as usize;
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(Self::WIDTH as usize - full));
        let seconds = now.duration_since(self.started).as_secs_f64();
        let left = seconds / done.max(1) as f64 * of.saturating_sub(done) as f64;
        let failed = tally.total().failed();
        let line = format!("{what} [{bar}] {done} of {of}, {failed} not as expected, {} left", lasting(left));
        self.progress.update(&line);
    }
}
